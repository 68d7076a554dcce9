"""Readings in the order of their own times, whatever the order they came in and however they were cut into batches. Pure.

Theory of operation. What arrived waits in slots, in the order of arrival; a slot never goes over a multiple of
WATCH_INSTANT_MS of the time until which its readings wait, nor over a start of the broker. A slot is released when the watermark of arrival is
`lateness_ms` past its last reading. A reading that is earlier than another of its series which came before it goes into that one's slot. It is late,
and left out, if that other one had come `lateness_ms` or more before: so what is late follows from times of arrival alone, not from
where a batch ended, and neither does the sequence of any series. Of readings of one series and time the larger value is the last; one that is there twice counts once.

Usually each series' readings come in their order, which one look at the sorted columns tells; only series where they don't go the long way.

Must not know: rules, batches, the clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from appliance.core.arrays import I64, Mask
from appliance.core.limits_watch import WATCH_HELD_COUNT_MAX, WATCH_INSTANT_MS
from appliance.management.arrived import Arrived
from appliance.management.presence import Presence
from appliance.management.watched import PresenceChange
from appliance.watch.held import (
    EMPTY,
    Columns,
    joined,
    packed_columns,
    ties_in_order,
    unpacked_columns,
)

_NEVER: Final = np.iinfo(np.int64).min


@dataclass(slots=True)
class Slot:
    """What is released together.

    Attributes:
        instant: The multiple of WATCH_INSTANT_MS at which all of its readings have been released.
        first_ms, last_ms: Arrival of its first and last reading.
        is_start: The broker was started at `first_ms`; there are no readings then.
        parts: No series is in two of them; each is sorted by (series, observed, value).
    """

    instant: int
    first_ms: int
    last_ms: int
    is_start: bool = False
    presences: Sequence[PresenceChange] = ()
    parts: list[Columns] = field(default_factory=list)

    def columns(self) -> Columns:
        """All readings, sorted by (series, observed, value)."""
        if len(self.parts) == 1:
            return self.parts[0]
        both = joined([part for part in self.parts if len(part)])
        # Stable: of equal times the values are in order already, and equal ones are in one part.
        return both.take(np.lexsort((both.observed, both.series)))


PackedSlot = tuple[
    int,
    int,
    int,
    bool,
    list[tuple[str, str, int, int | None]],
    list[tuple[bytes, bytes, bytes, bytes, bytes]],
]


class SavedReorder(msgspec.Struct, array_like=True):
    """A Reorder as it is saved: columns as little-endian bytes, slots as their fields."""

    newest: bytes
    settled: bytes
    slots: list[PackedSlot]


def _instant(at_ms: int) -> int:
    """The first instant at or after a time."""
    return -(-at_ms // WATCH_INSTANT_MS) * WATCH_INSTANT_MS


class Reorder:
    """See the module's docstring.

    Args:
        lateness_ms: How long a reading may be overtaken.
        held_count_max: Readings that wait at most; beyond that the oldest are released early, which is counted.
    """

    def __init__(self, lateness_ms: int, *, held_count_max: int = WATCH_HELD_COUNT_MAX) -> None:
        # Readings of one millisecond are in no order: they are sorted among themselves.
        self._lateness_ms = max(1, lateness_ms)
        self._held_count_max = held_count_max
        self._slots: deque[Slot] = deque()
        self._newest: I64 = np.full(1_024, _NEVER, np.int64)
        self._settled: I64 = self._newest.copy()
        self.held_count = 0
        self.late_total = 0
        self.duplicates_total = 0
        self.early_total = 0

    @property
    def first_held(self) -> Slot | None:
        """What is released next; None where nothing waits."""
        return self._slots[0] if self._slots else None

    def add(self, arrived: Arrived) -> None:
        """What a batch brought."""
        columns, starts = Columns.of(arrived), sorted(arrived.broker_starts)
        if len(columns):
            self._grow(int(columns.series.max()) + 1)
            for number, part in self._cut(columns, starts):
                for at_ms in starts[:number]:
                    self._open(at_ms, at_ms, is_start=True)
                starts = starts[number:]
                self._put(self._open(int(part.received.min()), int(part.received.max())), part.in_order())
        for at_ms in starts:
            self._open(at_ms, at_ms, is_start=True)
        if arrived.presences:
            # They go with the readings that came with them.
            at_ms = arrived.presences[-1].at_ms
            slot = self._slots[-1] if self._slots else self._open(at_ms, at_ms)
            slot.presences = (*slot.presences, *arrived.presences)

    def _open(self, first_ms: int, last_ms: int, *, is_start: bool = False) -> Slot:
        instant = _instant(first_ms + self._lateness_ms)
        if self._slots:
            instant = max(instant, self._slots[-1].instant)  # the broker's clock may have been put back
        slot = Slot(instant, first_ms, last_ms, is_start)
        self._slots.append(slot)
        return slot

    def _cut(self, columns: Columns, starts: Sequence[int]) -> Iterator[tuple[int, Columns]]:
        """The readings between two borders, in order, each with how many more starts of the broker stand before them."""
        received, lateness = columns.received, self._lateness_ms
        first, last = int(received.min()), int(received.max())
        if not starts and _instant(first + lateness) == _instant(last + lateness):
            yield 0, columns
            return
        instants = -(-(received + lateness) // WATCH_INSTANT_MS)
        before = np.searchsorted(np.array(starts, np.int64), received, side="right")
        # Both grow with the time of arrival, and so does this.
        places, part_of = np.unique(instants * (len(starts) + 1) + before, return_inverse=True)
        order = np.argsort(part_of, kind="stable")
        sizes = np.bincount(part_of, minlength=len(places))
        passed = 0
        for place, end, size in zip(places.tolist(), np.cumsum(sizes).tolist(), sizes.tolist(), strict=True):
            started = place % (len(starts) + 1)
            yield max(0, started - passed), columns.take(order[end - size : end])
            passed = max(passed, started)

    def _put(self, slot: Slot, columns: Columns) -> None:
        """Sorted readings of one slot: as they are where they follow on what came before, the others one series at a time."""
        series, observed = columns.series, columns.observed
        is_first = np.empty(len(columns), np.bool_)
        is_first[0] = True
        np.not_equal(series[1:], series[:-1], out=is_first[1:])
        starts = np.flatnonzero(is_first)
        heads = series[starts]
        is_amiss = np.zeros(len(columns), np.bool_)
        if slot.last_ms - slot.first_ms >= self._lateness_ms:
            # Only then can one of them be late beside another of them.
            is_amiss[1:] = (columns.received[1:] < columns.received[:-1]) | (observed[1:] == observed[:-1])
            is_amiss &= ~is_first
        is_amiss[starts] = observed[starts] <= self._newest[heads]
        ends = np.append(starts[1:], len(columns)) - 1
        self._newest[heads] = np.maximum(self._newest[heads], observed[ends])
        if not is_amiss.any():
            self._add(slot, columns, is_first)
            return
        is_bad = np.zeros(len(self._newest), np.bool_)
        is_bad[series[is_amiss]] = True
        mine = is_bad[series]
        if not mine.all():
            self._add(slot, columns.take(~mine), is_first[~mine])
        self.held_count += int(np.count_nonzero(mine))
        self._sort_in(columns.take(mine), is_bad)

    def _add(self, slot: Slot, columns: Columns, is_first: Mask) -> None:
        """Readings in their order, but for those of one series and time, which are put in order of their values."""
        is_tied = np.zeros(len(columns), np.bool_)
        is_tied[1:] = (columns.observed[1:] == columns.observed[:-1]) & ~is_first[1:]
        if is_tied.any():
            columns, twice = ties_in_order(columns, is_tied)
            self.duplicates_total += twice
        self.held_count += len(columns)
        slot.parts.append(columns)

    def _sort_in(self, new: Columns, is_bad: Mask) -> None:
        """Readings of some series whose order isn't that of their arrival, to what waits of these series; the newest slot is theirs."""
        held: list[Columns] = []
        slots: list[I64] = []
        for number, slot in enumerate(self._slots):
            kept = []
            for part in slot.parts:
                mine = is_bad[part.series]
                if not mine.any():
                    kept.append(part)
                    continue
                held.append(part.take(mine))
                slots.append(np.full(len(held[-1]), number, np.int64))
                if not mine.all():
                    kept.append(part.take(~mine))
            slot.parts = kept
        slots.append(np.full(len(new), len(self._slots) - 1, np.int64))
        before = sum(map(len, held))
        all_of_them, slot_of = joined([*held, new]), np.concatenate(slots)
        is_late = np.zeros(len(all_of_them), np.bool_)
        is_late[before:] = self._late(all_of_them)[before:]
        self.late_total += int(np.count_nonzero(is_late))
        kept_rows = all_of_them.take(~is_late)
        slot_of = slot_of[~is_late]
        order = np.lexsort((kept_rows.received, kept_rows.values, kept_rows.observed, kept_rows.series))
        kept_rows, slot_of = kept_rows.take(order), slot_of[order]
        same = np.zeros(len(kept_rows), np.bool_)
        same[1:] = (
            (kept_rows.series[1:] == kept_rows.series[:-1])
            & (kept_rows.observed[1:] == kept_rows.observed[:-1])
            # By their bits, so that what is not a number is equal to itself, too.
            & (kept_rows.values.view(np.int64)[1:] == kept_rows.values.view(np.int64)[:-1])
        )
        self.duplicates_total += int(np.count_nonzero(same))
        # Of one that came twice the slot is the earlier one's: it is the first here.
        kept_rows, slot_of = kept_rows.take(~same), slot_of[~same]
        self.held_count -= len(all_of_them) - len(kept_rows)
        if not len(kept_rows):
            return
        # From the end of each series: the earliest slot of all that is not earlier than this.
        rank = np.cumsum(np.append(True, kept_rows.series[1:] != kept_rows.series[:-1])).astype(np.int64)
        coded = rank * len(self._slots) + slot_of
        earliest = np.minimum.accumulate(coded[::-1])[::-1] - rank * len(self._slots)
        for number in np.unique(earliest).tolist():
            self._slots[number].parts.append(kept_rows.take(earliest == number))

    def _late(self, columns: Columns) -> Mask:
        """Which readings are not later than one of their series that came `lateness_ms` before them, or was released."""
        order = np.lexsort((columns.received, columns.series))
        series, observed, received = (
            columns.series[order],
            columns.observed[order],
            columns.received[order],
        )
        rank = np.cumsum(np.append(True, series[1:] != series[:-1])).astype(np.int64)
        # Times as small numbers, each series above the one before: one running maximum for all.
        times = np.unique(observed)
        place = np.searchsorted(times, observed)
        highest = np.maximum.accumulate(rank * (len(times) + 1) + place)
        arrivals, since = received - received.min(), self._lateness_ms
        width = int(arrivals.max()) + since + 2
        at = np.searchsorted(rank * width + arrivals + since, rank * width + arrivals, side="right") - 1
        # `at` is the last one that came early enough, of this series or of one before.
        has_one = (at >= 0) & (rank[at] == rank)
        before = np.where(has_one, highest[at] - rank * (len(times) + 1), -1)
        is_late = (before >= place) | (observed <= self._settled[series])
        found = np.empty(len(order), np.bool_)
        found[order] = is_late
        return found

    def release(self, watermark_ms: int | None) -> Iterator[Slot]:
        """Slots that wait no longer, in order; with None all of them."""
        while self._slots:
            is_early = watermark_ms is not None and self._slots[0].last_ms + self._lateness_ms > watermark_ms
            if is_early and self.held_count <= self._held_count_max:
                return
            slot = self._slots.popleft()
            columns = slot.columns() if slot.parts else EMPTY
            slot.parts = [columns]
            self.held_count -= len(columns)
            if is_early:
                self.early_total += len(columns)
            if len(columns):
                ends = np.append(np.flatnonzero(columns.series[1:] != columns.series[:-1]), len(columns) - 1)
                self._settled[columns.series[ends]] = columns.observed[ends]
            yield slot

    def save(self) -> SavedReorder:
        slots = [
            (
                slot.instant,
                slot.first_ms,
                slot.last_ms,
                slot.is_start,
                [
                    (each.device_id, each.presence.value, each.at_ms, each.expect_ms)
                    for each in slot.presences
                ],
                [packed_columns(part) for part in slot.parts],
            )
            for slot in self._slots
        ]
        return SavedReorder(self._newest.tobytes(), self._settled.tobytes(), slots)

    def load(self, saved: SavedReorder) -> None:
        """Go on from what was saved.

        Raises:
            ValueError: it is no whole state.
        """
        newest, settled = np.frombuffer(saved.newest, np.int64), np.frombuffer(saved.settled, np.int64)
        if len(newest) != len(settled) or not len(newest):
            raise ValueError("the times of series are of different lengths")
        self._newest, self._settled = newest.copy(), settled.copy()
        self._slots = deque(
            Slot(
                instant,
                first_ms,
                last_ms,
                is_start,
                [
                    PresenceChange(
                        device_id=device, presence=Presence(word), at_ms=at_ms, expect_ms=expect_ms
                    )
                    for device, word, at_ms, expect_ms in presences
                ],
                [unpacked_columns(part) for part in parts],
            )
            for instant, first_ms, last_ms, is_start, presences, parts in saved.slots
        )
        self.held_count = sum(len(part) for slot in self._slots for part in slot.parts)
        if any(
            len(part) and int(part.series.max()) >= len(newest) for slot in self._slots for part in slot.parts
        ):
            raise ValueError("a reading is of a series without times")

    def _grow(self, count: int) -> None:
        if count > len(self._newest):
            more = np.full(max(count, 2 * len(self._newest)) - len(self._newest), _NEVER, np.int64)
            self._newest = np.concatenate([self._newest, more])
            self._settled = np.concatenate([self._settled, more])
