"""When a number makes a condition so, and when no longer: two bands, between which hysteresis keeps it as it is.

Every kind that measures something ends here: the value itself, a rate, a difference, a score.

Must not know: what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from appliance.core.arrays import F64, I8, I64, Mask
from appliance.rules.delays import KEEP, Delayed


class Band(NamedTuple):
    """It is so beyond `low` to `high`, and over within `low_over` to `high_over`; inverted the other way round."""

    low: float
    high: float
    low_over: float
    high_over: float
    inverted: bool = False


def above(limit: float, hysteresis: float = 0.0) -> Band:
    """So above the limit, over at or below limit - hysteresis."""
    return Band(-math.inf, limit, -math.inf, limit - hysteresis)


def below(limit: float, hysteresis: float = 0.0) -> Band:
    """So below the limit, over at or above limit + hysteresis."""
    return Band(limit, math.inf, limit + hysteresis, math.inf)


def outside(low: float, high: float, hysteresis: float = 0.0) -> Band:
    """So below `low` or above `high`, over within both by the hysteresis."""
    return Band(low, high, low + hysteresis, high - hysteresis)


def inside(low: float, high: float, hysteresis: float = 0.0) -> Band:
    """So from `low` to `high`, over beyond both by the hysteresis."""
    return Band(low, high, low - hysteresis, high + hysteresis, inverted=True)


class Banded(Delayed):
    """Slots whose condition is a band."""

    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Delayed.COLUMNS,
        "low": ("f8", -np.inf),
        "high": ("f8", np.inf),
        "low_over": ("f8", -np.inf),
        "high_over": ("f8", np.inf),
        "inverted": ("?", False),
    }
    low: F64
    high: F64
    low_over: F64
    high_over: F64
    inverted: Mask

    def codes(self, slots: I64, lengths: I64, measures: F64) -> I8:
        """Per pair: 1 it is so, 0 it is over, KEEP between, and where the measure is NaN."""
        beyond = (measures < np.repeat(self.low[slots], lengths)) | (
            measures > np.repeat(self.high[slots], lengths)
        )
        beyond_over = (measures < np.repeat(self.low_over[slots], lengths)) | (
            measures > np.repeat(self.high_over[slots], lengths)
        )
        inverted = self.inverted[slots]
        codes = np.where(beyond, np.int8(1), np.where(beyond_over, np.int8(KEEP), np.int8(0)))
        if inverted.any():
            other = np.where(beyond_over, np.int8(0), np.where(beyond, np.int8(KEEP), np.int8(1)))
            codes = np.where(np.repeat(inverted, lengths), other, codes)
        unknown = np.isnan(measures)
        if unknown.any():
            codes[unknown] = KEEP
        return codes
