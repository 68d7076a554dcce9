"""A part of a chunk is whole frames from a place on, and a copy takes it as it takes any chunk."""

from __future__ import annotations

from pathlib import Path

import msgspec

from storage.replicas.chunk_part import part_of
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.streams import StreamId
from tests.storage_log_kit import NODE_ID, open_writer

ORIGIN = StreamId(NODE_ID.hex(), "telemetry")


def test_a_part_is_what_the_log_itself_gives_from_there(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    heads = [writer.append(b"body %d" % number, 3, number, number) for number in range(1, 6)]
    source = ChunkSource(tmp_path, ORIGIN)
    chunk = source.begin(bytes_max=1 << 20)
    assert chunk is not None
    second, fourth = heads[1], heads[3]
    part = part_of(chunk, second.next_seq, second.hash, fourth.next_seq)
    assert part == source.after(1, second.next_seq, second.hash, bytes_max=1 << 20, upto_seq=fourth.next_seq)
    assert part is not None
    assert (part.next_seq, part.hash) == (fourth.next_seq, fourth.hash)
    assert part_of(chunk, chunk.first_seq, chunk.prev_hash) == chunk
    source.close()
    writer.close()


def test_there_is_no_part_where_no_frame_goes_on_from_there(tmp_path: Path) -> None:
    writer = open_writer(tmp_path)
    head = writer.append(b"body", 3, 1, 1)
    writer.append(b"body", 3, 1, 1)
    source = ChunkSource(tmp_path, ORIGIN)
    chunk = source.begin(bytes_max=1 << 20)
    assert chunk is not None
    assert part_of(chunk, head.next_seq, b"x" * 32) is None
    assert part_of(chunk, head.next_seq + 1, head.hash) is None
    assert part_of(chunk, chunk.next_seq, chunk.hash) is None
    assert part_of(chunk, head.next_seq, head.hash, head.next_seq) is None
    rotten = msgspec.structs.replace(chunk, frames=b"rubbish" + chunk.frames)
    assert part_of(rotten, head.next_seq, head.hash) is None
    source.close()
    writer.close()
