"""A part of a chunk: its frames from one sequence on, before another. Pure.

Frames say where they begin and end, so nothing is decoded; whoever appends a part verifies it as any chunk.
"""

from __future__ import annotations

import msgspec

from storage.log.frame import HEADER_BYTES, decode_header
from storage.log.layout import HASH_BYTES
from storage.replicas.streams import SEQUENCE_MAX, Chunk


def part_of(chunk: Chunk, first_seq: int, prev_hash: bytes, upto_seq: int = SEQUENCE_MAX) -> Chunk | None:
    """The frames that go on from a place and begin before `upto_seq`; None where no frame does, or the bytes are no frames.

    Args:
        prev_hash: The hash of the frame that ends before `first_seq`.
    """
    data, at, seq, before = chunk.frames, 0, chunk.first_seq, chunk.prev_hash
    begin: int | None = None
    last_at_ms = 0
    while at < len(data) and seq < upto_seq:
        if (seq, before) == (first_seq, prev_hash):
            begin = at
        header = decode_header(data[at : at + HEADER_BYTES], None)
        if isinstance(header, str) or header.first_seq != seq or at + header.frame_bytes > len(data):
            return None
        hash_end = at + HEADER_BYTES + header.stored_bytes + HASH_BYTES
        at, seq, before = at + header.frame_bytes, header.next_seq, data[hash_end - HASH_BYTES : hash_end]
        last_at_ms = header.last_time_ms
    if begin is None or begin == at:
        return None
    return msgspec.structs.replace(
        chunk,
        header_page=chunk.header_page if begin == 0 else None,
        end_before=chunk.end_before if begin == 0 else None,
        first_seq=first_seq,
        prev_hash=prev_hash,
        next_seq=seq,
        hash=before,
        last_at_ms=last_at_ms,
        frames=data[begin:at],
        footer=chunk.footer if at == len(data) else None,
    )


def end_of_frames(data: bytes, first_seq: int, prev_hash: bytes) -> tuple[int, bytes] | None:
    """Where frames end that go on from a place: (sequence, hash), as they say; None where they don't, or aren't whole ones."""
    at, seq, before = 0, first_seq, prev_hash
    while at < len(data):
        header = decode_header(data[at : at + HEADER_BYTES], None)
        if isinstance(header, str) or (header.first_seq, header.prev_hash) != (seq, before):
            return None
        hash_end = at + HEADER_BYTES + header.stored_bytes + HASH_BYTES
        at, seq, before = at + header.frame_bytes, header.next_seq, data[hash_end - HASH_BYTES : hash_end]
    return (seq, before) if at == len(data) and at else None
