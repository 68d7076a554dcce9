"""One frame: the bytes of one block on disk. Pure; nothing here opens a file.

    header 96 | body (stored_bytes) | trailer 40 | zeros up to a multiple of 4,096

The frame's hash covers the header without its CRC, and the stored body: it doesn't depend on the segment's
salt, so a block has the same hash wherever it is kept.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from appliance.core.limits import FRAME_BYTES_HARD_MAX, FRAME_RECORD_COUNT_MAX
from storage.log.layout import FORMAT_VERSION, ZERO_PAGE, crc32c, round_to_page, sha256

MAGIC: Final = b"HPFR"
FLAG_ZSTD: Final = 1
_KNOWN_FLAGS: Final = FLAG_ZSTD

_FIELDS: Final = struct.Struct("<4sBBHIIIIQQQ32s12s")
_CRC: Final = struct.Struct("<I")
_TRAILER: Final = struct.Struct("<32sII")
_RESERVED: Final = bytes(12)
HEADER_BYTES: Final = _FIELDS.size + _CRC.size
TRAILER_BYTES: Final = _TRAILER.size
assert (HEADER_BYTES, TRAILER_BYTES) == (96, 40)


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What a frame's first 96 bytes say. Times are wall time, ms; sizes are bytes."""

    flags: int
    epoch: int
    stored_bytes: int
    raw_bytes: int
    record_count: int
    first_seq: int
    first_time_ms: int
    last_time_ms: int
    prev_hash: bytes

    @property
    def frame_bytes(self) -> int:
        """The frame's whole size on disk, padding included."""
        return frame_bytes(self.stored_bytes)

    @property
    def next_seq(self) -> int:
        return self.first_seq + self.record_count


def frame_bytes(stored_bytes: int) -> int:
    """Size on disk of a frame whose stored body has this many bytes."""
    return round_to_page(HEADER_BYTES + stored_bytes + TRAILER_BYTES)


def encode_frame(header: FrameHeader, body: bytes, salt: int) -> tuple[list[bytes], bytes]:
    """The buffers to write for one frame, and its hash.

    The body is handed through, not copied: the three buffers go to one pwritev.

    Args:
        header: Its stored_bytes must be len(body).
        body: As stored, compressed or not.
        salt: The segment's.
    """
    fields = _FIELDS.pack(
        MAGIC,
        FORMAT_VERSION,
        header.flags,
        0,
        header.epoch,
        header.stored_bytes,
        header.raw_bytes,
        header.record_count,
        header.first_seq,
        header.first_time_ms,
        header.last_time_ms,
        header.prev_hash,
        _RESERVED,
    )
    frame_hash = sha256(fields, body)
    header_crc = crc32c(salt, fields)
    crc_bytes = _CRC.pack(header_crc)
    frame_crc = crc32c(header_crc, crc_bytes, body, frame_hash)
    trailer = _TRAILER.pack(frame_hash, frame_crc, header.stored_bytes)
    unpadded = HEADER_BYTES + len(body) + TRAILER_BYTES
    padding = round_to_page(unpadded) - unpadded
    return [fields + crc_bytes, body, trailer + ZERO_PAGE[:padding]], frame_hash


def decode_header(data: bytes, salt: int | None) -> FrameHeader | str:
    """The header in the first 96 bytes of `data`, or why it isn't one.

    Args:
        salt: The segment's, or None when its header is lost: then the CRC can't be checked and the
            caller must check the frame's hash.
    """
    if len(data) < HEADER_BYTES:
        return "the file ends within a frame's header"
    fields = data[: _FIELDS.size]
    magic, version, flags, zero, epoch, stored, raw, count, seq, first_ms, last_ms, prev_hash, reserved = (
        _FIELDS.unpack(fields)
    )
    if magic != MAGIC:
        return "no frame begins here"
    if salt is not None and crc32c(salt, fields) != _CRC.unpack_from(data, _FIELDS.size)[0]:
        return "the header's checksum is wrong"
    if version != FORMAT_VERSION or zero or reserved != _RESERVED or flags & ~_KNOWN_FLAGS:
        return f"frame version {version} with flags {flags:#x} is not known here"
    if not (0 < stored <= FRAME_BYTES_HARD_MAX and 0 < raw <= FRAME_BYTES_HARD_MAX):
        return "the frame's length is out of bounds"
    if not 0 < count <= FRAME_RECORD_COUNT_MAX or (not flags and stored != raw):
        return "the frame's counts are out of bounds"
    return FrameHeader(flags, epoch, stored, raw, count, seq, first_ms, last_ms, prev_hash)


def check_frame(header: FrameHeader, data: bytes, body: bytes, salt: int | None) -> bytes | str:
    """The frame's hash when it is whole, or why it isn't.

    With a salt the CRC is checked, which covers the stored hash too; without one the hash is computed.

    Args:
        data: The frame's bytes, from its first on; padding may be left out.
        body: `data`'s stored body as bytes of its own.
    Returns:
        32 bytes, or the reason as a sentence.
    """
    end = HEADER_BYTES + header.stored_bytes
    if len(data) < end + TRAILER_BYTES:
        return "the file ends within a frame"
    stored_hash: bytes
    stored_hash, frame_crc, length_again = _TRAILER.unpack_from(data, end)
    if length_again != header.stored_bytes:
        return "the frame's two lengths differ"
    if salt is None:
        return (
            stored_hash if sha256(data[: _FIELDS.size], body) == stored_hash else "the frame's hash is wrong"
        )
    if crc32c(salt, data[:HEADER_BYTES], body, stored_hash) != frame_crc:
        return "the frame's checksum is wrong"
    return stored_hash


def compute_hash(data: bytes, body: bytes) -> bytes:
    """The hash of the frame at the start of `data`, computed anew."""
    return sha256(data[: _FIELDS.size], body)
