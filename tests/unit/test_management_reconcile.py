"""What a device runs against what it should: the rule as a table of its own, and what keeps old news out."""

from __future__ import annotations

import pytest

from appliance.management.executions import TRANSITIONS, Event, State
from appliance.management.reconcile import RECONCILE, Seen, event_of, seen
from tests.execution_kit import NEW_DIGEST, NOW_MS, OLD_DIGEST, THIRD_DIGEST, an_execution, firmware

S, E, N = State, Event, Seen
ON_THE_WAY = (S.DOWNLOADING, S.DOWNLOADED, S.VERIFIED, S.WAIT_WINDOW)

# State: what a confirmed target, an unconfirmed one, the old version and a third one mean.
EXPECTED: dict[State, tuple[Event | None, Event | None, Event | None, Event | None]] = {
    S.QUEUED: (E.RUNS_TARGET, E.RUNS_TARGET, None, None),
    S.NOTIFIED: (E.RUNS_TARGET, E.RUNS_TARGET, None, None),
    **dict.fromkeys(ON_THE_WAY, (E.RUNS_TARGET, E.TRIES_TARGET, None, E.RUNS_OTHER)),
    S.INSTALLING: (E.RUNS_TARGET, E.TRIES_TARGET, E.RUNS_OLD, E.RUNS_OTHER),
    S.REBOOTING: (E.RUNS_TARGET, E.TRIES_TARGET, E.RUNS_OLD, E.RUNS_OTHER),
    S.TESTING: (E.RUNS_TARGET, None, E.RUNS_OLD, E.RUNS_OTHER),
    S.UNCONFIRMED: (E.RUNS_TARGET, E.TRIES_TARGET, E.RUNS_OLD, E.RUNS_OTHER),
    S.LOST: (E.RUNS_TARGET, E.TRIES_TARGET, E.RUNS_OLD, E.RUNS_OTHER),
    S.FAILED: (E.RUNS_TARGET, E.TRIES_TARGET, None, E.RUNS_OTHER),
    S.SUCCEEDED: (None, None, E.RUNS_OLD, None),
    S.ROLLBACK_PENDING: (None, None, E.RUNS_OLD, E.RUNS_OTHER),
    S.ROLLING_BACK: (None, None, E.RUNS_OLD, E.RUNS_OTHER),
}


@pytest.mark.parametrize("state", list(State))
def test_the_rule(state: State) -> None:
    expected = EXPECTED.get(state, (None, None, None, None))
    found = tuple(RECONCILE.get((state, what)) for what in (N.TARGET, N.TARGET_UNCONFIRMED, N.OLD, N.THIRD))
    assert found == expected
    assert (state, N.UNKNOWN) not in RECONCILE


def test_every_event_of_the_rule_is_a_move_of_the_table() -> None:
    assert {(state, event) for (state, _), event in RECONCILE.items()} <= set(TRANSITIONS)


def test_what_is_seen() -> None:
    execution = an_execution()
    assert seen(execution, firmware(NEW_DIGEST)) is N.TARGET
    assert seen(execution, firmware(NEW_DIGEST, is_confirmed=False)) is N.TARGET_UNCONFIRMED
    assert seen(execution, firmware(NEW_DIGEST, is_confirmed=None)) is N.TARGET_UNCONFIRMED
    assert seen(execution, firmware(OLD_DIGEST)) is N.OLD
    assert seen(execution, firmware(THIRD_DIGEST)) is N.THIRD
    assert seen(an_execution(to_digest=""), firmware(OLD_DIGEST, version="")) is N.UNKNOWN
    assert seen(an_execution(from_version="", from_digest=""), firmware(THIRD_DIGEST)) is N.OLD


def test_by_version_where_nobody_knows_a_digest() -> None:
    execution = an_execution(from_digest="")
    assert seen(execution, firmware("", version="2.0")) is N.TARGET
    assert seen(execution, firmware("", version="1.0")) is N.OLD


@pytest.mark.parametrize("state", [S.INSTALLING, S.REBOOTING, S.UNCONFIRMED, S.LOST])
def test_the_boot_that_wrote_the_slot_proves_no_way_back(state: State) -> None:
    assert event_of(an_execution(state), firmware(OLD_DIGEST, boot="A")) is None
    assert event_of(an_execution(state), firmware(OLD_DIGEST, boot="B")) is E.RUNS_OLD


@pytest.mark.parametrize(
    ("state", "event"),
    [(S.INSTALLING, None), (S.REBOOTING, None), (S.UNCONFIRMED, E.RUNS_OLD), (S.LOST, E.RUNS_OLD)],
)
def test_a_device_that_names_no_boots_was_given_time_to_restart(state: State, event: Event | None) -> None:
    assert event_of(an_execution(state), firmware(OLD_DIGEST, boot="")) is event
    unknown = an_execution(state, install_boot_id="")
    assert event_of(unknown, firmware(OLD_DIGEST, boot="B")) is event


@pytest.mark.parametrize("state", [S.TESTING, S.SUCCEEDED])
def test_the_boot_in_which_the_target_was_seen_can_t_be_one_of_the_old_version(state: State) -> None:
    execution = an_execution(state, boot_id="B", install_boot_id="A")
    assert event_of(execution, firmware(OLD_DIGEST, boot="B")) is None
    assert event_of(execution, firmware(OLD_DIGEST, boot="A")) is None
    assert event_of(execution, firmware(OLD_DIGEST, boot="C")) is E.RUNS_OLD


@pytest.mark.parametrize("what", [OLD_DIGEST, THIRD_DIGEST])
def test_news_from_before_the_state_was_entered_prove_nothing_of_it(what: str) -> None:
    execution = an_execution(S.REBOOTING)
    assert event_of(execution, firmware(what, at_ms=execution.state_since_ms - 1)) is None
    assert event_of(execution, firmware(what, at_ms=execution.state_since_ms)) is not None


def test_the_target_is_believed_whenever_it_was_seen() -> None:
    execution = an_execution(S.REBOOTING)
    assert event_of(execution, firmware(NEW_DIGEST, at_ms=0)) is E.RUNS_TARGET


def test_who_never_left_the_old_version_is_back_by_saying_so() -> None:
    assert event_of(an_execution(S.ROLLBACK_PENDING), firmware(OLD_DIGEST, boot="A")) is E.RUNS_OLD


def test_a_failure_that_is_over_is_not_made_worse() -> None:
    over = an_execution(S.FAILED, ended_at_ms=NOW_MS)
    assert event_of(over, firmware(THIRD_DIGEST)) is None
    assert event_of(over, firmware(NEW_DIGEST)) is E.RUNS_TARGET
    assert event_of(an_execution(S.FAILED), firmware(THIRD_DIGEST)) is E.RUNS_OTHER
