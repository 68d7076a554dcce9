"""Ranges, buckets and gaps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.limits import CHART_POINT_COUNT
from ui.pages.charts import RANGES, gap_ms_of, with_gaps

MINUTE_MS = 60_000


@pytest.mark.parametrize("key", RANGES)
def test_a_range_has_at_most_so_many_buckets_of_whole_seconds(key: str) -> None:
    chosen = RANGES[key]
    assert chosen.interval_ms % 1_000 == 0
    assert chosen.span_ms / chosen.interval_ms <= CHART_POINT_COUNT


def test_a_day_is_drawn_in_buckets_of_three_minutes() -> None:
    assert RANGES["24h"].interval_ms == 3 * MINUTE_MS


def test_a_pause_breaks_the_line() -> None:
    at_ms = [0, 1_000, 2_000, 60_000, 61_000]
    found = with_gaps(at_ms, [1.0] * 5, [0.5] * 5, [1.5] * 5, 1_000)
    assert found.at_ms == [0, 1_000, 2_000, 3_000, 60_000, 61_000]
    assert found.mean == [1.0, 1.0, 1.0, None, 1.0, 1.0]
    assert found.low[3] is None
    assert found.high[3] is None


def test_a_device_that_reports_every_ten_minutes_has_a_line() -> None:
    """Its pauses are usual: only one well beyond them is a gap."""
    at_ms = [i * 10 * MINUTE_MS for i in range(10)]
    found = with_gaps(at_ms, [1.0] * 10, [1.0] * 10, [1.0] * 10, 3 * MINUTE_MS)
    assert None not in found.mean


def test_nothing_and_one_point() -> None:
    assert with_gaps([], [], [], [], 1_000).at_ms == []
    assert with_gaps([5], [1.0], [1.0], [1.0], 1_000).at_ms == [5]
    assert gap_ms_of([], 1_000) == 2_500


@given(st.lists(st.integers(0, 10**6), unique=True).map(sorted))
def test_every_bucket_stays_in_order_and_gaps_lie_between(seconds: list[int]) -> None:
    at_ms = [s * 1_000 for s in seconds]
    found = with_gaps(at_ms, [1.0] * len(at_ms), [1.0] * len(at_ms), [1.0] * len(at_ms), 1_000)
    assert [at for at, mean in zip(found.at_ms, found.mean, strict=True) if mean is not None] == at_ms
    assert found.at_ms == sorted(set(found.at_ms))
