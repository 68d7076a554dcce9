"""Images for MCUboot: header and tagged values."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import pytest

from appliance.core.errors import UsageError
from appliance.core.limits_updates import ARTIFACT_TLV_COUNT_MAX
from tests.artifact_kit import found_in, mcuboot, tlv


def test_what_the_image_says_of_itself() -> None:
    data = mcuboot(version=(1, 2, 3, 4))
    found = found_in(data, "mcuboot")
    assert (found.version, found.epoch, found.is_vendor_signed) == ("1.2.3+4", 5, True)
    assert found.facts == (("Signed with", "Ed25519"),)
    assert found.digest is not None
    assert hashlib.sha256(data[: found.digest.length]).digest() == found.digest.sha256


def test_an_image_may_be_unsigned_and_without_protected_values() -> None:
    found = found_in(mcuboot(counter=None, signed=False), "mcuboot")
    assert (found.version, found.epoch, found.is_vendor_signed, found.facts) == ("1.2.3", None, False, ())


def test_what_follows_is_the_slot_s() -> None:
    assert found_in(mcuboot() + b"\xff" * 4096, "mcuboot").epoch == 5


def test_the_hash_of_an_encrypted_image_is_of_what_it_holds() -> None:
    found = found_in(mcuboot(flags=0x04), "mcuboot")
    assert found.digest is None
    assert ("Encrypted", "yes") in found.facts


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"header_bytes": 16}, "header has 16 bytes"),
        ({"protected_said": 8}, "12 bytes of protected values, and its header says 8"),
        ({"counter": b"\1\2"}, "counter that is not of 4 bytes"),
        ({"sha256": bytes(31)}, "hash that is not of 32 bytes"),
        ({"sha256": bytes(33)}, "hash that is not of 32 bytes"),
        ({"more": (b"\1",)}, "1 bytes too many"),
        ({"more": (struct.pack("<HH", 1, 50),)}, "value of 50 bytes that goes beyond"),
        ({"more": (tlv(1, b""),) * ARTIFACT_TLV_COUNT_MAX}, "more than 128 values"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        found_in(mcuboot(**changes), "mcuboot")


def test_wrong_bytes_at_the_edges() -> None:
    data = mcuboot()
    with pytest.raises(UsageError, match="begins with 0x00000000"):
        found_in(bytes(4) + data[4:], "mcuboot")
    with pytest.raises(UsageError, match="nothing between its header"):
        found_in(data[:12] + bytes(4) + data[16:], "mcuboot")
    end = 0x40 + 256 * 40
    with pytest.raises(UsageError, match="0x0000 where 0x6908 begins"):
        found_in(data[:end] + bytes(2) + data[end + 2 :], "mcuboot")
    with pytest.raises(UsageError, match="which are not there"):
        found_in(data[:-1], "mcuboot")
