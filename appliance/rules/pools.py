"""What comparisons compare with: another series of the device, or the series of a group.

Must not know: values.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from appliance.core.arrays import I64
from appliance.management.rule import Rule
from appliance.management.rule_conditions import Comparison
from appliance.management.watched import Membership
from appliance.rules.comparison import ComparisonTable
from appliance.rules.places import Places


def pools_of(
    table: ComparisonTable, rules: Mapping[int, Rule], places: Places, membership: Membership
) -> dict[int, I64]:
    """Write into the slots what they are compared with, anew.

    Returns:
        Number of a pool → its series: those of the same metric of all devices of a group, or of the rule's scope.
    """
    pools: dict[int, I64] = {}
    numbers: dict[tuple[int, str], int] = {}
    for slot in range(table.count):
        number, series = int(table.rule[slot]), int(table.series[slot])
        condition = rules[number].definition.condition
        assert isinstance(condition, Comparison)
        if condition.with_ == "metric":
            table.other[slot] = places.series_of[int(table.device[slot])].get(condition.other, -1)
            continue
        key = number, places.metrics[series]
        if key not in numbers:
            numbers[key] = len(numbers)
            pools[numbers[key]] = (
                _series_of_group(condition.other, key[1], places, membership)
                if condition.other
                else _series_of_rule(table, number, key[1], places)
            )
        table.pool[slot] = numbers[key]
    return pools


def _series_of_rule(table: ComparisonTable, number: int, metric: str, places: Places) -> I64:
    mine = table.series[table.rule == number].tolist()
    return np.array([each for each in mine if places.metrics[each] == metric], np.int64)


def _series_of_group(group: str, metric: str, places: Places, membership: Membership) -> I64:
    devices = [
        device
        for device, name in enumerate(places.devices.names)
        if group in (member := membership.of(name)).groups and member.is_watched
    ]
    return places.series_of_devices(devices, metric)
