"""Rate: how fast a value changes, measured over a stretch of time.

The rate at a reading is (value - earlier value) / (time - earlier time) a second, where the earlier reading is the newest anchor that is
at least `over_s` old. Anchors are the first reading in each eighth of `over_s` (by the clock, not from the first reading on), so that
memory is bounded whatever the pace of the readings, and which readings are anchors doesn't depend on batches. So the rate is over `over_s`
to 9/8 of it where readings are frequent, and over two neighbours where they are rarer than that.

Must not know: anything but columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import numpy as np

from appliance.core.arrays import F64, I64
from appliance.management.rule_conditions import AnyCondition, Rate
from appliance.management.watched import Scores
from appliance.rules.bands import Band, Banded, above, below, outside
from appliance.rules.batches import Pairs, ranges
from appliance.rules.measuring import Measuring

ANCHOR_COUNT: Final = 10
"""Per slot: those of the last 9/8 of the stretch, and the one before, which is the newest that is old enough."""
_PARTS: Final = 8
_TIME_BITS: Final = 44


class RateTable(Banded):
    """Slots with anchors.

    Attributes:
        over_ms: The stretch.
        times, levels: Anchors in the order of their times, right-aligned; `filled` of them count. Shape (slots, ANCHOR_COUNT).
    """

    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Banded.COLUMNS,
        "over_ms": ("i8", 1_000),
        "times": (f"({ANCHOR_COUNT},)i8", 0),
        "levels": (f"({ANCHOR_COUNT},)f8", 0.0),
        "filled": ("i8", 0),
    }
    over_ms: I64
    times: I64
    levels: F64
    filled: I64


class Rates(Measuring):
    """Measures the change a second."""

    TABLE: ClassVar[type[Banded]] = RateTable
    table: RateTable

    def band(self, condition: AnyCondition) -> Band:
        assert isinstance(condition, Rate)
        limit, hysteresis = condition.limit, min(condition.hysteresis, condition.limit)
        match condition.direction:
            case "rising":
                return above(limit, hysteresis)
            case "falling":
                return below(-limit, hysteresis)
            case "either":
                return outside(-limit, limit, hysteresis)

    def parameters(self, condition: AnyCondition) -> dict[str, float]:
        assert isinstance(condition, Rate)
        return {"over_ms": round(condition.over_s * 1_000)}

    def measure(self, pairs: Pairs, observed: I64, values: F64, scores: Scores | None) -> F64:
        table, slots = self.table, pairs.slots
        filled = table.filled[slots]
        part_ms = -(-table.over_ms[slots] // _PARTS)
        part = observed // pairs.spread(part_ms)
        newest = table.times[slots, -1]
        before = np.empty_like(part)
        before[1:] = part[:-1]
        before[pairs.starts] = np.where(filled > 0, newest // part_ms, part[pairs.starts] - 1)
        is_anchor = part != before

        # One list of anchors, slot by slot: those that are kept, then those of these readings.
        new_count = np.add.reduceat(is_anchor, pairs.starts)
        count = filled + new_count
        first = np.cumsum(count) - count
        times, levels = np.empty(int(count.sum()), np.int64), np.empty(int(count.sum()))
        kept = ranges(first, filled)
        row, place = np.repeat(slots, filled), ranges(ANCHOR_COUNT - filled, filled)
        times[kept], levels[kept] = table.times[row, place], table.levels[row, place]
        added = ranges(first + filled, new_count)
        times[added], levels[added] = observed[is_anchor], values[is_anchor]

        # The newest anchor at least `over_ms` before each reading: a search in (slot, time), both ascending.
        low = int(min(times.min(), observed.min()))
        rank = np.arange(len(slots)) << _TIME_BITS
        keys = np.repeat(rank, count) + (times - low)
        wanted = np.maximum(observed - pairs.spread(table.over_ms[slots]) - low, -1)
        found = np.searchsorted(keys, pairs.spread(rank) + wanted, side="right") - 1
        is_known = found >= pairs.spread(first)
        found = np.where(is_known, found, 0)
        seconds = (observed - times[found]) / 1_000
        rates = np.where(is_known, (values - levels[found]) / np.where(is_known, seconds, 1.0), np.nan)

        # Keep the last ones, right-aligned.
        stay = np.minimum(count, ANCHOR_COUNT)
        row, place = np.repeat(slots, stay), ranges(ANCHOR_COUNT - stay, stay)
        source = ranges(first + count - stay, stay)
        table.times[row, place], table.levels[row, place] = times[source], levels[source]
        table.filled[slots] = stay
        return np.asarray(rates)
