"""Readings as parallel columns: taken apart, put together and sorted. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from appliance.core.arrays import F64, I64, U8, U32, Mask
from appliance.core.limits import CLOCK_AHEAD_TOLERANCE_MS
from appliance.management.arrived import Arrived

_TIME_BITS: Final = 43
"""Times from 1970 to 2248 in milliseconds; a million series beside them in one signed 64-bit number."""
_TIME_MAX: Final = 1 << _TIME_BITS
_SERIES_MAX: Final = 1 << (63 - _TIME_BITS)


@dataclass(frozen=True, slots=True)
class Columns:
    """n readings.

    Attributes:
        observed, received: UTC ms.
    """

    series: U32
    observed: I64
    received: I64
    values: F64
    quality: U8

    def __len__(self) -> int:
        return len(self.series)

    @staticmethod
    def of(arrived: Arrived) -> Columns:
        """As they arrived, but none later than CLOCK_AHEAD_TOLERANCE_MS after its arrival.

        Of a clock that was ahead by hours, and then put right, all readings were late otherwise until it is so late.
        """
        received = arrived.received_at_ms
        return Columns(
            arrived.series,
            np.minimum(arrived.observed_at_ms, received + CLOCK_AHEAD_TOLERANCE_MS),
            arrived.received_at_ms,
            arrived.values,
            arrived.quality,
        )

    def take(self, where: I64 | Mask) -> Columns:
        """The readings at these positions, or where the mask is true."""
        return Columns(
            self.series[where],
            self.observed[where],
            self.received[where],
            self.values[where],
            self.quality[where],
        )

    def in_order(self) -> Columns:
        """Sorted by (series, observed); what is equal in both stays in no order."""
        if not len(self):
            return self
        packed = self._packed()
        if packed is None:
            return self.take(np.lexsort((self.observed, self.series)))
        order = np.argsort(packed)
        keys = packed[order]
        return Columns(
            (keys >> _TIME_BITS).astype(np.uint32),
            keys & (_TIME_MAX - 1),
            self.received[order],
            self.values[order],
            self.quality[order],
        )

    def _packed(self) -> I64 | None:
        """Series and time in one number, which sorts in a tenth of the time of two; None where one doesn't fit."""
        low, high = int(self.observed.min()), int(self.observed.max())
        if low < 0 or high >= _TIME_MAX or int(self.series.max()) >= _SERIES_MAX:
            return None
        packed: I64 = (self.series.astype(np.int64) << _TIME_BITS) | self.observed
        return packed


EMPTY: Final = Columns(
    np.empty(0, np.uint32),
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty(0, np.float64),
    np.empty(0, np.uint8),
)


def joined(parts: Sequence[Columns]) -> Columns:
    """The readings of all parts, one behind the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return EMPTY
    return Columns(
        np.concatenate([part.series for part in parts]),
        np.concatenate([part.observed for part in parts]),
        np.concatenate([part.received for part in parts]),
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.quality for part in parts]),
    )


def ties_in_order(columns: Columns, is_tied: Mask) -> tuple[Columns, int]:
    """Sorted readings, with those of one series and time in order of their values, and each value of them once.

    Args:
        is_tied: Where a reading has series and time of the one before.
    Returns:
        The readings, and how many were there twice.
    """
    is_in = is_tied.copy()
    is_in[:-1] |= is_tied[1:]
    where = np.flatnonzero(is_in)
    group = np.cumsum(~is_tied[where])
    values = columns.values[where]
    # Two quick sorts of single numbers instead of one of pairs, which takes four times as long.
    rank = np.empty(len(where), np.int64)
    rank[np.argsort(values)] = np.arange(len(where))
    order = where[np.argsort(group * len(where) + rank)]
    found, quality, received = columns.values.copy(), columns.quality.copy(), columns.received.copy()
    found[where], quality[where], received[where] = (
        columns.values[order],
        columns.quality[order],
        columns.received[order],
    )
    # By their bits, so that what is not a number is equal to itself, too.
    bits = found[where].view(np.int64)
    is_twice = np.zeros(len(where), np.bool_)
    is_twice[1:] = (bits[1:] == bits[:-1]) & (group[1:] == group[:-1])
    if not is_twice.any():
        return Columns(columns.series, columns.observed, received, found, quality), 0
    begins = np.flatnonzero(~is_twice)
    received[where[begins]] = np.minimum.reduceat(received[where], begins)
    kept = np.ones(len(columns), np.bool_)
    kept[where[is_twice]] = False
    ordered = Columns(columns.series, columns.observed, received, found, quality)
    return ordered.take(kept), int(np.count_nonzero(is_twice))


def packed_columns(columns: Columns) -> tuple[bytes, bytes, bytes, bytes, bytes]:
    """Little-endian bytes of each column."""
    return (
        columns.series.tobytes(),
        columns.observed.tobytes(),
        columns.received.tobytes(),
        columns.values.tobytes(),
        columns.quality.tobytes(),
    )


def unpacked_columns(packed: tuple[bytes, bytes, bytes, bytes, bytes]) -> Columns:
    """The columns again.

    Raises:
        ValueError: they aren't of one length.
    """
    found = Columns(
        np.frombuffer(packed[0], np.uint32),
        np.frombuffer(packed[1], np.int64),
        np.frombuffer(packed[2], np.int64),
        np.frombuffer(packed[3], np.float64),
        np.frombuffer(packed[4], np.uint8),
    )
    if (
        len(
            {
                len(found.series),
                len(found.observed),
                len(found.received),
                len(found.values),
                len(found.quality),
            }
        )
        > 1
    ):
        raise ValueError("held readings of different lengths")
    return found
