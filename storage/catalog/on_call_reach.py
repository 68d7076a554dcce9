"""Whether alarms of a severity reach anybody: some on-call list in force tells a target that is on."""

from __future__ import annotations

from appliance.management.rule import Severity
from storage.catalog.catalog import Catalog


def reaches_anybody(catalog: Catalog, severity: Severity) -> bool:
    """Whether any list in force has a plan for the severity, and a member with a target that is switched on."""
    told = {
        target
        for each in catalog.on_call_in_force()
        if each.plan(severity) is not None
        for member in each.definition.members
        for target in member.targets
    }
    return not told.isdisjoint(catalog.enabled_target_names())
