"""Watches every series without configuration: how unusual each reading is, which finding that is, and why. Pure.

Theory of operation. Released readings are cut into turns (slots.py): one slot of each series at most. A turn first ends the slots that were
open before, which teaches levels, spreads, tails, profiles and gaps; then its readings are scored against what is known, and added to the
slot that is open now. So what a series' readings score depends on the readings and their times, not on the batches they came in.

Guarantees: the same readings of a series in the same order give the same scores bit for bit, however they were cut, and across save and load at any
point. Memory is bounded (limits_anomalies.py). Nothing is raised for any value.

Must not know: rules, alarms, names of series, how late readings are put in order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from appliance.anomalies import kinds, levels, saved, silence, words
from appliance.anomalies.columns import Columns, Flag, Row, new_rows
from appliance.anomalies.scoring import Sheet, Usual, score_of, score_turn
from appliance.anomalies.season import SLOTS_AN_HOUR, Profiles
from appliance.anomalies.slots import Turn, turns
from appliance.anomalies.statistics import AnomalyStatistics
from appliance.anomalies.tuning import (
    DEVIATION_CLIP_SPREADS,
    PROFILE_AGE,
    REORIGIN_AGE,
    SETTLED_AGE,
    SILENCE_DECADES,
)
from appliance.core.arrays import F32, F64, I64, U8, U32, Mask
from appliance.core.limits_anomalies import (
    ANOMALY_BACKLOG_MS_MAX,
    ANOMALY_MAGNITUDE_MAX,
    ANOMALY_SERIES_COUNT_MAX,
    ANOMALY_SLOT_VALUES_MAX,
)
from appliance.management.readings import Quality
from appliance.management.watched import Finding, Released, Scores, SilenceScores

_AGE_LAST = 65_535


class AnomalyDetectors:
    """All series of a node. Not to be used by two threads at once."""

    def __init__(self) -> None:
        self._columns = Columns()
        self._profiles = Profiles()
        self._started_ms = 0
        self._scored = 0
        self._left_out = 0
        self._highest = -1

    def see(self, points: Released) -> Scores:
        """Score released readings and learn from them.

        Args:
            points: Sorted by (series, observed_at_ms), each series going on where its last call ended.
        Returns:
            As long as `points`. Its `explain` stays valid.
        """
        sheet = Sheet(points.values)
        with np.errstate(invalid="ignore", over="ignore"):
            usable = (np.abs(points.values) <= ANOMALY_MAGNITUDE_MAX) & (points.quality != Quality.BAD)
        usable &= points.series < ANOMALY_SERIES_COUNT_MAX
        usable &= points.received_at_ms - points.observed_at_ms <= ANOMALY_BACKLOG_MS_MAX
        index = np.flatnonzero(usable)
        self._scored += len(index)
        self._left_out += len(points) - len(index)
        if len(points):
            self._highest = max(self._highest, int(points.series.max()))
            self._columns.grow(min(self._highest + 1, ANOMALY_SERIES_COUNT_MAX))
        for turn in turns(points.series[index], points.observed_at_ms[index], index):
            self._see_turn(turn, points, sheet)
        return sheet.scores()

    def broker_started(self, at_ms: int) -> None:
        """The broker was away until then: nobody's silence began before."""
        self._started_ms = max(self._started_ms, at_ms)

    def tick(self, now_ms: int) -> SilenceScores:
        """Which series have dropped out by now, at their deadlines. To be called before readings are seen that arrived later than `now_ms`."""
        found = silence.look(self._columns, now_ms, self._started_ms)
        score = score_of(np.array(SILENCE_DECADES, np.float32)[found.step])
        deadlines = silence.deadlines_s(found.gap_s, found.step)

        def explain(at: int, /) -> dict[str, Any]:
            return words.of_silence(
                silent_s=float(deadlines[at]), gap_s=float(found.gap_s[at]), score=float(score[at])
            )

        kind = np.full(len(score), Finding.DROP_OUT, np.uint8)
        return SilenceScores(series=found.series, at_ms=found.at_ms, score=score, kind=kind, explain=explain)

    def statistics(self) -> AnomalyStatistics:
        """See AnomalyStatistics."""
        return AnomalyStatistics(
            series=len(self._columns),
            series_beyond=max(0, self._highest + 1 - ANOMALY_SERIES_COUNT_MAX),
            profiles=len(self._profiles),
            profiles_used=self._profiles.used,
            profiles_refused=self._without_profile(),
            scored=self._scored,
            left_out=self._left_out,
            memory_bytes=self._columns.size_bytes + self._profiles.size_bytes,
        )

    def save(self) -> bytes:
        """All that was learned, with a version and a checksum."""
        head = saved.Head(
            series=len(self._columns),
            profiles=len(self._profiles),
            started_ms=self._started_ms,
            scored=self._scored,
            left_out=self._left_out,
            highest=self._highest,
        )
        return saved.pack(head, self._columns.to_bytes(), self._profiles.to_bytes())

    def load(self, data: bytes) -> None:
        """Take back what `save` gave; what was learned here before is forgotten.

        Raises:
            HomeportError: the bytes are damaged or of another version; nothing has changed.
        """
        head, columns_bytes, profiles_bytes = saved.unpack(data)
        columns, profiles = Columns(), Profiles()
        columns.from_bytes(columns_bytes, head.series)
        profiles.from_bytes(profiles_bytes)
        if len(columns) and int(columns.profile.max()) > len(profiles):
            raise saved.damaged("it names profiles that it doesn't have")
        self._columns, self._profiles = columns, profiles
        self._started_ms, self._highest = head.started_ms, head.highest
        self._scored, self._left_out = head.scored, head.left_out

    def _without_profile(self) -> int:
        """How many series would have one, had others not taken all."""
        if not self._profiles.is_full:
            return 0
        columns, count = self._columns, len(self._columns)
        is_old = (columns.age[:count] >= PROFILE_AGE) & ((columns.flags[:count] & Flag.NOT_BOOLEAN) != 0)
        return int(np.count_nonzero(is_old & (columns.profile[:count] == 0)))

    def _see_turn(self, turn: Turn, points: Released, sheet: Sheet) -> None:
        columns = self._columns
        ids = turn.series.astype(np.int64)
        first, received = points.values[turn.first], points.received_at_ms[turn.first]
        heard_s = np.clip(received // 1_000, 0, 2**32 - 1).astype(np.uint32)
        is_new = columns.count[ids] == 0
        if is_new.any():
            self._begin(ids[is_new], turn.slot[is_new], first[is_new], heard_s[is_new])
        is_next = columns.slot[ids] != turn.slot
        if is_next.all():
            self._end_slots(ids, turn.slot, first, heard_s)
        elif is_next.any():
            self._end_slots(ids[is_next], turn.slot[is_next], first[is_next], heard_s[is_next])
        rows, origin, age = columns.rows[:, ids], columns.origin[ids], columns.age[ids].astype(np.float32)
        usual = self._usual(ids, rows, origin, turn.slot)
        single = turn.is_single
        readings = turn.first if single else turn.readings()
        which = None if single else np.repeat(np.arange(len(ids)), turn.count)
        odd = kinds.not_boolean(points.values[readings])
        columns.flags[ids[odd if which is None else which[odd]]] |= np.uint8(Flag.ODD)
        deviation = score_turn(
            sheet,
            readings=readings,
            which=which,
            rows=rows,
            origin=origin,
            age=age,
            flags=columns.flags[ids],
            usual=usual,
        )
        self._add(ids, turn, which, deviation, usual, age)
        if single:
            columns.heard_s[ids] = np.maximum(columns.heard_s[ids], heard_s)
        else:
            last = np.clip(points.received_at_ms[readings] // 1_000, 0, 2**32 - 1).astype(np.uint32)
            np.maximum.at(columns.heard_s, ids[which], last)

    def _begin(self, ids: I64, slot: U32, first: F64, heard_s: U32) -> None:
        """Series that were never seen, or are begun anew: the first slot opens."""
        columns = self._columns
        columns.rows[:, ids] = new_rows(len(ids))
        columns.origin[ids] = first
        columns.slot[ids] = slot
        columns.heard_s[ids] = heard_s
        columns.age[ids] = 0
        columns.count[ids] = 0

    def _usual(self, ids: I64, rows: F32, origin: F64, slot: U32) -> Usual:
        usual = Usual(rows, origin, kinds.quantum(self._columns.decimals[ids]))
        places = self._columns.profile[ids].astype(np.int64)
        at = np.flatnonzero(places)
        if len(at):
            usual.by_profile(at, self._profiles.expected(places[at], slot[at]))
        return usual

    def _add(self, ids: I64, turn: Turn, which: I64 | None, deviation: F32, usual: Usual, age: F32) -> None:
        """Add readings to the slots that are open. One after the other, so that sums are the same however batches were cut."""
        columns = self._columns
        bound = np.where(
            age >= SETTLED_AGE, np.float32(DEVIATION_CLIP_SPREADS) * usual.spread, np.float32(np.inf)
        )
        count = columns.count[ids].astype(np.int64)
        columns.count[ids] = np.minimum(count + turn.count, ANOMALY_SLOT_VALUES_MAX).astype(np.uint16)
        if which is None:
            bounded = np.clip(deviation, -bound, bound)
            bounded[count >= ANOMALY_SLOT_VALUES_MAX] = 0
            columns.rows[Row.SUM, ids] += bounded
            columns.rows[Row.SUM_ABS, ids] += np.abs(bounded)
            return
        bound = bound[which]
        bounded = np.clip(deviation, -bound, bound)
        if int((count + turn.count).max()) > ANOMALY_SLOT_VALUES_MAX:
            begins = np.cumsum(turn.count) - turn.count
            place = np.arange(len(which)) - begins[which] + count[which]
            bounded[place >= ANOMALY_SLOT_VALUES_MAX] = 0
        np.add.at(columns.rows[Row.SUM], ids[which], bounded)
        np.add.at(columns.rows[Row.SUM_ABS], ids[which], np.abs(bounded))

    def _end_slots(self, ids: I64, slot: U32, first: F64, heard_s: U32) -> None:
        """The open slots of these series end, and others open with these first values."""
        columns = self._columns
        rows, origin, flags = columns.rows[:, ids], columns.origin[ids], columns.flags[ids]
        age, ended = columns.age[ids].astype(np.float32), columns.slot[ids]
        flags |= np.where(flags & Flag.ODD, np.uint8(Flag.NOT_BOOLEAN), np.uint8(0))
        before = origin + rows[Row.FIRST]
        change = kinds.change(before, first, flags)
        is_meter = (flags & Flag.COUNTER) != 0
        passed = (slot - ended).astype(np.float32)
        columns.decimals[ids] = kinds.learn_decimals(columns.decimals[ids], first)
        usual = self._usual(ids, rows, origin, ended)
        count = columns.count[ids].astype(np.float32)
        rate = np.where(change.is_reset, usual.value, change.by / passed).astype(np.float32)
        mean, distance = rows[Row.SUM] / count, rows[Row.SUM_ABS] / count
        value = np.where(is_meter, rate, usual.value + mean)
        deviation = np.where(is_meter, np.abs(rate - usual.value), distance)
        inner = np.where(is_meter, np.float32(0.0), np.maximum(distance - np.abs(mean), np.float32(0.0)))
        of_first: F32 = np.where(is_meter, rate, rows[Row.FIRST]) - usual.value
        places = columns.profile[ids].astype(np.int64)
        self._learn_profiles(places, ended, value, inner, usual, rows)
        levels.learn(
            rows,
            value=value,
            deviation=deviation,
            inner=inner,
            first=levels.spreads_of(of_first, usual.spread, usual.floor),
            floor=usual.floor,
            age=age,
            fast_spreads=usual.shift_spreads,
        )
        size = np.where(is_meter, np.abs(rate - usual.value), np.abs(change.by)).astype(np.float32)
        never_moved = rows[Row.STEP] == 0
        rows[Row.STEP] = kinds.learn_step(rows[Row.STEP], change, size, age)
        quantum = kinds.quantum(columns.decimals[ids])
        levels.begin_noise(rows, origin, quantum, never_moved & (rows[Row.STEP] > 0))
        rows[Row.GAP_S] = silence.learn_gap(
            rows[Row.GAP_S], (heard_s.astype(np.int64) - columns.heard_s[ids]).astype(np.float32)
        )
        flags = (silence.heard(flags) & np.uint8(~Flag.ODD & 0xFF)) | np.where(
            change.is_move & (change.by < 0) & ~is_meter, Flag.FELL, 0
        ).astype(np.uint8)
        age = np.minimum(age + 1, _AGE_LAST)
        self._give_profiles(ids, places, ended, slot, age, flags)
        _reorigin(rows, origin, age == REORIGIN_AGE)
        begins_meter = kinds.becomes_meter(rows, origin, first, flags, age)
        origin = np.where(is_meter | begins_meter, first, origin)
        rows[Row.FIRST] = (first - origin).astype(np.float32)
        rows[Row.SUM] = 0
        rows[Row.SUM_ABS] = 0
        columns.rows[:, ids], columns.origin[ids], columns.age[ids] = rows, origin, age.astype(np.uint16)
        columns.flags[ids], columns.slot[ids], columns.count[ids] = flags, slot, 0
        self._change_kind(ids, begins_meter, change.is_no_meter, slot, first, heard_s)

    def _change_kind(
        self, ids: I64, begins_meter: Mask, is_no_meter: Mask, slot: U32, first: F64, heard_s: U32
    ) -> None:
        """Begin those anew whose kind has turned out to be another."""
        for chosen, flag in ((begins_meter, Flag.COUNTER), (is_no_meter, Flag.NOT_COUNTER)):
            if chosen.any():
                again = ids[chosen]
                gap = self._columns.rows[Row.GAP_S, again]
                self._begin(again, slot[chosen], first[chosen], heard_s[chosen])
                self._columns.rows[Row.GAP_S, again] = gap
                self._columns.flags[again] = np.uint8(flag | Flag.NOT_BOOLEAN)
                places = self._columns.profile[again].astype(np.int64)
                self._profiles.forget(places[places > 0])

    def _learn_profiles(
        self, places: I64, ended: U32, value: F32, inner: F32, usual: Usual, rows: F32
    ) -> None:
        at = np.flatnonzero(places)
        if not len(at):
            return
        level, spread = rows[Row.LEVEL, at], np.maximum(rows[Row.SPREAD, at], usual.floor[at])
        self._profiles.learn(
            places[at], ended[at], value=value[at], inner=inner[at], level=level, spread=spread
        )
        # Whose profile is not used any more is measured from the level again, where it spreads wider. Whose profile is used from now on has other tails.
        stopped = at[usual.by_hour[at] & ~self._profiles.is_used(places[at])]
        begun = at[~usual.by_hour[at] & self._profiles.is_used(places[at])]
        rows[Row.OUTLIER_SHARE :, begun] = new_rows(len(begun))[Row.OUTLIER_SHARE :]
        rows[Row.SPREAD, stopped] = np.maximum(
            rows[Row.SPREAD, stopped], self._profiles.without(places[stopped])
        )

    def _give_profiles(self, ids: I64, places: I64, ended: U32, slot: U32, age: F32, flags: U8) -> None:
        """A profile for each series that is old enough, when its first whole hour begins."""
        is_hour = ended // np.uint32(SLOTS_AN_HOUR) != slot // np.uint32(SLOTS_AN_HOUR)
        wanted = np.flatnonzero(
            is_hour & (places == 0) & (age >= PROFILE_AGE) & ((flags & Flag.NOT_BOOLEAN) != 0)
        )
        if len(wanted):
            made = self._profiles.make(len(wanted))
            self._columns.profile[ids[wanted[: len(made)]]] = made.astype(np.uint16)


def _reorigin(rows: F32, origin: F64, due: Mask) -> None:
    """Move the origin to the level, once: the first value may have been far from all others."""
    if due.any():
        level = rows[Row.LEVEL, due].copy()
        origin[due] += level
        for row in (Row.LEVEL, Row.FAST, Row.SLOW, Row.SLOW_LEVEL):
            rows[row, due] -= level
