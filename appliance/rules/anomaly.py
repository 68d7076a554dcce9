"""Anomaly: what the detectors make of a reading, or of a silence, is unusual enough for this rule.

A score is the share of what is usual that lies below: 0.999 is what one reading in a thousand reaches by chance. A rule's sensitivity is a band
over it; it is over when the score has fallen to what four times as many readings reach. A finding that a rule doesn't ask for counts as a score of 0.

Must not know: how scores are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np

from appliance.core.arrays import F64, I64, Mask
from appliance.management.rule_conditions import Anomaly, AnyCondition
from appliance.management.watched import WORD_OF_FINDING, Finding, Released, Scores, SilenceScores
from appliance.rules.bands import Band, Banded
from appliance.rules.batches import Pairs, Runs
from appliance.rules.delays import NO_PAIR, Moves
from appliance.rules.measuring import Measuring

THRESHOLD_OF_SENSITIVITY: Final[dict[str, float]] = {"low": 0.999_9, "normal": 0.999, "high": 0.99}
_OVER_FACTOR: Final = 4.0
_FINDING_OF_WORD: Final = {word: finding for finding, word in WORD_OF_FINDING.items()}
_ALL: Final = sum(1 << finding for finding in WORD_OF_FINDING)


class AnomalyTable(Banded):
    """Slots with `what`: bit n is set when finding n counts."""

    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {**Banded.COLUMNS, "what": ("i8", 0)}
    what: I64


class Anomalies(Measuring):
    """Measures the score. Keeps for each slot that is so why it is."""

    TABLE: ClassVar[type[Banded]] = AnomalyTable
    table: AnomalyTable

    def __init__(self) -> None:
        super().__init__()
        self.reasons: dict[int, dict[str, Any]] = {}
        """Slot → explanation of what made its condition so; of no others."""

    def band(self, condition: AnyCondition) -> Band:
        assert isinstance(condition, Anomaly)
        threshold = THRESHOLD_OF_SENSITIVITY[condition.sensitivity]
        return Band(-np.inf, threshold, -np.inf, 1 - _OVER_FACTOR * (1 - threshold))

    def parameters(self, condition: AnyCondition) -> dict[str, float]:
        assert isinstance(condition, Anomaly)
        return {"what": sum(1 << _FINDING_OF_WORD[word] for word in set(condition.what)) or _ALL}

    def keep(self, mask: Mask) -> None:
        place = np.cumsum(mask) - 1
        self.reasons = {int(place[slot]): why for slot, why in self.reasons.items() if mask[slot]}
        super().keep(mask)

    def see(self, readings: Released, runs: Runs, scores: Scores | None) -> tuple[Moves | None, Pairs | None]:
        """Without scores nothing is unusual, and nothing ends either."""
        if scores is None:
            return None, None
        moves, pairs = super().see(readings, runs, scores)
        if pairs is not None:
            self._remember(pairs, readings.observed_at_ms[pairs.at], scores)
        return moves, pairs

    def see_silence(self, silence: SilenceScores) -> tuple[Moves | None, Pairs | None]:
        """Series that dropped out; each at most once."""
        which, slots = self._index.slots_of(silence.series.astype(np.int64))
        if not len(slots):
            return None, None
        ones = np.ones(len(slots), np.int64)
        pairs = Pairs(slots=slots, starts=np.arange(len(slots)), lengths=ones, at=which)
        observed = silence.at_ms[which]
        measures = self._scored(pairs, silence.score, silence.kind)
        moves = self.table.feed(
            slots,
            ones,
            self.table.codes(slots, ones, measures),
            observed=observed,
            received=observed,
            measures=measures,
            values=np.full(len(slots), np.nan),
        )
        self._remember(pairs, observed, silence)
        return moves, pairs

    def measure(self, pairs: Pairs, observed: I64, values: F64, scores: Scores | None) -> F64:
        assert scores is not None
        return self._scored(pairs, scores.score, scores.kind)

    def _scored(self, pairs: Pairs, score: Any, kind: Any) -> F64:
        kinds = kind[pairs.at].astype(np.int64)
        counts = (pairs.spread(self.table.what[pairs.slots]) >> kinds) & 1 == 1
        return np.where(counts & (kinds != Finding.NONE), score[pairs.at].astype(np.float64), 0.0)

    def _remember(self, pairs: Pairs, observed: I64, scores: Scores | SilenceScores) -> None:
        """Keep why, for slots that have become so with these pairs."""
        table = self.table
        so = table.is_so[pairs.slots]
        first = observed[pairs.starts]
        fresh = np.flatnonzero(so & (table.since_ms[pairs.slots] >= first))
        for each in fresh.tolist():
            slot, start = int(pairs.slots[each]), int(pairs.starts[each])
            stretch = observed[start : start + int(pairs.lengths[each])]
            # Of equal times the last reading is the one that counts.
            at = start + int(np.searchsorted(stretch, table.since_ms[slot], side="right")) - 1
            self.reasons[slot] = scores.explain(int(pairs.at[at]))
        if self.reasons:
            for slot in pairs.slots[~so & ~table.is_active[pairs.slots]].tolist():
                self.reasons.pop(slot, None)

    def reason(
        self, slot: int, pair: int, pairs: Pairs | None, scores: Scores | SilenceScores | None
    ) -> dict[str, Any]:
        """Why a slot was raised: by a pair of this call, or by what is remembered."""
        if pair != NO_PAIR and pairs is not None and scores is not None:
            return scores.explain(int(pairs.at[pair]))
        return self.reasons.get(slot, {})
