"""Times, round intervals and wildcards as queries have them."""

from __future__ import annotations

import time

import pytest

from appliance.core.errors import UsageError
from ui.telemetry_question import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    ROUND_INTERVALS_MS,
    check_interval,
    check_range,
    has_wildcard,
    is_relative,
    matcher,
    parse_when,
    round_interval_ms,
)

NOW_MS = 1_772_000_000_000


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("now", NOW_MS),
        ("-250ms", NOW_MS - 250),
        ("-30s", NOW_MS - 30_000),
        ("-15m", NOW_MS - 15 * MINUTE_MS),
        ("-15min", NOW_MS - 15 * MINUTE_MS),
        (" -24h ", NOW_MS - DAY_MS),
        ("-7d", NOW_MS - 7 * DAY_MS),
        ("-2w", NOW_MS - 14 * DAY_MS),
        ("-999999999w", 0),
        ("2026-02-25T06:13:20Z", NOW_MS),
        ("1772000000000", NOW_MS),
    ],
)
def test_times_are_absolute_or_counted_back_from_now(text: str, at_ms: int) -> None:
    assert parse_when(text, NOW_MS, name="from") == at_ms


@pytest.mark.parametrize("text", ["", "-", "24h", "-24", "-1y", "--1h", "-1.5h", "+1h", "-1000000000w"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_when(text, NOW_MS, name="from")
    assert refused.value.code == "time_invalid"


def test_a_relative_time_moves_with_the_clock() -> None:
    assert is_relative("-24h")
    assert is_relative("now")
    assert not is_relative("2026-02-25T06:13:20Z")


def test_intervals_are_round_and_as_narrow_as_fits() -> None:
    assert round_interval_ms(DAY_MS, 480) == 5 * MINUTE_MS
    assert round_interval_ms(DAY_MS, 1440) == MINUTE_MS
    assert round_interval_ms(90 * DAY_MS, 480) == 6 * HOUR_MS
    assert round_interval_ms(900_000, 900) == 1_000
    assert round_interval_ms(10, 480) == 1
    assert round_interval_ms(731 * DAY_MS, 3) == 252 * DAY_MS
    for range_ms in (1, 999, 61_000, DAY_MS, 7 * DAY_MS + 1, 731 * DAY_MS):
        for count_max in (1, 7, 480, 10_000):
            assert range_ms / round_interval_ms(range_ms, count_max) <= count_max


def test_round_intervals_from_a_minute_on_are_of_whole_rollups() -> None:
    assert list(ROUND_INTERVALS_MS) == sorted(set(ROUND_INTERVALS_MS))
    for interval_ms in ROUND_INTERVALS_MS:
        for level_ms in (MINUTE_MS, HOUR_MS, DAY_MS):
            assert interval_ms < level_ms or interval_ms % level_ms == 0, interval_ms


@pytest.mark.parametrize(("from_ms", "to_ms"), [(5, 5), (9, 5), (0, 732 * DAY_MS)])
def test_a_range_is_bounded(from_ms: int, to_ms: int) -> None:
    with pytest.raises(UsageError, match="731 days"):
        check_range(from_ms, to_ms)
    check_range(0, 731 * DAY_MS)


def test_an_answer_holds_so_many_intervals() -> None:
    check_interval(100_000, 1)
    with pytest.raises(UsageError) as refused:
        check_interval(100_001, 1)
    assert refused.value.code == "interval_invalid"


def test_a_wildcard_matches_the_whole_name_and_nothing_else_is_special() -> None:
    assert has_wildcard("pump-*")
    assert has_wildcard("pump-?")
    assert not has_wildcard("pump-[12]")
    assert matcher("pump-*").match("pump-12")
    assert not matcher("pump-*").match("a-pump-12")
    assert matcher("p?mp").match("pump")
    assert not matcher("p?mp").match("pmp")
    assert matcher("[ab]").match("[ab]")
    assert not matcher("[ab]").match("a")
    assert matcher("*\n*").match("a\nb")


def test_many_wildcards_take_no_time() -> None:
    began = time.process_time()
    assert not matcher("*a" * 100 + "b").match("a" * 256)
    assert time.process_time() - began < 1  # Backtracking would take longer than there is.
