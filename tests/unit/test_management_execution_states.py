"""What an execution is like as it enters a state."""

from __future__ import annotations

import pytest

from appliance.management.execution_states import entered, is_retried, next_ms
from appliance.management.executions import ENDED, NEEDS_A_HAND, SOURCE_OF, TRANSITIONS, Event, Source, State
from tests.execution_kit import DAY_MS, MINUTE_MS, NOW_MS, OLD_DIGEST, a_context, an_execution, firmware

S, E = State, Event
OVER_BY_ITSELF = {S.SUCCEEDED, S.REJECTED, S.TIMED_OUT, S.CANCELED, S.SUPERSEDED, S.REMOVED, S.NOOP}


@pytest.mark.parametrize(
    ("state", "after_ms"),
    [
        (S.NOTIFIED, 15 * MINUTE_MS),
        (S.DOWNLOADING, 10 * MINUTE_MS),
        (S.DOWNLOADED, 30 * MINUTE_MS),
        (S.VERIFIED, 30 * MINUTE_MS),
        (S.WAIT_WINDOW, DAY_MS),
        (S.INSTALLING, 30 * MINUTE_MS),
        (S.REBOOTING, 10 * MINUTE_MS),
        (S.TESTING, 15 * MINUTE_MS),
        (S.UNCONFIRMED, DAY_MS),
        (S.LOST, 7 * DAY_MS),
        (S.ROLLBACK_PENDING, DAY_MS),
        (S.ROLLING_BACK, 15 * MINUTE_MS),
        (S.ROLLBACK_FAILED, 15 * MINUTE_MS),
        (S.REGRESSED, DAY_MS),
        (S.ROLLED_BACK, 5 * MINUTE_MS),
    ],
)
def test_deadlines(state: State, after_ms: int) -> None:
    before, event = next(pair for pair, to in TRANSITIONS.items() if to is state)
    execution = entered(an_execution(before), state, event, NOW_MS, a_context())
    assert execution.deadline_at_ms == NOW_MS + after_ms


@pytest.mark.parametrize(("before", "event"), list(TRANSITIONS))
def test_every_move(before: State, event: Event) -> None:
    to = TRANSITIONS[before, event]
    execution = an_execution(before, end_by_at_ms=NOW_MS + DAY_MS, error="flash")
    after = entered(execution, to, event, NOW_MS, a_context(deadline_at_ms=NOW_MS + 14 * DAY_MS))
    assert after.state is to
    assert after.version == execution.version + 1
    assert after.state_since_ms == NOW_MS
    if to in OVER_BY_ITSELF:
        assert after.is_over
        assert next_ms(after) in (None, after.watch_until_at_ms)
    elif to in NEEDS_A_HAND:
        assert after.needs_manual_intervention
        assert not after.is_over
    elif to not in (S.QUEUED, S.PAUSED) and not after.is_over:
        assert next_ms(after) is not None, "nothing is for ever"
    if to in ENDED:
        assert not after.needs_manual_intervention


def test_the_terms_of_its_rollout_count() -> None:
    context = a_context(confirm_ms=60_000, reboot_ms=30_000, window_ends_at_ms=NOW_MS + 5)
    rebooting = entered(an_execution(S.INSTALLING), S.REBOOTING, E.REBOOTING, NOW_MS, context)
    testing = entered(rebooting, S.TESTING, E.BOOTED, NOW_MS, context)
    waiting = entered(an_execution(S.VERIFIED), S.WAIT_WINDOW, E.WAITING, NOW_MS, context)
    assert (rebooting.deadline_at_ms, testing.deadline_at_ms) == (NOW_MS + 30_000, NOW_MS + 60_000)
    assert waiting.deadline_at_ms == NOW_MS + 5 + DAY_MS


@pytest.mark.parametrize("state", [S.NOTIFIED, S.DOWNLOADING])
def test_time_does_not_run_while_it_is_away(state: State) -> None:
    before, event = next(pair for pair, to in TRANSITIONS.items() if to is state)
    context = a_context(is_reachable=False)
    assert entered(an_execution(before), state, event, NOW_MS, context).deadline_at_ms is None


def test_a_download_ends_by_its_rollout_or_after_three_days() -> None:
    for deadline_ms, end_ms in (
        (NOW_MS + DAY_MS, NOW_MS + DAY_MS),
        (NOW_MS + 9 * DAY_MS, NOW_MS + 3 * DAY_MS),
    ):
        context = a_context(deadline_at_ms=deadline_ms)
        execution = entered(an_execution(S.NOTIFIED), S.DOWNLOADING, E.STARTED, NOW_MS, context)
        assert execution.end_by_at_ms == end_ms


@pytest.mark.parametrize(("attempt", "minutes"), [(1, 1), (2, 5), (3, 25), (4, 25)])
def test_backoff_with_jitter(attempt: int, minutes: int) -> None:
    execution = an_execution(S.INSTALLING, attempt=attempt, max_attempts=9)
    failed = entered(execution, S.FAILED, E.STEP_FAILED, NOW_MS, a_context())
    assert failed.deadline_at_ms == NOW_MS + minutes * MINUTE_MS * 1.1
    assert is_retried(failed)


def test_the_last_attempt_is_the_end() -> None:
    failed = entered(an_execution(S.NOTIFIED, attempt=3), S.FAILED, E.STEP_FAILED, NOW_MS, a_context())
    assert failed.is_over
    assert failed.deadline_at_ms is None


def test_a_retry_by_a_person_begins_anew() -> None:
    execution = an_execution(
        S.MANUAL, attempt=3, rollback_attempt_count=3, error="circles", needs_manual_intervention=True,
        manual_reason="x", report_key="i3/9", slot_touched=True,
    )  # fmt: skip
    context = a_context(firmware=firmware(OLD_DIGEST, version="1.1"), deadline_at_ms=NOW_MS - 1)
    again = entered(execution, S.QUEUED, E.RETRY, NOW_MS, context)
    assert (again.attempt, again.rollback_attempt_count, again.error, again.report_key) == (1, 0, "", "")
    assert (again.from_version, again.is_admitted, again.needs_manual_intervention) == ("1.1", True, False)
    assert again.end_by_at_ms == NOW_MS + 3 * DAY_MS
    assert not again.slot_touched
    unknown = entered(execution, S.QUEUED, E.RETRY, NOW_MS, a_context(deadline_at_ms=NOW_MS + 1))
    assert (unknown.from_version, unknown.end_by_at_ms) == ("", NOW_MS + 1)


def test_back_in_the_queue() -> None:
    context = a_context(deadline_at_ms=NOW_MS + DAY_MS)
    ignored = entered(an_execution(S.NOTIFIED), S.QUEUED, E.NOT_TAKEN, NOW_MS, context)
    missed = entered(an_execution(S.WAIT_WINDOW), S.QUEUED, E.WINDOW_MISSED, NOW_MS, context)
    assert ignored.push_due_at_ms == NOW_MS + 60 * MINUTE_MS
    assert missed.push_due_at_ms == NOW_MS
    assert missed.end_by_at_ms == NOW_MS + DAY_MS
    closed = an_execution(S.PAUSED, is_admitted=False)
    assert entered(closed, S.QUEUED, E.RESUME_QUEUED, NOW_MS, context).push_due_at_ms is None


def test_attempts_to_go_back_are_further_and_further_apart() -> None:
    for count, minutes in ((1, 10), (2, 20), (3, 40)):
        execution = an_execution(S.ROLLING_BACK, rollback_attempt_count=count)
        pending = entered(execution, S.ROLLBACK_PENDING, E.ROLLBACK_OVERDUE, NOW_MS, a_context())
        assert pending.push_due_at_ms == NOW_MS + minutes * MINUTE_MS


def test_a_retry_of_the_way_back_counts_anew() -> None:
    failed = an_execution(S.ROLLBACK_FAILED, rollback_attempt_count=3)
    again = entered(failed, S.ROLLBACK_PENDING, E.RETRY_ROLLBACK, NOW_MS, a_context())
    assert (again.rollback_attempt_count, again.push_due_at_ms) == (0, NOW_MS)


def test_recovered_by_a_person_is_over_at_once() -> None:
    assert entered(an_execution(S.MANUAL), S.ROLLED_BACK, E.MARK_RECOVERED_OLD, NOW_MS, a_context()).is_over


def test_success_is_watched_for_a_week() -> None:
    won = entered(
        an_execution(S.TESTING, error="silent_after_reboot"), S.SUCCEEDED, E.RUNS_TARGET, NOW_MS, a_context()
    )
    assert won.watch_until_at_ms == NOW_MS + 7 * DAY_MS
    assert (won.error, won.is_over) == ("", True)


def test_the_earliest_time_counts() -> None:
    assert next_ms(an_execution(deadline_at_ms=None, end_by_at_ms=9)) == 9
    assert next_ms(an_execution(S.DOWNLOADING, deadline_at_ms=5, end_by_at_ms=9)) == 5
    # From INSTALLING on the rollout's end ends nobody.
    assert next_ms(an_execution(S.INSTALLING, deadline_at_ms=None, end_by_at_ms=9)) is None


def test_timers_that_wait_for_a_person_are_few() -> None:
    timers = {event for event, source in SOURCE_OF.items() if source is Source.TIMER}
    assert {E.ESCALATED, E.DEADLINE} <= timers
