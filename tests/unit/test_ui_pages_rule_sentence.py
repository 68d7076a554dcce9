"""Rules in words."""

from __future__ import annotations

import pytest

from appliance.management.rule import RuleDefinition, RuleScope
from appliance.management.rule_conditions import (
    Anomaly,
    AnyCondition,
    Comparison,
    Connection,
    MissingFraction,
    NoData,
    NodeWatch,
    Rate,
    Repetition,
    Stuck,
    Threshold,
)
from ui.pages.rule_sentence import limits_of, rule_sentence, scope_words


@pytest.mark.parametrize(
    ("condition", "on_delay_s", "says"),
    [
        (Threshold(is_="above", limit=80.0), 300, "oven_celsius is above 80 °C for 5 min"),
        (
            Threshold(is_="outside", limit=5.0, limit_high=40.0, hysteresis=1.0),
            0,
            "oven_celsius is outside of 5 °C and 40 °C; over when it is 1 °C back inside",
        ),
        (
            Rate(direction="falling", limit=0.05),
            0,
            "oven_celsius falls by more than 0.05 °C a second, measured over 1 min",
        ),
        (
            Repetition(is_="above", limit=3.0, count=4, within_s=3_600),
            0,
            "oven_celsius goes above 3 °C 4 times within 1 h",
        ),
        (NoData(), 0, "nothing comes of oven_celsius for 3 times as long as usual"),
        (NoData(expected_s=60), 0, "nothing comes of oven_celsius for 3 min"),
        (Stuck(for_s=3_600), 0, "oven_celsius does not move for 1 h, while readings come"),
        (
            MissingFraction(fraction=0.5, expected_s=60, per="group"),
            0,
            "50 % of each group, and at least two, send nothing of oven_celsius for 3 min",
        ),
        (
            Comparison(with_="group", limit=3.0),
            0,
            "oven_celsius is away from the middle value of the others by more than 3 °C",
        ),
        (
            Comparison(with_="metric", other="inlet", is_="above", by="ratio", limit=0.1),
            0,
            "oven_celsius is above inlet by more than 10 % of it",
        ),
        (
            Anomaly(what=("drift",)),
            0,
            "oven_celsius is unusual: a slow drift, at normal sensitivity",
        ),
        (Connection(), 300, "a device is lost for 5 min"),
        (Connection(counts_offline=True), 0, "a device is lost or offline"),
        (NodeWatch(what="disk_days", limit=14), 0, "The disk fills up: beyond 14 days"),
        (NodeWatch(what="of_a_later_release"), 0, "of a later release of this box"),
        (NodeWatch(what="disk_days"), 0, "The disk fills up: beyond 7 days"),
    ],
)
def test_each_kind_has_its_sentence(condition: AnyCondition, on_delay_s: float, says: str) -> None:
    definition = RuleDefinition(
        severity="P2", metric="oven_celsius", condition=condition, on_delay_s=on_delay_s
    )
    assert rule_sentence(definition) == says


def test_a_pattern_has_no_unit_and_no_metric_is_any() -> None:
    condition = Threshold(is_="above", limit=80.0)
    assert rule_sentence(RuleDefinition(severity="P2", metric="*_celsius", condition=condition)) == (
        "*_celsius is above 80"
    )
    assert rule_sentence(RuleDefinition(severity="P2", condition=NoData())).startswith(
        "nothing comes of any metric"
    )


@pytest.mark.parametrize(
    ("scope", "says"),
    [
        (RuleScope(all=True), "all devices"),
        (RuleScope(), "this box"),
        (
            RuleScope(groups=("hall-2",), devices=("a", "b"), tags=("new",)),
            "group hall-2 and tag new and devices a, b",
        ),
        (
            RuleScope(all=True, except_=("a", "b", "c", "d")),
            "all devices, without 4 devices",
        ),
        (RuleScope(devices=("a\u202eb",)), "device a\\u202eb"),
    ],
)
def test_a_scope_names_few_and_counts_many(scope: RuleScope, says: str) -> None:
    assert scope_words(scope) == says


def test_only_limits_of_the_value_itself_are_drawn() -> None:
    assert limits_of(Threshold(is_="outside", limit=1, limit_high=2)) == [1, 2]
    assert limits_of(Threshold(is_="above", limit=1)) == [1]
    assert limits_of(Repetition(is_="above", limit=5, count=2, within_s=60)) == [5]
    assert limits_of(Rate(limit=1)) == []
