"""The kinds that measure each reading of a series: what they have in common.

A kind keeps its slots in a table, finds its pairs by the series, measures them (the value itself, a rate, a score …), and feeds
what its bands say into the delays.

Must not know: rules beyond their condition, devices, how a transition is told.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from appliance.core.arrays import F64, I64, Mask
from appliance.management.rule_conditions import AnyCondition
from appliance.management.watched import Released, Scores
from appliance.rules.bands import Band, Banded
from appliance.rules.batches import Pairs, Runs, SeriesIndex
from appliance.rules.delays import Moves


class Measuring(ABC):
    """A kind whose measure is a function of a slot's state and its readings; this one measures the value itself."""

    TABLE: ClassVar[type[Banded]] = Banded

    def __init__(self) -> None:
        self.table = self.TABLE()
        self._index = SeriesIndex()

    @abstractmethod
    def band(self, condition: AnyCondition) -> Band:
        """The condition's band over what is measured."""

    def parameters(self, condition: AnyCondition) -> dict[str, float]:
        """More columns of the table that the condition sets."""
        return {}

    def add(self, condition: AnyCondition, **about: I64) -> None:
        """Slots of one rule: the columns `rule`, `series`, `device`, `group`, `on_ms`, `off_ms`; `changed` is due afterwards."""
        self.table.add(
            len(about["rule"]), **about, **self.band(condition)._asdict(), **self.parameters(condition)
        )

    def keep(self, mask: Mask) -> None:
        """Let go of slots; `changed` is due afterwards."""
        self.table.keep(mask)

    def changed(self) -> None:
        """Slots came or went."""
        self._index.build(self.table.series, np.arange(self.table.count))

    def see(self, readings: Released, runs: Runs, scores: Scores | None) -> tuple[Moves | None, Pairs | None]:
        """What readings that say something move; and the pairs that `Moves.pair` counts."""
        pairs = self._index.pairs(runs)
        if pairs is None:
            return None, None
        values = readings.values[pairs.at]
        observed = readings.observed_at_ms[pairs.at]
        measures = self.measure(pairs, observed, values, scores)
        codes = self.table.codes(pairs.slots, pairs.lengths, measures)
        moves = self.table.feed(
            pairs.slots,
            pairs.lengths,
            codes,
            observed=observed,
            received=readings.received_at_ms[pairs.at],
            measures=measures,
            values=values,
        )
        return moves, pairs

    def measure(self, pairs: Pairs, observed: I64, values: F64, scores: Scores | None) -> F64:
        """One number per pair, NaN where there is none yet."""
        return values
