"""How often a series is read, learned from its own times; for rules that don't say, about devices that don't say either.

Once a minute (of the series' own time) the interval between two neighbouring readings is noted; the median of the last five counts, from the
third on. Times are the readings' own, so that what a device kept and sends all at once teaches what it does and not how fast the
network is. What is noted takes effect at the next whole minute of arrival, so batches and ticks don't matter.

Must not know: rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from appliance.core.arrays import I64, Mask
from appliance.management.watched import Released
from appliance.rules.batches import Runs, ranges
from appliance.rules.table import NEVER, Table

MINUTE_MS: Final = 60_000
KEPT_COUNT: Final = 5
ENOUGH_COUNT: Final = 3


class Intervals(Table):
    """One slot per series, by its id.

    Attributes:
        last_ms: Time of the last reading; -1: none yet.
        kept: The last intervals, ms, in a ring; noted: how many there were.
        expected_ms: Their median, NEVER while it isn't known.
    """

    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        "last_ms": ("i8", -1),
        "kept": (f"({KEPT_COUNT},)i8", 0),
        "noted": ("i8", 0),
        "expected_ms": ("i8", NEVER),
    }
    last_ms: I64
    kept: I64
    noted: I64
    expected_ms: I64

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[I64, I64, I64]] = []
        """(series, interval, arrival) that take effect later."""

    def see(self, readings: Released, runs: Runs, learns: Mask) -> None:
        """Note the intervals of runs where `learns` is True; slots for all series are there."""
        chosen = np.flatnonzero(learns)
        if not len(chosen):
            return
        # Most runs stay within the minute of the reading before: there is nothing to note of them.
        last = readings.observed_at_ms[runs.starts[chosen] + runs.lengths[chosen] - 1]
        before = self.last_ms[runs.series[chosen]]
        self.last_ms[runs.series[chosen]] = last
        crosses = last // MINUTE_MS != before // MINUTE_MS
        chosen, before_run = chosen[crosses], before[crosses]
        if not len(chosen):
            return
        series, lengths = runs.series[chosen], runs.lengths[chosen]
        at = ranges(runs.starts[chosen], lengths)
        starts = np.cumsum(lengths) - lengths
        observed = readings.observed_at_ms[at]
        before = np.empty_like(observed)
        before[1:] = observed[:-1]
        before[starts] = before_run
        notes = (observed // MINUTE_MS != before // MINUTE_MS) & (before >= 0) & (observed > before)
        if notes.any():
            which = np.repeat(series, lengths)[notes]
            self.waiting.append((which, (observed - before)[notes], readings.received_at_ms[at][notes]))

    def next_change_ms(self) -> int | None:
        """The whole minute at which something noted takes effect."""
        if not self.waiting:
            return None
        return min(int(arrived.min()) for _, _, arrived in self.waiting) // MINUTE_MS * MINUTE_MS + MINUTE_MS

    def take_effect(self, minute_ms: int) -> I64:
        """Let what arrived before this whole minute take effect. Returns the series whose expectation may have changed."""
        series, interval, arrived = (np.concatenate(each) for each in zip(*self.waiting, strict=True))
        now = arrived < minute_ms
        self.waiting = [] if now.all() else [(series[~now], interval[~now], arrived[~now])]
        series, interval = series[now], interval[now]
        order = np.argsort(series, kind="stable")
        series, interval = series[order], interval[order]
        starts = np.flatnonzero(np.concatenate([[True], series[1:] != series[:-1]]))
        lengths = np.diff(starts, append=len(series))
        place = np.arange(len(series)) - np.repeat(starts, lengths)
        # Of more than the ring holds the last count: of several with one place the last is written.
        number = self.noted[series] + place
        self.kept[series, number % KEPT_COUNT] = interval
        mine = series[starts]
        self.noted[mine] += lengths
        for count in range(ENOUGH_COUNT, KEPT_COUNT + 1):
            some = mine[np.minimum(self.noted[mine], KEPT_COUNT) == count]
            if len(some):
                self.expected_ms[some] = np.maximum(np.median(self.kept[some, :count], axis=1), 1_000)
        return mine
