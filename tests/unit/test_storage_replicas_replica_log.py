"""A copy: byte for byte the same, appended to only at its own end, and nothing that does not verify."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.core.errors import LogBroken, LogFull, LogLocked, StorageError
from storage.log import LogReader
from storage.log.disk import OsDisk
from storage.log.new_epoch import ask
from storage.log.verify import verify
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.errors import Refusal, ReplicaRefused
from storage.replicas.replica_log import ReplicaLog
from storage.replicas.streams import Chunk, StreamId
from tests.replica_kit import KEYS, ORIGIN, carry, make_log, open_replica, segments_of
from tests.storage_log_kit import (
    HookedDisk,
    KitSigner,
    append_blocks,
    as_written,
    open_writer,
    read_all,
)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    directory = tmp_path / "origin"
    make_log(directory).close()
    return directory


@pytest.fixture
def source(origin: Path) -> Iterator[ChunkSource]:
    found = ChunkSource(origin, ORIGIN)
    yield found
    found.close()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ReplicaLog]:
    found = open_replica(tmp_path / "copy")
    yield found
    found.close()


def refusal(log: ReplicaLog, chunk: Chunk) -> ReplicaRefused:
    """Why a chunk is refused; nothing has changed by it."""
    before, files = log.head(), segments_of(log.directory)
    with pytest.raises(ReplicaRefused) as refused:
        log.append(chunk)
    assert log.head() == before == refused.value.head
    assert segments_of(log.directory) == files
    assert log.statistics().refused_total[refused.value.reason] >= 1
    return refused.value


def replace(chunk: Chunk, **changes: object) -> Chunk:
    return msgspec.structs.replace(chunk, **changes)


def first_chunk(source: ChunkSource, log: ReplicaLog, bytes_max: int = 1024 * 1024) -> Chunk:
    head = log.head()
    chunk = source.after(head.epoch, head.next_seq, head.hash, bytes_max=bytes_max)
    assert chunk is not None
    return chunk


@pytest.mark.parametrize("bytes_max", [1, 20_000, 1024 * 1024])
def test_a_copy_is_the_same_byte_for_byte(source: ChunkSource, log: ReplicaLog, bytes_max: int) -> None:
    carry(source, log, bytes_max=bytes_max)
    assert segments_of(log.directory) == segments_of(source.directory)
    assert log.head() == source.head()
    assert log.head().sealed_seq > 1
    report = verify(log.directory, trusted_keys=KEYS)
    assert report.ok, report.damaged
    assert report.record_count == source.head().next_seq - 1
    assert [as_written(block) for block in read_all(log.directory)[0]] == [
        as_written(block) for block in read_all(source.directory)[0]
    ]


def test_a_reader_follows_a_copy_while_it_grows(source: ChunkSource, log: ReplicaLog) -> None:
    reader = LogReader(log.directory)
    assert reader.read(1) == []
    seq = 1
    while carry(source, log, bytes_max=1, chunks_max=1):
        blocks = reader.read(seq)
        assert blocks[0].first_seq == seq
        seq = blocks[-1].next_seq
        assert seq == log.head().next_seq
    reader.close()


def test_a_copy_goes_on_where_it_was_when_it_is_opened_again(source: ChunkSource, log: ReplicaLog) -> None:
    carry(source, log, bytes_max=1, chunks_max=13)
    head = log.head()
    log.close()
    again = open_replica(log.directory)
    assert (again.head(), again.lost_count) == (head, 0)
    carry(source, again)
    again.close()
    assert segments_of(log.directory) == segments_of(source.directory)


def test_a_segment_is_sealed_when_its_footer_comes_later(tmp_path: Path, log: ReplicaLog) -> None:
    writer = open_writer(tmp_path / "origin")
    source = ChunkSource(tmp_path / "origin", ORIGIN)
    append_blocks(writer, 40, seed=3)
    writer.wait_idle(10)
    head = log.head()
    while (chunk := source.after(head.epoch, head.next_seq, head.hash)) is not None:
        head = log.append(replace(chunk, footer=None))
    assert head.sealed_seq == 1
    assert all(name.state == "open" for name in log.unsealed())
    footer = source.footer_after(head.sealed_seq)
    assert footer is not None
    assert log.append(footer).sealed_seq > 1
    assert log.append(footer).sealed_seq > 1, "twice changes nothing"
    carry(source, log)
    assert segments_of(log.directory) == segments_of(source.directory)
    writer.close()
    source.close()


def test_a_piece_that_is_held_already_changes_nothing(source: ChunkSource, log: ReplicaLog) -> None:
    chunk = first_chunk(source, log, 20_000)
    head = log.append(chunk)
    assert log.append(chunk) == head
    carry(source, log)
    assert log.append(chunk) == log.head()
    assert segments_of(log.directory) == segments_of(source.directory)


def test_of_a_piece_that_is_held_in_part_the_rest_is_appended(source: ChunkSource, log: ReplicaLog) -> None:
    small, large = first_chunk(source, log, 12_000), first_chunk(source, log, 30_000)
    assert small.next_seq < large.next_seq
    log.append(small)
    assert log.append(large).next_seq == large.next_seq


def test_a_piece_that_begins_later_is_a_gap(source: ChunkSource, log: ReplicaLog) -> None:
    chunk = first_chunk(source, log, 1)
    later = source.after(chunk.epoch, chunk.next_seq, chunk.hash, bytes_max=1)
    assert later is not None
    assert refusal(log, later).reason == Refusal.GAP
    log.append(chunk)
    next_segment = source.begin(source.head().next_seq - 1)
    assert next_segment is not None
    assert refusal(log, next_segment).reason == Refusal.GAP


def test_a_flipped_bit_anywhere_is_refused(source: ChunkSource, log: ReplicaLog) -> None:
    chunk = first_chunk(source, log, 12_000)
    for at in range(0, len(chunk.frames), 97):
        frames = bytearray(chunk.frames)
        frames[at] ^= 1 << at % 8
        assert refusal(log, replace(chunk, frames=bytes(frames))).reason == Refusal.DAMAGED
    log.append(chunk)


def test_frames_that_are_cut_or_end_elsewhere_are_refused(source: ChunkSource, log: ReplicaLog) -> None:
    chunk = first_chunk(source, log, 30_000)
    assert refusal(log, replace(chunk, frames=chunk.frames[:-4096])).reason == Refusal.DAMAGED
    assert refusal(log, replace(chunk, frames=chunk.frames + bytes(4096))).reason == Refusal.DAMAGED
    log.append(replace(chunk, next_seq=5, hash=b"x" * 32))  # what is told is not believed, and not needed
    assert log.head().next_seq == chunk.next_seq


def test_another_stream_is_refused(source: ChunkSource, log: ReplicaLog, tmp_path: Path) -> None:
    chunk = first_chunk(source, log)
    other = StreamId("ff" * 16, "telemetry")
    assert refusal(log, replace(chunk, stream=other)).reason == Refusal.WRONG_STREAM
    theirs = open_replica(tmp_path / "other", stream=other)
    assert refusal(theirs, replace(chunk, stream=other)).reason == Refusal.WRONG_STREAM
    theirs.close()
    log.append(chunk)
    log.close()
    with pytest.raises(StorageError, match="holds stream"):
        open_replica(log.directory, stream=other)


def test_a_piece_that_is_too_large_is_refused(source: ChunkSource, log: ReplicaLog) -> None:
    chunk = first_chunk(source, log)
    assert refusal(log, replace(chunk, frames=bytes(18 * 1024 * 1024))).reason == Refusal.TOO_LARGE


def test_a_segment_without_its_first_page_is_refused(source: ChunkSource, log: ReplicaLog) -> None:
    chunk = first_chunk(source, log)
    assert refusal(log, replace(chunk, header_page=None)).reason == Refusal.NO_HEADER
    assert chunk.header_page is not None
    page = bytearray(chunk.header_page)
    page[2050] ^= 1
    assert refusal(log, replace(chunk, header_page=bytes(page))).reason == Refusal.DAMAGED


def test_a_footer_that_somebody_else_signed_is_refused(source: ChunkSource, tmp_path: Path) -> None:
    strict = open_replica(tmp_path / "strict", keys={KitSigner(b"z" * 32).key_id})
    chunk = source.after(0, 1, strict.head().hash)
    assert chunk is not None
    assert chunk.footer is not None
    with pytest.raises(ReplicaRefused, match="not the writer's") as refused:
        strict.append(chunk)
    assert refused.value.reason == Refusal.NOT_SEALED
    assert strict.head().next_seq == chunk.next_seq, "the frames prove themselves"
    strict.close()


def test_a_footer_of_other_bytes_is_refused(source: ChunkSource, log: ReplicaLog) -> None:
    chunk = first_chunk(source, log)
    assert chunk.footer is not None
    log.append(replace(chunk, footer=None))
    footer = bytearray(chunk.footer)
    footer[200] ^= 1
    assert refusal(log, replace(chunk, footer=bytes(footer))).reason == Refusal.NOT_SEALED
    last = source.begin(source.head().sealed_seq - 1)
    assert last is not None
    assert refusal(log, replace(chunk, footer=last.footer)).reason == Refusal.NOT_SEALED
    log.append(chunk)


def test_another_history_is_a_fork_with_its_evidence(
    source: ChunkSource, log: ReplicaLog, tmp_path: Path
) -> None:
    twin = tmp_path / "twin"
    make_log(twin, seed=2).close()
    other = ChunkSource(twin, ORIGIN)
    carry(source, log, bytes_max=1, chunks_max=3)
    theirs = other.begin()
    assert theirs is not None
    refused = refusal(log, theirs)
    assert refused.reason == Refusal.DAMAGED, "its salt is another one, so it isn't even whole"
    head = log.head()
    refused = refusal(log, replace(theirs, header_page=None, first_seq=head.next_seq, prev_hash=b"x" * 32))
    assert refused.reason == Refusal.FORK
    assert refused.fork is not None
    assert (refused.fork.seq, refused.fork.ours, refused.fork.theirs) == (head.next_seq, head.hash, b"x" * 32)
    assert refused.fork.segment_first_seq == 1
    other.close()


def test_a_copy_begins_where_its_source_begins(source: ChunkSource, log: ReplicaLog) -> None:
    late = source.begin(source.head().sealed_seq - 1)
    assert late is not None
    assert late.first_seq > 1
    head = log.begin(late)
    assert head.first_seq == late.first_seq
    carry(source, log)
    assert log.head().place == source.head().place
    report = verify(log.directory, trusted_keys=KEYS)
    assert report.ok, report.damaged
    assert [(each.rule, each.next_seq) for each in report.dropped] == [("not_copied", late.first_seq)]
    with pytest.raises(ReplicaRefused) as refused:
        log.begin(late)
    assert refused.value.reason == Refusal.NOT_EMPTY


def test_a_new_epoch_goes_on_in_the_copy(source: ChunkSource, log: ReplicaLog) -> None:
    carry(source, log)
    ask(OsDisk(), source.directory)
    writer = open_writer(source.directory)
    assert source.head().epoch == 2
    carry(source, log)
    assert log.head().place == source.head().place, "also before it has a record"
    append_blocks(writer, 20, seed=8)
    writer.wait_idle(10)
    writer.close()
    carry(source, log)
    assert segments_of(log.directory) == segments_of(source.directory)
    assert verify(log.directory, trusted_keys=KEYS).ok


def test_what_a_later_epoch_replaces_is_kept_as_a_branch(tmp_path: Path, log: ReplicaLog) -> None:
    origin, old = tmp_path / "origin", tmp_path / "old"
    writer = make_log(origin, 12)
    early = ChunkSource(origin, ORIGIN)
    carry(early, log)
    aside = open_replica(old)
    carry(early, aside)
    aside.close()
    append_blocks(writer, 30, seed=6)
    writer.wait_idle(10)
    carry(early, log)
    lost = [as_written(block) for block in read_all(log.directory)[0]]
    writer.close()
    early.close()
    ask(OsDisk(), old)  # an old state of the same box is put back, and goes on
    restored = open_writer(old)
    append_blocks(restored, 25, seed=9)
    restored.wait_idle(10)
    later = ChunkSource(old, ORIGIN)
    carry(later, log)
    assert log.head().place == later.head().place
    assert verify(log.directory, trusted_keys=KEYS).ok
    (branch,) = tmp_path.glob("copy.fork-*")
    kept = [as_written(block) for block in read_all(branch)[0]]
    assert kept
    assert kept[-1] == lost[-1]
    assert verify(branch, trusted_keys=KEYS).ok
    restored.close()
    later.close()


def test_a_torn_tail_is_cut_and_had_again(source: ChunkSource, log: ReplicaLog) -> None:
    carry(source, log, bytes_max=1, chunks_max=3)
    head, place = log.head(), log._position
    log.close()
    path = next(log.directory.glob("*.open"))
    with path.open("r+b") as file:
        file.seek(place.offset)
        file.write(b"torn" * 2000)
    again = open_replica(log.directory)
    assert again.head() == head
    assert again.recovery.torn_bytes
    carry(source, again)
    again.close()
    assert segments_of(log.directory) == segments_of(source.directory)


def test_damage_before_what_was_stored_is_told_and_not_cut(source: ChunkSource, log: ReplicaLog) -> None:
    carry(source, log, bytes_max=1, chunks_max=2)
    spoilt = log._position.offset
    carry(source, log, bytes_max=1, chunks_max=2)
    head = log.head()
    log.close()
    path = next(log.directory.glob("*.open"))
    data = bytearray(path.read_bytes())
    data[spoilt + 100] ^= 1
    path.write_bytes(data)
    again = open_replica(log.directory)
    assert again.head() == head
    (damage,) = again.recovery.damaged
    assert damage.offset == spoilt
    assert [first for first, _ in read_all(log.directory)[1]] == [damage.first_seq]
    again.close()


def test_records_that_the_disk_lost_are_counted_and_had_again(source: ChunkSource, log: ReplicaLog) -> None:
    carry(source, log, bytes_max=1, chunks_max=2)
    place = log._position
    carry(source, log, bytes_max=1, chunks_max=2)
    head = log.head()
    log.close()
    path = next(log.directory.glob("*.open"))
    data = path.read_bytes()
    path.write_bytes(data[: place.offset] + bytes(len(data) - place.offset))
    again = open_replica(log.directory)
    assert again.head().next_seq == place.next_seq
    assert again.lost_count == head.next_seq - place.next_seq
    carry(source, again)
    again.close()
    assert segments_of(log.directory) == segments_of(source.directory)


def test_a_full_disk_loses_nothing_and_is_gone_on_from(source: ChunkSource, tmp_path: Path) -> None:
    disk = HookedDisk()
    log = open_replica(tmp_path / "copy", disk=disk)
    full = True

    def hook(operation: str, name: str) -> None:
        if full and operation == "allocate":
            raise OSError(errno.ENOSPC, "no space left on device")

    disk.hook = hook
    for _ in range(2):
        with pytest.raises(LogFull, match="no room"):
            carry(source, log)
        assert log.head().epoch == 0
    full = False
    carry(source, log, bytes_max=1, chunks_max=5)
    full = True
    head = log.head()
    active = log._active
    assert active is not None
    active.limit = active.offset
    with pytest.raises(LogFull, match="no room"):
        carry(source, log)
    assert log.head() == head
    full = False
    carry(source, log)
    log.close()
    assert segments_of(log.directory) == segments_of(source.directory)


def test_what_failed_is_not_tried_again_before_it_is_opened_again(
    source: ChunkSource, tmp_path: Path
) -> None:
    disk = HookedDisk()
    log = open_replica(tmp_path / "copy", disk=disk)
    carry(source, log, bytes_max=1, chunks_max=3)
    head = log.head()

    def hook(operation: str, name: str) -> None:
        if operation == "fdatasync":
            raise OSError(errno.EIO, "input/output error")

    disk.hook = hook
    for _ in range(2):
        with pytest.raises(LogBroken, match="input/output error"):
            carry(source, log)
    log.close()
    again = open_replica(tmp_path / "copy")
    assert again.head().next_seq >= head.next_seq
    carry(source, again)
    again.close()
    assert segments_of(log.directory) == segments_of(source.directory)


def test_a_copy_has_one_writer(log: ReplicaLog) -> None:
    with pytest.raises(LogLocked):
        open_replica(log.directory)


def test_an_empty_copy_says_so(log: ReplicaLog) -> None:
    head = log.head()
    assert (head.epoch, head.next_seq, head.first_seq, head.sealed_seq) == (0, 1, 1, 1)
    assert dataclasses.asdict(log.statistics())["chunks_total"] == 0


def test_a_branch_that_is_cut_at_the_frame_it_is_named_after_keeps_what_it_had(tmp_path: Path) -> None:
    """It never is copied onto itself, and a copy of the same that is kept already is not made twice."""
    writer = make_log(tmp_path / "origin", 1)
    old, origin = tmp_path / "old", ChunkSource(tmp_path / "origin", ORIGIN)
    name = origin.head().hash.hex()[:8]
    branch = open_replica(tmp_path / f"copy.fork-{name}", stream=StreamId(ORIGIN.node_id, ORIGIN.name, name))
    main = open_replica(tmp_path / "copy")
    open_writer(old).close()
    ask(OsDisk(), old)
    open_writer(old).close()
    later = ChunkSource(old, ORIGIN)
    lost = [as_written(block) for block in read_all(tmp_path / "origin")[0]]
    for copy in (branch, main):
        carry(origin, copy)
        chunk = later.after(1, 1, later.head().hash)
        assert chunk is not None
        copy.append(chunk)
        assert copy.head().place == (2, 1)
    folders = sorted(path for path in tmp_path.glob("copy.fork-*") if path != branch.directory)
    assert len(folders) == 1
    assert [as_written(block) for block in read_all(folders[0])[0]] == lost
    for each in (branch, main, origin, later, writer):
        each.close()
