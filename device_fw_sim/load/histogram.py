"""Latency histogram of fixed size: log-linear buckets of microseconds."""

from __future__ import annotations

from array import array

from device_fw_sim.limits import LATENCY_BUCKET_COUNT

_SUB_BITS = 5
_SUB_COUNT = 1 << _SUB_BITS


class LatencyHistogram:
    """Counts of latencies; a percentile is exact to 1/32 (3 %) of its value, whatever the range."""

    def __init__(self) -> None:
        self._buckets = array("Q", bytes(8 * LATENCY_BUCKET_COUNT))
        self._max_us = 0
        self.count = 0

    def add_ns(self, latency_ns: int) -> None:
        """Count one latency.

        Args:
            latency_ns: Nanoseconds, 0 or more (a clock that stepped back counts as 0).
        """
        us = max(latency_ns // 1_000, 0)
        self._buckets[_bucket(us)] += 1
        self._max_us = max(self._max_us, us)
        self.count += 1

    def percentile_ms(self, percent: float) -> float:
        """Latency below which `percent` of the samples lie, ms; 0.0 without samples.

        Args:
            percent: 0 < percent <= 100.
        """
        if percent >= 100 or self.count == 0:
            return self._max_us / 1_000
        wanted = self.count * percent / 100
        seen = 0
        for index, count in enumerate(self._buckets):
            seen += count
            if seen >= wanted:
                return min(_upper_us(index), self._max_us) / 1_000
        return self._max_us / 1_000


def _bucket(us: int) -> int:
    if us < _SUB_COUNT:
        return us
    shift = us.bit_length() - _SUB_BITS - 1
    return min((shift + 1) * _SUB_COUNT + (us >> shift) - _SUB_COUNT, LATENCY_BUCKET_COUNT - 1)


def _upper_us(index: int) -> int:
    if index < _SUB_COUNT:
        return index
    shift = index // _SUB_COUNT - 1
    return ((index % _SUB_COUNT + _SUB_COUNT + 1) << shift) - 1
