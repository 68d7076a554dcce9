"""Firmware images of simulated devices: bad firmware is an artifact, not a flag. Pure.

An image says in its header what it is and how it behaves once it runs, so the device that installs it finds out as a real one
would. Layout: magic (8 bytes), length of the header (4, big endian), the header as JSON, then filling up to the size. The
filling is made from the header, so the same header and size give the same bytes everywhere.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final

import msgspec

from device_fw_sim.errors import OptionsError
from device_fw_sim.limits import IMAGE_BYTES_MAX, IMAGE_HEADER_BYTES_MAX

MAGIC: Final = b"HPSIMFW1"
_PREFIX_BYTES: Final = len(MAGIC) + 4
SIZE_BYTES_MIN: Final = _PREFIX_BYTES + IMAGE_HEADER_BYTES_MAX


class Behaviour(Enum):
    """What an image does once the bootloader starts it."""

    GOOD = "good"
    BOOT_LOOP = "boot-loop"
    """Crashes before it is up, every time: the bootloader counts and falls back."""
    HANG = "hang"
    """Starts and is never heard of again, until somebody takes the power away."""
    BAD_SELF_TEST = "bad-self-test"
    """Comes up and finds itself ill."""
    NO_READINGS = "no-readings"
    """Comes up and takes no reading."""
    WRONG_VERSION = "wrong-version"
    """Says that it is a version and a digest which nobody knows."""
    REGRESS = "regress"
    """Works until it is confirmed, and falls back to the other slot `after_s` later."""


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an image says of itself.

    Attributes:
        hw: Hardware that it runs on.
        epoch: Security epoch.
        after_s: For `regress`, seconds after the confirmation.
    """

    version: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    hw: Annotated[list[str], msgspec.Meta(min_length=1, max_length=16)]
    epoch: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    behaviour: Behaviour = Behaviour.GOOD
    after_s: Annotated[int, msgspec.Meta(ge=0, le=604_800)] = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A whole image and its digest."""

    header: Header
    data: bytes
    sha256: str


def build(header: Header, *, size_bytes: int = SIZE_BYTES_MIN) -> Image:
    """An image with this header.

    Args:
        size_bytes: Of all of it, 4,108 or more.
    Raises:
        OptionsError: The size is out of bounds, or the header too long.
    """
    text = msgspec.json.encode(header)
    if len(text) > IMAGE_HEADER_BYTES_MAX:
        raise OptionsError(
            f"A header of {len(text)} bytes.", hint="Name less hardware, or give it shorter names."
        )
    if not SIZE_BYTES_MIN <= size_bytes <= IMAGE_BYTES_MAX:
        raise OptionsError(
            f"An image of {size_bytes} bytes.",
            hint=f"Choose from {SIZE_BYTES_MIN} to {IMAGE_BYTES_MAX} bytes.",
        )
    head = MAGIC + len(text).to_bytes(4, "big") + text
    data = head + hashlib.shake_128(head).digest(size_bytes - len(head))
    return Image(header=header, data=data, sha256=hashlib.sha256(data).hexdigest())


def header_of(data: bytes) -> Header | None:
    """The header that bytes begin with; None when this is no image.

    Args:
        data: The image, or its first 4,108 bytes.
    """
    if data[: len(MAGIC)] != MAGIC:
        return None
    length = int.from_bytes(data[len(MAGIC) : _PREFIX_BYTES], "big")
    if length > IMAGE_HEADER_BYTES_MAX or len(data) < _PREFIX_BYTES + length:
        return None
    try:
        return msgspec.json.decode(data[_PREFIX_BYTES : _PREFIX_BYTES + length], type=Header)
    except (msgspec.ValidationError, msgspec.DecodeError):
        return None
