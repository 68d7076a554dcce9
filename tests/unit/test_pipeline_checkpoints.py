"""When the state of rules is saved."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.core.clock import ManualClock
from appliance.pipeline.checkpoints import BYTES_PER_S, INTERVAL_MS, READINGS, SHARE, Checkpoints
from storage.telemetry.batch import Cursor, WatchCheckpoint


def made(size: int = 0) -> WatchCheckpoint:
    return WatchCheckpoint(cursor=Cursor(), found_number=0, reader=b"", watch=bytes(size))


def times(*ns: int) -> Iterator[int]:
    yield from ns


def test_after_a_minute_or_very_many_readings() -> None:
    clock = ManualClock()
    checkpoints = Checkpoints(clock)
    checkpoints.seen(READINGS - 1, has_changed=True)
    assert not checkpoints.is_due()
    checkpoints.seen(1, has_changed=True)
    assert checkpoints.is_due()
    checkpoints.make(made)
    assert not checkpoints.is_due()
    checkpoints.seen(1, has_changed=True)
    clock.advance(INTERVAL_MS)
    assert checkpoints.is_due()


def test_not_while_nothing_has_changed() -> None:
    clock = ManualClock()
    checkpoints = Checkpoints(clock)
    clock.advance(10 * INTERVAL_MS)
    checkpoints.seen(0, has_changed=False)
    assert not checkpoints.is_due()
    checkpoints.wanted = True
    assert checkpoints.is_due()


def test_one_that_took_long_is_not_made_often() -> None:
    clock = ManualClock()
    ns = times(0, 100_000_000)
    checkpoints = Checkpoints(clock, clock_ns=lambda: next(ns))
    checkpoints.make(made)
    checkpoints.seen(READINGS, has_changed=True)
    clock.advance(100 * SHARE - 1)
    assert not checkpoints.is_due()
    clock.advance(1)
    assert checkpoints.is_due()
    assert checkpoints.statistics().last_ms == 100


def test_a_large_one_is_not_written_often() -> None:
    clock = ManualClock()
    ns = times(0, 0)
    checkpoints = Checkpoints(clock, clock_ns=lambda: next(ns))
    checkpoints.make(lambda: made(10 * BYTES_PER_S))
    checkpoints.wanted = True
    clock.advance(9_999)
    assert not checkpoints.is_due()
    clock.advance(1)
    assert checkpoints.is_due()
    assert checkpoints.statistics().last_bytes == 10 * BYTES_PER_S
