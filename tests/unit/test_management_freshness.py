"""Fresh, late, stale, never."""

from __future__ import annotations

import pytest

from appliance.management.freshness import (
    Freshness,
    counts_at_ms,
    freshness,
    stale_after_ms,
    value_freshness,
)

STALE_AFTER_MS = 60_000


@pytest.mark.parametrize(
    ("age_ms", "expected"),
    [
        (0, Freshness.FRESH),
        (-5_000, Freshness.FRESH),
        (20_000, Freshness.FRESH),
        (20_001, Freshness.LATE),
        (60_000, Freshness.LATE),
        (60_001, Freshness.STALE),
    ],
)
def test_by_age(age_ms: int, expected: Freshness) -> None:
    now_ms = 1_700_000_000_000
    assert freshness(now_ms - age_ms, now_ms, STALE_AFTER_MS) is expected


def test_without_a_reading() -> None:
    assert freshness(None, 0, STALE_AFTER_MS) is Freshness.NEVER


def test_a_kept_copy_ages_from_its_own_time_or_is_stale() -> None:
    assert counts_at_ms(500, 900, is_kept_copy=False) == 900
    assert counts_at_ms(500, 900, is_kept_copy=True) == 500
    assert counts_at_ms(900, 900, is_kept_copy=True) is None, "the time of arrival: it said none"
    assert counts_at_ms(950, 900, is_kept_copy=True) is None, "the future: nobody knows"
    assert value_freshness(None, 0, STALE_AFTER_MS) is Freshness.STALE
    assert value_freshness(0, 10, STALE_AFTER_MS) is Freshness.FRESH


def test_a_device_may_say_how_often_it_reports() -> None:
    assert stale_after_ms(None, STALE_AFTER_MS) == STALE_AFTER_MS
    after_ms = stale_after_ms(600_000, STALE_AFTER_MS)
    assert freshness(0, 900_000, after_ms) is Freshness.FRESH, "half an interval of grace"
    assert freshness(0, 900_001, after_ms) is Freshness.LATE
    assert freshness(0, 2_700_001, after_ms) is Freshness.STALE
