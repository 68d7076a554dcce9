"""What a mapping does to the fields of a payload: other names, other units, some left out.

Works on whole columns: points whose mappings treat fields alike are taken together, each column is renamed, scaled or left out
once. Without rules, which is the usual batch, nothing is touched. A message of which no field is left is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from appliance.core.arrays import I64
from appliance.management.envelopes import Column, keep_items
from appliance.management.mapping import FieldRule, Route, TopicMapping
from appliance.management.readings import Reason, Refusal, ValueKind
from appliance.management.shapes import ColumnGroup


def apply_fields(groups: Sequence[ColumnGroup]) -> tuple[list[ColumnGroup], dict[int, Refusal]]:
    """Apply the mappings' rules.

    Returns:
        The groups, and the refusals by message index.
    """
    table = groups[0].routes.table if groups else ()
    if not any(map(_rules_of, table)):
        return list(groups), {}
    numbers: dict[TopicMapping | None, int] = {None: 0}
    of_route = np.array([numbers.setdefault(_rules_of(route), len(numbers)) for route in table], np.int64)
    mappings = list(numbers)
    found: list[ColumnGroup] = []
    emptied: list[I64] = []
    for group in groups:
        which = of_route[group.routes.at]
        for number in np.flatnonzero(np.bincount(which)).tolist():
            mapping, mask = mappings[number], which == number
            part = group if mask.all() else _part(group, mask)
            if mapping is None:
                found.append(part)
                continue
            named = _named(part, mapping)
            if named.keys:
                found.append(named)
            else:
                emptied.append(part.index)
    if not emptied:
        return found, {}
    full = np.concatenate([group.index for group in found] or [np.empty(0, np.int64)])
    lost = np.setdiff1d(np.concatenate(emptied), full)
    refusal = Refusal(Reason.NO_VALUES, "none of the fields that its mapping names")
    return found, dict.fromkeys(lost.tolist(), refusal)


def _rules_of(route: Route) -> TopicMapping | None:
    return route.mapping if route.mapping is not None and route.mapping.fields else None


def _part(group: ColumnGroup, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> ColumnGroup:
    return ColumnGroup(
        keys=group.keys,
        kinds=group.kinds,
        columns=[keep_items(column, mask) for column in group.columns],
        index=group.index[mask],
        routes=group.routes.take(mask),
        received=group.received[mask],
        observed=group.observed[mask],
        quality=group.quality[mask],
    )


def _named(group: ColumnGroup, mapping: TopicMapping) -> ColumnGroup:
    """One group by the rules of one mapping. A field that isn't named gives way to one that was given its name."""
    rules = {rule.path: rule for rule in mapping.fields}
    taken = {rule.metric for key, rule in rules.items() if key in group.keys}
    keys: list[str] = []
    kinds: list[ValueKind] = []
    columns: list[Column] = []
    for key, kind, column in zip(group.keys, group.kinds, group.columns, strict=True):
        rule = rules.get(key)
        if rule is None and (mapping.only_fields or key in taken):
            continue
        keys.append(key if rule is None else rule.metric)
        kinds.append(kind)
        columns.append(column if rule is None else _scaled(column, kind, rule))
    return ColumnGroup(
        keys=tuple(keys),
        kinds=tuple(kinds),
        columns=columns,
        index=group.index,
        routes=group.routes,
        received=group.received,
        observed=group.observed,
        quality=group.quality,
    )


def _scaled(column: Column, kind: ValueKind, rule: FieldRule) -> Column:
    if kind is not ValueKind.NUMBER or isinstance(column, list) or (rule.scale, rule.offset) == (1.0, 0.0):
        return column
    # The store has finite numbers only: what a scale brings beyond the doubles stays at their end.
    with np.errstate(over="ignore"):
        scaled = column * rule.scale + rule.offset
    return np.where(np.isfinite(scaled), scaled, np.copysign(np.finfo(np.float64).max, scaled))
