"""Reads of an image are bounded, and what is shown of it is printable."""

from __future__ import annotations

import pytest

from appliance.core.limits_updates import ARTIFACT_IMAGE_READ_BYTES_MAX, ARTIFACT_IMAGE_READ_COUNT_MAX
from appliance.management.artifact_image import Image, NotThis, shown
from tests.artifact_kit import reading


def test_bytes_that_are_not_there_are_refused_before_they_are_read() -> None:
    image = Image(10, lambda offset, length: pytest.fail("read"))
    for offset, length in ((5, 6), (-1, 2), (2, -1)):
        with pytest.raises(NotThis, match="ends before its name does"):
            image.at(offset, length, what="its name")


def test_a_file_that_is_shorter_than_it_was_is_refused() -> None:
    with pytest.raises(NotThis, match="ends before"):
        Image(10, reading(b"abc")).at(0, 10, what="its name")


def test_only_so_many_reads_are_made() -> None:
    image = Image(10, reading(bytes(10)))
    for _ in range(ARTIFACT_IMAGE_READ_COUNT_MAX):
        assert image.at(0, 1, what="x") == b"\0"
    with pytest.raises(NotThis, match="so many parts"):
        image.at(0, 1, what="x")


def test_only_so_many_bytes_are_read() -> None:
    size = ARTIFACT_IMAGE_READ_BYTES_MAX
    image = Image(2 * size, lambda offset, length: bytes(length))
    image.at(0, size, what="x")
    with pytest.raises(NotThis, match="so many parts"):
        image.at(0, 1, what="x")


def test_what_is_shown_is_short_and_printable() -> None:
    assert shown(b" v1\x1b[31m\x00rest") == "v1[31m"
    assert shown("\u202ev1".encode()) == "v1"
    assert shown(b"\xff") == "\N{REPLACEMENT CHARACTER}"
    assert len(shown(b"a" * 1000)) == 64
