"""What the recognition of firmware images works with: bounded reads of an image, what was found in it, and how one is refused.

Guarantees: no image, whatever it holds, makes a recogniser read more often or more than the two budgets, or ask for bytes that are
not there. Must not know: where the bytes lie.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from appliance.core.limits_updates import (
    ARTIFACT_IMAGE_READ_BYTES_MAX,
    ARTIFACT_IMAGE_READ_COUNT_MAX,
    ARTIFACT_IMAGE_TEXT_LENGTH_MAX,
)

ArtifactFormat = Literal["raw", "swu", "raucb", "mender", "mcuboot", "esp32"]
ARTIFACT_FORMATS: Final[tuple[ArtifactFormat, ...]] = get_args(ArtifactFormat)
FORMAT_WORDS: Final[dict[ArtifactFormat, str]] = {
    "raw": "plain bytes",
    "swu": "a SWUpdate image (.swu)",
    "raucb": "a RAUC bundle (.raucb)",
    "mender": "a Mender artifact (.mender)",
    "mcuboot": "an MCUboot image",
    "esp32": "an ESP32 image",
}

Reader = Callable[[int, int], bytes]
"""Gives `length` bytes from `offset` on, fewer only at the end."""


class NotThis(Exception):  # noqa: N818 - an answer of a recogniser, which never leaves this room
    """An image is not what a recogniser looks for.

    Args:
        reason: What was found instead, the rest of a sentence that begins with "it".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerDigest:
    """Some bytes of an image and the SHA-256 that the image itself says they have."""

    offset: int
    length: int
    sha256: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerXor:
    """Ranges of an image (offset, length) and what all their bytes give, xored one after another onto a first value."""

    ranges: tuple[tuple[int, int], ...]
    first: int
    result: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What an image says of itself.

    Attributes:
        version: "" where the format has none, or the image leaves it open.
        compat: Hardware that it is for, as its maker names it; empty where it says nothing, or says it as a pattern.
        epoch: Its own security counter, None without one.
        is_vendor_signed: Whether it carries a signature of its maker (which the device checks, not this box).
        facts: Further things to show, (name, value).
        digest, xor: What its content must fulfil; whoever has the bytes checks it.
    """

    format: ArtifactFormat
    version: str = ""
    compat: tuple[str, ...] = ()
    epoch: int | None = None
    is_vendor_signed: bool = False
    facts: tuple[tuple[str, str], ...] = ()
    digest: InnerDigest | None = None
    xor: InnerXor | None = None


class Image:
    """An image's bytes, read within budgets.

    Args:
        size_bytes: Of the whole image.
        read: See Reader.
    """

    def __init__(self, size_bytes: int, read: Reader) -> None:
        self.size_bytes = size_bytes
        self._read = read
        self._count_left = ARTIFACT_IMAGE_READ_COUNT_MAX
        self._bytes_left = ARTIFACT_IMAGE_READ_BYTES_MAX

    def at(self, offset: int, length: int, *, what: str) -> bytes:
        """Exactly `length` bytes from `offset` on.

        Args:
            what: What they are, for the refusal.
        Raises:
            NotThis: they are not all there, or the budget is used up.
        """
        if offset < 0 or length < 0 or offset + length > self.size_bytes:
            raise NotThis(f"ends before {what} does ({self.size_bytes} bytes, {offset + length} are needed)")
        if not self._count_left or length > self._bytes_left:
            raise NotThis(f"has so many parts before {what} that it is not looked at any further")
        self._count_left -= 1
        self._bytes_left -= length
        data = self._read(offset, length)
        if len(data) != length:
            raise NotThis(f"ends before {what} does")
        return data


def shown(data: bytes) -> str:
    """A text of an image as it may be shown: printable, short, up to its first zero byte."""
    text = data.split(b"\0", 1)[0][: 4 * ARTIFACT_IMAGE_TEXT_LENGTH_MAX].decode("utf-8", "replace")
    return "".join(each for each in text if each.isprintable())[:ARTIFACT_IMAGE_TEXT_LENGTH_MAX].strip()
