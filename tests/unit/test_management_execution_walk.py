"""A walk through one step: what a move brings with it."""

from __future__ import annotations

from dataclasses import replace

from appliance.management.execution import HealthSeen, Note, Wish
from appliance.management.execution_walk import Walk
from appliance.management.executions import Event, State
from tests.execution_kit import (
    NEW_DIGEST,
    NOW_MS,
    OLD_DIGEST,
    THIRD_DIGEST,
    a_context,
    an_execution,
    firmware,
    runs,
    way,
)

S, E = State, Event


def test_what_is_not_in_the_table_does_not_happen() -> None:
    walk = Walk(an_execution(S.INSTALLING), NOW_MS, a_context())
    assert not walk.take(E.CANCEL)
    assert walk.moved().moves == ()


def test_a_move_is_noted_with_who_and_why() -> None:
    walk = Walk(an_execution(S.DOWNLOADING, attempt=2), NOW_MS, a_context())
    assert walk.take(E.CANCEL, {"reason": "wrong site"}, actor="ada")
    (move,) = walk.moved().moves
    assert (move.at_ms, move.source, move.event) == (NOW_MS, "operator", "cancel")
    assert (move.from_state, move.to_state, move.attempt) == (S.DOWNLOADING, S.CANCELED, 2)
    assert (move.actor, move.detail) == ("ada", {"reason": "wrong site"})
    assert Wish.TELL in walk.moved().wishes


def test_a_note_moves_nothing() -> None:
    walk = Walk(an_execution(), NOW_MS, a_context())
    walk.note(Note.OUT_OF_ORDER, {"seq": 1})
    (move,) = walk.moved().moves
    assert move.from_state is move.to_state is S.QUEUED


def test_the_beginning_keeps_what_it_was_like_before() -> None:
    context = a_context(
        firmware=firmware(THIRD_DIGEST), health=HealthSeen(has_readings=True, has_session=True)
    )
    walk = Walk(an_execution(from_version="", from_digest="", health={"mine": 1}), NOW_MS, context)
    assert walk.take(E.TAKEN)
    execution = walk.execution
    assert (execution.from_version, execution.from_digest) == ("9.9", THIRD_DIGEST)
    assert execution.health == {"mine": 1, "has_readings": True, "has_session": True}
    assert execution.started_at_ms == NOW_MS


def test_whoever_goes_in_circles_needs_a_person() -> None:
    walk = Walk(an_execution(S.NOTIFIED, transition_count=28), NOW_MS, a_context())
    assert walk.take(E.NOT_TAKEN)
    assert walk.execution.state is S.MANUAL
    assert walk.execution.error == "circles"
    (move,) = walk.moved().moves
    assert move.detail == {"instead_of": "not_taken", "moves": 28}


def test_an_end_is_reached_even_from_a_circle() -> None:
    walk = Walk(an_execution(S.TESTING, transition_count=28), NOW_MS, a_context())
    assert walk.take(E.RUNS_TARGET)
    assert walk.execution.state is S.SUCCEEDED
    ordered = Walk(an_execution(S.TESTING, transition_count=28), NOW_MS, a_context())
    assert ordered.take(E.ROLL_BACK)
    assert ordered.execution.state is S.ROLLBACK_PENDING


def test_a_slot_that_was_written_is_put_in_order() -> None:
    walk = Walk(an_execution(S.INSTALLING, attempt=3), NOW_MS, a_context())
    assert walk.take(E.STEP_OVERDUE)
    assert way(walk.moved()) == ["step_overdue", "slot_touched"]


def test_no_attempts_to_go_back_are_none() -> None:
    walk = Walk(an_execution(S.TESTING, max_rollback_attempts=0), NOW_MS, a_context())
    assert walk.take(E.HEALTH_FAILED)
    assert way(walk.moved()) == ["health_failed", "rollback_attempts_used_up"]
    assert walk.execution.needs_manual_intervention


def test_what_fell_back_is_known_bad_unless_it_was_told_to() -> None:
    assert Wish.KNOWN_BAD in runs(an_execution(S.REBOOTING), firmware(OLD_DIGEST)).wishes
    for error in ("ordered", "rollout"):
        ordered = an_execution(S.ROLLING_BACK, error=error)
        assert Wish.KNOWN_BAD not in runs(ordered, firmware(OLD_DIGEST)).wishes


def test_a_retry_forgives() -> None:
    walk = Walk(an_execution(S.MANUAL), NOW_MS, a_context())
    assert walk.take(E.RETRY)
    assert Wish.FORGIVE in walk.moved().wishes


# --- What it runs


def test_before_it_begins_its_version_is_its_old_one() -> None:
    moved = runs(an_execution(S.NOTIFIED), firmware(THIRD_DIGEST))
    assert moved.moves == ()
    assert moved.execution.from_digest == THIRD_DIGEST


def test_news_from_before_the_beginning_name_the_old_version() -> None:
    execution = an_execution(S.DOWNLOADING)
    assert execution.started_at_ms is not None
    moved = runs(execution, firmware(THIRD_DIGEST, at_ms=execution.started_at_ms - 1))
    assert moved.execution.from_digest == THIRD_DIGEST
    assert moved.execution.state is S.DOWNLOADING


def test_a_move_by_what_runs_says_what_that_was() -> None:
    (move,) = runs(an_execution(S.REBOOTING), firmware(NEW_DIGEST, boot="B")).moves
    assert move.detail == {"version": "2.0", "digest": NEW_DIGEST, "boot_id": "B", "source": "status"}


def test_boots_are_counted_while_the_target_is_tested() -> None:
    execution = runs(an_execution(S.REBOOTING), firmware(NEW_DIGEST, boot="B", is_confirmed=False)).execution
    assert (execution.state, execution.boot_id, execution.health["boots"]) == (S.TESTING, "B", 1)
    for boot, count in (("B", 1), ("C", 2), ("A", 2), ("D", 3)):
        execution = runs(execution, firmware(NEW_DIGEST, boot=boot, is_confirmed=False)).execution
        assert execution.health["boots"] == count, boot


def test_a_boot_from_before_the_state_is_no_news() -> None:
    execution = an_execution(S.TESTING, boot_id="B", started_at_ms=0)
    stale = firmware(NEW_DIGEST, boot="Z", at_ms=1, is_confirmed=False)
    assert runs(execution, stale).execution.boot_id == "B"
    assert runs(execution, replace(stale, at_ms=NOW_MS)).execution.boot_id == "Z"


def test_before_anything_is_written_a_boot_is_no_row() -> None:
    execution = an_execution(S.DOWNLOADING, started_at_ms=0)
    assert runs(execution, firmware(OLD_DIGEST, boot="Z")).execution == execution


def test_on_the_way_back_its_boot_is_noted_and_not_counted() -> None:
    moved = runs(an_execution(S.ROLLBACK_PENDING), firmware(NEW_DIGEST, boot="Q"))
    assert (moved.execution.boot_id, moved.execution.health) == ("Q", {})
