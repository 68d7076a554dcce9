"""Times of the week as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import UsageError
from appliance.management.quiet_hours import WeeklyTime
from appliance.management.windows import DAYS
from ui.pages.weekly_words import read_times, write_times

HOURS = st.integers(0, 24 * 60 - 1).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
TIMES = st.builds(
    lambda days, begin, end: WeeklyTime(days=tuple(day for day in DAYS if day in days), from_=begin, to=end),
    st.sets(st.sampled_from(DAYS)),
    HOURS,
    HOURS,
)


@given(st.lists(TIMES, max_size=5).map(tuple))
def test_what_is_written_is_read_as_the_same(times: tuple[WeeklyTime, ...]) -> None:
    assert read_times(write_times(times), name="x") == times


@pytest.mark.parametrize(
    ("text", "days", "begin", "end"),
    [
        ("mon-fri 08:00-17:00", DAYS[:5], "08:00", "17:00"),
        ("Sat, Sun 0:00 – 0:00", DAYS[5:], "00:00", "00:00"),
        ("fri-mon 22:00 to 06:00", ("fri", "sat", "sun", "mon"), "22:00", "06:00"),
        ("22:00-06:00", (), "22:00", "06:00"),
        ("mon wed 7:30-8:00", ("mon", "wed"), "07:30", "08:00"),
    ],
)
def test_days_may_be_a_span_or_a_list(text: str, days: tuple[str, ...], begin: str, end: str) -> None:
    assert read_times(f"\n{text}\n\n", name="x") == (WeeklyTime(days=tuple(days), from_=begin, to=end),)


@pytest.mark.parametrize(
    "text", ["mon", "someday 08:00-17:00", "mon-xyz 08:00-17:00", "08:00", "25:00-26:00"]
)
def test_anything_else_is_named(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_times(text, name="Quiet hours")
    assert raised.value.code == "on_call_invalid"
