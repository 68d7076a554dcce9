"""What people read of rules and alarms."""

from __future__ import annotations

from typing import Any

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
from appliance.management.rule_words import cleared, describe, duration, number, raised, with_unit

ALL = RuleScope(all=True)


def rule(
    condition: AnyCondition,
    metric: str = "air.temperature_celsius",
    scope: RuleScope = ALL,
    on_delay_s: float = 0.0,
    off_delay_s: float = 0.0,
) -> RuleDefinition:
    return RuleDefinition(
        severity="P2",
        scope=scope,
        metric=metric,
        condition=condition,
        on_delay_s=on_delay_s,
        off_delay_s=off_delay_s,
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (81.5, "81.5"),
        (80.0, "80"),
        (-0.25, "-0.25"),
        (1 / 3, "0.3333"),
        (101325.4, "101,325"),
        (2e20, "2e+20"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (250, "0.25 s"),
        (1_500, "1.5 s"),
        (9_000, "9 s"),
        (59_400, "59 s"),
        (190_000, "3 min 10 s"),
        (300_000, "5 min"),
        (3_610_000, "1 h"),
        (5_400_000, "1 h 30 min"),
        (90_000_000, "1 d 1 h"),
        (0, "0 s"),
    ],
)
def test_durations(ms: int, text: str) -> None:
    assert duration(ms) == text


def test_values_have_the_unit_of_their_metric() -> None:
    assert with_unit(80, "air.temperature_celsius") == "80 °C"
    assert with_unit(80, "speed") == "80"


T = "air.temperature_celsius"
GROUP = Comparison(with_="group", limit=0.2, by="ratio", is_="above")


@pytest.mark.parametrize(
    ("definition", "text"),
    [
        (
            rule(Threshold(is_="above", limit=80), on_delay_s=300),
            f"{T} is above 80 °C for 5 min, on all devices",
        ),
        (
            rule(Threshold(is_="outside", limit=-5, limit_high=5), off_delay_s=60),
            f"{T} is outside -5 to 5 °C; over when it has been over for 1 min, on all devices",
        ),
        (
            rule(Rate(limit=0.5, direction="rising"), scope=RuleScope(devices=("p1",))),
            f"{T} rises by more than 0.5 °C a second over 1 min, on device p1",
        ),
        (
            rule(Repetition(is_="below", limit=2, count=3, within_s=600), scope=RuleScope(groups=("a", "b"))),
            f"{T} goes below 2 °C 3 times within 10 min, on groups a, b",
        ),
        (
            rule(NoData(), "", RuleScope(all=True, except_=("x",))),
            "no reading of the device for 3 times the usual interval, on all devices but x",
        ),
        (
            rule(NoData(expected_s=30, times=2)),
            f"no reading of {T} for 1 min, on all devices",
        ),
        (
            rule(
                Stuck(for_s=3600, tolerance=0.1), "", RuleScope(devices=("a", "b", "c", "d"), tags=("roof",))
            ),
            "any metric has not moved by more than 0.1 for 1 h, on devices a, b, c and 1 more or tag roof",
        ),
        (rule(Stuck(for_s=60)), f"{T} has not moved for 1 min, on all devices"),
        (
            rule(MissingFraction(per="group", expected_s=60), ""),
            "50 % or more of a group's devices send no reading for 3 min, on all devices",
        ),
        (
            rule(MissingFraction(fraction=0.25, expected_s=60)),
            f"25 % or more of the devices send no {T} reading for 3 min, on all devices",
        ),
        (
            rule(Comparison(with_="metric", other="supply", limit=3)),
            f"{T} is more than 3 °C away from supply, on all devices",
        ),
        (rule(GROUP), f"{T} is more than 20 % above the median of the others, on all devices"),
        (
            rule(Comparison(with_="group", other="hall", limit=3, is_="below")),
            f"{T} is more than 3 °C below the median of hall, on all devices",
        ),
        (
            rule(Anomaly(what=("drift", "drop_out"), sensitivity="high"), ""),
            "any metric is unusual: drift, drop-outs (high sensitivity), on all devices",
        ),
        (rule(Anomaly()), f"{T} is unusual: anything (normal sensitivity), on all devices"),
        (rule(Connection(), "", on_delay_s=60), "the device is lost for 1 min, on all devices"),
        (rule(Connection(counts_offline=True), ""), "the device is lost or offline, on all devices"),
        (rule(NodeWatch(what="disk_days", limit=7), "", RuleScope()), "this node: disk_days beyond 7"),
        (rule(NodeWatch(what="clock"), "", RuleScope()), "this node: clock"),
    ],
    ids=lambda each: type(each.condition).__name__ if isinstance(each, RuleDefinition) else "",
)
def test_a_rule_is_a_sentence(definition: RuleDefinition, text: str) -> None:
    assert describe(definition) == text


SILENCE = {"silent_ms": 190_000, "expected_ms": 60_000}


@pytest.mark.parametrize(
    ("condition", "metric", "value", "measure", "facts", "lasted_ms", "text"),
    [
        (Threshold(is_="above", limit=80), T, 81.5, 81.5, {}, 300_000, "81.5 °C, above 80 °C for 5 min"),
        (Threshold(is_="above", limit=80), T, None, None, {}, 0, "?, above 80 °C"),
        (
            Rate(limit=0.5),
            T,
            30.0,
            -0.7,
            {},
            0,
            "Falls by 0.7 °C a second over 1 min; the limit is 0.5 °C",
        ),
        (Rate(limit=0.5), T, 30.0, 0.7, {}, 0, "Rises by 0.7 °C a second over 1 min; the limit is 0.5 °C"),
        (
            Repetition(is_="above", limit=80, count=3, within_s=60),
            T,
            81.0,
            3.0,
            {},
            0,
            "3 times above 80 °C within 1 min",
        ),
        (NoData(), "", None, None, SILENCE, 60_000, "No reading for 3 min 10 s; one is expected every 1 min"),
        (
            NoData(),
            T,
            None,
            None,
            SILENCE,
            0,
            f"No reading of {T} for 3 min 10 s; one is expected every 1 min",
        ),
        (
            Stuck(for_s=60),
            T,
            21.0,
            60.0,
            {},
            5_000,
            "Stands at 21 °C for 1 min, while readings came",
        ),
        (
            MissingFraction(),
            "",
            150.0,
            0.75,
            {"missing": 150, "members": 200},
            0,
            "150 of 200 devices send nothing (75 %)",
        ),
        (
            Comparison(with_="metric", other="supply", limit=3),
            T,
            30.0,
            5.0,
            {},
            0,
            "30 °C, 5 °C above supply",
        ),
        (GROUP, T, 30.0, -0.25, {}, 0, "30 °C, 25 % below the median of its group"),
        (Connection(), "", None, None, {"presence": "lost"}, 60_000, "The device is lost for 1 min"),
        (Anomaly(), T, 90.0, 0.999, {"text": "6 spreads above the usual"}, 0, "6 spreads above the usual"),
        (Anomaly(), T, 90.0, 0.999, {}, 0, "Unusual"),
        (NodeWatch(what="clock"), "", 3.0, None, {}, 0, "Unusual"),
    ],
    ids=lambda each: each if isinstance(each, str) else None,
)
def test_an_alarm_says_what_is_wrong(
    condition: AnyCondition,
    metric: str,
    value: float | None,
    measure: float | None,
    facts: dict[str, Any],
    lasted_ms: int,
    text: str,
) -> None:
    said = raised(
        rule(condition, metric),
        metric,
        value=value,
        measure=measure,
        since_ms=1_000,
        at_ms=1_000 + lasted_ms,
        facts=facts,
    )
    assert said["text"] == text
    assert said["since_ms"] == 1_000
    assert ("value" in said) == (value is not None)
    assert all(said[name] == each for name, each in facts.items())


def test_an_alarm_has_its_limits_beside_the_sentence() -> None:
    def limit_of(condition: AnyCondition) -> tuple[Any, Any]:
        said = raised(
            rule(condition),
            T,
            value=1.0,
            measure=1.0,
            since_ms=0,
            at_ms=0,
            facts={"missing": 1, "members": 1, "presence": "lost"},
        )
        return said.get("limit"), said.get("limit_high")

    assert limit_of(Threshold(is_="inside", limit=1, limit_high=2)) == (1, 2)
    assert limit_of(Rate(limit=3)) == (3, None)
    assert limit_of(MissingFraction(fraction=0.25)) == (0.25, None)
    assert limit_of(Stuck(for_s=60)) == (60, None)
    assert limit_of(Connection()) == (None, None)


@pytest.mark.parametrize(
    ("condition", "value", "began_ms", "text"),
    [
        (Threshold(is_="above", limit=80), 79.0, 1_000, "Is over: 79 °C, after 5 min"),
        (Threshold(is_="above", limit=80), None, 0, "Is over"),
        (NoData(), None, 1_000, "Is there again, after 5 min"),
        (Connection(), None, 0, "Is there again"),
        (MissingFraction(), 3.0, 0, "3 of 200 devices send nothing"),
        (Stuck(for_s=60), 22.0, 0, "Moves again: 22 °C"),
        (Stuck(for_s=60), None, 0, "Moves again"),
        (Repetition(is_="above", limit=80, count=3, within_s=60), None, 0, "Is not repeated any more"),
    ],
    ids=lambda each: each if isinstance(each, str) else None,
)
def test_an_alarm_that_is_over_says_so(
    condition: AnyCondition, value: float | None, began_ms: int, text: str
) -> None:
    said = cleared(
        rule(condition),
        T,
        value=value,
        measure=None,
        began_ms=began_ms,
        at_ms=301_000,
        facts={"missing": 3, "members": 200},
    )
    assert said["text"] == text
    assert said.get("began_ms") == (began_ms or None)
