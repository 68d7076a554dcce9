"""All copies of a box: found again, within bounds, what goes is told, and nothing of a fork goes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import LogBroken, LogFull
from storage.log.disk_level import Space
from storage.log.verify import verify
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.forks import ForkEvidence
from storage.replicas.keeping import CopyBounds, CopyRule
from storage.replicas.room import OPEN_COPY_COUNT_MAX, ReplicaRoom
from storage.replicas.streams import StreamId
from tests.replica_kit import KEYS, ORIGIN, carry, make_log, segments_of
from tests.storage_log_kit import HookedDisk

KIB = 1024


class SmallDisk(HookedDisk):
    """A file system of 1,000 KiB with as much free as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.free_bytes = 900 * KIB

    def space(self, path: Path) -> Space:
        return Space(total_bytes=1000 * KIB, free_bytes=self.free_bytes)


@pytest.fixture
def disk() -> SmallDisk:
    return SmallDisk()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def room(tmp_path: Path, disk: SmallDisk, clock: ManualClock) -> Iterator[ReplicaRoom]:
    found = ReplicaRoom(tmp_path / "replicas", clock=clock, disk=disk, keys=lambda stream: KEYS)
    yield found
    found.close()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[ChunkSource]:
    make_log(tmp_path / "origin", 60).close()
    found = ChunkSource(tmp_path / "origin", ORIGIN)
    yield found
    found.close()


def test_copies_are_found_again(room: ReplicaRoom, source: ChunkSource) -> None:
    assert room.streams() == []
    carry(source, room.log(ORIGIN))
    assert room.streams() == [ORIGIN]
    assert room.source(ORIGIN).head() == source.head()
    (status,) = room.status()
    assert (status.stream, status.head, status.forks, status.dropped) == (ORIGIN, source.head(), 0, ())
    assert status.bytes >= sum(map(len, segments_of(source.directory).values())) - 64 * KIB


def test_names_that_are_no_stream_are_left_alone(room: ReplicaRoom, tmp_path: Path) -> None:
    for name in ("notes", f"{ORIGIN.node_id}/other", f"{ORIGIN.node_id[:-1]}/telemetry"):
        (tmp_path / "replicas" / name).mkdir(parents=True)
    assert room.streams() == []


def test_nothing_is_appended_while_the_disk_is_nearly_full(
    room: ReplicaRoom, source: ChunkSource, disk: SmallDisk, clock: ManualClock
) -> None:
    chunk = source.begin()
    assert chunk is not None
    disk.free_bytes = 50 * KIB
    with pytest.raises(LogFull, match="too full for copies"):
        room.append(chunk)
    disk.free_bytes = 900 * KIB
    clock.advance(2_000)
    assert room.append(chunk).next_seq == chunk.next_seq


def test_an_empty_copy_begins_late_only_where_the_caller_says_so(
    room: ReplicaRoom, source: ChunkSource
) -> None:
    late = source.begin(source.head().sealed_seq - 1)
    assert late is not None
    assert late.first_seq > 1
    with pytest.raises(Exception, match="begins at"):
        room.append(late)
    assert room.append(late, begins=True).first_seq == late.first_seq


def test_a_copy_whose_disk_failed_is_opened_again(
    room: ReplicaRoom, source: ChunkSource, disk: SmallDisk
) -> None:
    chunk = source.begin()
    assert chunk is not None
    head = room.append(chunk)

    def hook(operation: str, name: str) -> None:
        if operation == "fdatasync":
            raise OSError(errno.EIO, "input/output error")

    after = source.after(head.epoch, head.next_seq, head.hash)
    assert after is not None
    disk.hook = hook
    with pytest.raises(LogBroken):
        room.append(after)
    disk.hook = lambda operation, name: None
    assert room.append(after).next_seq == after.next_seq


def test_copies_give_way_when_they_are_larger_than_their_share(
    tmp_path: Path, source: ChunkSource, disk: SmallDisk, clock: ManualClock
) -> None:
    bounds = CopyBounds(share_percent=20)
    room = ReplicaRoom(tmp_path / "replicas", clock=clock, disk=disk, bounds=bounds)
    carry(source, room.log(ORIGIN))
    assert room.status()[0].bytes > 200 * KIB
    (removal,) = room.keep_house()
    assert removal.rule == CopyRule.SHARE
    (status,) = room.status()
    assert status.head.first_seq == removal.next_seq
    assert [(each.rule, each.next_seq) for each in status.dropped] == [("copy_share", removal.next_seq)]
    assert verify(room.directory(ORIGIN)).ok
    assert room.keep_house() == []
    room.close()


@pytest.mark.parametrize("why", ["catalog", "fork", "needed"])
def test_what_must_stay_stays(
    tmp_path: Path, source: ChunkSource, disk: SmallDisk, clock: ManualClock, why: str
) -> None:
    needed = {"needed": 1}.get(why, 2**62)
    room = ReplicaRoom(
        tmp_path / "replicas",
        clock=clock,
        disk=disk,
        needed_seq=lambda stream: needed,
        bounds=CopyBounds(share_percent=1),
    )
    carry(source, room.log(ORIGIN))
    if why == "fork":
        assert room.keep_fork(
            ORIGIN, ForkEvidence(epoch=1, next_seq=9, hash=b"a" * 32, other_hash=b"b" * 32, found_at_ms=5)
        )
    if why == "catalog":
        room.close()
        room.directory(ORIGIN).rename(room.directory(StreamId(ORIGIN.node_id, "catalog")))
    assert room.keep_house() == []
    room.close()


def test_evidence_of_a_fork_is_kept_once(room: ReplicaRoom, clock: ManualClock, tmp_path: Path) -> None:
    evidence = ForkEvidence(epoch=1, next_seq=9, hash=b"a" * 32, other_hash=b"b" * 32, found_at_ms=5)
    other_way = msgspec.structs.replace(evidence, hash=b"b" * 32, other_hash=b"a" * 32)
    assert room.keep_fork(ORIGIN, evidence)
    assert not room.keep_fork(ORIGIN, other_way)
    again = ReplicaRoom(tmp_path / "replicas", clock=clock)
    assert again.forks(ORIGIN) == [evidence]
    for seq in range(100):
        room.keep_fork(ORIGIN, msgspec.structs.replace(evidence, next_seq=seq))
    assert len(room.forks(ORIGIN)) == 64


def test_a_copy_that_can_not_go_on_is_set_aside_whole(room: ReplicaRoom, source: ChunkSource) -> None:
    assert room.set_aside(ORIGIN) is None
    carry(source, room.log(ORIGIN))
    head, files = room.log(ORIGIN).head(), segments_of(room.directory(ORIGIN))
    branch = room.set_aside(ORIGIN)
    assert branch is not None
    assert branch.branch == head.hash.hex()[:8]
    assert room.streams() == [branch] == [each for each in room.streams() if each.branch]
    assert segments_of(room.directory(branch)) == files
    assert room.log(ORIGIN).is_empty


def test_a_copy_that_is_set_aside_twice_at_one_place_is_kept_twice(
    room: ReplicaRoom, source: ChunkSource
) -> None:
    kept = []
    for _ in range(3):
        carry(source, room.log(ORIGIN))
        files = segments_of(room.directory(ORIGIN))
        branch = room.set_aside(ORIGIN)
        assert branch is not None
        kept.append(branch)
        assert segments_of(room.directory(branch)) == files
    assert len(set(kept)) == 3
    assert room.streams() == sorted(kept)


def test_only_so_many_copies_are_open(room: ReplicaRoom, source: ChunkSource) -> None:
    for number in range(OPEN_COPY_COUNT_MAX + 10):
        room.log(StreamId(f"{number:032x}", "telemetry"))
        room.source(StreamId(f"{number:032x}", "telemetry"))
    assert len(room._open) == len(room._sources) == OPEN_COPY_COUNT_MAX
    assert room.log(StreamId(f"{0:032x}", "telemetry")).is_empty
