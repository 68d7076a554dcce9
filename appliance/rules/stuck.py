"""Stuck: a value has not moved for a time, although readings came.

A value moves when it is more than `tolerance` away from where it stood. In the sixteenth of `for_s` in which it moves (by the clock) it is
followed to wherever it goes; so the steps of the loop below are sixteenths and not readings, and a value that creeps is seen to
move when it has crept far enough. It is stuck from the first reading on that comes `for_s` or more after it moved last and is at least
the third since: two readings say that it is there, not that it stands.

Must not know: anything but columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from appliance.core.arrays import F64, I64
from appliance.core.limits_alarms import RULE_STUCK_STEP_COUNT_MAX
from appliance.management.rule_conditions import AnyCondition, Stuck
from appliance.management.watched import Scores
from appliance.rules.bands import Band, Banded, above
from appliance.rules.batches import Pairs
from appliance.rules.measuring import Measuring

READING_COUNT_MIN: Final = 3
_PARTS: Final = 16


class StuckTable(Banded):
    """Slots with where the value stands.

    Attributes:
        for_ms, tolerance: Of the condition.
        stood: The value that it hasn't moved from; NaN: there was no reading yet. moved_ms: When it came there.
        moving: The part of time in which it moved last. seen: Readings since.
    """

    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Banded.COLUMNS,
        "for_ms": ("i8", 1_000),
        "tolerance": ("f8", 0.0),
        "stood": ("f8", np.nan),
        "moved_ms": ("i8", 0),
        "moving": ("i8", 0),
        "seen": ("i8", 0),
    }
    for_ms: I64
    tolerance: F64
    stood: F64
    moved_ms: I64
    moving: I64
    seen: I64


class Stucks(Measuring):
    """Measures for how many seconds the value has stood, 0 while it can't be said."""

    TABLE: ClassVar[type[Banded]] = StuckTable
    table: StuckTable

    def band(self, condition: AnyCondition) -> Band:
        assert isinstance(condition, Stuck)
        # At for_s exactly it is so: measures are whole milliseconds.
        return above(round(condition.for_s * 1_000) / 1_000 - 0.000_5)

    def parameters(self, condition: AnyCondition) -> dict[str, float]:
        assert isinstance(condition, Stuck)
        return {"for_ms": round(condition.for_s * 1_000), "tolerance": condition.tolerance}

    def measure(self, pairs: Pairs, observed: I64, values: F64, scores: Scores | None) -> F64:
        table = self.table
        part = observed // pairs.spread(np.maximum(table.for_ms[pairs.slots] // _PARTS, 1))
        begins = np.empty(len(part), np.bool_)
        begins[1:] = part[1:] != part[:-1]
        begins[pairs.starts] = True
        starts = np.flatnonzero(begins)
        lengths = np.diff(starts, append=len(part))
        # How many parts each slot has here; its n-th part is looked at in the n-th step.
        first = np.searchsorted(starts, pairs.starts)
        count = np.diff(first, append=len(starts))
        measures = np.zeros(len(part))
        for step in range(min(int(count.max()), RULE_STUCK_STEP_COUNT_MAX)):
            mine = np.flatnonzero(count > step)
            here = first[mine] + step
            self._step(
                pairs.slots[mine], part[starts[here]], starts[here], lengths[here], observed, values, measures
            )
        for each in np.flatnonzero(count > RULE_STUCK_STEP_COUNT_MAX).tolist():
            start = int(starts[first[each] + RULE_STUCK_STEP_COUNT_MAX])
            end = int(pairs.starts[each] + pairs.lengths[each])
            measures[start:end] = self._one_by_one(
                int(pairs.slots[each]),
                part[start:end].tolist(),
                observed[start:end].tolist(),
                values[start:end].tolist(),
            )
        return measures

    def _one_by_one(
        self, slot: int, parts: list[int], observed: list[int], values: list[float]
    ) -> list[float]:
        """The same, reading by reading: for a series whose readings lie far apart in time and come all at once."""
        table = self.table
        tolerance, stood = float(table.tolerance[slot]), float(table.stood[slot])
        moved, moving, seen = int(table.moved_ms[slot]), int(table.moving[slot]), int(table.seen[slot])
        measures = []
        for part, at, value in zip(parts, observed, values, strict=True):
            if part == moving or not abs(value - stood) <= tolerance:
                stood, moved, moving, seen = value, at, part, 0
                measures.append(0.0)
            else:
                seen += 1
                measures.append((at - moved) / 1_000 if seen >= READING_COUNT_MIN else 0.0)
        table.stood[slot], table.moved_ms[slot], table.moving[slot], table.seen[slot] = (
            stood,
            moved,
            moving,
            seen,
        )
        return measures

    def _step(
        self, slots: I64, part: I64, starts: I64, lengths: I64, observed: I64, values: F64, measures: F64
    ) -> None:
        """One part of each of the slots: readings `starts` to `starts + lengths`."""
        table = self.table
        total = int(lengths.sum())
        offsets = np.cumsum(lengths) - lengths
        within = np.arange(total) - np.repeat(offsets, lengths)
        at = np.repeat(starts, lengths) + within
        stood = table.stood[slots]
        moves = ~(
            np.abs(values[at] - np.repeat(stood, lengths)) <= np.repeat(table.tolerance[slots], lengths)
        )
        moves |= np.repeat((table.moving[slots] == part) & ~np.isnan(stood), lengths)
        moved = np.logical_or.reduceat(moves, offsets)
        # From the first reading that moves on, the rest of this part moves with it.
        first_moving = np.minimum.reduceat(np.where(moves, within, total), offsets)
        seen = np.repeat(table.seen[slots], lengths) + within + 1
        stands = (within < np.repeat(first_moving, lengths)) & (seen >= READING_COUNT_MIN)
        measures[at] = np.where(
            stands, (observed[at] - np.repeat(table.moved_ms[slots], lengths)) / 1_000, 0.0
        )
        last = starts + lengths - 1
        table.stood[slots] = np.where(moved, values[last], stood)
        table.moved_ms[slots] = np.where(moved, observed[last], table.moved_ms[slots])
        table.moving[slots] = np.where(moved, part, table.moving[slots])
        table.seen[slots] = np.where(moved, 0, table.seen[slots] + lengths)
