"""A clock that went ahead by days is not gone by at once; one that is put right has cost nothing."""

from __future__ import annotations

from appliance.core.clock import ManualClock
from appliance.pipeline.clock_trust import HOLD_MS, JUMP_MS, ClockTrust


def test_time_that_passes_is_no_jump() -> None:
    clock = ManualClock()
    trust = ClockTrust(clock)
    trust.begin(clock.now_ms() - JUMP_MS)
    assert trust.may_let_go()
    clock.advance(10 * JUMP_MS)
    assert (trust.may_let_go(), trust.words()) == (True, "")


def test_a_jump_ahead_holds_for_a_day() -> None:
    clock = ManualClock()
    trust = ClockTrust(clock)
    trust.begin(None)
    clock.set_wall(clock.now_ms() + JUMP_MS + 1)
    assert not trust.may_let_go()
    assert "clock went ahead" in trust.words()
    clock.advance(HOLD_MS - 1)
    assert not trust.may_let_go()
    clock.advance(1)
    assert (trust.may_let_go(), trust.words()) == (True, "")


def test_a_clock_that_is_put_right_is_trusted_again() -> None:
    clock = ManualClock()
    trust = ClockTrust(clock)
    right_ms = clock.now_ms()
    clock.set_wall(right_ms + 1_000 * HOLD_MS)
    assert not trust.may_let_go()
    clock.set_wall(right_ms)
    assert trust.may_let_go()


def test_a_start_long_after_the_archive_was_written_holds_too() -> None:
    clock = ManualClock()
    trust = ClockTrust(clock)
    trust.begin(clock.now_ms() - JUMP_MS - 1)
    assert not trust.may_let_go()
    clock.advance(HOLD_MS)
    assert trust.may_let_go()
