"""Images of the ESP32 family: header, segments, checksum, hash, description."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from appliance.core.errors import UsageError
from tests.artifact_kit import esp32, found_in


def test_what_the_image_says_of_itself() -> None:
    data = esp32()
    found = found_in(data, "esp32")
    assert (found.version, found.epoch, found.compat) == ("v5.1-2", 3, ())
    assert dict(found.facts) == {"Chip": "ESP32-S3", "Project": "pump", "Made with": "v5.3"}
    assert not found.is_vendor_signed
    assert found.digest is not None
    assert hashlib.sha256(data[: found.digest.length]).digest() == found.digest.sha256
    assert found.xor is not None
    assert [length for _, length in found.xor.ranges] == [1256, 256, 384]


def test_a_hash_and_a_description_may_be_missing() -> None:
    found = found_in(esp32(has_hash=0, described=False), "esp32")
    assert (found.version, found.epoch, found.digest) == ("", None, None)
    short = esp32(described=False, segments=1)
    assert found_in(short, "esp32").facts == (("Chip", "ESP32-S3"),)


def test_a_first_segment_that_is_no_description_is_none() -> None:
    data = bytearray(esp32(has_hash=0))
    data[32:36] = bytes(4)
    assert found_in(bytes(data), "esp32").version == ""


def test_what_follows_the_image_is_its_signature() -> None:
    assert found_in(esp32() + bytes(4096), "esp32").is_vendor_signed


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"magic": 0xEA}, "begins with 0xEA"),
        ({"chip": 4711}, "chip of number 4711"),
        ({"has_hash": 2}, "says 2 where 0 or 1"),
    ],
)
def test_a_wrong_header_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        found_in(esp32(**changes), "esp32")


@pytest.mark.parametrize("count", [0, 17])
def test_a_number_of_segments_that_cannot_be_is_refused(count: int) -> None:
    data = bytearray(esp32())
    data[1] = count
    with pytest.raises(UsageError, match=f"has {count} segments"):
        found_in(bytes(data), "esp32")


@pytest.mark.parametrize(
    ("left", "says"),
    [(24, "header of segment 1"), (500, "segment 1 of 3"), (-33, "its (checksum|hash)"), (-1, "its hash")],
)
def test_a_cut_is_named(left: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        found_in(esp32()[:left], "esp32")
