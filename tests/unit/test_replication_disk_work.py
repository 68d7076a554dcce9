"""Effects as calls of storage: every way in which one fails is a word that the machine knows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from replication.disk_work import Reading, Writing
from replication.effects import Append, KeepFork, NotThere, PackedChunk, Place, Read, Refused
from replication.gossip.state import NOTHING, place_of
from storage.log.disk_level import Space
from storage.log.new_epoch import ask
from storage.replicas.room import ReplicaRoom
from storage.replicas.streams import StreamHead
from tests.replica_kit import ORIGIN, make_log
from tests.storage_log_kit import QuickDisk, open_writer

BEGINNING = Place(epoch=0, next_seq=1, hash=bytes(32))


class FullDisk(QuickDisk):
    def __init__(self) -> None:
        self.free_bytes = 900

    def space(self, path: Path) -> Space:
        return Space(total_bytes=1000, free_bytes=self.free_bytes)


@pytest.fixture
def disk() -> FullDisk:
    return FullDisk()


@pytest.fixture
def reading(tmp_path: Path) -> Iterator[Reading]:
    make_log(tmp_path / "origin", 40).close()
    found = Reading(lambda stream: tmp_path / "origin")
    yield found
    found.close()


@pytest.fixture
def writing(tmp_path: Path, disk: FullDisk) -> Iterator[Writing]:
    room = ReplicaRoom(tmp_path / "replicas", clock=ManualClock(), disk=disk)
    yield Writing(room)
    room.close()


def read(reading: Reading, place: Place, **how: object) -> PackedChunk | NotThere:
    return reading.read(Read(number=1, stream=ORIGIN, place=place, bytes_max=64 * 1024, **how))  # type: ignore[arg-type]


def chunk(reading: Reading, place: Place, **how: object) -> PackedChunk:
    found = read(reading, place, **how)
    assert isinstance(found, PackedChunk)
    return found


def append(writing: Writing, packed: PackedChunk) -> StreamHead | Refused:
    return writing.append(Append(number=1, chunk=packed))


def test_a_copy_is_made_piece_by_piece(reading: Reading, writing: Writing) -> None:
    place = BEGINNING
    while isinstance(found := read(reading, place), PackedChunk):
        head = append(writing, found)
        assert isinstance(head, StreamHead)
        place = place_of(head)
    assert found == NotThere(reason="nothing")
    head = writing.room.log(ORIGIN).head()
    origin = reading.head(ORIGIN)
    while head.sealed_seq < origin.sealed_seq:
        footer = chunk(reading, replace(place, next_seq=head.sealed_seq), wanted="footer")
        after = append(writing, footer)
        assert isinstance(after, StreamHead)
        assert after.sealed_seq > head.sealed_seq
        head = after
    assert head.is_same_place(origin)


def test_the_segment_around_a_place_is_given_from_its_beginning(reading: Reading) -> None:
    second = chunk(reading, place_of_end(chunk(reading, BEGINNING)))
    assert chunk(reading, place_of_end(second), wanted="segment").first_seq <= second.first_seq


def place_of_end(packed: PackedChunk) -> Place:
    return Place(epoch=packed.epoch, next_seq=packed.next_seq, hash=packed.hash)


def test_why_there_is_no_chunk(reading: Reading, tmp_path: Path) -> None:
    first = chunk(reading, BEGINNING)
    assert read(reading, Place(epoch=1, next_seq=first.next_seq, hash=b"x" * 32)) == NotThere(
        reason="parted", hash=first.hash
    )
    end = place_of(reading.head(ORIGIN))
    assert read(reading, end) == NotThere(reason="nothing")
    newest = sorted((tmp_path / "origin").glob("0*.seg"))[0]
    newest.chmod(0o600)
    data = bytearray(newest.read_bytes())
    data[5000] ^= 1
    newest.write_bytes(data)
    reading.forget(ORIGIN)
    assert read(reading, BEGINNING) == NotThere(reason="damaged")


def test_why_a_chunk_is_not_appended(reading: Reading, writing: Writing, disk: FullDisk) -> None:
    first = chunk(reading, BEGINNING)
    second = chunk(reading, place_of_end(first))
    head = append(writing, first)
    assert isinstance(head, StreamHead)
    third = chunk(reading, place_of_end(second))
    refused = append(writing, third)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.head) == ("gap", head)
    refused = append(writing, replace(second, data=b"nonsense"))
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.head) == ("damaged", head)
    disk.free_bytes = 10
    clock = writing.room._clock
    assert isinstance(clock, ManualClock)
    clock.advance(2000)
    refused = append(writing, second)
    assert isinstance(refused, Refused)
    assert (refused.reason, refused.head) == ("full", head)


def test_a_first_chunk_that_is_refused_leaves_nothing(reading: Reading, writing: Writing) -> None:
    refused = append(writing, replace(chunk(reading, BEGINNING), data=b"nonsense"))
    assert refused == Refused(reason="damaged", head=NOTHING)


def test_the_evidence_of_a_fork_is_kept(writing: Writing) -> None:
    place = Place(epoch=1, next_seq=9, hash=b"a" * 32)
    writing.keep_fork(KeepFork(stream=ORIGIN, place=place, other_hash=b"b" * 32), now_ms=1700)
    (kept,) = writing.room.forks(ORIGIN)
    assert (kept.next_seq, kept.hash, kept.other_hash, kept.found_at_ms) == (9, b"a" * 32, b"b" * 32, 1700)


def restored(tmp_path: Path) -> Reading:
    """The origin as an old copy of it goes on: in a later epoch, in which nothing is written yet."""
    make_log(tmp_path / "old", 12).close()
    ask(QuickDisk(), tmp_path / "old")
    open_writer(tmp_path / "old").close()
    return Reading(lambda stream: tmp_path / "old")


def test_a_later_epoch_is_given_before_anything_is_written_in_it(reading: Reading, tmp_path: Path) -> None:
    old, ahead = restored(tmp_path), place_of(reading.head(ORIGIN))
    assert ahead.next_seq > old.head(ORIGIN).next_seq
    found = chunk(old, ahead)
    head = old.head(ORIGIN)
    assert (found.epoch, found.first_seq, found.next_seq) == (2, head.next_seq, head.next_seq)
    assert read(old, place_of(head)) == NotThere(reason="nothing"), "and to whoever has it, nothing"
    old.close()


def test_what_a_later_epoch_replaces_is_told_as_a_branch(
    reading: Reading, writing: Writing, tmp_path: Path
) -> None:
    old, place = restored(tmp_path), BEGINNING
    while isinstance(found := read(reading, place), PackedChunk):
        place = place_of(append(writing, found))  # type: ignore[arg-type]
    assert writing.take_branches() == []
    append(writing, chunk(old, place))
    ((branch, head),) = writing.take_branches()
    assert branch.branch
    assert place_of(head) == place
    assert writing.take_branches() == []
    assert writing.room.log(ORIGIN).head().epoch == 2
    old.close()


@pytest.mark.parametrize("wanted", ["frames", "segment"])
def test_the_first_piece_is_no_larger_than_was_asked_for(reading: Reading, wanted: str) -> None:
    small = reading.read(Read(number=1, stream=ORIGIN, place=BEGINNING, bytes_max=1, wanted=wanted))  # type: ignore[arg-type]
    assert isinstance(small, PackedChunk)
    assert small.next_seq < chunk(reading, BEGINNING, wanted=wanted).next_seq
