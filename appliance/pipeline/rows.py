"""From column groups to the rows of a transaction: series ids, tables by day, newest values.

A group's k columns of n values become k × n rows, column after column, so that equal series and similar values lie
together (DuckDB compresses them better) and everything is array.extend. The ids of a shape are found once per route and
remembered.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

from appliance.core.limits import (
    CLOCK_AHEAD_MS_MAX,
    DAY_TABLE_COUNT_MAX,
    METRIC_NAME_BYTES_MAX,
    SHAPE_COUNT_MAX,
    TOPIC_ROUTE_COUNT_MAX,
)
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

    def columns(self, ids: Iterable[bytes]) -> list[array[int]]:
        """k columns of the ids of n points."""
        flat = array("I")
        flat.frombytes(b"".join(ids))
        width = len(self.keys_)
        return [flat[at::width] for at in range(width)]


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
    """A column group with its series ids: k packed ones per point."""

    group: ColumnGroup
    plan: Plan
    ids: list[bytes]


def resolve(groups: Iterable[ColumnGroup], plans: Plans) -> tuple[list[Resolved], dict[int, Refusal]]:
    """Find the series of all points.

    Returns:
        The groups with ids, and the refusals by message index. The points of a refused message are in no group.
    """
    found: list[Resolved] = []
    refusals: dict[int, Refusal] = {}
    for group in groups:
        plan = plans.plan(group.keys, group.kinds)
        ids = list(map(plan.__getitem__, group.routes))
        if Refusal in set(map(type, ids)):
            entries = zip(group.index, ids, strict=True)
            refusals.update((index, entry) for index, entry in entries if isinstance(entry, Refusal))
        found.append(Resolved(group, plan, ids))  # type: ignore[arg-type]
    if refusals:
        found = [_without(resolved, refusals) for resolved in found]
    return [resolved for resolved in found if len(resolved.ids)], refusals


def _without(resolved: Resolved, refusals: dict[int, Refusal]) -> Resolved:
    """Leave out the points of refused messages: a message is all rows or all dead letter."""
    group = resolved.group
    keep = [index not in refusals for index in group.index]
    if all(keep):
        return resolved
    return Resolved(
        ColumnGroup(
            keys=group.keys,
            kinds=group.kinds,
            columns=[
                array("d", compress(column, keep))
                if isinstance(column, array)
                else list(compress(column, keep))
                for column in group.columns
            ],
            index=list(compress(group.index, keep)),
            routes=list(compress(group.routes, keep)),
            received=list(compress(group.received, keep)),
            observed=array("q", compress(group.observed, keep)),
            quality=bytes(compress(group.quality, keep)),
        ),
        resolved.plan,
        list(compress(resolved.ids, keep)),
    )


def add_rows(batch: StoreBatch, resolved: Sequence[Resolved], received_max_ms: int) -> int:
    """Put the rows of all groups into the batch.

    Args:
        received_max_ms: Newest arrival in the batch; days too far before it share a table.
    Returns:
        The number of rows.
    """
    today = received_max_ms // DAY_MS
    oldest, newest = today - DAY_TABLE_COUNT_MAX, today + CLOCK_AHEAD_MS_MAX // DAY_MS + 1

    def table_of(day: int) -> int | None:
        return day if oldest <= day <= newest else None

    rows = 0
    for item in resolved:
        group = item.group
        columns_of_ids = item.plan.columns(item.ids)
        first, last = min(group.observed) // DAY_MS, max(group.observed) // DAY_MS
        if first == last:
            _add_group(batch, table_of(first), group, columns_of_ids, None)
        else:
            positions: dict[int | None, list[int]] = {}
            for position, ms in enumerate(group.observed):
                positions.setdefault(table_of(ms // DAY_MS), []).append(position)
            for day, chosen in positions.items():
                _add_group(batch, day, group, columns_of_ids, chosen)
        rows += len(item.ids) * len(group.keys)
    return rows


def _add_group(
    batch: StoreBatch,
    day: int | None,
    group: ColumnGroup,
    ids: Sequence[array[int]],
    chosen: list[int] | None,
) -> None:
    """The rows of a group, or of its points at the `chosen` positions, to one day's table."""
    observed: Sequence[int] = group.observed
    quality: bytes = group.quality
    if chosen is not None:
        observed = array("q", map(observed.__getitem__, chosen))
        quality = bytes(map(quality.__getitem__, chosen))
    for kind, numbers, column in zip(group.kinds, ids, group.columns, strict=True):
        values: Sequence[Any] = column
        series = numbers
        if chosen is not None:
            values = list(map(values.__getitem__, chosen))
            series = array("I", map(series.__getitem__, chosen))
        if kind is ValueKind.TEXT:
            texts = batch.texts.setdefault(day, TextRows())
            texts.series.extend(series)
            texts.observed.extend(observed)
            texts.texts.extend(values)
            texts.quality += quality
        else:
            rows = batch.numbers.setdefault(day, NumberRows())
            rows.series.extend(series)
            rows.observed.extend(observed)
            rows.numbers.extend(values)  # from an array it is one copy of memory
            rows.quality += quality


def last_points(group: ColumnGroup) -> LastPoints:
    """The point of each route with the newest time; of equal ones the last."""
    observed = group.observed.tolist()
    order = sorted(range(len(observed)), key=observed.__getitem__)
    last = dict(zip(map(group.routes.__getitem__, order), order, strict=True))
    where = list(last.values())
    values = zip(*(map(column.__getitem__, where) for column in group.columns), strict=True)
    points = zip(
        map(observed.__getitem__, where),
        map(group.received.__getitem__, where),
        map(group.quality.__getitem__, where),
        values,
        strict=True,
    )
    return LastPoints(group.keys, group.kinds, dict(zip(last, points, strict=True)))


def add_newest(batch: StoreBatch, last: Sequence[LastPoints], plan_of: Callable[[LastPoints], Plan]) -> None:
    """Put the newest value of each series of the batch into it, each series once."""
    for points in last:
        plan = plan_of(points)
        entries = points.points
        ids = plan.columns(map(plan.__getitem__, entries))  # type: ignore[arg-type]
        for at, kind in enumerate(points.kinds):
            rows = batch.newest_texts if kind is ValueKind.TEXT else batch.newest_numbers
            values: list[Any] = rows.texts if kind is ValueKind.TEXT else rows.numbers  # type: ignore[assignment]
            rows.series.extend(ids[at])
            values.extend(entry[3][at] for entry in entries.values())
            rows.observed.extend(entry[0] for entry in entries.values())
            rows.received.extend(entry[1] for entry in entries.values())
            rows.quality.extend(entry[2] for entry in entries.values())
    batch.newest_numbers = _once(batch.newest_numbers)
    batch.newest_texts = _once(batch.newest_texts)


def _once(rows: NewestRows) -> NewestRows:
    """Each series once, the newest; shapes that share a key, or topics that share a prefix, brought several."""
    if len(set(rows.series)) == len(rows):
        return rows
    order = sorted(range(len(rows)), key=rows.observed.__getitem__)
    where = list(dict(zip(map(rows.series.__getitem__, order), order, strict=True)).values())
    return NewestRows(
        series=array("I", map(rows.series.__getitem__, where)),
        observed=array("q", map(rows.observed.__getitem__, where)),
        received=array("q", map(rows.received.__getitem__, where)),
        numbers=array("d", map(rows.numbers.__getitem__, where)) if rows.numbers else array("d"),
        texts=list(map(rows.texts.__getitem__, where)) if rows.texts else [],
        quality=bytearray(map(rows.quality.__getitem__, where)),
    )
