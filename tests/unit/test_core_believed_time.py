"""A clock that leapt is not gone by at once; one that is put right has cost nothing."""

from __future__ import annotations

from appliance.core.believed_time import BelievedTime, ClockDoubt, ClockStep, is_known_wrong
from appliance.core.clock import ManualClock
from appliance.core.limits import CLOCK_BACK_HELD_MS, CLOCK_LEAP_MS, CLOCK_STEP_MS, CLOCK_WRONG_BEFORE_MS

DAY = 86_400_000
NOW = 1_790_000_000_000
IN_2099 = 4_070_908_800_000


def begun(clock: ManualClock, last_ms: int | None = NOW, *, synchronized: bool = False) -> BelievedTime:
    return BelievedTime(clock, last_ms=last_ms, is_synchronized=lambda _: synchronized)


def test_time_that_passes_is_believed_and_a_little_more_too() -> None:
    clock = ManualClock(NOW)
    time = begun(clock)
    clock.advance(300 * DAY)
    assert (time.look(), time.doubt, time.off_by_ms) == (NOW + 300 * DAY, ClockDoubt.NONE, 0)
    # Off over a weekend.
    clock.set_wall(clock.now_ms() + CLOCK_LEAP_MS - 1)
    assert (time.look(), time.doubt) == (clock.now_ms(), ClockDoubt.NONE)
    clock.set_wall(clock.now_ms() - CLOCK_LEAP_MS + 1)
    assert (time.look(), time.doubt) == (clock.now_ms(), ClockDoubt.NONE)


def test_a_leap_ahead_is_followed_at_twice_the_speed_of_time() -> None:
    clock = ManualClock(NOW)
    time = begun(clock)
    clock.set_wall(NOW + 10 * DAY)
    assert (time.look(), time.doubt, time.off_by_ms) == (NOW, ClockDoubt.AHEAD, 10 * DAY)
    for day in range(1, 9):
        clock.advance(DAY)
        assert (time.look(), time.doubt) == (NOW + 2 * day * DAY, ClockDoubt.AHEAD)
    clock.advance(DAY)
    # Within a leap of it: it might have been off so long.
    assert (time.look(), time.doubt) == (NOW + 19 * DAY, ClockDoubt.NONE)


def test_years_ahead_and_back_have_cost_nothing() -> None:
    clock = ManualClock(NOW)
    time = begun(clock)
    clock.set_wall(IN_2099)
    for _ in range(30):
        clock.advance(DAY)
        time.look()
    assert time.believed_ms == NOW + 60 * DAY
    clock.set_wall(NOW + 30 * DAY)
    # What had been let go by is 30 days too many: never more than had really passed.
    assert (time.look(), time.doubt) == (NOW + 30 * DAY, ClockDoubt.BACK)
    clock.advance(CLOCK_BACK_HELD_MS)
    assert (time.look(), time.doubt) == (NOW + 31 * DAY, ClockDoubt.NONE)


def test_a_restart_changes_nothing_of_it() -> None:
    clock = ManualClock(IN_2099)
    time = begun(clock, NOW)
    assert (time.look(), time.doubt) == (NOW, ClockDoubt.AHEAD)
    clock.advance(DAY)
    time.look()
    again = begun(clock, time.believed_ms)
    assert (again.look(), again.doubt) == (NOW + 2 * DAY, ClockDoubt.AHEAD)


def test_without_a_battery_nothing_is_late_and_what_was_believed_stays() -> None:
    clock = ManualClock(5_000)
    time = begun(clock)
    assert (time.look(), time.doubt, time.believed_ms) == (5_000, ClockDoubt.BEFORE, NOW)
    clock.advance(60_000)
    assert (time.look(), time.believed_ms) == (65_000, NOW + 60_000)
    clock.set_wall(NOW + 90_000)
    assert (time.look(), time.doubt, time.believed_ms) == (NOW + 90_000, ClockDoubt.NONE, NOW + 90_000)


def test_a_new_box_believes_the_first_time_that_can_be() -> None:
    clock = ManualClock(0)
    time = begun(clock, None)
    assert (time.look(), time.doubt, time.believed_ms, time.off_by_ms) == (0, ClockDoubt.BEFORE, None, 0)
    clock.set_wall(NOW)
    assert (time.look(), time.doubt, time.believed_ms) == (NOW, ClockDoubt.NONE, NOW)


def test_a_leap_back_is_believed_once_it_has_stood() -> None:
    clock = ManualClock(NOW - 20 * DAY)
    time = begun(clock)
    assert (time.look(), time.doubt, time.believed_ms) == (NOW - 20 * DAY, ClockDoubt.BACK, NOW)
    clock.advance(CLOCK_BACK_HELD_MS - 1)
    assert (time.look(), time.doubt) == (clock.now_ms(), ClockDoubt.BACK)
    # Put right, and wrong once more: it is waited anew.
    clock.set_wall(clock.now_ms() + 20 * DAY)
    assert (time.look(), time.doubt) == (clock.now_ms(), ClockDoubt.NONE)
    clock.set_wall(clock.now_ms() - 20 * DAY)
    assert (time.look(), time.doubt) == (clock.now_ms(), ClockDoubt.BACK)
    clock.advance(CLOCK_BACK_HELD_MS)
    assert (time.look(), time.doubt, time.believed_ms) == (clock.now_ms(), ClockDoubt.NONE, clock.now_ms())


def test_a_time_servers_word_is_believed_at_once() -> None:
    clock = ManualClock(IN_2099)
    time = begun(clock, NOW, synchronized=True)
    assert (time.look(), time.doubt) == (IN_2099, ClockDoubt.NONE)
    clock.set_wall(0)
    assert (time.look(), time.doubt) == (0, ClockDoubt.BEFORE)
    clock.set_wall(NOW)
    assert (time.look(), time.doubt) == (NOW, ClockDoubt.NONE)


def test_steps_are_counted_and_the_last_is_known() -> None:
    clock = ManualClock(0, mono_ms=7)
    time = begun(clock, None)
    time.look()
    assert (time.steps_total, time.last_step) == (0, None)
    clock.advance(1_000)
    clock.set_wall(NOW)
    time.look()
    assert (time.steps_total, time.last_step) == (1, ClockStep(NOW - 1_000, 1_000, 1_007))
    clock.set_wall(NOW + CLOCK_STEP_MS - 1)
    time.look()
    assert time.steps_total == 1
    clock.set_wall(NOW - CLOCK_STEP_MS)
    time.look()
    assert (time.steps_total, time.last_step) == (2, ClockStep(-CLOCK_STEP_MS, NOW, 1_007))
    assert time.stepped_ms == NOW - 1_000 - CLOCK_STEP_MS


def test_what_is_known_to_be_wrong() -> None:
    assert is_known_wrong(0)
    assert is_known_wrong(CLOCK_WRONG_BEFORE_MS - 1)
    assert not is_known_wrong(CLOCK_WRONG_BEFORE_MS)
