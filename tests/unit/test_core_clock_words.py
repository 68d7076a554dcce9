"""What people are told of the clock."""

from __future__ import annotations

from appliance.core.believed_time import ClockDoubt
from appliance.core.clock_words import clock_doubt_text, day_text

DAY = 86_400_000
IN_2099 = 4_070_908_800_000


def test_each_doubt_has_its_words_and_none_has_none() -> None:
    assert clock_doubt_text(ClockDoubt.NONE, IN_2099, 0) == ""
    assert "says 1970-01-01, which can't be" in clock_doubt_text(ClockDoubt.BEFORE, 0, 0)
    assert "says 2099-01-01, 12 days before" in clock_doubt_text(ClockDoubt.BACK, IN_2099, -12 * DAY)
    assert "says 2099-01-01, 400 days after" in clock_doubt_text(ClockDoubt.AHEAD, IN_2099, 400 * DAY)


def test_a_time_that_no_calendar_holds() -> None:
    assert day_text(IN_2099) == "2099-01-01"
    assert day_text(2**60) == f"{2**60} ms since 1970"
