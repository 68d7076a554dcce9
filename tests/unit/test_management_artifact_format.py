"""An image is what it is said to be, or is refused with what was found instead."""

from __future__ import annotations

import pytest

from appliance.core.errors import UsageError
from appliance.management.artifact_format import RECOGNIZERS, check_said, format_of, recognize
from appliance.management.artifact_image import ARTIFACT_FORMATS, FORMAT_WORDS, ArtifactFormat, Found
from tests.artifact_kit import IMAGES, found_in, reading


def test_there_is_a_word_and_a_way_for_each_format() -> None:
    assert set(FORMAT_WORDS) == set(ARTIFACT_FORMATS) == set(IMAGES) == {"raw", *RECOGNIZERS}


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_is_recognised_with_and_without_being_told(name: ArtifactFormat) -> None:
    data = IMAGES[name]()
    assert found_in(data).format == name
    assert found_in(data, name) == found_in(data)


@pytest.mark.parametrize("name", IMAGES)
def test_what_it_is_said_to_be_it_must_be(name: ArtifactFormat) -> None:
    data = IMAGES[name]()
    for said in ARTIFACT_FORMATS:
        if said != name:
            with pytest.raises(UsageError) as caught:
                found_in(data, said)
            assert caught.value.code == "artifact_format"
            assert FORMAT_WORDS[said] in caught.value.message
            if name != "raw":
                assert FORMAT_WORDS[name] in caught.value.message
            assert caught.value.hint


def test_the_reason_is_in_the_refusal() -> None:
    with pytest.raises(UsageError, match="begins with 0x00, not with 0xE9"):
        found_in(bytes(400), "esp32")


def test_an_empty_image_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        recognize(0, reading(b""))
    assert caught.value.code == "artifact_empty"


def test_an_image_that_was_cut_is_refused_as_its_format() -> None:
    for name, make in IMAGES.items():
        if name != "raw":
            data = make()
            with pytest.raises(UsageError):
                found_in(data[: len(data) // 2], name)


def test_what_is_typed_may_leave_all_to_the_image() -> None:
    check_said(Found(format="swu", version="2", compat=("a",), epoch=3), version="", compat=(), epoch=None)
    check_said(Found(format="swu"), version="2", compat=("a",), epoch=3)
    check_said(
        Found(format="swu", version="2", compat=("a", "b"), epoch=3), version="2", compat=("b",), epoch=3
    )


@pytest.mark.parametrize(
    ("version", "compat", "epoch", "code", "says"),
    [
        ("3", (), None, "artifact_version_differs", "version 2, not 3"),
        ("2", ("a", "c"), None, "artifact_compat_differs", "is not for c"),
        ("", (), 4, "artifact_epoch_differs", "counter 3"),
    ],
)
def test_what_is_typed_must_agree_with_the_image(
    version: str, compat: tuple[str, ...], epoch: int | None, code: str, says: str
) -> None:
    found = Found(format="swu", version="2", compat=("a",), epoch=3)
    with pytest.raises(UsageError, match=says) as caught:
        check_said(found, version=version, compat=compat, epoch=epoch)
    assert caught.value.code == code


def test_a_format_has_a_name() -> None:
    assert format_of("raw") == "raw"
    with pytest.raises(UsageError, match="zip"):
        format_of("zip")
