"""Which alarm explains which, and whom a maintenance is for."""

from __future__ import annotations

import pytest

from appliance.management.alarm_explaining import (
    covers,
    explains,
    is_explainable,
    is_in_maintenance,
    is_in_scope,
    may_explain,
)
from appliance.management.rule import RuleDefinition, RuleScope, Severity
from appliance.management.rule_conditions import (
    Anomaly,
    AnyCondition,
    Connection,
    MissingFraction,
    NoData,
    NodeWatch,
    Threshold,
)

EVERYTHING = RuleScope(all=True)


def rule(condition: AnyCondition, scope: RuleScope = EVERYTHING, severity: Severity = "P2") -> RuleDefinition:
    return RuleDefinition(severity=severity, scope=scope, condition=condition)


@pytest.mark.parametrize(
    ("scope", "is_in"),
    [
        (RuleScope(all=True), True),
        (RuleScope(all=True, except_=("d1",)), False),
        (RuleScope(devices=("d1", "d2")), True),
        (RuleScope(devices=("d2",)), False),
        (RuleScope(groups=("g2", "g1")), True),
        (RuleScope(groups=("g2",)), False),
        (RuleScope(tags=("t1",)), True),
        (RuleScope(tags=("t2",), groups=("g2",)), False),
        (RuleScope(groups=("g1",), except_=("d1",)), False),
    ],
)
def test_a_scope(scope: RuleScope, is_in: bool) -> None:
    assert is_in_scope(scope, "d1", {"g1"}, {"t1"}) is is_in
    assert is_in_maintenance(scope, "d1", "", {"g1"}, {"t1"}) is is_in


def test_a_maintenance_and_alarms_of_no_device() -> None:
    assert is_in_maintenance(RuleScope(groups=("g1",)), "", "g1", (), ())
    assert not is_in_maintenance(RuleScope(groups=("g1",)), "", "g2", (), ())
    assert not is_in_maintenance(RuleScope(groups=("g1",)), "", "", (), ())
    assert is_in_maintenance(RuleScope(all=True), "", "", (), ())


def test_silence_can_be_explained_and_heat_can_not() -> None:
    assert is_explainable(rule(NoData()), {})
    assert is_explainable(rule(Connection()), {})
    assert is_explainable(rule(Anomaly()), {"what": "drop_out"})
    assert is_explainable(rule(Anomaly()), {"finding": "drop_out"})
    assert not is_explainable(rule(Anomaly()), {"what": "drift"})
    assert not is_explainable(rule(Threshold(is_="above", limit=1.0)), {})


def test_what_explains() -> None:
    assert may_explain(rule(MissingFraction()))
    assert may_explain(rule(NodeWatch(what="broker")))
    assert not may_explain(rule(NodeWatch(what="disk")))
    assert not may_explain(rule(NoData()))


def test_a_site_explains_its_devices_and_a_group_its_own() -> None:
    site = rule(MissingFraction(), RuleScope(groups=("g1", "g2")))
    assert explains(site, "", "P2", "d1", {"g1"}, ())
    assert not explains(site, "", "P2", "d1", {"g3"}, ())
    assert explains(site, "g1", "P2", "d1", {"g1"}, ())
    assert not explains(site, "g2", "P2", "d1", {"g1"}, ())
    assert covers(site, "P2", "d1", {"g2"}, ())
    assert not covers(rule(NoData()), "P2", "d1", (), ())


def test_a_node_that_hears_nobody_explains_everybody() -> None:
    assert explains(rule(NodeWatch(what="uplink"), RuleScope()), "", "P2", "d1", (), ())


def test_what_explains_is_as_urgent() -> None:
    site = rule(MissingFraction(), severity="P3")
    assert not explains(site, "", "P1", "d1", (), ())
    assert explains(site, "", "P3", "d1", (), ())
