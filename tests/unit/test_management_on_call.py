"""On-call lists: what they say without being told, whose turn it is, which alarms they are for, what can't be one."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
import pytest

from appliance.core.errors import UsageError
from appliance.management.on_call import (
    Digest,
    Member,
    OnCallDefinition,
    OnCallList,
    Plan,
    Step,
    check,
    covers,
    of_json,
    to_json,
)
from appliance.management.quiet_hours import WeeklyTime
from appliance.management.rule import RuleScope

VIENNA = ZoneInfo("Europe/Vienna")
ANNA = Member(
    name="Anna", targets=("t1", "t2"), times=(WeeklyTime(days=("mon",), from_="08:00", to="17:00"),)
)
BERT = Member(
    name="Bert", targets=("t2", "t3"), times=(WeeklyTime(days=("mon",), from_="17:00", to="08:00"),)
)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=VIENNA).timestamp()) * 1000


def of(definition: OnCallDefinition) -> OnCallList:
    return OnCallList("l1", "Site", definition)


def test_without_anything_said_it_does_what_most_sites_want() -> None:
    made = of(OnCallDefinition(members=(ANNA,)))
    assert made.plan("P1") == Plan(steps=(Step(after_s=0),), repeat_s=900)
    assert made.plan("P2") == Plan(steps=(Step(after_s=3_600),))
    assert made.plan("P3") == Plan(in_digest=True)
    assert made.definition.digest.at == "08:00"


def test_json_there_and_back() -> None:
    definition = OnCallDefinition(
        scope=RuleScope(groups=("north",)),
        P3=None,
        members=(ANNA, BERT),
        quiet_hours=(WeeklyTime(from_="22:00", to="06:00"),),
        digest=Digest(at="07:30", days=("mon",)),
    )
    assert of_json(to_json(definition)) == definition
    check("North", definition)
    assert of(definition).plan("P3") is None


@pytest.mark.parametrize("text", ["", "[]", '{"members":[{"name":"a"}]}', '{"unknown":1}', b"\xff"])
def test_what_is_no_definition_is_refused(text: str | bytes) -> None:
    with pytest.raises(UsageError) as caught:
        of_json(text)
    assert caught.value.code == "on_call_invalid"


def test_whose_turn_it_is() -> None:
    made = of(OnCallDefinition(members=(ANNA, BERT)))
    by_day = made.turn(at("2026-11-23T09:00"), VIENNA)
    assert (by_day.members, by_day.targets, by_day.is_fallback) == (("Anna",), ("t1", "t2"), False)
    assert made.turn(at("2026-11-24T07:59"), VIENNA).members == ("Bert",)
    everybody = made.turn(at("2026-11-23T09:00"), VIENNA, whom="all")
    assert everybody.members == ("Anna", "Bert")
    assert everybody.targets == ("t1", "t2", "t3")
    assert not everybody.is_fallback


def test_when_nobody_has_its_turn_all_are_told() -> None:
    turn = of(OnCallDefinition(members=(ANNA, BERT))).turn(at("2026-11-25T09:00"), VIENNA)
    assert turn.members == ("Anna", "Bert")
    assert turn.is_fallback


def test_who_has_no_times_always_has_its_turn() -> None:
    always = Member(name="Cora", targets=("t9",))
    turn = of(OnCallDefinition(members=(ANNA, always))).turn(at("2026-11-25T09:00"), VIENNA)
    assert turn.targets == ("t9",)


def test_p1_ignores_quiet_hours() -> None:
    made = of(OnCallDefinition(members=(ANNA,), quiet_hours=(WeeklyTime(from_="22:00", to="06:00"),)))
    assert made.quiet_for("P1") == ()
    assert len(made.quiet_for("P2")) == 1


@pytest.mark.parametrize(
    ("scope", "device", "group", "is_covered"),
    [
        (RuleScope(all=True), "d1", "", True),
        (RuleScope(all=True), "", "", True),
        (RuleScope(all=True, except_=("d1",)), "d1", "", False),
        (RuleScope(all=True, except_=("d1",)), "", "", True),
        (RuleScope(devices=("d1",)), "d1", "", True),
        (RuleScope(devices=("d1",)), "d2", "", False),
        (RuleScope(devices=("d1",)), "", "", False),
        (RuleScope(groups=("north",)), "d2", "", True),
        (RuleScope(groups=("south",)), "d2", "", False),
        (RuleScope(groups=("south",)), "", "south", True),
        (RuleScope(tags=("cold",)), "d2", "", True),
    ],
)
def test_which_alarms_a_list_is_for(scope: RuleScope, device: str, group: str, is_covered: bool) -> None:
    groups, tags = (("north",), ("cold",)) if device else ((), ())
    assert covers(scope, device, group, groups=groups, tags=tags) is is_covered


GOOD = OnCallDefinition(members=(ANNA,))


@pytest.mark.parametrize(
    ("definition", "says"),
    [
        ({"scope": RuleScope()}, "for all devices"),
        ({"scope": RuleScope(all=True, groups=("a",))}, "for all devices"),
        ({"scope": RuleScope(devices=tuple(map(str, range(1_001))))}, "at most 1000 devices"),
        ({"members": ()}, "1 to 50 members"),
        ({"members": (Member(name="", targets=("t",)),)}, "printable"),
        ({"members": (Member(name="a", targets=()),)}, "has 0 targets"),
        (
            {"members": (Member(name="a", targets=("t",), times=(WeeklyTime(from_="", to=""),)),)},
            "no time of day",
        ),
        ({"quiet_hours": (WeeklyTime(from_="22:00", to="06:00"),) * 51}, "At most 50 times"),
        ({"digest": Digest(at="8")}, "no time of day"),
        ({"P1": None, "P2": None, "P3": None}, "no severity"),
        ({"P1": Plan()}, "no step and no digest"),
        ({"P1": Plan(steps=tuple(Step(after_s=n) for n in range(11)))}, "at most 10 steps"),
        ({"P1": Plan(steps=(Step(after_s=-1),))}, "0 to 604800 s"),
        ({"P1": Plan(steps=(Step(after_s=60), Step(after_s=60)))}, "each after the one before"),
        ({"P1": Plan(steps=(Step(),), repeat_s=59)}, "every 60 to"),
        ({"P1": Plan(in_digest=True, repeat_s=600)}, "repeats none"),
    ],
)
def test_what_can_not_be_a_list_is_refused(definition: dict[str, object], says: str) -> None:
    check("Site", GOOD)
    with pytest.raises(UsageError, match=says) as caught:
        check("Site", msgspec.structs.replace(GOOD, **definition))
    assert caught.value.code == "on_call_invalid"
    assert caught.value.hint


def test_a_list_has_a_name() -> None:
    for name in ("", " x", "a\nb", "x" * 101):
        with pytest.raises(UsageError, match="A list's name"):
            check(name, GOOD)


def test_the_digest_is_a_day_that_begins_with_it() -> None:
    made = of(OnCallDefinition(members=(ANNA,), digest=Digest(at="07:30")))
    assert (made.digest_window.from_minute, made.digest_window.to_minute) == (450, 450)
    assert made.turn(0, UTC).is_fallback
