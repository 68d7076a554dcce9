"""What is usual at an hour of the day and of the week: profiles, learned as data allows. Pure.

A profile is learned of each series that is older than an hour, and used only while it explains: while slots are nearer to it than to the level, on
average over PROFILE_JUDGED_HOURS, by PROFILE_ON_RATIO. Hours are UTC (a site's clock change moves its day by an hour; the profile follows within
days). Between the middles of two hours it is a straight line. The week is a correction of each hour of the week, used when two weeks are known and it
explains once more.

433 bytes a profile. Place 0 is nobody's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from appliance.anomalies.levels import follow, gain, spreads_of
from appliance.anomalies.tuning import (
    CLIP_SPREADS,
    DEVIATION_CLIP_SPREADS,
    FAST_SLOTS,
    LEVEL_SLOTS,
    PROFILE_DAY_GAIN,
    PROFILE_HOURS_MIN,
    PROFILE_JUDGED_HOURS,
    PROFILE_OFF_RATIO,
    PROFILE_ON_RATIO,
    PROFILE_SPREAD_SHARE,
    PROFILE_WEEK_DAYS,
    PROFILE_WEEK_GAIN,
    PROFILE_WEEK_RATIO,
    SHIFT_AGE,
    SLOT_MS,
)
from appliance.core.arrays import F32, I64, U32, Mask
from appliance.core.limits_anomalies import ANOMALY_PROFILE_COUNT_MAX

SLOTS_AN_HOUR: Final = 3_600_000 // SLOT_MS
SLOTS_A_PART: Final = 2 * SLOTS_AN_HOUR
PARTS_A_WEEK: Final = 84
_EPOCH_PARTS: Final = 36
"""1970 began on a Thursday: so many times two hours after a Monday."""
_HALF_MAX: Final = 60_000.0
_FAST_FLOOR: Final = 0.05
"""Least usual distance of the mean of late, in spreads."""

PROFILE: Final = np.dtype(
    [
        ("day", np.float32, 24),
        ("spread", np.float32, 24),
        ("days", np.uint8, 24),
        ("week", np.float16, PARTS_A_WEEK),
        ("sum", np.float32),
        ("sum_abs", np.float32),
        ("count", np.float32),
        ("offset", np.float32),
        ("fast", np.float32),
        ("fast_spread", np.float32),
        ("without", np.float32),
        ("with_day", np.float32),
        ("with_week", np.float32),
        ("hours", np.float32),
        ("slot", np.uint32),
        ("age", np.uint16),
        ("hour", np.uint8),
        ("is_used", np.bool_),
        ("uses_week", np.bool_),
    ]
)
"""One profile, relative to the series' origin. `day` and `spread` by hour, seen on so many `days`; `week` corrects each two hours of the week. `offset`
is by how much all of it is off at present. `sum`, `sum_abs`, `count` are of the open hour. `fast` is the mean of late of what the profile leaves, in
spreads of the hour. `without`, `with_day` and `with_week`: how far slots are from the level and from the two profiles on average; `hours`: what that
is known from."""

NOBODY: Final = 255
"""`hour` of a profile that has no open hour."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What profiles say, a column for each series: the usual value, the usual distance from it, the mean of late from there in spreads and how
    unusual that is, and whether the profile is used."""

    value: F32
    spread: F32
    fast: F32
    shift_spreads: F32
    is_used: Mask


class Profiles:
    """All profiles."""

    def __init__(self) -> None:
        self._table = np.zeros(1, PROFILE)
        self._count = 1

    def __len__(self) -> int:
        return self._count - 1

    @property
    def size_bytes(self) -> int:
        """Memory they take."""
        return self._table.nbytes

    @property
    def used(self) -> int:
        """How many explain their series at present."""
        return int(np.count_nonzero(self._table["is_used"][1 : self._count]))

    @property
    def is_full(self) -> bool:
        """Whether no place is left."""
        return len(self) >= ANOMALY_PROFILE_COUNT_MAX

    def make(self, wanted: int) -> I64:
        """Places of new profiles: as many as wanted, or as are left."""
        given = min(wanted, ANOMALY_PROFILE_COUNT_MAX - len(self))
        if self._count + given > len(self._table):
            room = np.zeros(
                min(max(2 * len(self._table), self._count + given), ANOMALY_PROFILE_COUNT_MAX + 1), PROFILE
            )
            room[: self._count] = self._table[: self._count]
            self._table = room
        places = np.arange(self._count, self._count + given)
        self._table["hour"][places] = NOBODY
        self._count += given
        return places

    def expected(self, places: I64, slot: U32) -> Expected:
        """What is usual in these slots."""
        table = self._table
        day, week, spread, _ = self._at(places, slot)
        fast = table["fast"][places]
        return Expected(
            value=day + table["offset"][places] + np.where(table["uses_week"][places], week, np.float32(0.0)),
            spread=spread,
            fast=fast,
            shift_spreads=spreads_of(fast, table["fast_spread"][places], _FAST_FLOOR),
            is_used=table["is_used"][places],
        )

    def _at(self, places: I64, slot: U32) -> tuple[F32, F32, F32, Mask]:
        """(day, correction of the week, spread, whether the hours on both sides are known) of these slots."""
        table = self._table
        wide = slot.astype(np.int64)
        half_later = wide - SLOTS_AN_HOUR // 2
        before, after = half_later // SLOTS_AN_HOUR % 24, (half_later // SLOTS_AN_HOUR + 1) % 24
        part = ((half_later % SLOTS_AN_HOUR) / SLOTS_AN_HOUR).astype(np.float32)
        day: F32 = table["day"][places, before] * (1 - part)
        day += table["day"][places, after] * part
        week = table["week"][places, _part_of_week(wide)].astype(np.float32)
        spread: F32 = np.maximum(
            table["spread"][places, wide // SLOTS_AN_HOUR % 24],
            np.float32(PROFILE_SPREAD_SHARE) * table["with_day"][places],
        )
        known = (table["days"][places, before] > 0) & (table["days"][places, after] > 0)
        return day, week, spread, known

    def learn(self, places: I64, slot: U32, *, value: F32, inner: F32, level: F32, spread: F32) -> None:
        """One slot more of each.

        Args:
            value, level: The slot's mean and the level, relative to the series' origin.
            inner: Mean distance of the slot's values from its mean. spread: The usual distance of the series' values.
        """
        self._end_hours(places, slot, np.float32(DEVIATION_CLIP_SPREADS) * spread)
        table = self._table
        day, week, hours_spread, known = self._at(places, slot)
        left = value - day - table["offset"][places]
        corrected = left - np.where(table["uses_week"][places], week, np.float32(0.0))
        table["sum"][places] += value
        table["sum_abs"][places] += np.where(known, np.abs(corrected), np.abs(value - level)) + inner
        table["count"][places] += 1
        if known.any():
            bound = np.float32(DEVIATION_CLIP_SPREADS) * spread[known]
            distances = [np.minimum(np.abs(one[known]), bound) for one in (value - level, left, left - week)]
            at = places[known]
            self._follow(
                at, corrected[known], np.maximum(hours_spread[known], spread[known] * np.float32(0.01))
            )
            self._judge(at, slot[known], distances)
        table["slot"][places] = slot

    def _follow(self, places: I64, left: F32, spread: F32) -> None:
        """The offset, and the mean of late."""
        table = self._table
        age = table["age"][places].astype(np.float32)
        bound = np.float32(CLIP_SPREADS) * spread
        table["offset"][places] += gain(age, LEVEL_SLOTS) * np.clip(left, -bound, bound)
        limit = np.float32(DEVIATION_CLIP_SPREADS)
        fast = table["fast"][places]
        fast += gain(age, FAST_SLOTS) * (np.clip(left / spread, -limit, limit) - fast)
        nothing = np.zeros(len(places), np.float32)
        _, fast_spread = follow(nothing, table["fast_spread"][places], fast, _FAST_FLOOR, age, LEVEL_SLOTS)
        table["fast"][places], table["fast_spread"][places] = fast, fast_spread
        table["age"][places] = np.minimum(age + 1, 65_535).astype(np.uint16)

    def _judge(self, places: I64, slot: U32, distances: list[F32]) -> None:
        """Whether they explain their series: distances from the level, from the day's profile and from the week's, on average over time."""
        table = self._table
        passed = (
            np.minimum(slot - table["slot"][places], np.uint32(SLOTS_AN_HOUR)).astype(np.float32)
            / SLOTS_AN_HOUR
        )
        hours = np.minimum(table["hours"][places] + passed, np.float32(PROFILE_JUDGED_HOURS))
        share = passed / np.maximum(hours, np.float32(1e-6))
        for name, distance in zip(("without", "with_day", "with_week"), distances, strict=True):
            table[name][places] += share * (distance - table[name][places])
        table["hours"][places] = hours
        best = np.where(table["uses_week"][places], table["with_week"][places], table["with_day"][places])
        ratio = np.where(
            table["is_used"][places], np.float32(PROFILE_OFF_RATIO), np.float32(PROFILE_ON_RATIO)
        )
        is_old = (hours >= PROFILE_HOURS_MIN) & (table["age"][places] >= SHIFT_AGE)
        table["is_used"][places] = is_old & (best < ratio * table["without"][places])
        weeks_known = table["days"][places].min(axis=1) >= PROFILE_WEEK_DAYS
        explains = table["with_week"][places] < PROFILE_WEEK_RATIO * table["with_day"][places]
        table["uses_week"][places] = weeks_known & explains

    def _end_hours(self, places: I64, slot: U32, bound: F32) -> None:
        """Where a new hour begins, the one before is learned: its mean, clipped at `bound` around what was known of it, and its spread."""
        table = self._table
        hour = (slot // np.uint32(SLOTS_AN_HOUR) % 24).astype(np.uint8)
        is_new = table["hour"][places] != hour
        if not is_new.any():
            return
        ended = is_new & (table["hour"][places] != NOBODY)
        at, limit = places[ended], bound[ended]
        hour_ended = table["hour"][at].astype(np.int64)
        known = table["days"][at, hour_ended].astype(np.float32)
        share = np.maximum(np.float32(PROFILE_DAY_GAIN), 1 / (known + 1))
        is_first = known == 0
        before, spread = table["day"][at, hour_ended], table["spread"][at, hour_ended]
        deviation = table["sum"][at] / table["count"][at] - before
        bounded = np.clip(deviation, -limit, limit)
        table["day"][at, hour_ended] = before + share * np.where(is_first, deviation, bounded)
        distance = table["sum_abs"][at] / table["count"][at]
        most = np.float32(CLIP_SPREADS) * spread + limit * np.float32(0.01)
        seen = np.where(is_first, distance, np.minimum(distance, most))
        table["spread"][at, hour_ended] = spread + share * (seen - spread)
        part = _part_of_week(table["slot"][at].astype(np.int64))
        correction = table["week"][at, part].astype(np.float32)
        correction += np.float32(PROFILE_WEEK_GAIN) * (
            np.where(is_first, np.float32(0.0), bounded) - correction
        )
        table["week"][at, part] = np.clip(correction, -_HALF_MAX, _HALF_MAX).astype(np.float16)
        table["days"][at, hour_ended] = np.minimum(known + 1, 254).astype(np.uint8)
        opened = places[is_new]
        table["hour"][opened] = hour[is_new]
        for name in ("sum", "sum_abs", "count"):
            table[name][opened] = 0

    def forget(self, places: I64) -> None:
        """These series are learned anew."""
        self._table[places] = np.zeros(1, PROFILE)
        self._table["hour"][places] = NOBODY

    def is_used(self, places: I64) -> Mask:
        """Whether each explains its series at present."""
        return np.asarray(self._table["is_used"][places], np.bool_)

    def without(self, places: I64) -> F32:
        """How far slots are from the level on average."""
        return np.asarray(self._table["without"][places], np.float32)

    def to_bytes(self) -> bytes:
        """All of them."""
        return self._table[: self._count].tobytes()

    def from_bytes(self, body: memoryview) -> None:
        """Take back what to_bytes gave: whole profiles, at least the one of nobody."""
        assert len(body) >= PROFILE.itemsize
        assert len(body) % PROFILE.itemsize == 0
        self._table = np.frombuffer(body, PROFILE).copy()
        self._count = len(self._table)


def _part_of_week(slot: I64) -> I64:
    """Which two hours of the week, from Monday on."""
    part: I64 = (slot // SLOTS_A_PART + _EPOCH_PARTS) % PARTS_A_WEEK
    return part
