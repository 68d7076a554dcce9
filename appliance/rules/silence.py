"""No data: a device, or a series of it, has sent nothing for `times` the expected interval, by the clock.

Theory of operation. A row is silent from `max(last arrival, last start of the broker) + times × expected` on, and heard again when something arrives.
Arrivals are put down as they come and worked off in their order, up to a horizon before which nothing more can come; so what is found doesn't
depend on batches or ticks, and a gap that nobody looked into while it lasted is found afterwards with the same times. Expected is what
the rule says, else what the device's status says, else what its series have been seen to do (the most frequent of them counts for a device).
What becomes known of it counts from then on: a row that is silent by it already is so at once, not before.

A reading is an arrival whatever its quality: a device that says that its sensor is broken is there.

Must not know: alarms, groups; that rows may stand for members of a fraction is their `parent`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final, NamedTuple

import numpy as np

from appliance.core.arrays import F64, I64, Mask
from appliance.management.watched import Released
from appliance.rules.batches import Runs, SeriesIndex, indices_of, ranges
from appliance.rules.delays import Delayed, Moves
from appliance.rules.intervals import Intervals
from appliance.rules.table import NEVER

UNKNOWN: Final = -1
LIMIT_MS_MIN: Final = 1_000
"""expected is a second or more, and so is times × expected: two arrivals closer than that have no silence between them."""


class SilenceTable(Delayed):
    """Rows that may fall silent.

    Attributes:
        parent: The fraction that the row is a member of, -1: it has an alarm of its own.
        times, fixed_ms: Of the condition; fixed_ms is UNKNOWN when it names no interval.
        limit_ms: times × expected; NEVER while it isn't known.
        last_ms: The last arrival, or when the row began to be watched; UNKNOWN: there was none.
        is_silent: By the horizon that was worked off last.
        began_ms: From when on a silence counts.
    """

    COLUMNS: ClassVar[Mapping[str, tuple[str, float]]] = {
        **Delayed.COLUMNS,
        "parent": ("i8", -1),
        "times": ("f8", 3.0),
        "fixed_ms": ("i8", UNKNOWN),
        "limit_ms": ("i8", NEVER),
        "last_ms": ("i8", UNKNOWN),
        "is_silent": ("?", False),
        "began_ms": ("i8", 0),
    }
    parent: I64
    times: F64
    fixed_ms: I64
    limit_ms: I64
    last_ms: I64
    is_silent: Mask
    began_ms: I64


class Events(NamedTuple):
    """What members of fractions did: rows fell silent, were heard again, or were heard for the first time."""

    parent: I64
    at_ms: I64
    silent: I64
    """+1, -1 or 0."""
    joined: I64
    """+1 or 0."""


class Silences:
    """Rows, what arrived for them, and how far that is worked off."""

    def __init__(self) -> None:
        self.table = SilenceTable()
        self.intervals = Intervals()
        self.horizon_ms = UNKNOWN
        self.broker_started_ms = 0
        self.expects: dict[int, int] = {}
        """Device → how often its status says that it reports, ms."""
        self.arrivals: list[tuple[I64, I64]] = []
        """(row, arrival) not worked off."""
        self._index = SeriesIndex()
        self._learns = np.zeros(0, np.bool_)
        self._by_device = SeriesIndex()

    def changed(self, series_device: I64) -> None:
        """Rows or series came or went.

        Args:
            series_device: The device of each series.
        """
        table = self.table
        count = len(series_device)
        if count > self.intervals.count:
            self.intervals.add(count - self.intervals.count)
        one = np.flatnonzero(table.series >= 0)
        whole = np.flatnonzero(table.series < 0)
        by_device = SeriesIndex()
        by_device.build(series_device, np.arange(count))
        which, mine = by_device.slots_of(table.device[whole])
        self._index.build(np.concatenate([table.series[one], mine]), np.concatenate([one, whole[which]]))
        asked = np.zeros(count, np.bool_)
        asked[table.series[one[table.fixed_ms[one] == UNKNOWN]]] = True
        asked[mine[table.fixed_ms[whole[which]] == UNKNOWN]] = True
        said = np.isin(series_device, np.array(sorted(self.expects), np.int64))
        self._learns = asked & ~said
        self._by_device = by_device
        self._expect(np.arange(table.count))

    def expect(self, expected: Mapping[int, int]) -> bool:
        """How often devices' status says that they report, ms. Returns whether that is news."""
        news = {device for device, each in expected.items() if self.expects.get(device) != each}
        if not news:
            return False
        self.expects.update(expected)
        _, series = self._by_device.slots_of(np.array(sorted(news), np.int64))
        self._learns[series] = False
        self._expect(indices_of(self.table.device, news))
        return True

    def _expect(self, rows: I64) -> I64:
        """Work out anew how long rows may be quiet. Returns those of which it wasn't known, and that have been heard."""
        table = self.table
        rows = rows[table.fixed_ms[rows] == UNKNOWN]
        expected = np.full(len(rows), NEVER)
        one = table.series[rows] >= 0
        expected[one] = self.intervals.expected_ms[table.series[rows[one]]]
        whole = np.flatnonzero(~one)
        which, series = self._by_device.slots_of(table.device[rows[whole]])
        np.minimum.at(expected, whole[which], self.intervals.expected_ms[series])
        for device in set(table.device[rows].tolist()) & self.expects.keys():
            expected[table.device[rows] == device] = self.expects[device]
        known = expected != NEVER
        limit = (np.where(known, expected, 0) * table.times[rows]).astype(np.int64)
        limit = np.where(known, np.maximum(limit, LIMIT_MS_MIN), NEVER)
        differs = limit != table.limit_ms[rows]
        rows, limit = rows[differs], limit[differs]
        joins: I64 = rows[(table.limit_ms[rows] == NEVER) & (table.last_ms[rows] != UNKNOWN)]
        table.limit_ms[rows] = limit
        table.began_ms[rows] = np.maximum(table.began_ms[rows], self.horizon_ms)
        return joins

    def see(self, readings: Released, runs: Runs) -> None:
        """Put down what arrived."""
        if not len(self._index):
            return
        which, rows = self._index.slots_of(runs.series)
        if not len(rows):
            return
        self.intervals.see(readings, runs, self._learns[runs.series])
        received = readings.received_at_ms
        low = np.minimum.reduceat(received, runs.starts)
        high = np.maximum.reduceat(received, runs.starts)
        if int(high.max()) - int(low.min()) <= LIMIT_MS_MIN:
            # There is no silence within this call: of each row the first and the last arrival say all.
            first, last = np.full(self.table.count, NEVER), np.full(self.table.count, UNKNOWN)
            np.minimum.at(first, rows, low[which])
            np.maximum.at(last, rows, high[which])
            heard = np.flatnonzero(last != UNKNOWN)
            self.arrivals.append((heard, last[heard]))
            heard = heard[first[heard] < last[heard]]
            self.arrivals.append((heard, first[heard]))
            return
        wide = high - low > LIMIT_MS_MIN
        self.arrivals.append((rows, high[which]))
        more = np.flatnonzero((low < high)[which])
        if len(more):
            self.arrivals.append((rows[more], low[which[more]]))
        more = np.flatnonzero(wide[which])
        if len(more):
            lengths = runs.lengths[which[more]]
            at = ranges(runs.starts[which[more]], lengths)
            self.arrivals.append((np.repeat(rows[more], lengths), received[at]))

    def advance(self, horizon_ms: int) -> tuple[list[Moves], Events]:
        """Work off what arrived at or before the horizon. The horizon doesn't go back."""
        moves: list[Moves] = []
        events: list[Events] = []
        while (minute := self.intervals.next_change_ms()) is not None and minute <= horizon_ms:
            self._step(minute, moves, events)
            series = self.intervals.take_effect(minute)
            _, rows = self._index.slots_of(series)
            joins = self._expect(np.unique(rows))
            at = np.full(len(joins), minute)
            self._tell(moves, events, (joins, at, at, 0))
        self._step(horizon_ms, moves, events)
        columns = [np.concatenate(each) for each in zip(*events, strict=True)]
        return moves, Events(*columns)

    def _step(self, upto_ms: int, moves: list[Moves], events: list[Events]) -> None:
        table = self.table
        rows, arrived = self._due(upto_ms)
        # One row after the other in the order of arrival, each with what came before.
        starts = (
            np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
            if len(rows)
            else np.empty(0, np.int64)
        )
        before = np.empty_like(arrived)
        before[1:] = arrived[:-1]
        before[starts] = table.last_ms[rows[starts]]
        was_silent = np.zeros(len(rows), np.bool_)
        was_silent[starts] = table.is_silent[rows[starts]]
        base = np.where(self.broker_started_ms < arrived, np.maximum(before, self.broker_started_ms), before)
        until = np.maximum(base + table.limit_ms[rows], table.began_ms[rows])
        gap = ~was_silent & (before != UNKNOWN) & (arrived > until)
        heard = gap | was_silent
        first = np.zeros(len(rows), np.bool_)
        first[starts] = before[starts] == UNKNOWN
        ends = np.append(starts[1:], len(rows))[: len(starts)] - 1
        table.last_ms[rows[ends]] = arrived[ends]
        table.is_silent[rows[ends]] = False

        base_now = np.maximum(table.last_ms, self.broker_started_ms)
        until_now = np.maximum(base_now + table.limit_ms, table.began_ms)
        quiet = np.flatnonzero(~table.is_silent & (table.last_ms != UNKNOWN) & (until_now <= upto_ms))
        table.is_silent[quiet] = True
        self.horizon_ms = max(self.horizon_ms, upto_ms)

        self._tell(
            moves,
            events,
            (rows[first], arrived[first], arrived[first], 0),
            (rows[gap], until[gap], base[gap], 1),
            (rows[heard], arrived[heard], before[heard], -1),
            (quiet, until_now[quiet], base_now[quiet], 1),
        )

    def _tell(self, moves: list[Moves], events: list[Events], *happened: tuple[I64, I64, I64, int]) -> None:
        """(rows, at, since, silent) by what it is, in the order in which they come at the same time."""
        rows, at, since = (np.concatenate([each[n] for each in happened]) for n in (0, 1, 2))
        lengths = [len(each[0]) for each in happened]
        silent = np.repeat([each[3] for each in happened], lengths)
        order = np.lexsort((np.repeat(np.arange(len(happened)), lengths), at, rows))
        rows, at, silent, since = rows[order], at[order], silent[order], since[order]
        parent = self.table.parent[rows]
        own = (parent < 0) & (silent != 0)
        if own.any() and (found := self._feed(rows[own], at[own], silent[own], since[own])) is not None:
            moves.append(found)
        counts = (parent >= 0) & ((silent != 0) | (self.table.limit_ms[rows] != NEVER))
        joined = (silent[counts] == 0).astype(np.int64)
        events.append(Events(parent[counts], at[counts], silent[counts], joined))

    def _due(self, upto_ms: int) -> tuple[I64, I64]:
        """(row, arrival) at or before a time, each once, by row and time; taken from what waits."""
        if not self.arrivals:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        rows, arrived = (np.concatenate(each) for each in zip(*self.arrivals, strict=True))
        due = arrived <= upto_ms
        self.arrivals = [] if due.all() else [(rows[~due], arrived[~due])]
        rows, arrived = rows[due], arrived[due]
        # Released with something later of its series, and counted then: no news.
        fresh = arrived > self.table.last_ms[rows]
        rows, arrived = rows[fresh], arrived[fresh]
        order = np.lexsort((arrived, rows))
        rows, arrived = rows[order], arrived[order]
        if not len(rows):
            return rows, arrived
        once = np.concatenate([[True], (rows[1:] != rows[:-1]) | (arrived[1:] != arrived[:-1])])
        return rows[once], arrived[once]

    def _feed(self, rows: I64, at: I64, silent: I64, since: I64) -> Moves | None:
        starts = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
        return self.table.feed(
            rows[starts],
            np.diff(starts, append=len(rows)),
            (silent > 0).astype(np.int8),
            observed=at,
            received=at,
            measures=since.astype(np.float64),
            values=np.full(len(rows), np.nan),
        )

    def watch(self, rows: I64, *, from_now: bool) -> None:
        """Rows were added.

        Args:
            from_now: Their devices were there before: one that is silent already counts as heard now. Otherwise they begin
                with what arrives next.
        """
        if from_now:
            self.table.last_ms[rows] = self.horizon_ms
        known = rows[self.table.fixed_ms[rows] != UNKNOWN]
        limit = (self.table.fixed_ms[known] * self.table.times[known]).astype(np.int64)
        self.table.limit_ms[known] = np.maximum(limit, LIMIT_MS_MIN)

    def keep(self, mask: Mask) -> None:
        """Let go of rows."""
        place = np.cumsum(mask) - 1
        self.arrivals = [(place[rows[mask[rows]]], arrived[mask[rows]]) for rows, arrived in self.arrivals]
        self.table.keep(mask)
