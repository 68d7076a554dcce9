"""What a slot teaches: levels and spreads at three paces. Pure; works on the rows of the series whose slot ended.

Each level follows its stream by a part of the deviation, clipped at CLIP_SPREADS of its own spread, and the spread is the mean of the clipped
deviations: a running stand-in for median and median deviation, so that an anomaly moves them little and doesn't teach itself. While a series is young
the part is 1 / age: the plain mean.

    stream                     level         spread        finding
    each value                 LEVEL         SPREAD        outlier
    mean of 12 slots (FAST)    LEVEL         FAST_SPREAD   level shift
    mean of 60 slots (SLOW)    SLOW_LEVEL    SLOW_SPREAD   drift
    log of the deviation, 60   NOISE_LEVEL   NOISE_SPREAD  variance
"""

from __future__ import annotations

import numpy as np

from appliance.anomalies import tail
from appliance.anomalies.columns import Row
from appliance.anomalies.tuning import (
    CLIP_SPREADS,
    DRIFT_AGE,
    FAST_SLOTS,
    FLOOR_RATIO,
    LEVEL_SLOTS,
    NOISE_AGE,
    NOISE_LEVEL_SLOTS,
    NOISE_SLOTS,
    OUTLIER_AGE,
    OUTLIER_TAIL_FROM,
    OUTLIER_TAIL_SHARE,
    QUANTUM_SHARE,
    SETTLED_AGE,
    SHIFT_AGE,
    SHIFT_TAIL_FROM,
    SHIFT_TAIL_SHARE,
    SLOW_LEVEL_SLOTS,
    SLOW_SLOTS,
    STEP_SHARE,
)
from appliance.core.arrays import F32, F64, Mask

_TINY = np.float32(1e-30)
_SPREADS_MAX = np.float32(1e9)
"""So that what was constant at zero and jumps has a number of spreads that JSON can hold."""
_LOG_FLOOR_SHARE = np.float32(1e-3)


def floors(rows: F32, origin: F64, quantum: F32) -> F32:
    """The least spread of each series: a share of its usual change, of its last decimal, and of its value."""
    value = np.abs(origin + rows[Row.LEVEL]).astype(np.float32)
    moved = np.maximum(rows[Row.STEP] * np.float32(STEP_SHARE), quantum * np.float32(QUANTUM_SHARE))
    least: F32 = np.maximum(moved, value * np.float32(FLOOR_RATIO)) + _TINY
    return least


def gain(age: F32, slots: int) -> F32:
    """The part of a deviation that a level follows, `age` slots old."""
    part: F32 = np.maximum(np.float32(1.0 / slots), np.float32(1.0) / (age + np.float32(1.0)))
    return part


def follow(level: F32, spread: F32, value: F32, floor: F32 | float, age: F32, slots: int) -> tuple[F32, F32]:
    """(level, spread) after one more value."""
    part = gain(age, slots)
    deviation = value - level
    bound = np.where(
        age >= SETTLED_AGE, np.float32(CLIP_SPREADS) * np.maximum(spread, floor), np.float32(np.inf)
    )
    clipped = np.clip(deviation, -bound, bound)
    return level + part * clipped, spread + part * (np.abs(clipped) - spread)


def learn(
    rows: F32, *, value: F32, deviation: F32, inner: F32, first: F32, floor: F32, age: F32, fast_spreads: F32
) -> None:
    """One slot more, in place.

    Args:
        value: The slot's mean, relative to the origin; of a counter its rate.
        deviation: Mean distance of the slot's values from what was usual. inner: What of it is not the mean's own distance.
        first: Distance of the first value from what was usual, in spreads.
        floor: Of `floors`. age: Slots so far.
        fast_spreads: How far the mean of late was from the level in spreads, with this slot, as scored: what the tail of shifts learns.
    """
    share, weight = tail.learn(
        first, rows[Row.OUTLIER_SHARE], rows[Row.OUTLIER_WEIGHT], age, OUTLIER_TAIL_FROM, OUTLIER_TAIL_SHARE
    )
    ready = age >= OUTLIER_AGE
    rows[Row.OUTLIER_SHARE] = np.where(ready, share, rows[Row.OUTLIER_SHARE])
    rows[Row.OUTLIER_WEIGHT] = np.where(ready, weight, rows[Row.OUTLIER_WEIGHT])
    share, weight = tail.learn(
        fast_spreads, rows[Row.SHIFT_SHARE], rows[Row.SHIFT_WEIGHT], age, SHIFT_TAIL_FROM, SHIFT_TAIL_SHARE
    )
    ready = age >= SHIFT_AGE
    rows[Row.SHIFT_SHARE] = np.where(ready, share, rows[Row.SHIFT_SHARE])
    rows[Row.SHIFT_WEIGHT] = np.where(ready, weight, rows[Row.SHIFT_WEIGHT])
    # From the mean of late, so that a shift is no noise; within the floor nothing is told apart.
    noise = np.log(
        inner + np.abs(value - rows[Row.FAST]) + np.maximum(_LOG_FLOOR_SHARE * rows[Row.SPREAD], floor)
    )
    rows[Row.FAST] += gain(age, FAST_SLOTS) * (value - rows[Row.FAST])
    _learn_spread(rows, deviation, floor, age)
    rows[Row.LEVEL], rows[Row.FAST_SPREAD] = follow(
        rows[Row.LEVEL], rows[Row.FAST_SPREAD], rows[Row.FAST], floor, age, LEVEL_SLOTS
    )
    rows[Row.SLOW] += gain(age, SLOW_SLOTS) * (value - rows[Row.SLOW])
    rows[Row.SLOW_LEVEL], rows[Row.SLOW_SPREAD] = follow(
        rows[Row.SLOW_LEVEL], rows[Row.SLOW_SPREAD], rows[Row.SLOW], floor, age, SLOW_LEVEL_SLOTS
    )
    # The first slot has no deviation yet: noise is a slot younger.
    younger = np.maximum(age - np.float32(1.0), np.float32(0.0))
    rows[Row.NOISE] += gain(younger, NOISE_SLOTS) * (noise - rows[Row.NOISE])
    rows[Row.NOISE_LEVEL], rows[Row.NOISE_SPREAD] = follow(
        rows[Row.NOISE_LEVEL],
        rows[Row.NOISE_SPREAD],
        rows[Row.NOISE],
        _NOISE_FLOOR,
        younger,
        NOISE_LEVEL_SLOTS,
    )


_NOISE_FLOOR = 0.1
"""A tenth more or less noise is never news."""


def _learn_spread(rows: F32, deviation: F32, floor: F32, age: F32) -> None:
    bound = np.where(
        age >= SETTLED_AGE, np.float32(CLIP_SPREADS) * np.maximum(rows[Row.SPREAD], floor), np.float32(np.inf)
    )
    # Of the first slot all deviations are from itself: it says nothing about the spread.
    rows[Row.SPREAD] += np.where(
        age >= 1, gain(age, LEVEL_SLOTS) * (np.minimum(deviation, bound) - rows[Row.SPREAD]), 0.0
    )


def begin_noise(rows: F32, origin: F64, quantum: F32, begun: Mask) -> None:
    """Of series that have moved for the first time: what was no noise at all before is no measure of it."""
    if begun.any():
        quiet = np.log(floors(rows[:, begun], origin[begun], quantum[begun]))
        rows[Row.NOISE, begun] = quiet
        rows[Row.NOISE_LEVEL, begun] = quiet


def spreads_of(deviation: F32, spread: F32, floor: F32 | float) -> F32:
    """A distance in spreads, none less than its floor; at most a milliard."""
    with np.errstate(over="ignore"):
        spreads: F32 = np.minimum(np.abs(deviation) / np.maximum(spread, floor), _SPREADS_MAX)
    return spreads


def drift_spreads(rows: F32, floor: F32, age: F32) -> F32:
    """How far the mean of the last SLOW_SLOTS is from the slow level, in its spreads; 0 while the series is young."""
    spreads = spreads_of(rows[Row.SLOW] - rows[Row.SLOW_LEVEL], rows[Row.SLOW_SPREAD], floor)
    return np.where(age >= DRIFT_AGE, spreads, np.float32(0.0))


def noise_spreads(rows: F32, age: F32) -> F32:
    """How far the noise is from the usual, up or down, in its spreads; 0 while the series is young."""
    spreads = spreads_of(rows[Row.NOISE] - rows[Row.NOISE_LEVEL], rows[Row.NOISE_SPREAD], _NOISE_FLOOR)
    return np.where(age >= NOISE_AGE, spreads, np.float32(0.0))
