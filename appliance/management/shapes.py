"""Many messages at once, second half: dicts of values to typed columns.

A shape is the tuple of a point's keys and the kinds of their values. The points of one shape become one column per
key with a handful of C calls for all of them; a point with a null, a nested object or a list is brought to flat
form by points.flatten first, and then has a shape too. The plan of a set of keys (are they good names?) is found once
and remembered, bounded by SHAPE_COUNT_MAX.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from appliance.core.arrays import I64, U8, i64
from appliance.core.limits import (
    METRIC_COUNT_PER_MESSAGE_MAX,
    METRIC_NAME_BYTES_MAX,
    SHAPE_COUNT_MAX,
    TEXT_VALUE_BYTES_MAX,
)
from appliance.management.envelopes import Column, Points, group_indexes, mask_without, take
from appliance.management.messages import Routes
from appliance.management.points import flatten
from appliance.management.readings import KIND_OF_TYPE, Reason, Refusal, ValueKind

_NUMBERS: Final = frozenset({int, float})
_kind_of: Final = KIND_OF_TYPE.get


@dataclass(slots=True)
class ColumnGroup:
    """n points of one shape, k values each.

    Attributes:
        keys: k key paths below each route's prefix ("" for a plain value). kinds: k kinds.
        columns: k columns of n.
        index, routes, received, observed, quality: as in Points.
    """

    keys: tuple[str, ...]
    kinds: tuple[ValueKind, ...]
    columns: list[Column]
    index: I64
    routes: Routes
    received: I64
    observed: I64
    quality: U8

    def __len__(self) -> int:
        return len(self.routes)


@dataclass(slots=True)
class Shaped:
    """What the points of a batch became. Refusals are by message index."""

    groups: list[ColumnGroup] = field(default_factory=list)
    refusals: dict[int, Refusal] = field(default_factory=dict)
    nulls_skipped: int = 0


class Shapes:
    """The memory of which key tuples are regular."""

    def __init__(self, *, shape_count_max: int = SHAPE_COUNT_MAX) -> None:
        self._regular: dict[tuple[str, ...], bool] = {}
        self._shape_count_max = shape_count_max

    def shape(self, groups: Sequence[Points]) -> Shaped:
        """Turn points into columns. Every point ends in a column group, or its message in the refusals."""
        shaped = Shaped()
        irregular: list[Points] = []
        for points in groups:
            if points.columns is not None:
                if len(points):
                    shaped.groups.append(_group(points.keys, points.kinds, points.columns, points))
                continue
            for keys, part in _parts(points, list(map(tuple, points.values))):
                if points.flat or self._is_regular(keys):
                    self._add(keys, part, shaped, irregular)
                else:
                    irregular.append(part)
        for points in irregular:
            flat = _flattened(points, shaped)
            for keys, part in _parts(flat, list(map(tuple, flat.values))):
                leftover: list[Points] = []
                self._add(keys, part, shaped, leftover)
                assert not leftover, "flattened values are scalars"
        return shaped

    def _is_regular(self, keys: tuple[str, ...]) -> bool:
        regular = self._regular.get(keys)
        if regular is None:
            regular = keys == ("",) or (
                0 < len(keys) <= METRIC_COUNT_PER_MESSAGE_MAX
                and all(key and key.isprintable() and len(key) <= METRIC_NAME_BYTES_MAX for key in keys)
            )
            if len(self._regular) >= self._shape_count_max:
                self._regular.clear()
            self._regular[keys] = regular
        return regular

    def _add(self, keys: tuple[str, ...], points: Points, shaped: Shaped, irregular: list[Points]) -> None:
        """Points of the same keys: one group if each column has one kind, else a group per combination of kinds."""
        columns = list(zip(*map(dict.values, points.values), strict=True))
        kinds = tuple(map(_kind_of_column, columns))
        if None not in kinds:
            _add_typed(keys, kinds, columns, points, shaped)  # type: ignore[arg-type]
            return
        signatures = [tuple(map(_kind_of, map(type, values.values()))) for values in points.values]
        for signature, part in _parts(points, signatures):
            if None in signature:
                irregular.append(part)
            else:
                columns = list(zip(*map(dict.values, part.values), strict=True))
                _add_typed(keys, signature, columns, part, shaped)

    @property
    def shape_count(self) -> int:
        return len(self._regular)


def _kind_of_column(column: tuple[object, ...]) -> ValueKind | None:
    types = set(map(type, column))
    if len(types) == 1:
        return _kind_of(types.pop())
    return ValueKind.NUMBER if types == _NUMBERS else None


def _parts(points: Points, keys: list[tuple[Any, ...]]) -> list[tuple[tuple[Any, ...], Points]]:
    """The points by key; the same object when there is one key only."""
    if not keys:
        return []
    groups = group_indexes(keys)
    if len(groups) == 1:
        return [(next(iter(groups)), points)]
    return [(key, _take_points(points, indexes)) for key, indexes in groups.items()]


def _take_points(points: Points, indexes: Sequence[int]) -> Points:
    chosen = i64(indexes)
    return Points(
        index=points.index[chosen],
        routes=points.routes.take(chosen),
        received=points.received[chosen],
        observed=points.observed[chosen],
        quality=points.quality[chosen],
        values=take(points.values, indexes),
        flat=points.flat,
    )


def _flattened(points: Points, shaped: Shaped) -> Points:
    """Flat values for all; messages that can't be flattened are refused and left out."""
    selectors: list[bool] = []
    values: list[dict[str, Any]] = []
    for index, nested in zip(points.index.tolist(), points.values, strict=True):
        found = flatten(nested)
        if isinstance(found, Refusal):
            shaped.refusals[index] = found
        else:
            values.append(found[0])
            shaped.nulls_skipped += found[1]
        selectors.append(not isinstance(found, Refusal))
    kept = points.keep(np.array(selectors, np.bool_))
    kept.values, kept.flat = values, True
    return kept


def _add_typed(
    keys: tuple[str, ...],
    kinds: tuple[ValueKind, ...],
    columns: list[tuple[Any, ...]],
    points: Points,
    shaped: Shaped,
) -> None:
    """One group of typed columns, once every value is known to fit."""
    typed: list[Column] = []
    bad: dict[int, Refusal] = {}
    for key, kind, column in zip(keys, kinds, columns, strict=True):
        if kind is ValueKind.TEXT:
            if max(map(len, column)) * 4 > TEXT_VALUE_BYTES_MAX:
                for position, text in enumerate(column):
                    if len(text.encode()) > TEXT_VALUE_BYTES_MAX:
                        bad[position] = Refusal(Reason.TEXT_TOO_LONG, f"{key[:100]}: {len(text)} characters")
            typed.append(list(column))
            continue
        try:
            typed.append(np.array(column, np.float64))
        except OverflowError:
            for position, number in enumerate(column):
                if type(number) is int and not _fits_double(number):
                    bad[position] = Refusal(Reason.NUMBER_OUT_OF_RANGE, key[:100])
    if bad:
        for position, refusal in bad.items():
            shaped.refusals[int(points.index[position])] = refusal
        rest = points.keep(mask_without(len(points), bad))
        if len(rest):
            _add_typed(keys, kinds, list(zip(*map(dict.values, rest.values), strict=True)), rest, shaped)
        return
    shaped.groups.append(_group(keys, kinds, typed, points))


def _group(
    keys: tuple[str, ...], kinds: tuple[ValueKind, ...], columns: list[Column], points: Points
) -> ColumnGroup:
    return ColumnGroup(
        keys, kinds, columns, points.index, points.routes, points.received, points.observed, points.quality
    )


def _fits_double(number: int) -> bool:
    try:
        float(number)
    except OverflowError:
        return False
    return True
