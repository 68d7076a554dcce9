"""Waits double from half a minute to a quarter of an hour, and a clock that goes back lengthens none."""

from __future__ import annotations

from appliance.core.limits import LOCKOUT_WAIT_FIRST_MS, LOCKOUT_WAIT_MS_MAX
from appliance.management.lockout import UNLOCKED, Lockout, after_failure

NOW_MS = 1_772_000_000_000


def test_the_first_failures_cost_nothing_and_then_waits_double_up_to_the_longest() -> None:
    lockout, waits = UNLOCKED, []
    for _ in range(12):
        lockout = after_failure(lockout, NOW_MS, free_count=5)
        waits.append(max(0, lockout.locked_until_ms - NOW_MS))
    assert waits[:5] == [0] * 5
    assert waits[5:8] == [LOCKOUT_WAIT_FIRST_MS * factor for factor in (1, 2, 4)]
    assert waits[-1] == LOCKOUT_WAIT_MS_MAX
    assert lockout.failure_count == 12


def test_a_wait_ends_at_its_time() -> None:
    lockout = after_failure(Lockout(5, 0), NOW_MS, free_count=5)
    assert lockout.is_locked(NOW_MS)
    assert lockout.is_locked(lockout.locked_until_ms - 1)
    assert not lockout.is_locked(lockout.locked_until_ms)
    assert not UNLOCKED.is_locked(NOW_MS)


def test_a_clock_that_went_back_keeps_nobody_out_for_days() -> None:
    lockout = after_failure(Lockout(99, 0), NOW_MS, free_count=5)
    assert not lockout.is_locked(NOW_MS - 86_400_000)


def test_a_count_without_end_does_not_grow_the_arithmetic() -> None:
    lockout = after_failure(Lockout(10**9, 0), NOW_MS, free_count=5)
    assert lockout.locked_until_ms == NOW_MS + LOCKOUT_WAIT_MS_MAX
