"""Readings of one call, cut into runs of one series, and which slots of a table each run is for.

A run is what is read of one series, in the order of its times; a stretch of pairs is a run as one slot sees it. A series that no
slot is about costs its share of finding the runs and nothing more.

Must not know: rules, what is done with the pairs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from appliance.core.arrays import I64, Mask
from appliance.management.readings import Quality
from appliance.management.watched import Released


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Where each series of a batch begins. All columns have one entry per series that is in it."""

    series: I64
    starts: I64
    lengths: I64


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Readings as slots see them: each slot that is in it once, with its readings next to each other in the order of their times.

    Attributes:
        slots, starts, lengths: Per slot: its number, and which of the pairs are its own.
        at: Per pair: index of the reading in the batch.
    """

    slots: I64
    starts: I64
    lengths: I64
    at: I64

    def spread(self, per_slot: I64) -> I64:
        """A column per slot as one per pair."""
        return np.repeat(per_slot, self.lengths)


def runs_of(readings: Released) -> Runs:
    """The runs of a batch that is sorted by series."""
    series = readings.series
    if not len(series):
        empty = np.empty(0, np.int64)
        return Runs(series=empty, starts=empty, lengths=empty)
    starts = np.concatenate([[0], np.flatnonzero(series[1:] != series[:-1]) + 1])
    lengths = np.diff(starts, append=len(series))
    return Runs(series=series[starts].astype(np.int64), starts=starts, lengths=lengths)


def saying_something(readings: Released) -> Released:
    """Without readings that say nothing of what is measured: not finite, or of bad quality."""
    says = np.isfinite(readings.values) & (readings.quality != Quality.BAD)
    if says.all():
        return readings
    return chosen(readings, says)


def chosen(readings: Released, mask: Mask) -> Released:
    """Those of the readings where the mask is True."""
    return Released(
        series=readings.series[mask],
        observed_at_ms=readings.observed_at_ms[mask],
        received_at_ms=readings.received_at_ms[mask],
        values=readings.values[mask],
        quality=readings.quality[mask],
        epoch=readings.epoch,
        seq=readings.seq,
    )


def ranges(starts: I64, lengths: I64) -> I64:
    """`starts[0], starts[0] + 1, …` for each start, one after the other; lengths are at least 1."""
    total = int(lengths.sum())
    if not total:
        return np.empty(0, np.int64)
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(total)


def indices_of(column: I64, numbers: Iterable[int]) -> I64:
    """Where a column has one of these numbers."""
    found: I64 = np.flatnonzero(np.isin(column, np.array(sorted(numbers), np.int64)))
    return found


class SeriesIndex:
    """Which slots are about a series (compressed sparse rows)."""

    def __init__(self) -> None:
        self._first = np.zeros(0, np.int64)
        self._count = np.zeros(0, np.int64)
        self._slots = np.empty(0, np.int64)

    def build(self, series: I64, slots: I64) -> None:
        """Anew from (series, slot), in any order."""
        order = np.lexsort((slots, series))
        self._slots = slots[order]
        self._count = np.bincount(series) if len(series) else np.zeros(0, np.int64)
        self._first = np.cumsum(self._count) - self._count

    def __len__(self) -> int:
        return len(self._slots)

    def is_about(self, series: I64) -> Mask:
        """Whether any slot is about each of the series."""
        within = series < len(self._count)
        known = np.where(within, series, 0)
        return within & (self._count[known] > 0) if len(self._count) else np.zeros(len(series), np.bool_)

    def slots_of(self, series: I64) -> tuple[I64, I64]:
        """(index into `series`, slot) for every slot about one of the series."""
        about = np.flatnonzero(self.is_about(series))
        counts = self._count[series[about]]
        return np.repeat(about, counts), self._slots[ranges(self._first[series[about]], counts)]

    def pairs(self, runs: Runs) -> Pairs | None:
        """The runs as the slots see them; None when no slot is about any of them. A slot must be about one series only."""
        if not len(self._slots):
            return None
        which, slots = self.slots_of(runs.series)
        if not len(slots):
            return None
        lengths = runs.lengths[which]
        return Pairs(
            slots=slots,
            starts=np.cumsum(lengths) - lengths,
            lengths=lengths,
            at=ranges(runs.starts[which], lengths),
        )
