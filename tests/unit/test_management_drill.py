"""When a drill is due, and when what drills found is an alarm."""

from __future__ import annotations

from typing import Literal

import pytest

from appliance.core.errors import NotFound
from appliance.management.drill import DrillReport, From, check_region, due_at_ms, is_failing, of

DAY_MS = 86_400_000
NOW_MS = 1_000 * DAY_MS
RETRY_MS = DAY_MS


def ended(
    outcome: Literal["good", "different", "failed", "called_off"],
    days_ago: float = 0,
    *,
    is_scheduled: bool = True,
    source: From = "peers",
) -> DrillReport:
    at_ms = NOW_MS - round(days_ago * DAY_MS)
    return DrillReport(
        drill_id="d",
        outcome=outcome,
        is_scheduled=is_scheduled,
        begun_at_ms=at_ms,
        ended_at_ms=at_ms,
        source=source,
    )


def due(*kept: DrillReport, days: int = 7) -> float | None:
    """In how many days."""
    at_ms = due_at_ms(kept, days=days, retry_ms=RETRY_MS, now_ms=NOW_MS)
    return None if at_ms is None else (at_ms - NOW_MS) / DAY_MS


def test_one_is_due_an_interval_after_the_last_that_was_carried_out() -> None:
    assert due(days=0) is None
    assert due() == 0
    assert due(ended("good", 3)) == 4
    assert due(ended("different", 3, is_scheduled=False)) == 4
    assert due(ended("good", 9)) == -2


def test_what_could_not_be_carried_out_is_tried_a_day_later() -> None:
    assert due(ended("failed", 0.25), ended("good", 9)) == 0.75
    assert due(ended("called_off", 2), ended("good", 9)) == -1
    assert due(ended("called_off", 1), ended("good", 2)) == 5, "one that somebody began and called off"


def test_a_clock_that_was_ahead_puts_it_off_by_one_interval() -> None:
    assert due(ended("good", -400)) == 7
    assert due(ended("failed", -400)) == 7


def test_the_alarm_is_about_the_schedule_and_ends_with_any_good_one() -> None:
    assert not is_failing(())
    assert is_failing((ended("failed"),))
    assert is_failing((ended("called_off"), ended("different")))
    assert not is_failing((ended("failed", is_scheduled=False),))
    assert not is_failing((ended("good", is_scheduled=False), ended("failed")))


def test_a_good_one_from_peers_does_not_hide_a_bad_one_from_the_cloud() -> None:
    bad = ended("different", 1, source="cloud")
    assert is_failing((ended("good"), bad))
    assert not is_failing((ended("good"), ended("good", source="cloud"), bad))
    assert of((ended("good"), bad), "cloud") == (bad,)


def test_a_drill_from_the_cloud_needs_a_region_that_there_is() -> None:
    check_region(["eu"], "")
    check_region(["eu"], "eu")
    with pytest.raises(NotFound, match="No region"):
        check_region([], "")
    with pytest.raises(NotFound, match="no region us"):
        check_region(["eu"], "us")
