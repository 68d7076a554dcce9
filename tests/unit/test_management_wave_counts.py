"""What counts as started, failed, settled, and as taking a place."""

from __future__ import annotations

import pytest

from appliance.management.executions import ENDED, FAILURES, NEEDS_A_HAND, State
from appliance.management.wave_counts import UPDATING, Counts, Standing

S = State


def stands(state: State, **more: object) -> Standing:
    return Standing(wave=0, state=state, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", State)
def test_each_state(state: State) -> None:
    each = stands(state)
    assert each.is_settled == (state in ENDED | NEEDS_A_HAND)
    assert each.is_failure == (state in FAILURES and state not in (S.FAILED, S.TIMED_OUT))
    assert each.has_tried == (
        state not in {S.QUEUED, S.CANCELED, S.SUPERSEDED, S.REMOVED, S.NOOP, S.TIMED_OUT}
    )
    assert each.is_updating == (state in UPDATING or state in (S.FAILED, S.PAUSED))


def test_a_failure_counts_when_it_is_the_last_or_did_something_to_the_device() -> None:
    assert not stands(S.FAILED).is_failure
    assert stands(S.FAILED, is_touched=True).is_failure
    assert stands(S.FAILED, is_over=True).is_failure
    assert stands(S.FAILED, is_over=True).is_settled
    assert not stands(S.FAILED, is_over=True).is_updating


def test_whoever_was_never_there_says_nothing() -> None:
    assert stands(S.TIMED_OUT, is_started=True).is_failure
    assert stands(S.TIMED_OUT, is_started=True).has_tried
    assert not stands(S.TIMED_OUT).is_failure


def test_what_a_later_update_brought_is_not_this_ones() -> None:
    assert stands(S.SUCCEEDED).runs_it
    assert not stands(S.SUCCEEDED, has_moved_on=True).runs_it


def test_paused_is_as_what_it_was_before() -> None:
    assert not stands(S.PAUSED, before_pause="queued").has_tried
    assert not stands(S.PAUSED, before_pause="queued").is_updating
    assert stands(S.PAUSED, before_pause="queued", is_admitted=True).is_updating
    assert stands(S.PAUSED, before_pause="downloading").has_tried
    assert stands(S.PAUSED, before_pause="downloading").is_updating


def test_who_may_start_takes_a_place_already() -> None:
    assert not stands(S.QUEUED).is_updating
    assert stands(S.QUEUED, is_admitted=True).is_updating


def test_a_flag_puts_it_into_a_persons_hands() -> None:
    assert not stands(S.ROLLBACK_PENDING).is_settled
    assert stands(S.ROLLBACK_PENDING, needs_hand=True).is_settled


def test_sums() -> None:
    counts = Counts.of(
        (
            stands(S.SUCCEEDED, count=5),
            stands(S.QUEUED, is_admitted=True, count=2),
            stands(S.QUEUED, count=3),
            stands(S.TESTING),
            stands(S.ROLLED_BACK, count=2),
            stands(S.NOOP, count=4),
        )
    )
    assert counts == Counts(total=17, started=8, succeeded=5, failed=2, open=6, updating=3)
