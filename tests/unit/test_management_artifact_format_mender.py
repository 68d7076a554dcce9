"""Mender artifacts: version, manifest, header, data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from appliance.core.errors import UsageError
from appliance.core.limits_updates import ARTIFACT_DESCRIPTION_BYTES_MAX, ARTIFACT_MEMBER_COUNT_MAX
from tests.artifact_kit import found_in, mender, tar

Members = list[tuple[str, bytes]]


@pytest.mark.parametrize("packed", ["", ".gz", ".xz"])
def test_what_the_artifact_says_of_itself(packed: str) -> None:
    found = found_in(mender(packed=packed), "mender")
    assert (found.version, found.compat, found.is_vendor_signed) == (
        "release-7",
        ("beaglebone", "rpi4"),
        False,
    )


def test_version_2_and_a_signature() -> None:
    info = {"artifact_name": "r2", "device_types_compatible": ["qemu"], "updates": [{"type": "rootfs-image"}]}
    found = found_in(mender(version=b'{"format":"mender","version":2}', info=info, signed=True), "mender")
    assert (found.version, found.compat, found.is_vendor_signed) == ("r2", ("qemu",), True)


def test_a_header_that_is_packed_otherwise_is_not_looked_into() -> None:
    found = found_in(mender(packed=".zst"), "mender")
    assert (found.version, found.compat) == ("", ())


def only(*numbers: int) -> Callable[[Members], Members]:
    return lambda members: [members[number] for number in numbers]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"members": only(1, 0, 2, 3)}, "“manifest” as its first member"),
        ({"members": only(0, 2, 1, 3)}, "“header.tar.gz” as its second member"),
        ({"members": only(0, 1, 3)}, "is no member|no member of a tar"),
        ({"members": only(0, 1, 2, 2)}, "“header.tar.gz” behind its header"),
        ({"version": b'{"format":"mender","version":9}'}, "version 9"),
        ({"version": b'{"format":"other","version":3}'}, "format “other”"),
        ({"version": b"{"}, "a version that can't be read"),
        ({"version": b" " * (ARTIFACT_DESCRIPTION_BYTES_MAX + 1)}, "may be"),
        (
            {"manifest": lambda text: text.replace(b"version", b"versi0n")},
            "a version that its manifest does not vouch for",
        ),
        (
            {"manifest": lambda text: text.replace(b"header", b"hader")},
            "a header.tar.gz that its manifest does not vouch for",
        ),
        ({"manifest": lambda text: text + b"x\n"}, "a manifest that can't be read"),
        ({"header": b"no gzip"}, "can't be unpacked"),
        ({"header": b"this is no xz", "packed": ".xz"}, "can't be unpacked"),
        ({"header": tar([("other", b"")]), "packed": ""}, "“other” first in its header"),
        ({"info": {"artifact_depends": {"device_type": [str(n) for n in range(33)]}}}, "more than 32 kinds"),
        ({"info": {"artifact_depends": {"device_type": [1]}}}, "a header-info that can't be read"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        found_in(mender(**changes), "mender")


def test_wrong_bytes_in_a_member_s_header() -> None:
    data = mender()
    with pytest.raises(UsageError, match="it is no member of a tar archive"):
        found_in(bytes(1024), "mender")
    with pytest.raises(UsageError, match="checksum is wrong"):
        found_in(b"V" + data[1:], "mender")
    with pytest.raises(UsageError, match="a number that can't be read"):
        found_in(data[:124] + b"x" + data[125:], "mender")
    with pytest.raises(UsageError, match="ends before “data"):
        found_in(data[:6000], "mender")


def test_there_is_an_end_to_what_is_looked_at() -> None:
    def many(members: Members) -> Members:
        return [*members[:2], *([("more", b"")] * ARTIFACT_MEMBER_COUNT_MAX), *members[2:]]

    with pytest.raises(UsageError, match=r"no header\.tar"):
        found_in(mender(members=many), "mender")
