from __future__ import annotations

import time

from appliance.core.clock import Clock, ManualClock, SystemClock


def test_the_machines_clocks_are_in_milliseconds() -> None:
    clock: Clock = SystemClock()
    assert abs(clock.now_ms() - time.time() * 1000) < 1000
    before = clock.mono_ms()
    assert clock.mono_ms() >= before


def test_a_manual_clock_moves_by_hand() -> None:
    clock = ManualClock(now_ms=1000, mono_ms=5)
    clock.advance(10)
    assert (clock.now_ms(), clock.mono_ms()) == (1010, 15)
    clock.set_wall(3)
    assert (clock.now_ms(), clock.mono_ms()) == (3, 15)
