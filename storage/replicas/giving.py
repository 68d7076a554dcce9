"""Parts of a segment for a holder in whose file they rotted, out of a log or a copy. Nothing rotten is given out: it is looked at first."""

from __future__ import annotations

from typing import Final, Literal

from appliance.core.limits import MIB
from storage.log.lost import LostRange
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.errors import OtherHistory
from storage.replicas.streams import Chunk

Kind = Literal["header", "footer", "frames"]
FRAMES_AT_ONCE_BYTES: Final = 1 * MIB
"""Of frames in one answer; a single one that is larger is one of its own."""


def part_of_segment(
    source: ChunkSource,
    key: tuple[int, int],
    what: Kind,
    *,
    next_seq: int = 0,
    frame_hash: bytes = b"",
    upto_seq: int = 0,
) -> bytes | LostRange | None:
    """The bytes of a part, or that it is marked lost; None where they aren't held here, or lie on another history.

    Args:
        key: (epoch, first sequence) of the segment.
        next_seq, frame_hash, upto_seq: Of frames: where the first begins, the hash before it, and before which sequence all begin.
    Raises:
        LogDamaged: they are rotten here too. CursorExpired: they are no longer kept. OSError: they can't be read.
    """
    epoch, first_seq = key
    try:
        if what == "header":
            chunk = source.begin(first_seq, bytes_max=1)
        elif what == "footer":
            chunk = source.footer_after(first_seq)
        else:
            chunk = source.after(
                epoch, next_seq, frame_hash, bytes_max=FRAMES_AT_ONCE_BYTES, upto_seq=upto_seq
            )
    except OtherHistory:
        return None
    if chunk is None or (chunk.epoch, chunk.segment_first_seq) != key:
        return None
    return chunk.lost if chunk.lost is not None else _bytes_of(chunk, what)


def _bytes_of(chunk: Chunk, what: Kind) -> bytes | None:
    if what == "header":
        return chunk.header_page
    return (chunk.footer if what == "footer" else chunk.frames) or None
