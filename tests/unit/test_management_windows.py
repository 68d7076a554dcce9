"""Maintenance windows: weekdays, over midnight, and where the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.errors import UsageError
from appliance.management.windows import DAYS, Window, closes_at_ms, open_ms, opened_at_ms, opens_at_ms

VIENNA = ZoneInfo("Europe/Vienna")
HOUR_MS = 3_600_000


def at(text: str, zone: ZoneInfo = VIENNA, fold: int = 0) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()) * 1000


NIGHT = Window.of(("mon", "tue"), "22:00", "04:00")


@pytest.mark.parametrize(
    ("now", "closes"),
    [
        ("2026-11-23T21:59", None),  # Monday
        ("2026-11-23T22:00", "2026-11-24T04:00"),
        ("2026-11-24T03:59", "2026-11-24T04:00"),
        ("2026-11-24T04:00", None),
        ("2026-11-25T01:00", "2026-11-25T04:00"),  # Wednesday, of the window that began on Tuesday
        ("2026-11-25T23:00", None),
        ("2026-11-23T01:00", None),  # Monday, but Sunday has no window
    ],
)
def test_a_window_over_midnight_is_of_the_day_it_begins_on(now: str, closes: str | None) -> None:
    assert closes_at_ms(NIGHT, at(now), VIENNA) == (at(closes) if closes else None)


def test_when_it_opened() -> None:
    assert opened_at_ms(NIGHT, at("2026-11-24T03:59"), VIENNA) == at("2026-11-23T22:00")
    assert opened_at_ms(NIGHT, at("2026-11-24T04:00"), VIENNA) is None


def test_when_it_opens_next() -> None:
    assert opens_at_ms(NIGHT, at("2026-11-23T21:00"), VIENNA) == at("2026-11-23T22:00")
    assert opens_at_ms(NIGHT, at("2026-11-23T22:00"), VIENNA) == at("2026-11-24T22:00")
    assert opens_at_ms(NIGHT, at("2026-11-25T12:00"), VIENNA) == at("2026-11-30T22:00")


def test_every_day() -> None:
    window = Window.of((), "00:00", "06:30")
    assert window.words() == (DAYS, "00:00", "06:30")
    assert closes_at_ms(window, at("2026-11-27T06:00"), VIENNA) == at("2026-11-27T06:30")


def test_the_night_without_an_hour_in_spring() -> None:
    """29 March 2026: 02:00 becomes 03:00."""
    night = Window.of((), "01:00", "05:00")
    begin, end = at("2026-03-29T01:00"), at("2026-03-29T05:00")
    assert end - begin == 3 * HOUR_MS
    assert closes_at_ms(night, begin, VIENNA) == end
    assert opens_at_ms(night, begin - 1, VIENNA) == begin
    leapt_over = Window.of((), "02:15", "02:45")
    open_at = opens_at_ms(leapt_over, at("2026-03-29T01:59"), VIENNA)
    assert datetime.fromtimestamp(open_at / 1000, VIENNA).isoformat() == "2026-03-29T03:15:00+02:00"
    assert closes_at_ms(leapt_over, open_at, VIENNA) == open_at + HOUR_MS // 2
    nothing_left = Window.of(("sun",), "02:30", "03:10")
    assert opens_at_ms(nothing_left, at("2026-03-28T12:00"), VIENNA) == at("2026-04-05T02:30")


def test_the_night_with_one_more_in_autumn() -> None:
    """25 October 2026: 03:00 becomes 02:00."""
    night = Window.of((), "01:00", "05:00")
    begin = at("2026-10-25T01:00")
    assert closes_at_ms(night, begin, VIENNA) == begin + 5 * HOUR_MS
    twice = Window.of((), "02:15", "02:45")
    assert closes_at_ms(twice, at("2026-10-25T02:20"), VIENNA) == at("2026-10-25T02:45")
    assert closes_at_ms(twice, at("2026-10-25T02:20", fold=1), VIENNA) is None


@pytest.mark.parametrize(
    ("begin", "end", "hours"),
    [
        ("2026-11-23T12:00", "2026-11-23T23:00", 1), ("2026-11-23T23:00", "2026-11-24T01:00", 2),
        ("2026-11-24T00:00", "2026-12-01T00:00", 4 + 6 + 2), ("2026-11-26T00:00", "2026-11-27T00:00", 0),
        ("2026-11-25T03:00", "2026-12-09T03:00", 1 + 2 * 12 - 1),
    ],
)  # fmt: skip
def test_how_long_it_was_open(begin: str, end: str, hours: int) -> None:
    assert open_ms(NIGHT, at(begin), at(end), VIENNA) == hours * HOUR_MS


@pytest.mark.parametrize(
    ("days", "begin", "end"),
    [(("monday",), "22:00", "04:00"), ((), "24:00", "04:00"), ((), "22", "04:00"), ((), "22:00", "22:00"), ((), "٢٢:00", "04:00")],
)  # fmt: skip
def test_what_is_no_window(days: tuple[str, ...], begin: str, end: str) -> None:
    with pytest.raises(UsageError) as refused:
        Window.of(days, begin, end)
    assert refused.value.code == "window_invalid"


@given(
    st.sets(st.sampled_from(DAYS)).map(tuple),
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001 - made aware below
    st.sampled_from(["Europe/Vienna", "America/St_Johns", "Australia/Lord_Howe", "UTC", "Asia/Kathmandu"]),
)
def test_it_is_open_exactly_from_its_beginning_to_its_end(
    days: tuple[str, ...], begin: int, end: int, moment: datetime, zone_name: str
) -> None:
    if begin == end:
        return
    words = [f"{minute // 60:02}:{minute % 60:02}" for minute in (begin, end)]
    window, zone = Window.of(days, *words), ZoneInfo(zone_name)
    now_ms = int(moment.replace(tzinfo=UTC).timestamp()) * 1000
    opens = opens_at_ms(window, now_ms, zone)
    assert now_ms < opens <= now_ms + 15 * 24 * HOUR_MS
    closes = closes_at_ms(window, opens, zone)
    assert closes is not None
    assert opens < closes
    assert closes_at_ms(window, closes - 1, zone) is not None
    if closes_at_ms(window, now_ms, zone) is None and opens - now_ms > 1:
        assert closes_at_ms(window, (now_ms + opens) // 2, zone) is None
