"""SWUpdate images: cpio with its description first, in both of its syntaxes."""

from __future__ import annotations

import pytest

from appliance.core.errors import UsageError
from appliance.core.limits_updates import ARTIFACT_DESCRIPTION_BYTES_MAX, ARTIFACT_MEMBER_COUNT_MAX
from tests.artifact_kit import DESCRIPTION, found_in, member, swu


@pytest.mark.parametrize("magic", [b"070701", b"070702"])
def test_what_the_image_says_of_itself(magic: bytes) -> None:
    found = found_in(swu(magic=magic), "swu")
    assert (found.version, found.compat, found.is_vendor_signed) == ("2.1.0", ("1.0", "1.2"), False)
    assert found.facts == (("Members", "2"),)


def test_a_signature_is_seen() -> None:
    assert found_in(swu(signed=True), "swu").is_vendor_signed


def test_a_description_may_be_json() -> None:
    text = '{"software": {"version": "7", "board": {"hardware-compatibility": ["rev2"]}, "images": [{"version": "9"}]}}'
    found = found_in(swu(text), "swu")
    assert (found.version, found.compat) == ("7", ("rev2",))


def test_hardware_may_be_one_text_a_pattern_or_nothing() -> None:
    assert found_in(swu('software = { hardware-compatibility = "a\\"b"; }'), "swu").compat == ('a\\"b',)
    assert (
        found_in(swu('software = { hardware-compatibility: [ "#RE:^v[0-9]$", "a" ]; }'), "swu").compat == ()
    )
    found = found_in(swu("software = { images: ( { version = 9 } ) } // end"), "swu")
    assert (found.version, found.compat) == ("", ())


@pytest.mark.parametrize(
    ("description", "says"),
    [
        ("hardware = { }", "without “software”"),
        ("software = { ) }", "brackets don't match"),
        ("software = {", "brackets don't match"),
        ("}", "brackets don't match"),
        ('software = { version = "2', "a text that does not end"),
        ("software = { /* ", "a comment that does not end"),
        (b"software = { \xff }", "not UTF-8"),
        ("a = { " * 65 + "b = 1; " * 9_000, "nested deeper than 64 times"),
        (
            "software = { hardware-compatibility: [" + ",".join(f'"{n}"' for n in range(33)) + "] }",
            "more than 32 kinds",
        ),
    ],
)
def test_a_description_that_can_not_be_read_is_refused(description: str | bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        found_in(swu(description), "swu")


def test_the_archive_must_be_whole_and_begin_with_the_description() -> None:
    with pytest.raises(UsageError, match="“sw-other” as its first member"):
        found_in(swu(first="sw-other"), "swu")
    with pytest.raises(UsageError, match="begins with “abcdef”"):
        found_in(b"abcdef" + swu()[6:], "swu")
    data = bytearray(swu())
    data[20] = ord("x")
    with pytest.raises(UsageError, match="not made of hexadecimal digits"):
        found_in(bytes(data), "swu")
    data = bytearray(swu())
    data[94:102] = b"00000001"
    with pytest.raises(UsageError, match="a name of 1 bytes"):
        found_in(bytes(data), "swu")
    with pytest.raises(UsageError, match="ends before its member “rootfs"):
        found_in(swu()[:5000], "swu")
    first = member("sw-description", DESCRIPTION.encode())
    with pytest.raises(UsageError, match=f"has at byte {len(first)} “xxxxxx”"):
        found_in(first + b"x" * 200, "swu")


def test_there_is_an_end_to_what_is_looked_at() -> None:
    with pytest.raises(UsageError, match=f"more than {ARTIFACT_MEMBER_COUNT_MAX} members"):
        found_in(
            member("sw-description", DESCRIPTION.encode()) + member("a", b"") * ARTIFACT_MEMBER_COUNT_MAX,
            "swu",
        )
    with pytest.raises(UsageError, match="may be"):
        found_in(swu("#" * (ARTIFACT_DESCRIPTION_BYTES_MAX + 1)), "swu")
