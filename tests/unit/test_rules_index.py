"""Which rules are about which device and metric."""

from __future__ import annotations

import pytest

from appliance.management.rule import Rule, RuleScope
from appliance.management.rule_conditions import Anomaly, Connection, NoData, NodeWatch, Stuck, Threshold
from appliance.management.watched import Member
from appliance.rules.index import RuleIndex, matches
from tests.rules_kit import ALL, rule

HOT = Threshold(is_="above", limit=80)
NOBODY = Member()


def index(*rules: Rule) -> RuleIndex:
    return RuleIndex(dict(enumerate(rules)))


def test_scopes_are_devices_groups_tags_or_all() -> None:
    found = index(
        rule("0", HOT),
        rule("1", HOT, scope=RuleScope(devices=("a", "b"))),
        rule("2", HOT, scope=RuleScope(groups=("hall",), tags=("new",))),
        rule("3", HOT, scope=RuleScope(devices=("a",), groups=("hall",))),
        rule("4", HOT, metric="u"),
    )
    assert found.of_series("a", NOBODY, "t") == [0, 1, 3]
    assert found.of_series("c", NOBODY, "t") == [0]
    assert found.of_series("c", Member(groups=frozenset({"hall", "x"})), "t") == [0, 2, 3]
    assert found.of_series("c", Member(tags=frozenset({"new"})), "t") == [0, 2]
    assert found.of_series("a", NOBODY, "u") == [4]
    assert found.of_series("a", Member(is_watched=False), "t") == []


def test_exceptions_are_devices_groups_or_tags() -> None:
    found = index(rule("0", HOT, scope=RuleScope(all=True, except_=("a", "hall"))), rule("1", HOT))
    assert found.of_series("a", NOBODY, "t") == [1]
    assert found.of_series("b", NOBODY, "t") == [0, 1]
    assert found.of_series("b", Member(groups=frozenset({"hall"})), "t") == [1]
    assert found.of_series("b", Member(tags=frozenset({"hall"})), "t") == [1]


def test_without_a_metric_a_rule_is_about_each_or_about_the_device() -> None:
    found = index(
        rule("0", Stuck(for_s=60), metric=""),
        rule("1", Anomaly(), metric=""),
        rule("2", NoData(), metric=""),
        rule("3", Connection(), metric=""),
        rule("4", NodeWatch(what="lag"), metric="", scope=RuleScope()),
        rule("5", NoData(), metric="t"),
    )
    assert found.of_series("a", NOBODY, "t") == [0, 1, 5]
    assert found.of_device("a", NOBODY) == [2, 3]
    assert index(rule("0", HOT, scope=ALL)).of_device("a", NOBODY) == []


@pytest.mark.parametrize(
    ("pattern", "metric", "does"),
    [
        ("*", "t", True),
        ("*", "air.t", False),
        ("*.t", "air.t", True),
        ("air.*", "air.t", True),
        ("air.*", "air.t.u", False),
        ("*_celsius", "oil_celsius", True),
        ("oil_*_celsius", "oil_celsius", False),
        ("a+b", "aab", False),
        ("t", "tt", False),
    ],
)
def test_a_star_stands_for_a_part(pattern: str, metric: str, does: bool) -> None:
    assert matches(pattern, metric) is does
    found = index(rule("0", HOT, metric=pattern))
    for _ in range(2):
        assert found.of_series("a", NOBODY, metric) == ([0] if does else [])
