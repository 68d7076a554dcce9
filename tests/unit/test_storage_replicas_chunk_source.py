"""Pieces of a log: whole frames of one segment, never beyond the durable head, rotten bytes named and not sent."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from appliance.core.errors import CursorExpired, LogDamaged
from appliance.core.limits import LEAF_BYTES
from storage.log import LogWriter
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.errors import OtherHistory
from storage.replicas.streams import Chunk
from tests.replica_kit import ORIGIN, carry, make_log, open_replica
from tests.storage_log_kit import append_blocks, open_writer


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[LogWriter]:
    found = make_log(tmp_path / "origin")
    yield found
    found.close()


@pytest.fixture
def source(writer: LogWriter, tmp_path: Path) -> Iterator[ChunkSource]:
    found = ChunkSource(tmp_path / "origin", ORIGIN)
    yield found
    found.close()


def chunks(source: ChunkSource, bytes_max: int = 20_000) -> list[Chunk]:
    """All of a log, one after the other."""
    chunk = source.begin()
    found = []
    while chunk is not None:
        found.append(chunk)
        chunk = source.after(chunk.epoch, chunk.next_seq, chunk.hash, bytes_max=bytes_max)
    return found


def test_chunks_follow_one_another_up_to_the_head(source: ChunkSource, writer: LogWriter) -> None:
    found = chunks(source)
    for before, after in pairwise(found):
        assert (after.first_seq, after.prev_hash) == (before.next_seq, before.hash)
        assert (after.header_page is not None) == (after.segment_first_seq == after.first_seq)
    assert (found[-1].next_seq, found[-1].hash) == (writer.head.next_seq, writer.head.hash)
    sealed = [chunk.segment_first_seq for chunk in found if chunk.footer is not None]
    assert sealed == sorted({chunk.segment_first_seq for chunk in found})[:-1]


def test_a_chunk_is_no_larger_than_asked_for_but_for_a_single_frame(source: ChunkSource) -> None:
    assert all(len(chunk.frames) <= 20_000 for chunk in chunks(source, 20_000)[1:])
    assert all(chunk.frames for chunk in chunks(source, 1))


def test_nothing_beyond_the_durable_head_is_given(source: ChunkSource, writer: LogWriter) -> None:
    last = chunks(source)[-1]
    before = writer.head
    append_blocks(writer, 2, seed=5)
    newer = writer.head
    writer._head_file.publish(before)
    assert source.after(last.epoch, last.next_seq, last.hash) is None
    writer._head_file.publish(newer)
    assert source.after(last.epoch, last.next_seq, last.hash) is not None


def test_the_head_says_what_is_sealed_and_how_old_the_last_frame_is(
    source: ChunkSource, writer: LogWriter
) -> None:
    head = source.head()
    assert (head.epoch, head.next_seq, head.hash) == (1, writer.head.next_seq, writer.head.hash)
    assert head.sealed_seq == writer.head.segment_first_seq
    last = append_blocks(writer, 1, seed=77)[0]
    assert source.head().last_at_ms == last.last_time_ms


def test_an_empty_log_has_nothing(tmp_path: Path) -> None:
    source = ChunkSource(tmp_path / "none", ORIGIN)
    assert (source.head().epoch, source.head().next_seq) == (0, 1)
    assert source.begin() is None
    assert source.after(0, 1, source.head().hash) is None
    assert source.footer_after(1) is None
    source.close()


@pytest.mark.parametrize("at_end", [False, True])
def test_another_history_is_told_with_its_evidence(source: ChunkSource, at_end: bool) -> None:
    chunk = chunks(source)[-1 if at_end else 0]
    with pytest.raises(OtherHistory) as told:
        source.after(1, chunk.next_seq, b"x" * 32)
    assert told.value.fork is not None
    assert (told.value.fork.seq, told.value.fork.ours) == (chunk.next_seq, chunk.hash)
    assert told.value.fork.segment_first_seq == chunk.segment_first_seq


def test_a_sequence_within_a_frame_is_another_history(source: ChunkSource) -> None:
    chunk = next(chunk for chunk in chunks(source, 1) if chunk.next_seq > chunk.first_seq + 1)
    with pytest.raises(OtherHistory):
        source.after(1, chunk.first_seq + 1, b"x" * 32)


def test_what_is_no_longer_kept_is_told(source: ChunkSource) -> None:
    first = min(source.directory.glob("*.seg"))
    chunk = chunks(source)[0]
    first.unlink()
    with pytest.raises(CursorExpired) as expired:
        source.after(0, 1, chunk.prev_hash)
    assert expired.value.next_seq == source.head().first_seq > 1
    begun = source.begin()
    assert begun is not None
    assert begun.first_seq == source.head().first_seq


def test_rotten_bytes_are_named_and_what_follows_is_given(source: ChunkSource) -> None:
    found = chunks(source, 1)
    victim = found[3]
    path = next(
        path for path in source.directory.glob("*.seg") if f"{victim.segment_first_seq:020d}" in path.name
    )
    data = bytearray(path.read_bytes())
    data[data.index(victim.frames) + 100] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    fresh = ChunkSource(source.directory, ORIGIN)
    with pytest.raises(LogDamaged) as damaged:
        fresh.after(1, victim.first_seq, victim.prev_hash)
    assert (damaged.value.first_seq, damaged.value.next_seq) == (victim.first_seq, victim.next_seq)
    before = fresh.after(1, found[2].first_seq, found[2].prev_hash)
    assert before is not None
    assert before.next_seq == victim.first_seq, "it ends before the damage"
    after = fresh.after(1, victim.next_seq, victim.hash, bytes_max=1)
    assert after is not None
    assert after.frames == found[4].frames
    fresh.close()


def test_a_header_that_is_rotten_hides_nothing_behind_it(source: ChunkSource) -> None:
    found = chunks(source, 1)
    victim = found[3]
    path = next(
        path for path in source.directory.glob("*.seg") if f"{victim.segment_first_seq:020d}" in path.name
    )
    data = bytearray(path.read_bytes())
    data[data.index(victim.frames) + 30] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
    fresh = ChunkSource(source.directory, ORIGIN)
    after = fresh.after(1, found[5].first_seq, found[5].prev_hash, bytes_max=1)
    assert after is not None
    assert after.frames == found[5].frames
    with pytest.raises(LogDamaged) as damaged:
        fresh.after(1, victim.first_seq, victim.prev_hash)
    assert (damaged.value.first_seq, damaged.value.next_seq) == (victim.first_seq, victim.next_seq)
    fresh.close()


def test_a_leaf_is_given_when_it_is_what_was_sealed(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "large", segment_bytes=3 * LEAF_BYTES)
    append_blocks(writer, 60, body_bytes_max=300_000)
    writer.wait_idle(10)
    writer.close()
    path = min((tmp_path / "large").glob("*.seg"))
    source = ChunkSource(tmp_path / "large", ORIGIN)
    data = path.read_bytes()
    assert source.leaf(1, 1, 0) == data[:LEAF_BYTES]
    assert source.leaf(1, 1, 1) == data[LEAF_BYTES : 2 * LEAF_BYTES]
    assert source.leaf(1, 1, 3) is None
    assert source.leaf(1, 1, -1) is None
    assert source.leaf(2, 1, 0) is None
    last = source.head().sealed_seq
    assert source.leaf(1, last, 0) is None, "not sealed"
    rotten = bytearray(data)
    rotten[LEAF_BYTES + 5] ^= 1
    path.chmod(0o600)
    path.write_bytes(rotten)
    with pytest.raises(LogDamaged, match="Leaf 1"):
        source.leaf(1, 1, 1)
    source.close()


def test_a_copy_is_as_good_a_source_as_the_log(source: ChunkSource, tmp_path: Path) -> None:
    log = open_replica(tmp_path / "copy")
    carry(source, log)
    copy = ChunkSource(tmp_path / "copy", ORIGIN)
    assert chunks(copy) == chunks(source)
    assert copy.head() == source.head()
    copy.close()
    log.close()


def test_the_end_of_the_segment_before_is_had_where_one_begins(source: ChunkSource, tmp_path: Path) -> None:
    begins = [chunk for chunk in chunks(source) if chunk.header_page is not None]
    assert len(begins) >= 3
    assert source.end_before(begins[0].first_seq, begins[0].prev_hash) is None
    for before, chunk in pairwise(begins):
        end = source.end_before(chunk.first_seq, chunk.prev_hash)
        assert end is not None
        assert (end.epoch, end.segment_first_seq) == (before.epoch, before.segment_first_seq)
        assert source.end_before(chunk.first_seq, bytes(32)) is None
    last = begins[-1]
    next(tmp_path.joinpath("origin").glob(f"*-{begins[-2].segment_first_seq:020d}.seg")).unlink()
    source._open.clear()
    source._list = lambda: None  # type: ignore[method-assign]
    assert source.end_before(last.first_seq, last.prev_hash) is None
