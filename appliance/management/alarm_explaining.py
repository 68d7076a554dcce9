"""Which alarm explains which: a site that sends nothing is one alarm, not one per device. And whom a maintenance is for. Pure.

A device's alarm that it is silent (no data, connection, a drop-out) is explained by an active alarm that so many devices of its site or group
are silent, or that this node could not hear anybody. What explains must be as urgent as what it explains: a P3 hides no P1.

Must not know: tables, what is active.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from appliance.management.rule import RuleDefinition, RuleScope
from appliance.management.rule_conditions import Anomaly, Connection, MissingFraction, NoData, NodeWatch

EXPLAINING_WATCHES: Final = frozenset({"broker", "uplink"})
"""Watches of the node (NodeWatch.what) that mean that it hears nobody."""
DROP_OUT: Final = "drop_out"


def is_in_scope(scope: RuleScope, device_id: str, groups: Collection[str], tags: Collection[str]) -> bool:
    """Whether a scope has a device.

    Args:
        groups, tags: The device's.
    """
    if device_id in scope.except_:
        return False
    return (
        scope.all
        or device_id in scope.devices
        or any(group in scope.groups for group in groups)
        or any(tag in scope.tags for tag in tags)
    )


def is_explainable(definition: RuleDefinition, explanation: Mapping[str, Any]) -> bool:
    """Whether an alarm of this rule says that a device is silent.

    Args:
        explanation: The alarm's.
    """
    condition = definition.condition
    if isinstance(condition, NoData | Connection):
        return True
    return isinstance(condition, Anomaly) and DROP_OUT in (
        explanation.get("what"),
        explanation.get("finding"),
    )


def may_explain(definition: RuleDefinition) -> bool:
    """Whether alarms of this rule explain others."""
    condition = definition.condition
    return isinstance(condition, MissingFraction) or (
        isinstance(condition, NodeWatch) and condition.what in EXPLAINING_WATCHES
    )


def covers(
    definition: RuleDefinition, severity: str, device_id: str, groups: Collection[str], tags: Collection[str]
) -> bool:
    """Whether an alarm of this rule could explain that a device is silent, with an alarm of that severity.

    Args:
        groups, tags: The device's.
    """
    if not may_explain(definition) or definition.severity > severity:
        return False
    if isinstance(definition.condition, NodeWatch):
        return True
    return is_in_scope(definition.scope, device_id, groups, tags)


def explains(
    definition: RuleDefinition,
    group_id: str,
    severity: str,
    device_id: str,
    groups: Collection[str],
    tags: Collection[str],
) -> bool:
    """Whether an active alarm explains that a device is silent.

    Args:
        definition, group_id: Of the alarm that would explain; "" for the scope as a whole.
        severity: Of the alarm that would be explained.
    """
    return covers(definition, severity, device_id, groups, tags) and (not group_id or group_id in groups)


def is_in_maintenance(
    scope: RuleScope, device_id: str, group_id: str, groups: Collection[str], tags: Collection[str]
) -> bool:
    """Whether an alarm lies within a maintenance of this scope: of one of its devices, or of one of its groups as such.

    Args:
        device_id, group_id: The alarm's; with neither it is of the whole site, which only a maintenance of all devices covers.
        groups, tags: The device's.
    """
    if device_id:
        return is_in_scope(scope, device_id, groups, tags)
    return scope.all or (bool(group_id) and group_id in scope.groups)
