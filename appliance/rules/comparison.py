"""Comparison: a value differs from another metric of its device, or from the median of its group.

Readings of different series don't come at the same time, so they are compared at instants: whole multiples of 10 s of arrival. At each instant
at which one of them has something new, the last value of each series that arrived until then counts. One that arrived more than an hour
before doesn't: a device that is away is neither compared nor part of a median. A median needs three values.

Must not know: groups, how series were chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from appliance.core.arrays import F64, I64, Mask
from appliance.management.rule_conditions import AnyCondition, Comparison
from appliance.management.watched import Released
from appliance.rules.bands import Band, Banded, above, below, outside
from appliance.rules.batches import Runs, ranges
from appliance.rules.delays import Moves

INSTANT_MS: Final = 10_000
COMPARED_AGE_MS_MAX: Final = 3_600_000
MEDIAN_COUNT_MIN: Final = 3


class ComparisonTable(Banded):
    """Slots with what they are compared with.

    Attributes:
        other: Series that it is compared with, -1: the median of a pool. pool: Which; -1 for none.
        is_ratio: Compared as a share of the other value.
    """

    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Banded.COLUMNS,
        "other": ("i8", -1),
        "pool": ("i8", -1),
        "is_ratio": ("?", False),
    }
    other: I64
    pool: I64
    is_ratio: Mask


class Comparisons:
    """Keeps the newest value of each series that is compared, and compares at instants."""

    def __init__(self) -> None:
        self.table = ComparisonTable()
        self.values = np.empty(0)
        self.times = np.empty(0, np.int64)
        self.arrived = np.empty(0, np.int64)
        """Of each series, by its id: the newest value, when it was observed, and the instant at which it had arrived; 0: none."""
        self.waiting: list[tuple[I64, I64, I64, F64]] = []
        """(series, instant, observed, value) in the order of each series' times."""
        self._is_compared = np.zeros(0, np.bool_)
        self._pool_series = np.empty(0, np.int64)
        self._pool_of = np.empty(0, np.int64)
        self._pool_count = 0

    def add(self, condition: AnyCondition, **about: I64) -> I64:
        """Slots of one rule; see `Measuring.add`. What they are compared with is written by pools_of."""
        assert isinstance(condition, Comparison)
        return self.table.add(
            len(about["rule"]), **about, **_band(condition)._asdict(), is_ratio=condition.by == "ratio"
        )

    def changed(self, series_count: int, pools: Mapping[int, I64]) -> None:
        """Slots, series or pools came or went.

        Args:
            pools: Number of a pool → its series.
        """
        more = series_count - len(self.values)
        if more > 0:
            self.values = np.concatenate([self.values, np.full(more, np.nan)])
            self.times = np.concatenate([self.times, np.zeros(more, np.int64)])
            self.arrived = np.concatenate([self.arrived, np.zeros(more, np.int64)])
        lengths = [len(each) for each in pools.values()]
        self._pool_of = np.repeat(np.array(list(pools), np.int64), lengths)
        self._pool_series = np.concatenate([*pools.values(), np.empty(0, np.int64)])
        self._pool_count = max(pools, default=-1) + 1
        self._is_compared = np.zeros(series_count, np.bool_)
        for series in (self.table.series, self.table.other, self._pool_series):
            self._is_compared[series[series >= 0]] = True

    def see(self, readings: Released, runs: Runs, lateness_ms: int) -> None:
        """Put down what is compared: of each series the last of each instant."""
        if not self.table.count:
            return
        mine = np.flatnonzero(self._is_compared[runs.series])
        if not len(mine):
            return
        at = ranges(runs.starts[mine], runs.lengths[mine])
        series = readings.series[at].astype(np.int64)
        instant = -(-(readings.received_at_ms[at] + lateness_ms) // INSTANT_MS) * INSTANT_MS
        last = np.concatenate([(series[1:] != series[:-1]) | (instant[1:] != instant[:-1]), [True]])
        at = at[last]
        self.waiting.append((series[last], instant[last], readings.observed_at_ms[at], readings.values[at]))

    def advance(self, now_ms: int) -> list[Moves]:
        """Compare at all instants until now that have something new."""
        if not self.waiting:
            return []
        series, instant, observed, values = (np.concatenate(each) for each in zip(*self.waiting, strict=True))
        due, left = instant <= now_ms, instant > now_ms
        self.waiting = [(series[left], instant[left], observed[left], values[left])] if left.any() else []
        moves = []
        for when in np.unique(instant[due]).tolist():
            mine = np.flatnonzero(instant == when)
            # Of each series the last one; and none that is older than what counted at an instant before.
            newest: dict[int, int] = dict(zip(series[mine].tolist(), mine.tolist(), strict=True))
            rows = np.array(list(newest.values()))
            rows = rows[observed[rows] >= self.times[series[rows]]]
            self.values[series[rows]], self.times[series[rows]] = values[rows], observed[rows]
            self.arrived[series[rows]] = when
            if (found := self._compare(when)) is not None:
                moves.append(found)
        return moves

    def _compare(self, when_ms: int) -> Moves | None:
        table = self.table
        fresh = np.where(self.arrived >= when_ms - COMPARED_AGE_MS_MAX, self.values, np.nan)
        medians = self._medians(fresh)
        with_one = table.other >= 0
        others = np.where(with_one, fresh[np.where(with_one, table.other, 0)], np.nan)
        if self._pool_count:
            others = np.where(table.pool >= 0, medians[np.where(table.pool >= 0, table.pool, 0)], others)
        mine = fresh[table.series]
        size = np.abs(others)
        ratios = np.where(size > 0, (mine - others) / np.where(size > 0, size, 1.0), np.nan)
        measures = np.where(table.is_ratio, ratios, mine - others)
        slots = np.arange(table.count)
        ones = np.ones(table.count, np.int64)
        at = np.full(table.count, when_ms)
        return table.feed(
            slots,
            ones,
            table.codes(slots, ones, measures),
            observed=at,
            received=at,
            measures=measures,
            values=mine,
        )

    def _medians(self, fresh: F64) -> F64:
        """The median of each pool; NaN of one with too few values."""
        medians = np.full(self._pool_count, np.nan)
        values, pools = fresh[self._pool_series], self._pool_of
        known = ~np.isnan(values)
        values, pools = values[known], pools[known]
        order = np.lexsort((values, pools))
        values, pools = values[order], pools[order]
        count = np.bincount(pools, minlength=self._pool_count)
        first = np.cumsum(count) - count
        enough = np.flatnonzero(count >= MEDIAN_COUNT_MIN)
        low, high = first[enough] + (count[enough] - 1) // 2, first[enough] + count[enough] // 2
        medians[enough] = (values[low] + values[high]) / 2
        return medians

    def keep(self, mask: Mask) -> None:
        """Let go of slots."""
        self.table.keep(mask)


def _band(condition: Comparison) -> Band:
    limit, hysteresis = condition.limit, min(condition.hysteresis, condition.limit)
    match condition.is_:
        case "above":
            return above(limit, hysteresis)
        case "below":
            return below(-limit, hysteresis)
        case "either":
            return outside(-limit, limit, hysteresis)
