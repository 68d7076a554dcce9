"""Times of the week: whole days, chains, before and after them."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from appliance.core.errors import UsageError
from appliance.management.quiet_hours import (
    WeeklyTime,
    after_quiet_ms,
    before_quiet_ms,
    is_within,
    window_of,
)

VIENNA = ZoneInfo("Europe/Vienna")
DAY_MS = 86_400_000


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=VIENNA).timestamp()) * 1000


NIGHT = window_of(WeeklyTime(from_="22:00", to="06:00"))
WEEKEND = window_of(WeeklyTime(days=("sat", "sun"), from_="00:00", to="00:00"))
SUNDAY_NOON = window_of(WeeklyTime(days=("sun",), from_="12:00", to="12:00"))


def test_a_time_that_ends_when_it_begins_is_a_whole_day() -> None:
    assert is_within([WEEKEND], at("2026-11-28T00:00"), VIENNA)
    assert is_within([WEEKEND], at("2026-11-29T23:59"), VIENNA)
    assert not is_within([WEEKEND], at("2026-11-30T00:00"), VIENNA)
    assert is_within([SUNDAY_NOON], at("2026-11-30T11:59"), VIENNA)
    assert not is_within([SUNDAY_NOON], at("2026-11-30T12:00"), VIENNA)


def test_after_quiet_goes_over_times_that_follow_each_other() -> None:
    """Friday's night runs into the weekend, and Sunday's night follows it."""
    assert after_quiet_ms([NIGHT, WEEKEND], at("2026-11-27T23:00"), VIENNA) == at("2026-11-30T06:00")
    assert after_quiet_ms([NIGHT], at("2026-11-27T12:00"), VIENNA) == at("2026-11-27T12:00")
    assert after_quiet_ms([], at("2026-11-27T12:00"), VIENNA) == at("2026-11-27T12:00")


def test_before_quiet_is_its_mirror() -> None:
    assert before_quiet_ms([NIGHT, WEEKEND], at("2026-11-30T05:00"), VIENNA) == at("2026-11-27T22:00") - 1
    assert before_quiet_ms([NIGHT], at("2026-11-27T06:00"), VIENNA) == at("2026-11-27T06:00")


def test_a_week_that_is_quiet_all_the_time_ends_all_the_same() -> None:
    always = [window_of(WeeklyTime(from_="00:00", to="00:00"))]
    now_ms = at("2026-11-27T12:00")
    assert after_quiet_ms(always, now_ms, VIENNA) > now_ms + 30 * DAY_MS
    assert before_quiet_ms(always, now_ms, VIENNA) < now_ms - 30 * DAY_MS


def test_quiet_hours_keep_the_hours_on_the_wall_when_clocks_change() -> None:
    """In the night to 25 October 2026 the clocks go back: it has nine hours."""
    end_ms = after_quiet_ms([NIGHT], at("2026-10-24T22:00"), VIENNA)
    assert end_ms == at("2026-10-25T06:00")
    assert end_ms - at("2026-10-24T22:00") == 9 * 3_600_000


@pytest.mark.parametrize(
    ("time", "says"),
    [
        (WeeklyTime(from_="25:00", to="06:00"), "no time of day"),
        (WeeklyTime(from_="6:00", to="6:00"), "no time of day"),
        (WeeklyTime(days=("someday",), from_="22:00", to="22:00"), "no weekday"),
    ],
)
def test_what_is_no_time_is_refused(time: WeeklyTime, says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        window_of(time)
    assert caught.value.code == "on_call_invalid"
    assert "maintenance" not in caught.value.message
