"""A clock that went ahead is a record, before whatever was received by the new time; one that was put back is none."""

from __future__ import annotations

from collections import deque

import msgspec

from appliance.core.clock import ManualClock
from appliance.core.limits_watch import WATCH_CLOCK_AHEAD_MS
from broker.clock_mark import ClockMark
from broker.open_block import PendingRecord
from storage.log.columns import Kind

HOUR_MS = 3_600_000


def test_only_what_is_beyond_the_time_that_passed_is_a_mark() -> None:
    clock = ManualClock()
    mark = ClockMark(clock)
    will = PendingRecord(Kind.SERVER_PUBLISH, ("a", "a"))
    pending = deque([will])
    clock.advance(10 * HOUR_MS)
    assert list(mark.first(pending, clock.now_ms(), clock.mono_ms())) == [will]
    clock.set_wall(clock.now_ms() + WATCH_CLOCK_AHEAD_MS - 1)
    assert list(mark.first(pending, clock.now_ms(), clock.mono_ms())) == [will], "a clock that is slewed"
    clock.set_wall(clock.now_ms() + 3 * HOUR_MS)
    first, second = mark.first(pending, clock.now_ms(), clock.mono_ms())
    assert second is will
    assert first.kind is Kind.CLOCK_AHEAD
    assert msgspec.msgpack.decode(first.payload) == {"by_ms": 3 * HOUR_MS + WATCH_CLOCK_AHEAD_MS - 1}
    assert len(mark.first(pending, clock.now_ms(), clock.mono_ms())) == 2, "once"


def test_a_clock_that_was_put_back_and_goes_ahead_again_is_marked_then() -> None:
    clock = ManualClock()
    mark = ClockMark(clock)
    pending: deque[PendingRecord] = deque()
    for by_ms in (-HOUR_MS, HOUR_MS):
        assert not pending
        clock.set_wall(clock.now_ms() + by_ms)
        mark.first(pending, clock.now_ms(), clock.mono_ms())
    assert [each.kind for each in pending] == [Kind.CLOCK_AHEAD]
