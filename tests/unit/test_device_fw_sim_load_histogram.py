"""Latency percentiles within 3 %."""

from __future__ import annotations

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
