"""Percentiles of the last five minutes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.pipeline.lag import GROWTH, SLOT_COUNT, SLOT_MS, LagWindow, bound_ms, bucket_of


def test_nothing_yet() -> None:
    statistics = LagWindow().statistics(0)
    assert (statistics.p50_s, statistics.p95_s, statistics.max_s, statistics.messages) == (
        None,
        None,
        None,
        0,
    )


def test_percentiles_are_weighted_and_close() -> None:
    lag = LagWindow()
    lag.add(0, 10_000, [(9_900, 900), (9_000, 90), (5_000, 10)])
    statistics = lag.statistics(1_000)
    assert statistics.messages == 1_000
    assert statistics.p50_s == pytest.approx(0.1, rel=0.1)
    assert statistics.p95_s == pytest.approx(1.0, rel=0.1)
    assert statistics.max_s == 5.0
    assert [count for _, count in statistics.buckets] == [900, 90, 10]


def test_a_time_ahead_of_ours_is_no_lag() -> None:
    lag = LagWindow()
    lag.add(0, 1_000, [(2_000, 1)])
    assert lag.statistics(0).max_s == 0.0


def test_old_slots_leave() -> None:
    lag = LagWindow()
    lag.add(0, 10_000, [(0, 1)])
    lag.add(SLOT_MS, 10_000, [(9_000, 1)])
    assert lag.statistics(SLOT_MS * (SLOT_COUNT - 1)).messages == 2
    assert lag.statistics(SLOT_MS * SLOT_COUNT).max_s == 1.0
    for slot in range(2, 100):
        lag.add(slot * SLOT_MS, 0, [(0, 1)])
    assert lag.statistics(99 * SLOT_MS).messages == SLOT_COUNT


@given(st.integers(2, 10**9))
def test_a_bucket_holds_its_lags(lag_ms: int) -> None:
    bucket = bucket_of(lag_ms)
    assert bound_ms(bucket) / GROWTH * 0.999 <= lag_ms <= bound_ms(bucket) * 1.001
