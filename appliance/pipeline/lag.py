"""`ingestion_lag_seconds`: from the device's time to the commit, as percentiles of the last minutes, and since the start as a histogram.

For the percentiles lags fall into buckets that grow by a tenth, so a percentile is off by at most 5 %; buckets are kept per slot of ten
seconds, so old ones leave. Bounded: 30 slots of at most a few hundred buckets. Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, log
from typing import Final

SLOT_MS: Final = 10_000
SLOT_COUNT: Final = 30
"""Five minutes."""
GROWTH: Final = 1.1
LAG_MS_MAX: Final = 10 * 365 * 86_400_000
_LOG_GROWTH: Final = log(GROWTH)


HISTOGRAM_BOUNDS_S: Final = (
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0
)  # fmt: skip
"""What is asked of it: 1 and 5 s under load, minutes while a store is away, hours and days of a device that was offline."""


@dataclass(frozen=True, slots=True)
class LagHistogram:
    """All messages since the process began.

    Attributes:
        counts: Messages up to each of HISTOGRAM_BOUNDS_S, cumulative; the last is all of them, however long it took.
    """

    counts: tuple[int, ...]
    sum_s: float


@dataclass(frozen=True, slots=True)
class LagStatistics:
    """Of the messages committed in the last five minutes; all None when there were none. `histogram` is since the start.

    Attributes:
        buckets: (upper bound in s, messages) of those that aren't empty, ascending, not cumulative.
    """

    p50_s: float | None
    p95_s: float | None
    max_s: float | None
    messages: int
    buckets: tuple[tuple[float, int], ...]
    histogram: LagHistogram


class LagWindow:
    """Lags of the last five minutes."""

    def __init__(self) -> None:
        self._slots: deque[tuple[int, Counter[int], list[int]]] = deque(maxlen=SLOT_COUNT)
        self._since_start = [0] * (len(HISTOGRAM_BOUNDS_S) + 1)
        self._sum_ms = 0

    def add(self, now_mono_ms: int, commit_at_ms: int, times: Iterable[tuple[int, int]]) -> None:
        """Note a commit.

        Args:
            now_mono_ms: Monotonic, chooses the slot. commit_at_ms: Wall time of the commit.
            times: (wall ms from which the lag counts, messages it stands for). A time ahead of ours is no lag, and what stands
                for no message doesn't count.
        """
        slot = now_mono_ms // SLOT_MS
        if not self._slots or self._slots[-1][0] != slot:
            self._slots.append((slot, Counter(), [0]))
        _, counts, longest = self._slots[-1]
        for at_ms, weight in times:
            if not weight:
                continue
            lag_ms = min(max(commit_at_ms - at_ms, 0), LAG_MS_MAX)
            counts[bucket_of(lag_ms)] += weight
            self._since_start[bisect_left(HISTOGRAM_BOUNDS_S, lag_ms / 1_000)] += weight
            self._sum_ms += lag_ms * weight
            if lag_ms > longest[0]:
                longest[0] = lag_ms

    def statistics(self, now_mono_ms: int) -> LagStatistics:
        oldest = now_mono_ms // SLOT_MS - SLOT_COUNT
        total: Counter[int] = Counter()
        longest_ms = 0
        for slot, counts, longest in self._slots:
            if slot > oldest:
                total.update(counts)
                longest_ms = max(longest_ms, longest[0])
        messages = total.total()
        histogram = LagHistogram(tuple(accumulate(self._since_start)), self._sum_ms / 1_000)
        if not messages:
            return LagStatistics(None, None, None, 0, (), histogram)
        ordered = sorted(total.items())
        longest_s = longest_ms / 1_000
        return LagStatistics(
            p50_s=min(_percentile_s(ordered, messages * 0.50), longest_s),
            p95_s=min(_percentile_s(ordered, messages * 0.95), longest_s),
            max_s=longest_s,
            messages=messages,
            buckets=tuple((bound_ms(bucket) / 1_000, count) for bucket, count in ordered),
            histogram=histogram,
        )


def bucket_of(lag_ms: int) -> int:
    """The bucket of a lag: the smallest whose bound isn't below it."""
    return 0 if lag_ms <= 1 else ceil(log(lag_ms) / _LOG_GROWTH - 1e-9)


def bound_ms(bucket: int) -> float:
    """The longest lag of a bucket, ms."""
    return float(GROWTH**bucket)


def _percentile_s(ordered: list[tuple[int, int]], rank: float) -> float:
    count = 0
    for bucket, messages in ordered:
        count += messages
        if count >= rank:
            return bound_ms(bucket) / 1_000
    raise AssertionError("the rank is within the count")
