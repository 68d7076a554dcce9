"""Scores the readings of a turn against what is known of their series. Pure.

Evidence is -log10 of how likely the series itself makes a deviation (tail.py), weighted (tuning.py); the finding that has most of it counts. The score is
the share of what is usual that lies below: 0.99 is what one reading in a hundred reaches. What lasts (shift, drift, variance) is the same for all readings of a slot; an outlier is one reading's own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from appliance.anomalies import levels, words
from appliance.anomalies.columns import Flag, Row
from appliance.anomalies.season import Expected
from appliance.anomalies.tail import FIXED_WEIGHT, decades
from appliance.anomalies.tuning import (
    DRIFT_WEIGHT,
    KNOWN_AGE,
    LOOKED_FOR_DECADES,
    NOISE_WEIGHT,
    OUTLIER_AGE,
    OUTLIER_TAIL_FROM,
    OUTLIER_WEIGHT,
    SHIFT_AGE,
    SHIFT_TAIL_FROM,
    SHIFT_TAIL_SHARE,
    SHIFT_WEIGHT,
    YOUNG_DECADES,
)
from appliance.core.arrays import F32, F64, I64, U8, Mask
from appliance.management.watched import Finding, Scores

_FIXED_SHARE = np.float32(SHIFT_TAIL_SHARE)


class Sheet:
    """The scores of one call, and what explains them: a column for each, as long as the readings.

    Attributes:
        decades: Evidence. kind: `Finding`. usual, now, spreads, by_hour: As in words.of_value.
    """

    def __init__(self, values: F64) -> None:
        count = len(values)
        self.values = values
        self.decades: F32 = np.zeros(count, np.float32)
        self.kind: U8 = np.zeros(count, np.uint8)
        self.usual: F64 = np.zeros(count, np.float64)
        self.now: F64 = np.zeros(count, np.float64)
        self.spreads: F32 = np.zeros(count, np.float32)
        self.by_hour: Mask = np.zeros(count, np.bool_)

    def scores(self) -> Scores:
        """As the contract has them."""
        return Scores(score=score_of(self.decades), kind=self.kind, explain=self.explain)

    def explain(self, at: int, /) -> dict[str, Any]:
        """Why the reading at this index has its score."""
        return words.of_value(
            Finding(int(self.kind[at])),
            value=float(self.values[at]),
            usual=float(self.usual[at]),
            now=float(self.now[at]),
            spreads=float(self.spreads[at]),
            score=float(score_of(self.decades[at : at + 1])[0]),
            by_hour=bool(self.by_hour[at]),
        )


def score_of(evidence: F32) -> F32:
    """The score of evidence, 0 to 1: how sure it is that this is not chance, for as many findings as are looked for."""
    unlikely = np.minimum(10.0 ** (LOOKED_FOR_DECADES - evidence.astype(np.float64)), 1.0)
    return (1.0 - unlikely).astype(np.float32)


class Usual:
    """What is usual for the series of a turn, in the slot that is open: a column for each.

    Attributes:
        value: Relative to the origin. spread: Of single values. floor: The least spread.
        fast: The mean of late, from `value`. shift_spreads: The same in its own spreads.
        by_hour: Whether a profile says so.
    """

    def __init__(self, rows: F32, origin: F64, quantum: F32) -> None:
        self.floor = levels.floors(rows, origin, quantum)
        self.value: F32 = rows[Row.LEVEL]
        self.fast: F32 = rows[Row.FAST] - rows[Row.LEVEL]
        self.shift_spreads = levels.spreads_of(self.fast, rows[Row.FAST_SPREAD], self.floor)
        self.spread: F32 = np.maximum(rows[Row.SPREAD], self.floor)
        self.by_hour: Mask = np.zeros(len(origin), np.bool_)

    def by_profile(self, at: I64, says: Expected) -> None:
        """Put what profiles say in place of the level, for those of the series `at` that use theirs."""
        used = says.is_used
        at = at[used]
        if not len(at):
            return
        self.value, self.spread = self.value.copy(), self.spread.copy()
        self.value[at] = says.value[used]
        self.spread[at] = np.maximum(says.spread[used], self.floor[at])
        self.fast[at] = says.fast[used] * self.spread[at]
        self.shift_spreads[at] = says.shift_spreads[used]
        self.by_hour[at] = True


def score_turn(
    sheet: Sheet,
    *,
    readings: I64,
    which: I64 | None,
    rows: F32,
    origin: F64,
    age: F32,
    flags: U8,
    usual: Usual,
) -> F32:
    """Score readings, into the sheet.

    Args:
        readings: Their indices. which: Of each the place of its series in the columns of the turn; None: one reading each, in order.
    Returns:
        Of each reading how far it is from the usual; 0 of meters.
    """
    is_switch = (flags & Flag.NOT_BOOLEAN) == 0
    is_meter = (flags & Flag.COUNTER) != 0
    spreads, evidence = _lasting(rows, age, usual)
    evidence[:, is_switch] = 0
    kind = evidence.argmax(axis=0)
    columns = np.arange(len(kind))
    best, best_spreads = evidence[kind, columns], spreads[kind, columns]
    base = np.where(is_meter, 0.0, origin)
    expected = base + usual.value
    usually = np.choose(kind, (expected, base + rows[Row.SLOW_LEVEL], np.exp(rows[Row.NOISE_LEVEL])))
    now = np.choose(kind, (expected + usual.fast, base + rows[Row.SLOW], np.exp(rows[Row.NOISE])))
    found = np.where(best > LOOKED_FOR_DECADES, kind + int(Finding.LEVEL_SHIFT), 0).astype(np.uint8)
    scored = (age >= OUTLIER_AGE) & ~is_switch & ~is_meter
    share, weight, spread, by_hour = (
        rows[Row.OUTLIER_SHARE],
        rows[Row.OUTLIER_WEIGHT],
        usual.spread,
        usual.by_hour,
    )
    if which is not None:
        expected, share, weight, spread, by_hour = (
            expected[which],
            share[which],
            weight[which],
            spread[which],
            by_hour[which],
        )
        best, best_spreads, found, scored = best[which], best_spreads[which], found[which], scored[which]
        usually, now, is_meter = usually[which], now[which], is_meter[which]
    values = sheet.values[readings]
    deviation = np.where(is_meter, 0.0, values - expected).astype(np.float32)
    far = levels.spreads_of(deviation, spread, 0.0)
    single = np.float32(OUTLIER_WEIGHT) * decades(far, share, weight, OUTLIER_TAIL_FROM)
    is_single = scored & (single > best)
    evidence_of = np.where(is_single, single, best)
    is_young = age < KNOWN_AGE
    if is_young.any():
        bound = np.where(is_young, np.float32(YOUNG_DECADES), np.float32(np.inf))
        evidence_of = np.minimum(evidence_of, bound if which is None else bound[which])
    sheet.decades[readings] = evidence_of
    is_found = single > LOOKED_FOR_DECADES
    sheet.kind[readings] = np.where(
        is_single, np.where(is_found, np.uint8(Finding.OUTLIER), np.uint8(0)), found
    )
    sheet.usual[readings] = np.where(is_single, expected, usually)
    sheet.now[readings] = np.where(is_single, values, now)
    sheet.spreads[readings] = np.where(is_single, far, best_spreads)
    sheet.by_hour[readings] = by_hour
    return deviation


def _lasting(rows: F32, age: F32, usual: Usual) -> tuple[F32, F32]:
    """(spreads, evidence) of level shift, drift and variance, a row each."""
    shift = np.where(age >= SHIFT_AGE, usual.shift_spreads, np.float32(0.0))
    spreads = np.stack([shift, levels.drift_spreads(rows, usual.floor, age), levels.noise_spreads(rows, age)])
    evidence = np.empty_like(spreads)
    evidence[0] = SHIFT_WEIGHT * decades(
        spreads[0], rows[Row.SHIFT_SHARE], rows[Row.SHIFT_WEIGHT], SHIFT_TAIL_FROM
    )
    evidence[1] = DRIFT_WEIGHT * decades(spreads[1], _FIXED_SHARE, FIXED_WEIGHT, SHIFT_TAIL_FROM)
    evidence[2] = NOISE_WEIGHT * decades(spreads[2], _FIXED_SHARE, FIXED_WEIGHT, SHIFT_TAIL_FROM)
    return spreads, evidence
