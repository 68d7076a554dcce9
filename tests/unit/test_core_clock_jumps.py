"""Jumps of the wall clock, measured."""

from __future__ import annotations

from appliance.core.clock import ManualClock
from appliance.core.clock_jumps import ClockJumps

MIN_MS = 2_000


def test_time_that_passes_is_no_jump() -> None:
    clock = ManualClock()
    jumps = ClockJumps(clock, jump_ms_min=MIN_MS)
    clock.advance(100 * 86_400_000)
    assert jumps.measure() == 0


def test_both_ways_and_only_once() -> None:
    clock = ManualClock()
    jumps = ClockJumps(clock, jump_ms_min=MIN_MS)
    for by_ms in (3_600_000, -7_200_000):
        clock.set_wall(clock.now_ms() + by_ms)
        assert jumps.measure() == by_ms
        assert jumps.measure() == 0
    assert jumps.total == 2


def test_a_clock_that_is_slewed_gathers_until_it_is_a_jump() -> None:
    clock = ManualClock()
    jumps = ClockJumps(clock, jump_ms_min=MIN_MS)
    clock.set_wall(clock.now_ms() + 1_500)
    assert jumps.measure() == 0
    clock.set_wall(clock.now_ms() + 600)
    assert jumps.measure() == 2_100


def test_times_that_were_read_before_are_as_good() -> None:
    clock = ManualClock(now_ms=1_000_000, mono_ms=500)
    jumps = ClockJumps(clock, jump_ms_min=MIN_MS)
    assert jumps.between(1_001_000, 1_500) == 0
    assert jumps.between(1_011_000, 1_500) == 10_000
