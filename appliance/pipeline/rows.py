"""From column groups to the rows of a transaction: series ids, tables by day, newest values.

A group's k columns of n values become k × n rows, column after column; the store sorts them by series. The ids of a shape
are found once per route and remembered.
"""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from appliance.core.arrays import F64, I64, U8, U32, Mask
from appliance.core.limits import (
    CLOCK_AHEAD_MS_MAX,
    DAY_TABLE_COUNT_MAX,
    METRIC_NAME_BYTES_MAX,
    SHAPE_COUNT_MAX,
    TOPIC_ROUTE_COUNT_MAX,
)
from appliance.management.envelopes import Column, keep_items, take
from appliance.management.mapping import Route
from appliance.management.readings import Reason, Refusal, ValueKind
from appliance.management.shapes import ColumnGroup
from storage.telemetry.batch import DAY_MS, NewestRows, NumberRows, StoreBatch, TextRows
from storage.telemetry.series import SeriesCatalog


class Plan(dict[Route, "bytes | Refusal"]):
    """The series ids of one shape, by route: k ids as u32, ready to be joined, or why there are none."""

    __slots__ = ("_series", "keys_", "kinds")

    def __init__(self, keys: tuple[str, ...], kinds: tuple[ValueKind, ...], series: SeriesCatalog) -> None:
        super().__init__()
        self.keys_ = keys
        self.kinds = kinds
        self._series = series

    def __missing__(self, route: Route) -> bytes | Refusal:
        if len(self) >= TOPIC_ROUTE_COUNT_MAX:
            self.clear()
        found = self[route] = self._find(route)
        return found

    def _find(self, route: Route) -> bytes | Refusal:
        ids = array("I")
        names = [route.metric_name(key) for key in self.keys_]
        for name in names:
            if name is None:
                return Refusal(Reason.NO_METRIC)
            if len(name.encode()) > METRIC_NAME_BYTES_MAX or not name.isprintable():
                return Refusal(Reason.BAD_METRIC_NAME, name[:100])
        for name, kind in zip(names, self.kinds, strict=True):
            number = self._series.id_of(route.device, name or "", kind)
            if number is None:
                return Refusal(Reason.TOO_MANY_SERIES, (name or "")[:100])
            ids.append(number)
        return ids.tobytes()


class Plans:
    """The plans of all shapes, bounded."""

    def __init__(self, series: SeriesCatalog) -> None:
        self._series = series
        self._plans: dict[tuple[tuple[str, ...], tuple[ValueKind, ...]], Plan] = {}

    def plan(self, keys: tuple[str, ...], kinds: tuple[ValueKind, ...]) -> Plan:
        plan = self._plans.get((keys, kinds))
        if plan is None:
            if len(self._plans) >= SHAPE_COUNT_MAX:
                self._plans.clear()
            plan = self._plans[keys, kinds] = Plan(keys, kinds, self._series)
        return plan

    def __len__(self) -> int:
        return len(self._plans)


@dataclass(frozen=True, slots=True)
class LastPoints:
    """The newest point of each route in one column group: what the live view is fed with.

    Attributes:
        points: Topic's route → (observed, received, quality, values of all keys).
    """

    keys: tuple[str, ...]
    kinds: tuple[ValueKind, ...]
    points: dict[Route, tuple[int, int, int, tuple[Any, ...]]]


@dataclass(slots=True)
class Resolved:
    """A column group with its series.

    Attributes:
        ids: (routes of the batch × k): the series of each route that the group has.
    """

    group: ColumnGroup
    ids: U32


def resolve(groups: Iterable[ColumnGroup], plans: Plans) -> tuple[list[Resolved], dict[int, Refusal]]:
    """Find the series of all points.

    Returns:
        The groups with ids, and the refusals by message index. The points of a refused message are in no group.
    """
    found: list[Resolved] = []
    refusals: dict[int, Refusal] = {}
    for group in groups:
        plan = plans.plan(group.keys, group.kinds)
        routes = group.routes
        ids = np.zeros((len(routes.table), len(group.keys)), np.uint32)
        present = routes.present()
        entries = [plan[routes.table[number]] for number in present.tolist()]
        packed = [entry for entry in entries if isinstance(entry, bytes)]
        is_refused = np.array([isinstance(entry, Refusal) for entry in entries], np.bool_)
        ids[present[~is_refused]] = np.frombuffer(b"".join(packed), np.uint32).reshape(
            len(packed), len(group.keys)
        )
        for number in np.flatnonzero(is_refused).tolist():
            refusal = entries[number]
            assert isinstance(refusal, Refusal)
            mine = group.index[routes.at == present[number]]
            refusals.update(dict.fromkeys(mine.tolist(), refusal))
        found.append(Resolved(group, ids))
    if refusals:
        refused = list(refusals)
        found = [_keep(item, ~np.isin(item.group.index, refused)) for item in found]
    return [item for item in found if len(item.group)], refusals


def _keep(item: Resolved, mask: Mask) -> Resolved:
    """Leave out the points of refused messages: a message is all rows or all dead letter."""
    group = item.group
    return Resolved(
        ColumnGroup(
            keys=group.keys,
            kinds=group.kinds,
            columns=[keep_items(column, mask) for column in group.columns],
            index=group.index[mask],
            routes=group.routes.take(mask),
            received=group.received[mask],
            observed=group.observed[mask],
            quality=group.quality[mask],
        ),
        item.ids,
    )


@dataclass(slots=True)
class _Pieces:
    """Rows of one table, or newest values, in pieces. Exactly one of numbers and texts is used."""

    series: list[U32] = field(default_factory=list)
    observed: list[I64] = field(default_factory=list)
    received: list[I64] = field(default_factory=list)
    numbers: list[F64] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)
    quality: list[U8] = field(default_factory=list)

    def add(self, series: U32, observed: I64, received: I64, values: Column, quality: U8) -> None:
        self.series.append(series)
        self.observed.append(observed)
        self.received.append(received)
        self.quality.append(quality)
        if isinstance(values, list):
            self.texts.append(values)
        else:
            self.numbers.append(values)

    def number_rows(self) -> NumberRows:
        return NumberRows(
            np.concatenate(self.series),
            np.concatenate(self.observed),
            np.concatenate(self.numbers),
            np.concatenate(self.quality),
        )

    def text_rows(self) -> TextRows:
        return TextRows(
            np.concatenate(self.series),
            np.concatenate(self.observed),
            list(chain.from_iterable(self.texts)),
            np.concatenate(self.quality),
        )

    def newest(self) -> NewestRows:
        """Each series once, the newest of it; shapes that share a key, or topics that share a prefix, brought several."""
        if not self.series:
            return NewestRows()
        return NewestRows(
            np.concatenate(self.series),
            np.concatenate(self.observed),
            np.concatenate(self.received),
            np.concatenate(self.numbers) if self.numbers else np.empty(0),
            list(chain.from_iterable(self.texts)),
            np.concatenate(self.quality),
        ).newest()


def add_rows(
    batch: StoreBatch, resolved: Sequence[Resolved], received_max_ms: int, archived: Container[int] = ()
) -> int:
    """Put the rows of all groups into the batch.

    Args:
        received_max_ms: Newest arrival in the batch; days too far before it share a table.
        archived: Days whose readings in these records the archive has: they get no rows.
    Returns:
        The number of rows.
    """
    today = received_max_ms // DAY_MS
    oldest, newest = today - DAY_TABLE_COUNT_MAX, today + CLOCK_AHEAD_MS_MAX // DAY_MS + 1
    numbers: dict[int | None, _Pieces] = {}
    texts: dict[int | None, _Pieces] = {}
    rows = 0
    for item in resolved:
        group = item.group
        for day, mask in _days(group.observed):
            if day in archived:
                continue
            rows += (len(group) if mask is None else int(np.count_nonzero(mask))) * len(group.keys)
            table = day if oldest <= day <= newest else None
            part = item if mask is None else _keep(item, mask)
            for at, column in enumerate(part.group.columns):
                tables = texts if isinstance(column, list) else numbers
                _add_column(tables.setdefault(table, _Pieces()), part, at, slice(None), column)
    batch.numbers = {day: pieces.number_rows() for day, pieces in numbers.items()}
    batch.texts = {day: pieces.text_rows() for day, pieces in texts.items()}
    return rows


def _days(observed: I64) -> list[tuple[int, Mask | None]]:
    """The days of n times, each with where it is; None for everywhere."""
    first, last = int(observed.min()) // DAY_MS, int(observed.max()) // DAY_MS
    if first == last:
        return [(first, None)]
    days = observed // DAY_MS
    return [(day, days == day) for day in np.unique(days).tolist()]


def _add_column(pieces: _Pieces, item: Resolved, at: int, where: I64 | slice, values: Column) -> None:
    """The values of column `at`, those of the points at `where`."""
    group = item.group
    series = item.ids[group.routes.at[where], at]
    pieces.add(series, group.observed[where], group.received[where], values, group.quality[where])


def last_positions(group: ColumnGroup) -> I64:
    """For each route the position of the point with the newest time; of equal ones the last."""
    routes, observed = group.routes.at, group.observed
    order: I64 = np.argsort(routes, kind="stable")
    same = np.diff(routes[order]) == 0
    if ((np.diff(observed[order]) < 0) & same).any():
        order = np.lexsort((observed, routes))
    found: I64 = order[np.append(~same, True)]
    return found


def last_points(group: ColumnGroup, where: I64) -> LastPoints:
    """The points at these positions, one of each route, as the live view takes them."""
    chosen = where.tolist()
    values = [take(c, chosen) if isinstance(c, list) else c[where].tolist() for c in group.columns]
    points = zip(
        group.observed[where].tolist(),
        group.received[where].tolist(),
        group.quality[where].tolist(),
        zip(*values, strict=True),
        strict=True,
    )
    routes = group.routes.take(where).each()
    return LastPoints(group.keys, group.kinds, dict(zip(routes, points, strict=True)))


def add_newest(batch: StoreBatch, resolved: Sequence[Resolved], where: Sequence[I64]) -> None:
    """Put the newest value of each series of the batch into it, each series once.

    Args:
        where: For each group the positions of its newest points.
    """
    numbers, texts = _Pieces(), _Pieces()
    for item, chosen in zip(resolved, where, strict=True):
        for at, column in enumerate(item.group.columns):
            if isinstance(column, list):
                _add_column(texts, item, at, chosen, take(column, chosen.tolist()))
            else:
                _add_column(numbers, item, at, chosen, column[chosen])
    batch.newest_numbers = numbers.newest()
    batch.newest_texts = texts.newest()
