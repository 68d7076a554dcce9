"""Latency percentiles within 3 %."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_fw_sim.load.histogram import LatencyHistogram


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=200), st.integers(1, 100))
def test_percentile_is_right_to_three_percent(latencies_ns: list[int], percent: int) -> None:
    histogram = LatencyHistogram()
    for latency in latencies_ns:
        histogram.add_ns(latency)
    ordered = sorted(latency // 1_000 for latency in latencies_ns)
    exact_ms = ordered[-(-len(ordered) * percent // 100) - 1] / 1_000
    assert histogram.percentile_ms(percent) == pytest.approx(exact_ms, rel=1 / 31, abs=0.001)


def test_empty_and_negative() -> None:
    histogram = LatencyHistogram()
    assert histogram.percentile_ms(50) == 0
    histogram.add_ns(-5)
    assert (histogram.count, histogram.percentile_ms(100)) == (1, 0)


def test_the_largest_latency_has_a_bucket() -> None:
    histogram = LatencyHistogram()
    histogram.add_ns(2**90)
    assert histogram.percentile_ms(99) > 1e9


@given(st.lists(st.integers(0, 10**15), max_size=200))
def test_many_at_once_are_counted_as_one_by_one(latencies_ns: list[int]) -> None:
    one_by_one, at_once = LatencyHistogram(), LatencyHistogram()
    for latency in latencies_ns:
        one_by_one.add_ns(latency)
    at_once.add_all_ns(array("Q", latencies_ns))
    assert at_once.count == one_by_one.count
    for percent in (1, 50, 95, 99, 100):
        assert at_once.percentile_ms(percent) == one_by_one.percentile_ms(percent)
