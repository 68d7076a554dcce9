"""What sort of series it is: a measurement, a meter that only rises, or a switch. Pure.

* A **switch** has only had 0 and 1. That it is on is no anomaly, however rarely it is: it is watched for dropping out, and rules do the rest.
* A **meter** has risen in at least half of its first slots, fell in none and was never negative. What it rises in a slot is watched in place of its
  value; falling below half of its value is a start from zero, from which nothing is learned. One that falls otherwise was no meter.

And how finely it is measured: how many decimals its values have had at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from appliance.anomalies.columns import Flag, Row
from appliance.anomalies.tuning import COUNTER_AGE, FLOOR_RATIO, REORIGIN_AGE
from appliance.core.arrays import F32, F64, U8, Mask

_RISES_MIN: Final = (COUNTER_AGE - REORIGIN_AGE) / 2
_RESET_SHARE: Final = 0.5
_STEP_EARLY_AGE: Final = 20
_FINEST: Final = 8
"""Of `decimals`: more than six, as far as a double tells."""
_SCALES: Final[F64] = np.array([0.0, *(10.0**n for n in range(7)), 0.0])
_QUANTA: Final[F32] = np.array([0.0, *(10.0**-n for n in range(7)), 0.0], np.float32)
_SAME_RATIO: Final = 1e-7
"""What a 32-bit float leaves of a number is the number."""


@dataclass(frozen=True, slots=True)
class Change:
    """From the first value of one slot to the first of the next.

    Attributes:
        by: The difference. is_move: Whether it is more than the last digits of a float.
        is_reset: A meter began anew. is_no_meter: It fell otherwise.
    """

    by: F64
    is_move: Mask
    is_reset: Mask
    is_no_meter: Mask


def change(before: F64, after: F64, flags: U8) -> Change:
    """What happened between two slots of each series."""
    by = after - before
    is_move = np.abs(by) > FLOOR_RATIO * np.maximum(np.abs(before), np.abs(after))
    fell = ((flags & Flag.COUNTER) != 0) & is_move & (by < 0)
    is_reset = fell & (after < _RESET_SHARE * before)
    return Change(by=by, is_move=is_move, is_reset=is_reset, is_no_meter=fell & ~is_reset)


def learn_step(step: F32, moved: Change, size: F32, age: F32) -> F32:
    """The size of a usual change, after one more of this size; what doesn't move teaches nothing."""
    early = age < _STEP_EARLY_AGE
    part = np.where(step == 0, np.float32(1.0), np.where(early, np.float32(0.3), np.float32(0.1)))
    bounded = np.where(early | (step == 0), size, np.minimum(size, 3 * step))
    return np.where(moved.is_move & ~moved.is_reset, step + part * (bounded - step), step).astype(
        np.float32, copy=False
    )


def becomes_meter(rows: F32, origin: F64, after: F64, flags: U8, age: F32) -> Mask:
    """Whether each is a meter, decided once; the origin was set when REORIGIN_AGE slots were known."""
    excluded = Flag.FELL | Flag.NOT_COUNTER | Flag.COUNTER
    rose = (after - origin) >= _RISES_MIN * rows[Row.STEP]
    positive = (origin >= 0) & (rows[Row.STEP] > 0)
    is_candidate = ((flags & excluded) == 0) & ((flags & Flag.NOT_BOOLEAN) != 0)
    return np.asarray((age == COUNTER_AGE) & is_candidate & rose & positive, np.bool_)


def not_boolean(values: F64) -> Mask:
    """Whether each value is neither 0 nor 1."""
    return np.asarray((values != 0.0) & (values != 1.0), np.bool_)


def learn_decimals(known: U8, values: F64) -> U8:
    """One more than the decimals that values have had at most, after one more of each series; zeros say nothing.

    Args:
        known: The same before; 0 for none.
    """
    finer = np.flatnonzero((known < _FINEST) & _has_more(values, known))
    if not len(finer):
        return known
    found = known.copy()
    while len(finer):
        found[finer] += np.uint8(1)
        finer = finer[(found[finer] < _FINEST) & _has_more(values[finer], found[finer])]
    return found


def _has_more(values: F64, decimals: U8) -> Mask:
    scaled = values * _SCALES[decimals]
    more = np.abs(scaled - np.rint(scaled)) > _SAME_RATIO * np.abs(scaled)
    return np.asarray(more | ((decimals == 0) & (values != 0.0)), np.bool_)


def quantum(decimals: U8) -> F32:
    """What the last of its decimals is worth; 0 where that isn't known, or is too little to matter."""
    return _QUANTA[decimals]
