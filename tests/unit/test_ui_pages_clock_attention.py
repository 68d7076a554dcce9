"""What the Overview says of this box's clock."""

from __future__ import annotations

from appliance.core.believed_time import BelievedTime
from appliance.core.clock import ManualClock
from appliance.core.limits import CLOCK_STEP_TOLD_MS
from ui.pages.clock_attention import clock_attention

DAY = 86_400_000
NOW = 1_790_000_000_000


def test_nothing_of_a_clock_that_is_right() -> None:
    clock = ManualClock(NOW)
    believed = BelievedTime(clock, last_ms=NOW)
    clock.advance(DAY)
    assert clock_attention(believed, clock) == ()


def test_1970_in_red_and_for_a_day_that_it_was_set() -> None:
    clock = ManualClock(0)
    believed = BelievedTime(clock)
    (line,) = clock_attention(believed, clock)
    assert (line.tone, "1970-01-01, which can't be" in line.text) == ("bad", True)
    assert line.text.endswith("Set the clock, or let the box reach a time server.")
    clock.set_wall(NOW)
    clock_attention(believed, clock)
    clock.advance(180_000)
    (line,) = clock_attention(believed, clock)
    assert line.tone == "warn"
    assert "set ahead by 20718 days 3 min ago" in line.text
    assert "stand where it was, 1970-01-01" in line.text
    clock.advance(CLOCK_STEP_TOLD_MS - 180_000)
    assert clock_attention(believed, clock) == ()


def test_a_leap_is_said_in_red_and_coming_back_as_a_step() -> None:
    clock = ManualClock(NOW)
    believed = BelievedTime(clock, last_ms=NOW)
    clock.set_wall(NOW + 40 * DAY)
    (line,) = clock_attention(believed, clock)
    assert (line.tone, "40 days after what can be believed" in line.text) == ("bad", True)
    clock.set_wall(NOW)
    (line,) = clock_attention(believed, clock)
    assert (line.tone, "set back by 40 days" in line.text) == ("warn", True)
