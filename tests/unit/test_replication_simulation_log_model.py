"""The model of a stream: what a power cut leaves of it, and how a copy of it comes about."""

from __future__ import annotations

from dataclasses import replace

import pytest

from replication.effects import NotThere, PackedChunk, Place, Refused
from replication.simulation.frames import NOTHING, end_of, genesis, unpack
from replication.simulation.log_appending import append
from replication.simulation.log_model import SEGMENT_FRAME_COUNT, LogModel
from replication.simulation.log_reading import read
from storage.replicas.streams import StreamHead, StreamId

STREAM = StreamId("0" * 32, "telemetry")
ANYWHERE = Place(epoch=0, next_seq=1, hash=bytes(32))


def written(count: int, *, epoch: int = 1, log: LogModel | None = None, text: str = "a") -> LogModel:
    log = log or LogModel(STREAM, is_own=True)
    log.begin_epoch(epoch)
    for number in range(count):
        log.write(log.make_frame(3, number, f"{text}{number}".encode()))
    log.sync()
    return log


def copied(log: LogModel, *, bytes_max: int = 10_000) -> LogModel:
    copy = LogModel(STREAM)
    while True:
        chunk = read(log, copy.end if copy.segments else ANYWHERE, bytes_max)
        if isinstance(chunk, NotThere):
            assert chunk.reason == "nothing"
            return copy
        took(copy, chunk)


def took(copy: LogModel, chunk: PackedChunk | NotThere) -> LogModel | None:
    assert isinstance(chunk, PackedChunk)
    outcome, branch = append(copy, chunk, {copy.stream: copy})
    assert isinstance(outcome, StreamHead)
    return branch


@pytest.mark.parametrize("bytes_max", [1, 500, 10_000])
def test_a_copy_by_any_pieces_has_the_same_head(bytes_max: int) -> None:
    log = written(5, epoch=2, log=written(10))
    assert copied(log, bytes_max=bytes_max).head() == log.head()
    log.seal()
    copy = copied(log, bytes_max=bytes_max)
    assert copy.head() == log.head(), "footers come with the last frame of a segment"
    assert [segment.footer is None for segment in copy.segments] == [False, False, True]


def test_what_was_not_synced_is_gone_after_a_power_cut() -> None:
    log = written(4)
    head = log.head()
    log.write(log.make_frame(1, 9, b"x"))
    assert log.head() == head
    image = log.copy()
    log.crash()
    assert log.head() == image.head() == head
    assert LogModel(STREAM).head() == NOTHING
    assert LogModel(STREAM, is_own=True).head() == StreamHead(0, 1, genesis(STREAM))


def test_a_footer_alone_seals_what_was_copied_before() -> None:
    log = written(SEGMENT_FRAME_COUNT + 1)
    copy = copied(log)
    assert isinstance(read(log, ANYWHERE, 1, "footer"), NotThere)
    assert log.is_sealing_due
    assert log.seal()
    assert not log.seal()
    took(copy, read(log, replace(ANYWHERE, next_seq=copy.head().sealed_seq), 1, "footer"))
    assert copy.head().sealed_seq == log.head().sealed_seq == 1 + 3 * SEGMENT_FRAME_COUNT


def test_the_oldest_segments_go_but_never_the_newest_sealed_one() -> None:
    log = written(3 * SEGMENT_FRAME_COUNT + 1)
    log.seal()
    copy = copied(log)
    assert not copy.drop_before(3 * SEGMENT_FRAME_COUNT)
    assert copy.drop_before(10**6)
    assert copy.head().first_seq == copy.dropped_seq == 1 + 3 * 2 * SEGMENT_FRAME_COUNT
    assert copy.head().place == log.head().place
    gone = read(copy, end_of(log.frames[2]), 1)
    assert isinstance(gone, NotThere)
    assert gone.reason == "expired"
    assert copied(copy).head() == copy.head(), "another copy begins where this one does"


def test_a_later_epoch_replaces_the_end_which_is_kept_as_a_branch() -> None:
    log = written(12)
    copy = copied(log)
    restored = log.copy()
    del restored.frames[9:]
    later = written(2, epoch=2, log=restored, text="n")
    chunk = read(later, end_of(log.frames[-1]), 10_000)
    branch = took(copy, chunk)
    assert branch is not None
    assert branch.stream.branch == log.frames[9].hash.hex()[:8]
    assert branch.head().is_same_place(log.head())
    assert copy.head() == later.head()
    again = copied(log)
    assert isinstance(chunk, PackedChunk)
    assert append(again, chunk, {STREAM: again, branch.stream: branch}) == (later.head(), None), (
        "it is kept already"
    )


def test_damage_is_refused_and_so_is_another_history() -> None:
    log = written(6)
    chunk = read(log, ANYWHERE, 1)
    assert isinstance(chunk, PackedChunk)
    assert unpack(replace(chunk, data=b"x")) is None
    assert unpack(replace(chunk, next_seq=99)) is None
    other = written(2, text="b")
    outcome, _ = append(copied(other), replace(chunk, data=b"\x90"), {})
    assert outcome == Refused(reason="damaged", head=other.head())
    outcome, _ = append(copied(other), chunk, {})
    assert isinstance(outcome, Refused)
    assert outcome.reason == "fork"
    assert outcome.fork_place == end_of(other.frames[0])
