"""Blocks to the log, one at a time, from a thread of its own."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator

import pytest

from appliance.core.errors import LogBroken, LogFull
from broker.committer import DELTA_MS_MAX, Committer, batch_body
from broker.mqtt.batch import Batch
from storage.log.columns import Kind, decode_columns
from storage.log.head import Head

DEADLINE_S = 60.0


class ScriptedLog:
    """Says what its script says: an error to raise, or None for a block that is on disk."""

    def __init__(self, *script: Exception | None) -> None:
        self.script = list(script)
        self.gate = threading.Semaphore(100)
        self.next_seq = 1
        self.calls = 0

    def append(self, body: bytes, record_count: int, first_time_ms: int, last_time_ms: int) -> Head:
        self.gate.acquire(timeout=DEADLINE_S)
        self.calls += 1
        outcome = self.script.pop(0) if self.script else None
        if outcome is not None:
            raise outcome
        self.next_seq += record_count
        return Head(1, self.next_seq, b"h" * 32, 1, 4096)


@pytest.fixture
def wake_fd() -> Iterator[int]:
    fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    yield fd
    os.close(fd)


def is_idle(committer: Committer) -> bool:
    return committer.is_idle


def is_done(committer: Committer) -> bool:
    return committer.is_done


def full(committer: Committer) -> LogFull | None:
    return committer.full


def wait(fd: int) -> None:
    assert select.select([fd], [], [], DEADLINE_S)[0], "the committer said nothing"
    os.eventfd_read(fd)


def batch_of(count: int) -> Batch:
    batch = Batch()
    batch.mark_time(1000)
    for _ in range(count):
        batch.add(Kind.SESSION_CHANGED, ("c", "p"))
    return batch


def test_one_block_at_a_time(wake_fd: int) -> None:
    log = ScriptedLog()
    log.gate = threading.Semaphore(0)
    committer = Committer(log, wake_fd)
    assert is_idle(committer)
    batch = batch_of(3)
    committer.submit(batch)
    assert not is_idle(committer)
    assert not is_done(committer)
    assert committer.take() is None
    log.gate.release()
    wait(wake_fd)
    assert is_done(committer)
    assert not is_idle(committer), "it is not idle before its result was taken"
    taken = committer.take()
    assert taken is not None
    assert taken[0] is batch
    assert taken[1].next_seq == 4
    assert is_idle(committer)
    assert committer.take() is None
    log.gate.release()
    committer.close()


def test_an_error_is_raised_where_the_result_is_taken(wake_fd: int) -> None:
    committer = Committer(ScriptedLog(LogBroken("the disk is gone")), wake_fd)
    committer.submit(batch_of(1))
    wait(wake_fd)
    with pytest.raises(LogBroken):
        committer.take()
    committer.close()


def test_a_mistake_of_ours_is_raised_too(wake_fd: int) -> None:
    committer = Committer(ScriptedLog(ZeroDivisionError()), wake_fd)
    committer.submit(batch_of(1))
    wait(wake_fd)
    with pytest.raises(ZeroDivisionError):
        committer.take()
    committer.close()


def test_a_full_disk_is_waited_for(wake_fd: int) -> None:
    log = ScriptedLog(LogFull("no room", hint="Free space."), LogFull("no room"), None)
    log.gate = threading.Semaphore(2)
    committer = Committer(log, wake_fd, space_retry_s=0.001)
    committer.submit(batch_of(1))
    deadline = threading.Event()
    while log.calls < 2:
        assert not deadline.wait(0.001)
    assert full(committer) is not None
    assert committer.take() is None
    log.gate.release()
    wait(wake_fd)
    assert full(committer) is None
    assert committer.take() is not None
    committer.close()


def test_a_full_disk_is_not_waited_for_for_ever(wake_fd: int) -> None:
    committer = Committer(ScriptedLog(*[LogFull("no room")] * 50), wake_fd, space_retry_s=60)
    committer.submit(batch_of(1))
    committer.give_up()
    wait(wake_fd)
    with pytest.raises(LogFull):
        committer.take()
    committer.close()


def test_closing_waits_for_the_block_in_flight(wake_fd: int) -> None:
    log = ScriptedLog()
    committer = Committer(log, wake_fd)
    committer.submit(batch_of(1))
    committer.close()
    assert log.calls == 1
    assert is_done(committer)


class TestBody:
    def test_a_clock_that_goes_back(self) -> None:
        batch = batch_of(1)
        batch.mark_time(400)
        batch.add(Kind.SESSION_CHANGED, ("c", "p"))
        body, first_ms, last_ms = batch_body(batch)
        assert (first_ms, last_ms) == (400, 1000)
        assert list(decode_columns(body).received_delta_ms) == [600, 0]

    def test_a_clock_that_leaps(self) -> None:
        """From 1970 to now: an SD card without a clock, and the time server answers."""
        batch = batch_of(1)
        batch.mark_time(1_700_000_000_000)
        batch.add(Kind.SESSION_CHANGED, ("c", "p"))
        body, first_ms, last_ms = batch_body(batch)
        assert (first_ms, last_ms) == (1000, 1_700_000_000_000)
        assert list(decode_columns(body).received_delta_ms) == [0, DELTA_MS_MAX]

    def test_clients_by_runs(self) -> None:
        batch = Batch()
        batch.mark_time(1)
        for _ in range(5):
            batch.payloads.append(b"")
            batch.packet_ids.append(b"")
            batch.topic_index.append(batch.topic_slot(b"t"))
            batch.flags.append(0)
        batch.close_run(batch.client_slot(("a", "a")), 4, 0)
        batch.close_run(batch.client_slot(("b", "b")), 1, 0)
        columns = decode_columns(batch_body(batch)[0])
        assert [columns.clients[i][0] for i in columns.client_index] == ["a", "a", "a", "a", "b"]
