"""Latency histogram of fixed size: log-linear buckets of microseconds."""

from __future__ import annotations

from array import array

import numpy as np

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

    def add_all_ns(self, latencies_ns: array[int]) -> None:
        """Count many at once.

        Args:
            latencies_ns: Nanoseconds, of type code "Q".
        """
        if not latencies_ns:
            return
        us = np.frombuffer(latencies_ns, dtype=np.uint64) // 1_000
        # The exponent of the float is the bit length, exactly so below 2^53 µs, 285 years.
        shift = np.maximum(np.frexp(us.astype(np.float64))[1].astype(np.int64) - _SUB_BITS - 1, -1)
        large = shift >= 0
        by_shift = np.where(large, shift, 0)
        index = np.where(
            large, (by_shift + 1) * _SUB_COUNT + (us.astype(np.int64) >> by_shift) - _SUB_COUNT, us
        )
        counts = np.bincount(np.minimum(index, LATENCY_BUCKET_COUNT - 1).astype(np.int64))
        buckets = self._buckets
        for place in np.flatnonzero(counts).tolist():
            buckets[place] += int(counts[place])
        self._max_us = max(self._max_us, int(us.max()))
        self.count += len(latencies_ns)

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
