"""Repetition: a value goes beyond a limit so many times within a time.

A crossing is a reading beyond the limit after one that is not. It is so while the last `count` crossings lie within `within_s` of now;
so it ends by the clock, `within_s` after the oldest of them, whether or not readings come. That end is worked in among the readings as one
more, so that it is found at the same time by the next reading and by a tick.

Must not know: anything but columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from appliance.core.arrays import I64, Mask
from appliance.management.rule_conditions import AnyCondition, Repetition
from appliance.management.watched import Released, Scores
from appliance.rules.bands import Band, Banded, above, below
from appliance.rules.batches import Pairs, Runs, ranges
from appliance.rules.delays import Moves
from appliance.rules.measuring import Measuring
from appliance.rules.table import NEVER, damaged


class RepetitionTable(Banded):
    """Slots with their last crossings.

    Attributes:
        need, within_ms: Of the condition.
        is_beyond: Whether the last reading was.
        place, filled: Where in `crossings` the slot's `need` times begin, and how many of them count.
        lapse_ms: When it ends by itself; NEVER: it is not so.
        seen_observed_ms, seen_received_ms: Of the last reading.
        crossings: All slots' times, one after the other.
    """

    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Banded.COLUMNS,
        "need": ("i8", 2),
        "within_ms": ("i8", 0),
        "is_beyond": ("?", False),
        "place": ("i8", 0),
        "filled": ("i8", 0),
        "lapse_ms": ("i8", NEVER),
        "seen_observed_ms": ("i8", 0),
        "seen_received_ms": ("i8", 0),
    }
    need: I64
    within_ms: I64
    is_beyond: Mask
    place: I64
    filled: I64
    lapse_ms: I64
    seen_observed_ms: I64
    seen_received_ms: I64
    crossings: I64

    def __init__(self) -> None:
        super().__init__()
        self.crossings = np.empty(0, np.int64)

    def add(self, count: int, **given: I64) -> I64:
        slots = super().add(count, **given)
        need = self.need[slots]
        self.place[slots] = len(self.crossings) + np.cumsum(need) - need
        self.crossings = np.concatenate([self.crossings, np.zeros(int(need.sum()), np.int64)])
        return slots

    def keep(self, mask: Mask) -> None:
        self.crossings = self.crossings[ranges(self.place[mask], self.need[mask])]
        super().keep(mask)
        self.place = np.cumsum(self.need) - self.need

    def columns(self) -> dict[str, bytes]:
        return {**super().columns(), "crossings": self.crossings.tobytes()}

    def restore(self, count: int, columns: Mapping[str, bytes]) -> None:
        super().restore(count, columns)
        data = columns.get("crossings", b"")
        if (self.need < 2).any() or len(data) != 8 * int(self.need.sum()):
            raise damaged("crossings")
        if (self.filled < 0).any() or (self.filled > self.need).any():
            raise damaged("number of crossings")
        self.place = np.cumsum(self.need) - self.need
        self.crossings = np.frombuffer(data, np.int64).copy()


class Repetitions(Measuring):
    """Measures nothing but whether a value is beyond its limit, and counts."""

    TABLE: ClassVar[type[Banded]] = RepetitionTable
    table: RepetitionTable

    def band(self, condition: AnyCondition) -> Band:
        assert isinstance(condition, Repetition)
        return above(condition.limit) if condition.is_ == "above" else below(condition.limit)

    def parameters(self, condition: AnyCondition) -> dict[str, float]:
        assert isinstance(condition, Repetition)
        return {"need": condition.count, "within_ms": round(condition.within_s * 1_000)}

    def see(self, readings: Released, runs: Runs, scores: Scores | None) -> tuple[Moves | None, Pairs | None]:
        pairs = self._index.pairs(runs)
        if pairs is None:
            return None, None
        table, slots = self.table, pairs.slots
        values, observed = readings.values[pairs.at], readings.observed_at_ms[pairs.at]
        received = readings.received_at_ms[pairs.at]
        beyond = table.codes(slots, pairs.lengths, values) == 1
        lapse = self._lapses(pairs, observed, beyond)
        codes = (observed < lapse).astype(np.int8)

        # An end that comes before a reading: of the time before this batch, or of the reading before it.
        observed_before, received_before, lapse_before = (np.empty_like(observed) for _ in range(3))
        observed_before[1:], received_before[1:], lapse_before[1:] = observed[:-1], received[:-1], lapse[:-1]
        observed_before[pairs.starts] = table.seen_observed_ms[slots]
        received_before[pairs.starts] = table.seen_received_ms[slots]
        lapse_before[pairs.starts] = table.lapse_ms[slots]
        was_so = (lapse_before > observed_before) & (lapse_before != NEVER)
        left = np.maximum(lapse_before - observed_before, 0)
        ended = was_so & ((observed > lapse_before) | (received - received_before > left))

        last = pairs.starts + pairs.lengths - 1
        table.lapse_ms[slots] = np.where(codes[last] == 1, lapse[last], NEVER)
        table.seen_observed_ms[slots], table.seen_received_ms[slots] = observed[last], received[last]
        at = np.flatnonzero(ended)
        lengths = pairs.lengths + np.add.reduceat(ended, pairs.starts)
        moves = table.feed(
            slots,
            lengths,
            np.insert(codes, at, 0),
            observed=np.insert(observed, at, lapse_before[at]),
            received=np.insert(received, at, (received_before + left)[at]),
            measures=np.repeat(table.need[slots], lengths).astype(np.float64),
            values=np.insert(values, at, np.nan),
        )
        return moves, None

    def _lapses(self, pairs: Pairs, observed: I64, beyond: Mask) -> I64:
        """Per pair when it ends if nothing more is crossed: 0 where there were too few crossings. Takes over the crossings."""
        table, slots = self.table, pairs.slots
        before = np.empty_like(beyond)
        before[1:] = beyond[:-1]
        before[pairs.starts] = table.is_beyond[slots]
        crosses = beyond & ~before
        table.is_beyond[slots] = beyond[pairs.starts + pairs.lengths - 1]

        filled, need = table.filled[slots], table.need[slots]
        new = np.add.reduceat(crosses, pairs.starts)
        count = filled + new
        first = np.cumsum(count) - count
        times = np.empty(int(count.sum()), np.int64)
        times[ranges(first, filled)] = table.crossings[ranges(table.place[slots], filled)]
        times[ranges(first + filled, new)] = observed[crosses]

        crossed: I64 = np.cumsum(crosses)
        so_far = crossed - pairs.spread(crossed[pairs.starts] - crosses[pairs.starts]) + pairs.spread(filled)
        oldest = so_far - pairs.spread(need)
        enough = oldest >= 0
        if not len(times):
            return np.zeros(len(observed), np.int64)
        found = times[np.where(enough, pairs.spread(first) + oldest, 0)]
        stay = np.minimum(count, need)
        table.crossings[ranges(table.place[slots], stay)] = times[ranges(first + count - stay, stay)]
        table.filled[slots] = stay
        return np.where(enough, found + pairs.spread(table.within_ms[slots]) + 1, 0)

    def lapse(self, horizon_ms: int) -> Moves | None:
        """What ends by itself when all that arrived at or before the horizon has been seen."""
        table = self.table
        left = np.maximum(table.lapse_ms - table.seen_observed_ms, 0)
        slots = np.flatnonzero((table.lapse_ms != NEVER) & (table.seen_received_ms + left <= horizon_ms))
        if not len(slots):
            return None
        observed, received = table.lapse_ms[slots], (table.seen_received_ms + left)[slots]
        table.lapse_ms[slots] = NEVER
        return table.feed(
            slots,
            np.ones(len(slots), np.int64),
            np.zeros(len(slots), np.int8),
            observed=observed,
            received=received,
            measures=table.need[slots].astype(np.float64),
            values=np.full(len(slots), np.nan),
        )
