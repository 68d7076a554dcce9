"""Escalation: who is told when, rounds, quiet hours, digests, a clock that was set back. Times are minutes after the alarm."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from appliance.management.escalation import (
    AlarmNow,
    Escalation,
    Look,
    advance,
    digests_ms,
    is_in_digest,
    key_of,
    look,
    next_digest_ms,
    rebased,
)
from appliance.management.on_call import Digest, Member, OnCallDefinition, OnCallList, Plan, Step
from appliance.management.quiet_hours import WeeklyTime

VIENNA = ZoneInfo("Europe/Vienna")
MINUTE_MS = 60_000
FLAP_MS = 10 * MINUTE_MS
ANNA = Member(name="Anna", targets=("anna",))
BERT = Member(name="Bert", targets=("bert",), times=(WeeklyTime(days=("mon",), from_="00:00", to="00:00"),))


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=VIENNA).timestamp()) * 1000


NOON_MS = at("2026-11-27T12:00")


def listed(**changes: object) -> OnCallList:
    return OnCallList("l1", "Site", OnCallDefinition(**{"members": (ANNA,), **changes}))  # type: ignore[arg-type]


SITE = listed()


def alarm(severity: str = "P1", **changes: object) -> AlarmNow:
    made = AlarmNow(
        alarm_id="a1", episode=1, severity=severity, is_active=True, is_acknowledged=False, is_quiet=False
    )
    return replace(made, **changes)  # type: ignore[arg-type]


class Story:
    """An alarm's escalation, looked at by hand."""

    def __init__(self, on_call: OnCallList = SITE, begins_ms: int = NOON_MS) -> None:
        self.on_call, self.begins_ms = on_call, begins_ms
        self.escalation: Escalation | None = None
        self.next_at: float | None = None

    def moves(self, minute: float, now: AlarmNow) -> list[str]:
        now_ms = self.begins_ms + int(minute * MINUTE_MS)
        before = self.looks(minute) if self.escalation else []
        self.escalation = advance(self.escalation, now, now_ms)
        return before + self.looks(minute)

    def looks(self, minute: float) -> list[str]:
        assert self.escalation is not None
        now_ms = self.begins_ms + int(minute * MINUTE_MS)
        found: Look = look(self.escalation, [self.on_call], zone=VIENNA, flap_ms=FLAP_MS, now_ms=now_ms)
        self.escalation = found.after
        self.next_at = None if found.next_at_ms is None else (found.next_at_ms - self.begins_ms) / MINUTE_MS
        return [due.step for due in found.dues] + ([found.over_step] if found.over_step else [])


def test_p1_is_told_at_once_and_every_quarter_of_an_hour_until_acknowledged() -> None:
    story = Story()
    assert story.moves(0, alarm()) == ["raised"]
    assert story.next_at == 15
    assert story.looks(14) == []
    assert story.looks(15) == ["repeated/1"]
    assert story.looks(15) == []
    assert story.looks(30) == ["repeated/2"]
    assert story.moves(40, alarm(is_acknowledged=True)) == []
    assert story.looks(500) == []
    assert story.next_at is None


def test_what_was_overtaken_while_nobody_looked_is_left_out() -> None:
    story = Story()
    story.moves(0, alarm())
    assert story.looks(100) == ["repeated/6"]
    assert story.next_at == 105


def test_p2_is_told_after_an_hour_that_nobody_acknowledged() -> None:
    story = Story()
    assert story.moves(0, alarm("P2")) == []
    assert story.next_at == 60
    assert story.looks(60) == ["raised"]
    assert story.looks(10_000) == []
    early = Story()
    early.moves(0, alarm("P2"))
    early.moves(59, alarm("P2", is_acknowledged=True))
    assert early.looks(60) == []


def test_p3_is_told_by_no_step() -> None:
    story = Story()
    assert story.moves(0, alarm("P3")) == []
    assert story.next_at is None


def test_it_is_said_to_be_over_once_it_was_clear_for_the_flap_time() -> None:
    story = Story()
    story.moves(0, alarm())
    assert story.moves(3, alarm(is_active=False)) == []
    assert story.next_at == 13
    assert story.looks(12) == []
    assert story.looks(13) == ["cleared"]
    assert story.looks(1_000) == []


def test_flapping_tells_once() -> None:
    story = Story()
    told = story.moves(0, alarm())
    for minute in range(1, 9, 2):
        told += story.moves(minute, alarm(is_active=False))
        told += story.moves(minute + 1, alarm())
    assert told == ["raised"]
    assert story.looks(15) == ["repeated/1"]


def test_raised_again_after_people_were_told_that_it_is_over_is_a_new_round() -> None:
    story = Story()
    story.moves(0, alarm())
    story.moves(1, alarm(is_active=False))
    assert story.looks(30) == ["cleared"]
    assert story.moves(60, alarm()) == ["raised.2"]
    assert story.looks(75) == ["repeated/1.2"]
    assert story.moves(76, alarm(is_active=False)) == []
    assert story.looks(86) == ["cleared.2"]


def test_a_new_episode_begins_anew() -> None:
    story = Story()
    story.moves(0, alarm())
    story.moves(1, alarm(is_acknowledged=True))
    story.moves(2, alarm(is_acknowledged=True, is_active=False))
    assert story.moves(60, alarm(episode=2)) == ["cleared", "raised"]


def test_raised_and_cleared_at_once_is_told_all_the_same() -> None:
    story = Story()
    assert story.moves(0, alarm()) == ["raised"]
    assert story.moves(0, alarm(is_active=False)) == []
    assert story.looks(10) == ["cleared"]


def test_first_seen_when_it_is_over_already() -> None:
    unseen = Story()
    assert unseen.moves(0, alarm(is_active=False)) == ["raised"]
    seen = Story()
    assert seen.moves(0, alarm(is_active=False, is_acknowledged=True)) == []
    assert seen.next_at is None
    known = Story()
    assert known.moves(0, alarm(is_acknowledged=True)) == []


def test_shelved_tells_nothing_and_is_told_when_the_shelf_ends() -> None:
    story = Story()
    story.moves(0, alarm())
    assert story.moves(5, alarm(is_quiet=True)) == []
    assert story.looks(60) == []
    assert story.moves(61, alarm()) == ["raised.2"]
    over = Story()
    over.moves(0, alarm())
    over.moves(5, alarm(is_quiet=True))
    assert over.moves(6, alarm(is_active=False, is_quiet=True)) == []
    assert over.moves(7, alarm(is_active=False)) == []
    assert over.looks(100) == []


def test_what_waits_for_an_explanation_first_is_still_the_first_round() -> None:
    story = Story()
    assert story.moves(0, alarm(is_quiet=True)) == []
    assert story.moves(1, alarm()) == ["raised"]
    acknowledged = Story()
    acknowledged.moves(0, alarm(is_quiet=True))
    assert acknowledged.moves(1, alarm(is_acknowledged=True)) == []


def test_an_alarm_that_becomes_worse_is_told_anew() -> None:
    story = Story()
    assert story.moves(0, alarm("P3")) == []
    assert story.moves(5, alarm("P1")) == ["raised.2"]
    assert story.moves(6, alarm("P2")) == []
    assert story.looks(66) == ["raised.2"]  # one key: nobody gets it twice


def test_steps_that_climb() -> None:
    plan = Plan(steps=(Step(), Step(after_s=600, whom="all")), repeat_s=300)
    story = Story(listed(members=(ANNA, BERT), P2=plan))
    assert story.moves(0, alarm("P2")) == ["raised"]
    assert story.next_at == 10
    assert story.escalation is not None
    found = look(
        story.escalation, [story.on_call], zone=VIENNA, flap_ms=FLAP_MS, now_ms=NOON_MS + 10 * MINUTE_MS
    )
    (due,) = found.dues
    assert (due.step, due.turn.targets) == ("escalated/1", ("anna", "bert"))
    assert story.looks(10) == ["escalated/1"]
    assert story.looks(15) == ["repeated/1"]
    assert story.looks(21) == ["repeated/2"]


def test_p2_waits_for_the_end_of_quiet_hours_and_p1_does_not() -> None:
    nights = listed(quiet_hours=(WeeklyTime(from_="22:00", to="06:00"),))
    ten = at("2026-11-27T22:00")
    story = Story(nights, ten)
    story.moves(0, alarm("P2"))
    assert story.next_at == 8 * 60
    assert story.looks(60) == []
    assert story.looks(8 * 60) == ["raised"]
    assert Story(nights, ten).moves(0, alarm("P1")) == ["raised"]
    over = Story(nights, ten - 70 * MINUTE_MS)
    over.moves(0, alarm("P2"))
    assert over.looks(60) == ["raised"]
    over.moves(65, alarm("P2", is_active=False))
    assert over.looks(80) == []
    assert over.next_at == 9 * 60 + 10
    assert over.looks(9 * 60 + 10) == ["cleared"]


def test_repetitions_of_quiet_hours_are_one_at_their_end() -> None:
    plan = Plan(steps=(Step(),), repeat_s=3_600)
    nights = listed(quiet_hours=(WeeklyTime(from_="22:00", to="06:00"),), P2=plan)
    story = Story(nights, at("2026-11-27T20:30"))
    assert story.moves(0, alarm("P2")) == ["raised"]
    assert story.next_at == 60
    assert story.looks(4 * 60) == ["repeated/1"]  # 21:30
    assert story.next_at == 9.5 * 60  # 06:00
    assert story.looks(5 * 60) == []
    assert story.looks(9.5 * 60) == ["repeated/9"]
    assert story.next_at == 10 * 60
    assert story.looks(10 * 60) == ["repeated/10"]


def test_a_repetition_that_is_always_in_quiet_hours_comes_at_their_end() -> None:
    plan = Plan(steps=(Step(),), repeat_s=86_400)
    nights = listed(quiet_hours=(WeeklyTime(from_="22:00", to="06:00"),), P2=plan)
    story = Story(nights, at("2026-11-27T23:00"))
    assert story.moves(0, alarm("P2")) == []
    assert story.looks(7 * 60) == ["raised"]
    assert story.next_at == 31 * 60
    assert story.looks(31 * 60) == ["repeated/1"]


def test_quiet_hours_without_an_end_hold_nobody_up() -> None:
    plan = Plan(steps=(Step(),), repeat_s=60)
    always = listed(quiet_hours=(WeeklyTime(from_="00:00", to="00:00"),), P2=plan)
    story = Story(always)
    assert story.moves(0, alarm("P2")) == []
    assert story.next_at is not None
    assert story.next_at > 30 * 24 * 60
    assert "raised" in story.looks(60 * 24 * 60)


def test_a_clock_that_was_set_back_tells_nothing_twice_and_nothing_late() -> None:
    story = Story()
    story.moves(0, alarm())
    story.looks(15)
    assert story.looks(-10_000) == []
    assert story.next_at == -10_000 + 15
    assert story.looks(-10_000 + 15) == ["repeated/2"]
    assert story.moves(-10_000 + 16, alarm(is_active=False)) == []
    assert story.looks(-20_000) == []
    assert story.next_at == -20_000 + 10
    assert story.escalation is not None
    assert rebased(story.escalation, story.escalation.looked_at_ms) is story.escalation


def test_without_a_list_nobody_is_told_and_it_ends() -> None:
    made = advance(None, alarm("P2", is_active=False), NOON_MS)
    found = look(made, [], zone=VIENNA, flap_ms=0, now_ms=NOON_MS)
    assert (found.dues, found.over_step, found.after.is_over) == ((), "cleared", True)


def test_a_list_that_is_not_for_the_severity_says_nothing() -> None:
    made = advance(None, alarm("P2"), NOON_MS)
    found = look(made, [listed(P2=None)], zone=VIENNA, flap_ms=0, now_ms=NOON_MS + 90 * MINUTE_MS)
    assert (found.dues, found.next_at_ms) == ((), None)


def test_the_digest_tells_of_what_began_since_the_one_before() -> None:
    morning = at("2026-11-27T08:00")
    (found,) = digests_ms(SITE, NOON_MS, morning + 86_400_000, VIENNA)
    assert found == (morning, morning + 86_400_000)
    assert digests_ms(SITE, NOON_MS, morning + 86_400_000 - 1, VIENNA) == []
    assert next_digest_ms(SITE, NOON_MS, VIENNA) == morning + 86_400_000
    made = advance(None, alarm("P3"), NOON_MS)
    assert is_in_digest(made, SITE, *found)
    assert not is_in_digest(made, SITE, NOON_MS, found[1])
    assert not is_in_digest(made, SITE, found[0], NOON_MS - 1)
    assert not is_in_digest(replace(made, is_acknowledged=True), SITE, *found)
    assert not is_in_digest(replace(made, is_quiet=True), SITE, *found)
    assert not is_in_digest(replace(made, severity="P1"), SITE, *found)
    assert not is_in_digest(made, listed(P3=None), *found)


def test_a_digest_once_a_week() -> None:
    mondays = listed(digest=Digest(at="07:00", days=("mon",)))
    first, second = digests_ms(mondays, NOON_MS, NOON_MS + 12 * 86_400_000, VIENNA)
    assert first == (at("2026-11-23T07:00"), at("2026-11-30T07:00"))
    assert second == (at("2026-11-30T07:00"), at("2026-12-07T07:00"))


def test_after_years_on_a_wrong_clock_one_digest_tells_of_all_of_them() -> None:
    found = digests_ms(SITE, 0, NOON_MS, UTC)
    assert 59 <= len(found) <= 61
    assert found[0][0] <= 0
    assert [a for _, a in found[:-1]] == [b for b, _ in found[1:]]


def test_keys_differ_by_each_word() -> None:
    keys = {
        key_of("a", 1, "raised", "t"),
        key_of("a", 1, "raised", "u"),
        key_of("a", 2, "raised", "t"),
        key_of("a", 1, "cleared", "t"),
    }
    assert len(keys) == 4
    assert {len(key) for key in keys} == {64}
