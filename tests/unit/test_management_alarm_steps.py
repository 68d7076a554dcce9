"""What becomes of an alarm: episodes and flapping, acknowledging, shelving, suppression, withdrawing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.management.alarm import WAITING, Alarm, AlarmMove, Word, alarm_id_of
from appliance.management.alarm_steps import (
    NOBODY_WAS_TOLD,
    Aside,
    Raise,
    acknowledged,
    cleared,
    raised,
    shelved,
    standing,
    suppressed,
    unshelved,
    withdrawn,
)
from appliance.management.alarms import AlarmEvent, AlarmState
from appliance.management.rule_transition import AlarmKey

FLAP_MS = 600_000
KEY = AlarmKey("hot", "press-1", "", "temperature")
RAISE = Raise(
    key=KEY,
    rule_name="Too hot",
    rule_version=1,
    severity="P2",
    at_ms=1_000,
    value=81.5,
    unit="°C",
    explanation={"text": "81.5 °C above 80 °C"},
    trace_id="t1",
)


def last(moves: list[AlarmMove]) -> Alarm:
    """The alarm after moves, whose numbers follow each other."""
    numbers = [move.after.event_number for move in moves]
    assert numbers == list(range(numbers[0], numbers[0] + len(moves)))
    assert all(
        move.before is None or move.before.event_number + 1 == move.after.event_number for move in moves
    )
    return moves[-1].after


def again(
    alarm: Alarm | None, at_ms: int = 1_000, *, now_ms: int = 5_000, **changes: object
) -> list[AlarmMove]:
    return raised(alarm, replace(RAISE, at_ms=at_ms, **changes), now_ms=now_ms, flap_ms=FLAP_MS)  # type: ignore[arg-type]


@pytest.fixture
def active() -> Alarm:
    return last(again(None))


def test_what_was_never_there_is_raised() -> None:
    (move,) = again(None)
    after = move.after
    assert (move.event, move.from_state, move.at_ms, move.noted_at_ms) == (
        "raise",
        AlarmState.NORMAL,
        1_000,
        5_000,
    )
    assert move.is_new_episode
    assert move.begins_to_stand
    assert after.alarm_id == alarm_id_of(KEY)
    assert after.key == KEY
    assert after.state is AlarmState.ACTIVE_UNACKNOWLEDGED
    assert (after.episode, after.raised_count, after.raised_total) == (1, 1, 1)
    assert (after.value, after.unit, after.text) == (81.5, "°C", "81.5 °C above 80 °C")
    assert (after.raised_at_ms, after.noted_at_ms, after.stands_since_ms) == (1_000, 5_000, 5_000)
    assert after.is_active
    assert not after.is_set_aside


def test_episodes_of_a_row_that_was_removed_are_counted_on() -> None:
    assert last(again(None, first_episode=77)).episode == 77


def test_raised_while_active_is_nothing_new(active: Alarm) -> None:
    assert again(active, 9_000) == []


def test_a_newer_version_that_finds_the_same_is_carried_over(active: Alarm) -> None:
    seen = last(acknowledged(active, now_ms=6_000, actor="anna"))
    (move,) = again(seen, 9_000, rule_version=2, severity="P1", explanation={"text": 1})
    assert move.event == Word.CARRY_OVER
    assert not move.is_new_episode
    assert not move.begins_to_stand
    assert move.after.state is AlarmState.ACTIVE_ACKNOWLEDGED
    assert (move.after.rule_version, move.after.severity, move.after.text) == (2, "P1", "")
    assert move.after.raised_at_ms == 1_000


def test_it_is_over_and_still_wants_somebody_to_see_it(active: Alarm) -> None:
    (move,) = cleared(
        active, at_ms=2_000, now_ms=6_000, value=70.0, explanation={"text": "ok"}, rule_version=1
    )
    assert (move.event, move.after.state) == ("clear", AlarmState.CLEARED_UNACKNOWLEDGED)
    assert (move.value, move.explanation, move.rule_version) == (70.0, {"text": "ok"}, 1)
    assert move.after.cleared_at_ms == 2_000
    assert move.after.value == 81.5, "what it was raised for is kept"
    assert cleared(move.after, at_ms=3_000, now_ms=7_000) == []


def test_what_somebody_has_seen_is_normal_when_it_is_over(active: Alarm) -> None:
    seen = last(acknowledged(active, now_ms=6_000, actor="anna", note="on my way"))
    assert (seen.state, seen.acknowledged_by, seen.acknowledge_note) == (
        AlarmState.ACTIVE_ACKNOWLEDGED,
        "anna",
        "on my way",
    )
    assert acknowledged(seen, now_ms=7_000, actor="ben") == []
    assert last(cleared(seen, at_ms=8_000, now_ms=8_000)).state is AlarmState.NORMAL


def test_flapping_is_one_episode_with_a_count(active: Alarm) -> None:
    alarm = last(acknowledged(active, now_ms=2_000, actor="anna"))
    alarm = last(cleared(alarm, at_ms=10_000, now_ms=10_000))
    (move,) = again(alarm, 10_000 + FLAP_MS, now_ms=700_000)
    assert not move.is_new_episode
    assert not move.begins_to_stand
    assert (move.after.episode, move.after.raised_count, move.after.raised_total) == (1, 2, 2)
    assert (move.after.acknowledged_by, move.after.acknowledged_at_ms) == ("", None)
    assert move.after.stands_since_ms == 5_000
    alarm = last(acknowledged(last([move]), now_ms=700_000, actor="anna"))
    alarm = last(cleared(alarm, at_ms=700_000, now_ms=700_000))
    (move,) = again(alarm, 700_001 + FLAP_MS, now_ms=2_000_000)
    assert move.is_new_episode
    assert move.begins_to_stand
    assert (move.after.episode, move.after.raised_count, move.after.raised_total) == (2, 1, 3)
    assert move.after.stands_since_ms == 2_000_000


def test_until_somebody_has_seen_it_it_is_the_same_episode(active: Alarm) -> None:
    alarm = last(cleared(active, at_ms=10_000, now_ms=10_000))
    assert last(again(alarm, 99 * FLAP_MS)).episode == 1


def test_withdrawn(active: Alarm) -> None:
    (move,) = withdrawn(active, now_ms=9_000, why="The rule was removed.")
    assert (move.event, move.after.state, move.note) == (
        "withdraw",
        AlarmState.NORMAL,
        "The rule was removed.",
    )
    assert move.after.cleared_at_ms == 9_000
    assert withdrawn(move.after, now_ms=9_000, why="") == []
    over = last(cleared(active, at_ms=2_000, now_ms=2_000))
    assert last(withdrawn(over, now_ms=9_000, why="")).cleared_at_ms == 2_000


def test_shelving_ends_as_if_it_was_raised_now(active: Alarm) -> None:
    aside = last(shelved(active, now_ms=6_000, until_ms=90_000, actor="anna", reason="spare part is ordered"))
    assert aside.is_shelved
    assert aside.is_set_aside
    assert (aside.shelved_by, aside.shelve_reason) == ("anna", "spare part is ordered")
    later = last(shelved(aside, now_ms=7_000, until_ms=95_000, actor="ben", reason="still"))
    assert later.shelved_until_ms == 95_000
    (move,) = unshelved(later, now_ms=95_000)
    assert move.is_new_episode
    assert move.begins_to_stand
    assert (move.after.episode, move.after.stands_since_ms, move.after.noted_at_ms) == (2, 95_000, 95_000)
    assert (move.after.shelved_by, move.after.shelve_reason, move.after.is_shelved) == ("", "", False)
    assert unshelved(move.after, now_ms=96_000) == []


def test_shelving_of_what_somebody_has_seen_ends_quietly(active: Alarm) -> None:
    seen = last(acknowledged(active, now_ms=6_000, actor="anna"))
    aside = last(shelved(seen, now_ms=6_000, until_ms=90_000, actor="anna", reason="x"))
    (move,) = unshelved(aside, now_ms=90_000)
    assert not move.is_new_episode
    assert move.after.state is AlarmState.ACTIVE_ACKNOWLEDGED


def test_what_is_over_when_shelving_ends_is_let_be(active: Alarm) -> None:
    aside = last(shelved(active, now_ms=6_000, until_ms=90_000, actor="anna", reason="x"))
    over = last(cleared(aside, at_ms=7_000, now_ms=7_000))
    assert over.state is AlarmState.CLEARED_UNACKNOWLEDGED, "people had been told of it before"
    assert not unshelved(over, now_ms=90_000)[-1].is_new_episode


def test_raised_while_shelved_nobody_is_told_and_nobody_has_to_see_it(active: Alarm) -> None:
    seen = last(acknowledged(active, now_ms=6_000, actor="anna"))
    over = last(cleared(seen, at_ms=7_000, now_ms=7_000))
    aside = last(shelved(over, now_ms=8_000, until_ms=9 * FLAP_MS, actor="anna", reason="x"))
    (move,) = again(aside, 3 * FLAP_MS)
    assert move.is_new_episode
    assert not move.begins_to_stand
    moves = cleared(move.after, at_ms=4 * FLAP_MS, now_ms=4 * FLAP_MS)
    assert [each.event for each in moves] == [AlarmEvent.CLEAR, AlarmEvent.ACKNOWLEDGE]
    assert (moves[-1].note, moves[-1].actor) == (NOBODY_WAS_TOLD, "")
    assert last(moves).state is AlarmState.NORMAL


def test_suppressed_from_the_beginning_and_standing_later() -> None:
    alarm = last(again(None, aside=Aside(by=WAITING, until_ms=95_000)))
    assert (alarm.suppressed_by, alarm.suppressed_until_ms, alarm.stands_since_ms) == (WAITING, 95_000, None)
    (move,) = suppressed(alarm, Aside(by="a1"), now_ms=50_000, note="explained")
    assert (move.event, move.note, move.after.suppressed_by, move.after.suppressed_until_ms) == (
        "suppress",
        "explained",
        "a1",
        None,
    )
    assert suppressed(move.after, Aside(by="a1"), now_ms=60_000) == []
    (move,) = standing(move.after, now_ms=95_000, note="over")
    assert move.begins_to_stand
    assert (move.after.episode, move.after.stands_since_ms) == (1, 95_000), "nobody had been told of it"
    assert standing(move.after, now_ms=96_000) == []


def test_suppressed_later_and_standing_again_is_told_anew(active: Alarm) -> None:
    alarm = last(suppressed(active, Aside(by="m1"), now_ms=6_000))
    (move,) = standing(alarm, now_ms=90_000)
    assert move.is_new_episode
    assert move.after.episode_began_at_ms == 90_000


def test_what_is_over_can_not_be_suppressed(active: Alarm) -> None:
    over = last(cleared(active, at_ms=7_000, now_ms=7_000))
    assert suppressed(over, Aside(by="m1"), now_ms=8_000) == []


def test_suppressed_and_shelved_it_stands_when_both_are_over(active: Alarm) -> None:
    alarm = last(suppressed(active, Aside(by="m1"), now_ms=6_000))
    alarm = last(shelved(alarm, now_ms=7_000, until_ms=90_000, actor="anna", reason="x"))
    (move,) = standing(alarm, now_ms=50_000)
    assert not move.is_new_episode
    (move,) = unshelved(move.after, now_ms=90_000)
    assert move.is_new_episode


def test_an_end_of_the_explanation_at_clear(active: Alarm) -> None:
    alarm = last(suppressed(active, Aside(by="m1"), now_ms=6_000))
    assert last(cleared(alarm, at_ms=7_000, now_ms=7_000)).suppressed_by == ""
