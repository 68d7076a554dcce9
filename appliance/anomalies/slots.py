"""Cuts released readings into turns: in each turn at most one slot of each series, so that a turn is one operation over columns. Pure.

Values of one slot are scored against the same state, and the state moves when the next slot begins. What a series learns depends therefore on its
slots alone, not on where batches were cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from appliance.anomalies.tuning import SLOT_MS
from appliance.core.arrays import I64, U32

_SLOT_LAST = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Turn:
    """Slots of different series.

    Attributes:
        series, slot: Of each slot; slot numbers count from the epoch.
        first: Index of the slot's first reading among those released.
        count: How many readings of the slot follow each other from there.
    """

    series: U32
    slot: U32
    first: I64
    count: I64

    def readings(self) -> I64:
        """Indices of all readings of the turn, slot by slot."""
        before = np.cumsum(self.count) - self.count
        return np.repeat(self.first - before, self.count) + np.arange(int(self.count.sum()))

    @property
    def is_single(self) -> bool:
        """Whether each slot has one reading here."""
        return bool(self.count.max() == 1)


def slots_of(observed_at_ms: I64) -> U32:
    """Number of the slot of each time; what is before 1970 is in the first one."""
    return np.clip(observed_at_ms // SLOT_MS, 0, _SLOT_LAST).astype(np.uint32)


def turns(series: U32, observed_at_ms: I64, index: I64) -> Iterator[Turn]:
    """The turns of readings sorted by (series, time).

    Args:
        index: Of each of these readings among those released (some may have been left out).
    """
    if not len(series):
        return
    slot = slots_of(observed_at_ms)
    is_first_of_series = np.append(True, series[1:] != series[:-1])
    starts = np.flatnonzero(
        is_first_of_series | np.append(True, slot[1:] != slot[:-1]) | np.append(True, np.diff(index) != 1)
    )
    count = np.diff(starts, append=len(series))
    runs_first = np.flatnonzero(is_first_of_series[starts])
    rank = np.arange(len(starts)) - np.repeat(runs_first, np.diff(runs_first, append=len(starts)))
    order = np.argsort(rank, kind="stable")
    ends = np.cumsum(np.bincount(rank))
    begin = 0
    for end in ends.tolist():
        chosen = order[begin:end]
        at = starts[chosen]
        yield Turn(series=series[at], slot=slot[at], first=index[at], count=count[chosen])
        begin = end
