"""The machine: time, orders, and what the delivery sees."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from appliance.management.execution import (
    BlocksTaken,
    Came,
    HealthSeen,
    KnownBadSeen,
    Ordered,
    Taken,
    TimeCame,
    Told,
    Wish,
)
from appliance.management.execution_machine import health_problem
from appliance.management.executions import Event, State
from tests.execution_kit import (
    DAY_MS,
    MINUTE_MS,
    NEW_DIGEST,
    NOW_MS,
    OLD_DIGEST,
    THIRD_DIGEST,
    a_context,
    a_report,
    after,
    an_execution,
    firmware,
    reported,
    way,
)

S, E = State, Event
AWAY = a_context(is_reachable=False)
WELL = HealthSeen(has_readings=True, has_session=True, fresh_reading_count=3, is_online=True)


def due(state: State, **changes: Any) -> Any:
    return an_execution(state, deadline_at_ms=NOW_MS, **changes)


@pytest.mark.parametrize(
    ("state", "to"),
    [
        (S.DOWNLOADING, S.FAILED),
        (S.DOWNLOADED, S.FAILED),
        (S.VERIFIED, S.FAILED),
        (S.WAIT_WINDOW, S.QUEUED),
        (S.INSTALLING, S.FAILED),
        (S.REBOOTING, S.UNCONFIRMED),
        (S.UNCONFIRMED, S.LOST),
        (S.FAILED, S.DOWNLOADING),
        (S.ROLLBACK_FAILED, S.MANUAL),
        (S.LOST, S.MANUAL),
        (S.REGRESSED, S.MANUAL),
    ],
)
def test_what_the_end_of_a_state_s_time_is(state: State, to: State) -> None:
    assert after(due(state), TimeCame()).execution.state is to
    assert after(due(state), TimeCame(), now_ms=NOW_MS - 1).moves == ()


def test_nothing_comes_without_a_deadline() -> None:
    assert after(an_execution(S.PAUSED), TimeCame()).moves == ()


@pytest.mark.parametrize("state", [S.QUEUED, S.NOTIFIED, S.DOWNLOADING, S.VERIFIED, S.WAIT_WINDOW, S.PAUSED])
def test_the_rollout_s_end_ends_who_is_as_before(state: State) -> None:
    moved = after(an_execution(state, end_by_at_ms=NOW_MS), TimeCame())
    assert moved.execution.state is S.TIMED_OUT
    assert moved.execution.error == "deadline"


def test_the_rollout_s_end_ends_nobody_whose_slot_was_written() -> None:
    assert after(an_execution(S.INSTALLING, end_by_at_ms=NOW_MS), TimeCame()).moves == ()


def test_told_three_times_and_then_queued_again() -> None:
    execution = due(S.NOTIFIED, notify_count=1)
    for count in (2, 3):
        execution = after(execution, TimeCame()).execution
        assert (execution.state, execution.notify_count) == (S.NOTIFIED, count)
        assert execution.push_due_at_ms == NOW_MS
        execution = replace(execution, deadline_at_ms=NOW_MS)
    assert way(after(execution, TimeCame())) == ["not_taken"]


@pytest.mark.parametrize("state", [S.NOTIFIED, S.DOWNLOADING])
def test_who_is_away_has_all_the_time(state: State) -> None:
    moved = after(due(state), TimeCame(), context=AWAY)
    assert moved.moves == ()
    assert moved.execution.deadline_at_ms is None
    back = after(moved.execution, Came())
    assert back.execution.deadline_at_ms is not None
    assert back.execution.deadline_at_ms > NOW_MS


@pytest.mark.parametrize("state", [S.QUEUED, S.DOWNLOADED, S.INSTALLING, S.REBOOTING, S.TESTING])
def test_coming_back_is_no_row_where_time_runs_on(state: State) -> None:
    """Ten thousand devices that come back at once: who is told what is wanted is the engine's to know."""
    assert after(an_execution(state), Came()).execution == an_execution(state)


def test_coming_back_does_not_hurry_what_is_waited_with() -> None:
    later = an_execution(S.ROLLBACK_PENDING, push_due_at_ms=NOW_MS + 5)
    assert after(later, Came()).execution.push_due_at_ms == NOW_MS + 5


def test_told_is_taken() -> None:
    assert way(after(an_execution(push_due_at_ms=NOW_MS), Told())) == ["taken"]
    told = after(an_execution(S.DOWNLOADING, push_due_at_ms=NOW_MS), Told())
    assert told.execution.push_due_at_ms is None
    again = an_execution(S.DOWNLOADING)
    assert after(again, Told()).execution == again


def test_taken_and_started() -> None:
    assert way(after(an_execution(), Taken())) == ["taken"]
    started = after(an_execution(), Taken(is_started=True, step_timeout_minutes=40))
    assert way(started) == ["taken", "started"]
    assert started.execution.deadline_at_ms == NOW_MS + 40 * MINUTE_MS
    assert after(an_execution(S.DOWNLOADING), Taken(is_started=True)).moves == ()
    assert way(after(an_execution(S.ROLLBACK_PENDING), Taken(is_started=True))) == ["rollback_taken"]
    assert after(an_execution(S.ROLLBACK_PENDING), Taken()).moves == ()


def test_the_first_block_begins_a_download_and_each_gives_it_time() -> None:
    first = after(an_execution(), BlocksTaken(100, 1_000))
    assert way(first) == ["taken", "started"]
    later = after(replace(first.execution, deadline_at_ms=1), BlocksTaken(50, 1_000))
    assert later.execution.deadline_at_ms == NOW_MS + 10 * MINUTE_MS
    assert (later.execution.bytes_done, later.execution.bytes_total) == (100, 1_000)
    assert after(an_execution(S.INSTALLING), BlocksTaken(1, 2)).execution == an_execution(S.INSTALLING)


# --- Testing


def problem(health: HealthSeen = WELL, firmware_seen: Any = None, **changes: Any) -> str:
    before = {"has_readings": True, "has_session": True, **changes}
    context = a_context(firmware=firmware_seen or firmware(NEW_DIGEST, is_confirmed=None), health=health)
    return health_problem(an_execution(S.TESTING, health=before), context)


def test_what_speaks_against_a_target() -> None:
    assert problem() == ""
    assert problem(firmware_seen=firmware(OLD_DIGEST)) == "version_not_seen"
    assert health_problem(an_execution(S.TESTING), a_context()) == "version_not_seen"
    assert problem(firmware_seen=firmware(NEW_DIGEST, is_confirmed=False)) == "not_confirmed"
    assert problem(firmware_seen=firmware(NEW_DIGEST, self_test="failed")) == "self_test"
    assert problem(self_test="failed") == "self_test"
    assert problem(replace(WELL, has_new_alarm=True)) == "alarm"
    assert problem(replace(WELL, fresh_reading_count=2)) == "no_fresh_readings"
    assert problem(replace(WELL, is_online=False)) == "not_steady"
    assert problem(replace(WELL, cut_count=3)) == "not_steady"
    assert problem(boots=4) == "boots_again"
    assert problem(boots=3) == ""


def test_nothing_is_asked_that_it_never_did() -> None:
    assert problem(HealthSeen(), has_readings=False, has_session=False) == ""


def test_at_the_end_of_the_test_its_health_decides() -> None:
    good = a_context(firmware=firmware(NEW_DIGEST, is_confirmed=None))
    assert way(after(due(S.TESTING), TimeCame(), context=good)) == ["health_passed"]
    bad = after(due(S.TESTING), TimeCame())
    assert way(bad) == ["health_failed"]
    assert (bad.execution.error, bad.execution.error_text) == ("health", "version_not_seen")


# --- The way back


def test_the_time_of_an_attempt_to_go_back() -> None:
    first = after(due(S.ROLLING_BACK, rollback_attempt_count=1), TimeCame())
    assert way(first) == ["rollback_overdue"]
    last = after(due(S.ROLLING_BACK, rollback_attempt_count=3), TimeCame())
    assert way(last) == ["rollback_attempts_used_up"]


def test_away_in_the_middle_of_going_back() -> None:
    execution = due(S.ROLLING_BACK, rollback_attempt_count=1, state_since_ms=NOW_MS)
    away = after(execution, TimeCame(), context=AWAY).execution
    assert (away.state, away.rollback_attempt_count) == (S.ROLLING_BACK, 1)
    assert away.deadline_at_ms == NOW_MS + DAY_MS
    stuck = after(away, TimeCame(), now_ms=NOW_MS + DAY_MS, context=AWAY).execution
    assert (stuck.state, stuck.needs_manual_intervention) == (S.ROLLING_BACK, True)
    assert "middle" in stuck.manual_reason
    back = after(stuck, Came(), now_ms=NOW_MS + DAY_MS).execution
    assert not back.needs_manual_intervention


def test_who_is_away_as_its_way_back_begins_is_not_forgotten() -> None:
    waiting = an_execution(S.ROLLBACK_PENDING)
    away = after(waiting, Taken(is_started=True), context=AWAY).execution
    assert (away.state, away.deadline_at_ms) == (S.ROLLING_BACK, NOW_MS + 15 * MINUTE_MS)
    stuck = after(away, TimeCame(), now_ms=NOW_MS + DAY_MS, context=AWAY).execution
    assert stuck.needs_manual_intervention


def test_a_way_back_that_is_not_begun_for_a_day_needs_a_person() -> None:
    stuck = after(due(S.ROLLBACK_PENDING), TimeCame()).execution
    assert (stuck.state, stuck.needs_manual_intervention) == (S.ROLLBACK_PENDING, True)


def test_who_comes_and_still_does_not_go_back_needs_a_person_again() -> None:
    stuck = after(due(S.ROLLBACK_PENDING), TimeCame()).execution
    back = after(stuck, Came()).execution
    assert not back.needs_manual_intervention
    assert back.deadline_at_ms == NOW_MS + DAY_MS
    again = after(back, TimeCame(), now_ms=NOW_MS + DAY_MS).execution
    assert again.needs_manual_intervention


def test_reports_of_a_retried_way_back_count_anew() -> None:
    failed = an_execution(S.MANUAL, report_key="r3/9", report_seq=9, boot_id="B", rollback_attempt_count=3)
    again = after(failed, Ordered(Event.RETRY_ROLLBACK, "", "ada")).execution
    taken = reported(again, a_report("rolling_back", boot_id="B", attempt=1, seq=1)).execution
    assert (taken.state, taken.rollback_attempt_count) == (S.ROLLING_BACK, 1)


def test_who_is_lost_can_be_told_to_go_back_when_it_comes() -> None:
    waiting = after(an_execution(S.LOST), Ordered(Event.ROLL_BACK, "", error="rollout")).execution
    assert (waiting.state, waiting.push_due_at_ms) == (S.ROLLBACK_PENDING, NOW_MS)


def test_it_is_over_once_the_old_version_runs_steadily() -> None:
    runs_old = a_context(firmware=firmware(OLD_DIGEST))
    settled = after(due(S.ROLLED_BACK), TimeCame(), context=runs_old)
    assert settled.execution.is_over
    assert Wish.TELL in settled.wishes
    gone = replace(runs_old, is_reachable=False)
    waiting = due(S.ROLLED_BACK, health={"has_session": True})
    later = after(waiting, TimeCame(), context=gone).execution
    assert not later.is_over
    assert later.deadline_at_ms == NOW_MS + 5 * MINUTE_MS
    never = after(replace(waiting, state_since_ms=NOW_MS - DAY_MS), TimeCame(), context=gone).execution
    assert (never.state, never.needs_manual_intervention, never.is_over) == (S.MANUAL, True, False)
    assert "steadily" in never.manual_reason
    online = replace(gone, health=HealthSeen(is_online=True))
    assert after(waiting, TimeCame(), context=online).execution.is_over
    other = replace(runs_old, firmware=firmware(THIRD_DIGEST))
    assert not after(waiting, TimeCame(), context=other).execution.is_over


# --- Later


def test_a_watch_ends() -> None:
    watched = an_execution(S.SUCCEEDED, watch_until_at_ms=NOW_MS, ended_at_ms=1)
    moved = after(watched, TimeCame())
    assert moved.execution.watch_until_at_ms is None
    assert moved.moves == ()


def test_a_failure_that_the_device_has_overtaken() -> None:
    """It was given up while it wrote, and came up with the target all the same."""
    context = a_context(firmware=firmware(NEW_DIGEST, boot="B"))
    moved = after(due(S.INSTALLING), TimeCame(), context=context)
    assert way(moved) == ["step_overdue", "runs_target"]


# --- Orders


def test_an_order_is_noted_with_its_reason() -> None:
    moved = after(an_execution(S.DOWNLOADING), Ordered(E.CANCEL, "wrong site", "ada"))
    (move,) = moved.moves
    assert (move.actor, move.detail) == ("ada", {"reason": "wrong site"})
    assert Wish.TELL in moved.wishes


def test_an_order_that_can_t_be_changes_nothing() -> None:
    execution = an_execution(S.INSTALLING)
    assert after(execution, Ordered(E.ROLL_BACK)).execution == execution
    assert after(execution, Ordered(E.CANCEL)).moves == ()


def test_who_is_told_to_go_back_is_not_to_blame() -> None:
    moved = after(an_execution(S.SUCCEEDED, ended_at_ms=1), Ordered(E.ROLL_BACK, "wave 1 failed"))
    assert (moved.execution.state, moved.execution.error) == (S.ROLLBACK_PENDING, "ordered")
    assert not moved.execution.is_over


def test_who_is_resumed_is_held_against_what_it_runs() -> None:
    context = a_context(firmware=firmware(NEW_DIGEST))
    moved = after(an_execution(S.PAUSED), Ordered(E.RESUME_DOWNLOADING), context=context)
    assert way(moved) == ["resume_downloading", "runs_target"]
    assert way(after(an_execution(S.PAUSED), Ordered(E.RESUME_NOTIFIED))) == ["resume_notified"]


def test_known_bad_is_refused_before_it_begins() -> None:
    moved = after(an_execution(), KnownBadSeen("it fell back"))
    assert moved.execution.state is S.REJECTED
    assert (moved.execution.error, moved.execution.error_text) == ("known_bad", "it fell back")
    assert after(an_execution(S.TESTING), KnownBadSeen("x")).execution == an_execution(S.TESTING)
