"""The form of a rule: what was typed as a definition, a definition as what would have been typed, and what is said about mistakes."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from starlette.datastructures import QueryParams

from appliance.core.errors import UsageError
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
from ui.pages.rule_form import RuleForm, empty, of_definition, of_request
from ui.pages.rule_kinds import KINDS

CONDITIONS: tuple[AnyCondition, ...] = (
    Threshold(is_="above", limit=80.0, hysteresis=2.5),
    Threshold(is_="outside", limit=-4.0, limit_high=40.25),
    Rate(direction="rising", limit=0.05, over_s=90.0, hysteresis=0.01),
    Repetition(is_="below", limit=1.5, count=4, within_s=5_400.0),
    NoData(),
    NoData(expected_s=60.0, times=2.5),
    Stuck(for_s=21_600.0, tolerance=0.1),
    MissingFraction(fraction=0.333, per="group", expected_s=300.0),
    Comparison(with_="metric", other="supply_celsius", is_="below", by="ratio", limit=0.1),
    Comparison(with_="group", limit=3.0),
    Anomaly(sensitivity="high", what=("drift", "outlier")),
    Connection(counts_offline=True),
    NodeWatch(what="disk_days", limit=14.0),
    NodeWatch(what="clock"),
)


def definition_of(condition: AnyCondition) -> RuleDefinition:
    is_node = isinstance(condition, NodeWatch)
    return RuleDefinition(
        severity="P1",
        scope=RuleScope() if is_node else RuleScope(groups=("hall-2",), tags=("new",), except_=("a", "b c")),
        metric="" if isinstance(condition, NodeWatch | Connection) else "temperature_celsius",
        condition=condition,
        on_delay_s=300.0,
        off_delay_s=0.5,
        text="Look at the fan.",
        runbook="https://example.com/fan",
    )


@pytest.mark.parametrize("condition", CONDITIONS, ids=repr)
def test_a_definition_becomes_a_form_and_the_same_definition_again(condition: AnyCondition) -> None:
    definition = definition_of(condition)
    form = of_definition("Hot", definition)
    assert form.definition() == definition
    assert form.clean_name() == "Hot"


@pytest.mark.parametrize("condition", CONDITIONS, ids=repr)
def test_what_a_browser_sends_is_the_same_form(condition: AnyCondition) -> None:
    form = of_definition("Hot", definition_of(condition))
    pairs = [("kind", form.kind), ("name", form.name), ("severity", form.severity), ("metric", form.metric)]
    pairs += [("devices", form.devices), ("but", form.but), ("text", form.text), ("runbook", form.runbook)]
    pairs += [("on_delay", form.on_delay), ("off_delay", form.off_delay)]
    pairs += [("groups", each) for each in form.groups] + [("tags", each) for each in form.tags]
    pairs += [(f"c.{name}", text) for name, text in form.fields.items()]
    pairs += [(f"c.{name}", each) for name, ticked in form.many.items() for each in ticked]
    assert of_request(QueryParams(pairs)) == form


def test_every_kind_has_been_looked_at() -> None:
    assert {of_definition("x", definition_of(each)).kind for each in CONDITIONS} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_asks_for_what_its_definition_has_and_nothing_else(kind: str) -> None:
    structs = {msgspec.to_builtins(each)["kind"]: type(each) for each in CONDITIONS}
    known = {field.encode_name for field in msgspec.structs.fields(structs[kind])}
    assert {field.name for field in KINDS[kind].fields} == known


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("threshold", "rate", "node")])
def test_what_is_usual_is_a_whole_rule_where_no_limit_is_needed(kind: str) -> None:
    about = KINDS[kind]
    form = replace(empty(kind), name="New", all="1", metric="" if about.metric != "one" else "t")
    form = replace(form, fields={**form.fields, **({"limit": "3"} if "limit" in form.fields else {})})
    assert form.definition().scope.all


@pytest.mark.parametrize(
    ("changes", "fields", "says"),
    [
        ({}, {"limit": ""}, "“Limit” is empty"),
        ({}, {"limit": "warm"}, "“Limit” is no number: “warm”"),
        ({}, {"limit": "inf"}, "is no number"),
        ({"on_delay": "a while"}, {"limit": "1"}, "“a while” in “Wait before it is raised” is no time"),
        ({"severity": "P9"}, {"limit": "1"}, "The severity is P1, P2 or P3"),
        ({"all": ""}, {"limit": "1"}, "The rule must be for all devices, or for devices, groups or tags"),
        ({"name": " "}, {"limit": "1"}, "A rule's name has 1 to"),
        ({"kind": "magic"}, {"limit": "1"}, "There is no such kind"),
        ({}, {"limit": "1", "is": "about"}, "The rule can't be read"),
    ],
)
def test_a_mistake_is_named(changes: dict[str, str], fields: dict[str, str], says: str) -> None:
    form = replace(empty("threshold"), name="Hot", metric="t", all="1")
    form = replace(form, fields={**form.fields, **fields}, **changes)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=says):
        form.definition()


def test_a_count_is_a_whole_number() -> None:
    form = replace(empty("repetition"), name="Often", metric="t", all="1")
    with pytest.raises(UsageError, match="“So many times” is no whole number"):
        replace(form, fields={**form.fields, "limit": "1", "count": "2.5"}).definition()


def test_a_decimal_comma_and_a_real_minus_are_understood() -> None:
    form = replace(empty("threshold"), name="Cold", metric="t", all="1")
    form = replace(form, fields={**form.fields, "limit": "−4,5"})
    condition = form.definition().condition
    assert isinstance(condition, Threshold)
    assert condition.limit == -4.5


def test_a_name_is_not_needed_to_try_a_rule() -> None:
    form = replace(empty("connection"), all="1")
    assert form.definition(name="x").condition == Connection()


def test_an_unknown_kind_of_a_request_has_no_fields() -> None:
    assert of_request(QueryParams([("kind", "magic"), ("c.limit", "1")])) == RuleForm(
        kind="magic", severity="", on_delay="", off_delay=""
    )
