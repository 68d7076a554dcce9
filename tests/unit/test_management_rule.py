"""Definitions of rules: what is taken, what is refused and with which words."""

from __future__ import annotations

import math

import pytest

from appliance.core.errors import UsageError
from appliance.core.limits_alarms import (
    RULE_DELAY_S_MAX,
    RULE_NAME_LENGTH_MAX,
    RULE_SCOPE_WORD_COUNT_MAX,
    RULE_TEXT_LENGTH_MAX,
)
from appliance.management.rule import RuleDefinition, RuleScope, Severity, check, of_json, to_json
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

ALL = RuleScope(all=True)


def rule(
    condition: AnyCondition,
    *,
    metric: str = "t",
    scope: RuleScope = ALL,
    severity: Severity = "P2",
    on_delay_s: float = 0.0,
    off_delay_s: float = 0.0,
    text: str = "",
) -> RuleDefinition:
    return RuleDefinition(
        severity=severity,
        scope=scope,
        metric=metric,
        condition=condition,
        on_delay_s=on_delay_s,
        off_delay_s=off_delay_s,
        text=text,
    )


ABOVE = Threshold(is_="above", limit=80)
GOOD = (
    rule(ABOVE),
    rule(Threshold(is_="outside", limit=-5, limit_high=5, hysteresis=1), scope=RuleScope(groups=("g",))),
    rule(Rate(limit=0.5, direction="rising")),
    rule(Repetition(is_="below", limit=1, count=3, within_s=60)),
    rule(NoData(), metric=""),
    rule(NoData(expected_s=30, times=2)),
    rule(Stuck(for_s=3600), metric=""),
    rule(MissingFraction(fraction=0.3, per="group"), metric=""),
    rule(Comparison(with_="metric", other="t2", limit=3)),
    rule(Comparison(with_="group", limit=0.2, by="ratio", is_="above")),
    rule(Anomaly(sensitivity="high", what=("drift",)), metric=""),
    rule(Connection(), metric="", on_delay_s=300),
    rule(NodeWatch(what="disk_days", limit=7), metric="", scope=RuleScope()),
)


@pytest.mark.parametrize("definition", GOOD, ids=lambda each: type(each.condition).__name__)
def test_each_kind_is_taken_and_comes_back_as_it_was(definition: RuleDefinition) -> None:
    check("Too warm", definition)
    assert of_json(to_json(definition)) == definition


BAD: tuple[tuple[RuleDefinition, str], ...] = (
    (rule(ABOVE, metric=""), "names no metric"),
    (rule(ABOVE, scope=RuleScope()), "for all devices, or"),
    (rule(ABOVE, scope=RuleScope(all=True, tags=("a",))), "for all devices, or"),
    (
        rule(ABOVE, scope=RuleScope(devices=tuple(f"d{at}" for at in range(RULE_SCOPE_WORD_COUNT_MAX + 1)))),
        "names at most",
    ),
    (rule(ABOVE, on_delay_s=-1), "on-delay"),
    (rule(ABOVE, off_delay_s=RULE_DELAY_S_MAX + 1), "off-delay"),
    (rule(ABOVE, on_delay_s=math.nan), "on-delay"),
    (rule(ABOVE, text="x" * (RULE_TEXT_LENGTH_MAX + 1)), "Texts have at most"),
    (rule(Threshold(is_="above", limit=math.nan)), "limit is not a number"),
    (rule(Threshold(is_="inside", limit=3)), "two limits"),
    (rule(Threshold(is_="outside", limit=3, limit_high=3)), "two limits"),
    (rule(Threshold(is_="above", limit=3, limit_high=4)), "one limit"),
    (rule(Threshold(is_="outside", limit=0, limit_high=4, hysteresis=2.5)), "never be over"),
    (rule(ABOVE, metric="ä" * 129), "at most 256 bytes"),
    (rule(Comparison(with_="metric", other="x" * 257, limit=3)), "at most 256 bytes"),
    (rule(ABOVE, metric="*a*b*c*d*"), "at most 4 times"),
    (rule(Threshold(is_="above", limit=3, hysteresis=-1)), "hysteresis"),
    (rule(Threshold(is_="inside", limit=3, limit_high=2, hysteresis=9)), "two limits"),
    (rule(Rate(limit=-1)), "limit is -1; it is at least 0"),
    (rule(Rate(limit=1, over_s=0)), "over_s is 0; it is 1 to"),
    (rule(Repetition(is_="above", limit=1, count=1, within_s=60)), "count is 1"),
    (rule(Repetition(is_="above", limit=1, count=2, within_s=0)), "within_s"),
    (rule(NoData(times=0)), "times"),
    (rule(NoData(expected_s=0)), "expected_s"),
    (rule(MissingFraction(fraction=0)), "fraction"),
    (rule(MissingFraction(expected_s=-3)), "expected_s"),
    (rule(Stuck(for_s=0)), "for_s"),
    (rule(Stuck(for_s=60, tolerance=-1)), "tolerance"),
    (rule(Comparison(with_="metric", limit=3)), "no other metric"),
    (rule(Comparison(with_="group", limit=-3)), "limit"),
    (rule(Connection()), "about no metric"),
    (rule(NodeWatch(what="lag"), metric=""), "has no devices"),
)


@pytest.mark.parametrize(("definition", "says"), BAD, ids=lambda each: each if isinstance(each, str) else "")
def test_what_makes_no_sense_is_refused_with_what_is_wrong(definition: RuleDefinition, says: str) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        check("Too warm", definition)
    assert refused.value.code == "rule_invalid"
    assert refused.value.hint


@pytest.mark.parametrize("name", ["", " x", "a\nb", "x" * (RULE_NAME_LENGTH_MAX + 1)])
def test_a_name_can_be_read(name: str) -> None:
    with pytest.raises(UsageError, match="name has 1 to"):
        check(name, GOOD[0])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "can't be read"),
        ('{"severity": "P2"}', "condition"),
        ('{"severity": "P9", "condition": {"kind": "stuck", "for_s": 3}}', "severity"),
        ('{"severity": "P1", "condition": {"kind": "magic"}}', "magic"),
        ('{"severity": "P1", "condition": {"kind": "stuck", "for_s": 3, "more": 1}}', "more"),
        (b"\xff", "can't be read"),
    ],
)
def test_what_is_no_rule_is_refused_by_its_field(text: str | bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        of_json(text)
