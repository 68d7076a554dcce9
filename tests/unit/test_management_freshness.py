"""Fresh, late, stale, never."""

from __future__ import annotations

import pytest

from appliance.management.freshness import Freshness, freshness

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
