"""What is known of each series, as columns: 100 bytes a series. Pure.

A series' id is its place in the columns. `rows` are 32-bit floats relative to `origin` (a value near all others of the series), so that a
meter that stands at 10^9 is learned as finely as one at zero. Saved as they lie in memory, with a head, a version and a checksum.

Must not know: what the numbers mean (levels.py, tail.py, silence.py).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from appliance.anomalies.tuning import OUTLIER_TAIL_SHARE, SHIFT_TAIL_SHARE, TAIL_WEIGHT
from appliance.core.arrays import F32, F64, U8, U32

U16 = NDArray[np.uint16]
GROWTH_MIN: Final = 1_024


class Row(IntEnum):
    """Rows of `Columns.rows`.

    SUM, SUM_ABS: of the open slot, of deviations from what was usual when it began; the latter clipped.
    GAP_S: seconds that usually pass between arrivals. STEP: size of a usual change from slot to slot. FIRST: first value of the open slot.
    LEVEL, SPREAD: what is usual, and how far values are from it on average.
    FAST, FAST_SPREAD: the mean of late, and how far it usually is from the level.
    SLOW, SLOW_LEVEL, SLOW_SPREAD: the same over longer times, for drift. NOISE…: the same of the logarithm of deviations.
    …_SHARE, …_WEIGHT: tails of outliers and shifts (tail.py).
    """

    SUM = 0
    SUM_ABS = 1
    GAP_S = 2
    STEP = 3
    FIRST = 4
    LEVEL = 5
    SPREAD = 6
    FAST = 7
    FAST_SPREAD = 8
    SLOW = 9
    SLOW_LEVEL = 10
    SLOW_SPREAD = 11
    NOISE = 12
    NOISE_LEVEL = 13
    NOISE_SPREAD = 14
    OUTLIER_SHARE = 15
    OUTLIER_WEIGHT = 16
    SHIFT_SHARE = 17
    SHIFT_WEIGHT = 18


class Flag(IntFlag):
    """What was found out about a series; ODD of the open slot, which makes NOT_BOOLEAN when it ends. The two highest bits count which steps of a silence were told (silence.py)."""

    NOT_BOOLEAN = 1
    FELL = 2
    NOT_COUNTER = 4
    COUNTER = 8
    ODD = 16


SILENCE_SHIFT: Final = 6
ROW_COUNT: Final = len(Row)
BYTES_A_SERIES: Final = ROW_COUNT * 4 + 4 + 4 + 8 + 2 + 2 + 2 + 1 + 1
"""100: the rows, slot, heard_s, origin, profile, age, count, flags, decimals."""

_NEW: Final[dict[Row, float]] = {
    Row.OUTLIER_SHARE: OUTLIER_TAIL_SHARE,
    Row.OUTLIER_WEIGHT: TAIL_WEIGHT,
    Row.SHIFT_SHARE: SHIFT_TAIL_SHARE,
    Row.SHIFT_WEIGHT: TAIL_WEIGHT,
}


class Columns:
    """The columns; `len` is how many series have a place.

    Attributes:
        slot: The open slot. heard_s: Last arrival, UTC s. origin: See the module. profile: Place among the profiles, 0 for none.
        age: Slots that were learned from, at most 65,535. count: Readings in the open slot; 0 of a series that never had one.
        decimals: One more than its values have had at most; 0 while nothing but zero was seen (kinds.py).
    """

    def __init__(self) -> None:
        self._make(0)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def _make(self, capacity: int) -> None:
        self.rows: F32 = new_rows(capacity)
        self.slot: U32 = np.zeros(capacity, np.uint32)
        self.heard_s: U32 = np.zeros(capacity, np.uint32)
        self.origin: F64 = np.zeros(capacity, np.float64)
        self.profile: U16 = np.zeros(capacity, np.uint16)
        self.age: U16 = np.zeros(capacity, np.uint16)
        self.count: U16 = np.zeros(capacity, np.uint16)
        self.flags: U8 = np.zeros(capacity, np.uint8)
        self.decimals: U8 = np.zeros(capacity, np.uint8)

    def _all(self) -> list[NDArray[Any]]:
        return [
            self.rows,
            self.slot,
            self.heard_s,
            self.origin,
            self.profile,
            self.age,
            self.count,
            self.flags,
            self.decimals,
        ]

    def grow(self, count: int) -> None:
        """Make places for series ids below `count`; they grow by doubling."""
        if count > len(self.slot):
            before = self._all()
            self._make(max(count, 2 * len(self.slot), GROWTH_MIN))
            for old, new in zip(before, self._all(), strict=True):
                new[..., : old.shape[-1]] = old
        self._count = max(self._count, count)

    @property
    def size_bytes(self) -> int:
        """Memory that the columns take, with the places made ahead."""
        return sum(column.nbytes for column in self._all())

    def to_bytes(self) -> bytes:
        """All columns, one behind the other, of the series that have a place."""
        return b"".join(np.ascontiguousarray(column[..., : self._count]).tobytes() for column in self._all())

    def from_bytes(self, body: memoryview, count: int) -> None:
        """Take back what to_bytes gave; `body` has count × BYTES_A_SERIES bytes."""
        assert len(body) == count * BYTES_A_SERIES
        self._make(count)
        at = 0
        for column in self._all():
            flat = column.reshape(-1)
            flat[:] = np.frombuffer(body, column.dtype, count=flat.size, offset=at)
            at += flat.nbytes
        self._count = count


def new_rows(count: int) -> F32:
    """Rows of series about which nothing is known, one column each."""
    rows = np.zeros((ROW_COUNT, count), np.float32)
    for row, value in _NEW.items():
        rows[row] = value
    return rows
