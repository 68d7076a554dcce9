"""An on-call list as a form and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from starlette.datastructures import FormData, UploadFile

from appliance.core.errors import UsageError
from appliance.management.on_call import Digest, Member, OnCallDefinition, Plan, Step
from appliance.management.quiet_hours import WeeklyTime
from appliance.management.rule import SEVERITIES, RuleScope
from ui.pages.on_call_form import EMPTY_MEMBER_COUNT, OnCallForm, PlanForm, of_definition, of_request

NIGHT = WeeklyTime(from_="22:00", to="06:00")
FULL = OnCallDefinition(
    scope=RuleScope(groups=("hall",), except_=("a",)),
    P1=Plan(steps=(Step(), Step(after_s=1_800, whom="all")), repeat_s=900),
    P2=None,
    P3=Plan(in_digest=True),
    members=(
        Member(name="Anna", targets=("t1", "t2"), times=(WeeklyTime(days=("mon", "tue"), from_="08:00", to="17:00"),)),
        Member(name="Bert", targets=("t1",)),
    ),
    quiet_hours=(NIGHT,),
    digest=Digest(at="07:30", days=("mon",)),
)  # fmt: skip
CHAIN = Plan(steps=(Step(), Step(after_s=60), Step(after_s=120, whom="all")))


def sent(form: OnCallForm) -> FormData:
    """What a browser sends of it."""
    pairs: list[tuple[str, str | UploadFile]] = [
        ("name", form.name),
        ("enabled", form.is_enabled),
        ("quiet", form.quiet),
        ("digest_at", form.digest_at),
    ]
    pairs += [("digest_days", day) for day in form.digest_days]
    pairs += [("all", form.scope.all), ("devices", form.scope.devices), ("but", form.scope.but)]
    pairs += [("groups", each) for each in form.scope.groups] + [("tags", each) for each in form.scope.tags]
    for at, member in enumerate(form.rows):
        pairs += [(f"m{at}.name", member.name), (f"m{at}.times", member.times)]
        pairs += [(f"m{at}.targets", each) for each in member.targets]
    for severity, plan in form.plans.items():
        names = ("first", "everybody", "repeat", "digest", "kept")
        pairs += [(f"{severity}.{name}", getattr(plan, name)) for name in names]
    return FormData(pairs)


@pytest.mark.parametrize("definition", [FULL, OnCallDefinition(), OnCallDefinition(P1=CHAIN)])
def test_a_definition_becomes_a_form_and_the_same_definition_again(definition: OnCallDefinition) -> None:
    form = of_definition("Day", definition)
    assert form.definition() == definition
    assert of_request(sent(form)) == form


def test_there_are_rows_for_members_that_are_not_there_yet() -> None:
    form = of_definition("Day", FULL)
    assert len(form.rows) == 2 + EMPTY_MEMBER_COUNT
    assert form.rows[-1].name == ""


def test_a_plan_that_the_fields_can_not_say_is_kept_until_it_is_set_anew() -> None:
    form = of_definition("Day", OnCallDefinition(P1=CHAIN))
    assert form.plans["P1"].kept
    anew = of_request(FormData([*sent(form).multi_items(), ("P1.anew", "1"), ("P1.first", "5 min")]))
    assert anew.plans["P1"].plan("P1") == Plan(steps=(Step(after_s=300),))


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (PlanForm(first="soon"), "“soon” in “P1: who is on call” is no time"),
        (PlanForm(kept="{"), "The plan of P1 can't be read"),
    ],
)
def test_a_mistake_is_named(plan: PlanForm, says: str) -> None:
    form = of_definition("Day", FULL)
    with pytest.raises(UsageError, match=says):
        replace(form, plans={**form.plans, "P1": plan}).definition()


def test_all_severities_have_their_fields() -> None:
    assert tuple(of_definition("Day", FULL).plans) == SEVERITIES
