"""One block as a reader gives it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import zstandard

from appliance.core.errors import LogDamaged
from storage.log.frame import FLAG_ZSTD, FrameHeader

if TYPE_CHECKING:
    from storage.log.columns import Columns


@dataclass(frozen=True, slots=True)
class Block:
    """Records [first_seq, first_seq + record_count) of a stream. Times are wall time, ms.

    Args:
        prev_hash, hash: Of the frame before, and its own; 32 bytes each.
        body: The columns, msgpack, not compressed.
        origin: The node whose stream it is from, where a site is read as one log (storage/site); "" for the own one.
        is_of_site: It was read so, be it of the own stream or of another.
    """

    epoch: int
    first_seq: int
    record_count: int
    first_time_ms: int
    last_time_ms: int
    prev_hash: bytes
    hash: bytes
    body: bytes
    origin: str = ""
    is_of_site: bool = False

    @property
    def next_seq(self) -> int:
        """The sequence after the block's last record."""
        return self.first_seq + self.record_count

    def columns(self) -> Columns:
        """The records, decoded.

        Raises:
            LogDamaged: the body isn't what a writer of this or an older version makes.
        """
        from storage.log.columns import decode_columns

        return decode_columns(self.body)


def make_block(header: FrameHeader, frame_hash: bytes, stored: bytes) -> Block:
    """The block of a whole frame.

    Raises:
        LogDamaged: the body can't be decompressed to the length that the header says.
    """
    body = stored
    if header.flags & FLAG_ZSTD:
        try:
            body = zstandard.ZstdDecompressor().decompress(stored, max_output_size=header.raw_bytes)
        except zstandard.ZstdError as error:
            raise _wrong_body(header, str(error)) from error
    if len(body) != header.raw_bytes:
        raise _wrong_body(header, f"{len(body)} bytes instead of {header.raw_bytes}")
    return Block(
        header.epoch,
        header.first_seq,
        header.record_count,
        header.first_time_ms,
        header.last_time_ms,
        header.prev_hash,
        frame_hash,
        body,
    )


def _wrong_body(header: FrameHeader, what: str) -> LogDamaged:
    return LogDamaged(
        f"The body of the block with records {header.first_seq} to {header.next_seq - 1} can't be unpacked: {what}.",
        first_seq=header.first_seq,
        next_seq=header.next_seq,
        hint="Run 'homeport log verify'; the block's checksum holds, so its writer was faulty or is newer.",
    )
