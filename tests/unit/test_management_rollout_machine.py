"""The machine of a rollout: what is due when, and that thresholds hold in whatever order outcomes come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.management import executions, rollouts
from appliance.management.executions import State
from appliance.management.gates import Gate, Health
from appliance.management.rollout_machine import (
    GO_BACK,
    MOVES,
    NOTHING,
    RESUME,
    Decision,
    View,
    decide,
    is_overdue,
    places,
)
from appliance.management.rollout_plan import Plan
from appliance.management.rollouts import RolloutEvent, RolloutState
from appliance.management.wave_counts import Counts, Standing

R, S, E = RolloutState, State, RolloutEvent
NOW = 1_000_000_000
WELL, STALE = Health(is_fresh=True, is_steady=True), Health(is_fresh=False, is_steady=True)


def view(state: RolloutState = R.RUNNING, **more: Any) -> View:
    fields: dict[str, Any] = {
        "plan": Plan(), "wave": 1, "wave_count": 3, "waited_ms": 0, "soak_until_at_ms": NOW,
    }  # fmt: skip
    return View(state=state, **(fields | more))


def stand(state: State, wave: int = 0, count: int = 1, **more: Any) -> Standing:
    return Standing(wave=wave, state=state, count=count, **more)


def due(
    seen: View,
    *standings: Standing,
    now_ms: int = NOW,
    health: Iterable[tuple[Health, Health]] = (),
) -> Decision:
    return decide(seen, standings, now_ms, health=lambda: health)


def test_every_move_is_one_that_the_tables_have() -> None:
    for state, moves in MOVES.items():
        assert state in rollouts.LIVE
        for before, event in moves.items():
            assert executions.target(before, event) is not None, (state, before, event)
    for before, event in GO_BACK.items():
        assert executions.target(before, event) is State.ROLLBACK_PENDING
    for name, event in RESUME.items():
        assert executions.target(State.PAUSED, event) == name


def test_pausing_interrupts_nobody_who_writes_to_the_device() -> None:
    assert set(MOVES[R.PAUSED]) == {S.QUEUED, S.NOTIFIED, S.DOWNLOADING}
    for state in (S.INSTALLING, S.REBOOTING, S.TESTING, S.UNCONFIRMED):
        assert all(state not in moves for moves in MOVES.values())


def test_a_wave_is_done_when_everybody_ended_or_needs_a_hand() -> None:
    done = due(view(), stand(S.SUCCEEDED, 0), stand(S.NOOP, 1), stand(S.QUEUED, 2))
    assert done == Decision(event=E.WAVE_DONE, soak_until_at_ms=NOW + 1_800_000)
    assert due(view(), stand(S.SUCCEEDED, 0), stand(S.TESTING, 1)) == NOTHING
    assert due(view(), stand(S.SUCCEEDED, 0), stand(S.QUEUED, 1)) == NOTHING


def test_in_the_first_wave_any_failure_pauses() -> None:
    assert due(view(wave=0), stand(S.ROLLBACK_PENDING)).event is E.STOP_RULE
    assert due(view(wave=0), stand(S.UNCONFIRMED)).event is E.STOP_RULE
    assert due(view(wave=0), stand(S.FAILED)) == NOTHING  # is tried again by itself


@pytest.mark.parametrize("state", [R.RUNNING, R.SOAKING])
def test_the_stop_rule_does_what_the_plan_says(state: RolloutState) -> None:
    standings = (stand(S.SUCCEEDED, count=5), stand(S.REJECTED, 1, 2))
    assert due(view(state), *standings).event is E.STOP_RULE
    wave = due(view(state, plan=Plan(on_stop="rollback_wave")), *standings)
    assert (wave.event, wave.rollback_from) == (E.ROLL_BACK, 1)
    everything = due(view(state, plan=Plan(on_stop="rollback_all")), *standings)
    assert (everything.event, everything.rollback_from) == (E.ROLL_BACK, 0)
    assert "2 devices failed of 7 started" in everything.reason
    assert due(view(state, accepted=2), *standings).event is not E.STOP_RULE


DAY_MS = 86_400_000


def test_a_wave_goes_on_without_devices_that_stay_away() -> None:
    away = (stand(S.SUCCEEDED, 1), stand(S.QUEUED, 1), stand(S.NOTIFIED, 1))
    late = view(waited_ms=DAY_MS)
    assert not is_overdue(view(waited_ms=DAY_MS - 1))
    assert is_overdue(late)
    assert due(view(waited_ms=DAY_MS - 1), *away) == NOTHING
    assert due(late, *away).event is E.WAVE_DONE
    assert due(late, *away, stand(S.DOWNLOADING, 1)) == NOTHING
    last = view(waited_ms=DAY_MS, wave=2)
    assert due(last, stand(S.SUCCEEDED), stand(S.QUEUED, 2)) == NOTHING  # it waits for everybody


def test_a_wave_of_which_nobody_was_there_says_nothing() -> None:
    found = due(view(waited_ms=DAY_MS), stand(S.QUEUED, 1))
    assert found.event is E.STOP_RULE
    assert "No device of the wave was there" in found.reason


def test_the_gate_opens_after_the_soak() -> None:
    soaking = view(R.SOAKING, soak_until_at_ms=NOW + 10)
    standings = (stand(S.SUCCEEDED, 0), stand(S.SUCCEEDED, 1, 19), stand(S.REJECTED, 1), stand(S.QUEUED, 2))
    assert due(soaking, *standings, now_ms=NOW + 9) == NOTHING
    assert due(soaking, *standings, now_ms=NOW + 10) == Decision(event=E.GATE_OPEN, wave=2)
    assert due(soaking, *standings, stand(S.TESTING, 1), now_ms=NOW + 10) == NOTHING
    few = due(soaking, stand(S.SUCCEEDED, 1, 2), stand(S.REJECTED, 1), now_ms=NOW + 10)
    assert few.event is E.STOP_RULE
    assert "2 of 3 started succeeded" in few.reason


def test_the_gate_wants_devices_as_well_as_before() -> None:
    worse = due(view(R.SOAKING), stand(S.SUCCEEDED, 1, 3), health=[(WELL, STALE)])
    assert worse.event is E.STOP_RULE
    assert "fresh readings" in worse.reason
    assert due(view(R.SOAKING), stand(S.SUCCEEDED, 1, 3), health=[(WELL, WELL)]).event is E.GATE_OPEN
    assert (
        due(
            view(R.SOAKING, plan=Plan(gate=Gate(health=False))),
            stand(S.SUCCEEDED, 1, 3),
            health=[(WELL, STALE)],
        ).event
        is E.GATE_OPEN
    )


def test_after_the_last_wave_it_is_complete_and_says_what_is_wrong() -> None:
    last = view(R.SOAKING, wave=2)
    assert due(last, stand(S.SUCCEEDED, 2, 3)) == Decision(event=E.ALL_DONE)
    assert due(last, stand(S.SUCCEEDED, 2, 3), health=[(WELL, STALE)]).reason
    assert due(last, stand(S.SUCCEEDED, 2, 3), stand(S.QUEUED, 0)) == NOTHING  # taken up again by somebody


def test_stopping_waits_for_whoever_is_in_the_middle() -> None:
    assert due(view(R.STOPPING), stand(S.INSTALLING)) == NOTHING
    assert due(view(R.STOPPING), stand(S.CANCELED), stand(S.MANUAL), stand(S.SUCCEEDED)).event is E.QUIET


def test_going_back_is_over_when_nobody_runs_it_who_should_not() -> None:
    back = view(R.ROLLING_BACK, rollback_from=1)
    assert due(back, stand(S.SUCCEEDED, 0), stand(S.SUCCEEDED, 1)) == NOTHING
    assert due(back, stand(S.SUCCEEDED, 0), stand(S.ROLLING_BACK, 1)) == NOTHING
    assert due(back, stand(S.SUCCEEDED, 1, has_moved_on=True)).event is E.BACK
    assert due(back, stand(S.SUCCEEDED, 0), stand(S.ROLLED_BACK, 1), stand(S.MANUAL, 2)).event is E.BACK


@pytest.mark.parametrize("state", [R.PAUSED, R.DRAFT, R.READY, R.COMPLETED, R.STOPPED, R.ROLLED_BACK])
def test_nothing_is_due_elsewhere(state: RolloutState) -> None:
    assert due(view(state), stand(S.MANUAL), stand(S.SUCCEEDED, 1)) == NOTHING


def test_places() -> None:
    seen = view(plan=Plan(concurrency_max=5))
    standings = (stand(S.DOWNLOADING, count=2), stand(S.QUEUED, is_admitted=True), stand(S.QUEUED, count=9))
    assert places(seen, standings, is_window_open=True) == 2
    assert places(seen, standings, is_window_open=False) == 0
    assert places(replace(seen, state=R.PAUSED), standings, is_window_open=True) == 0
    assert places(seen, (stand(S.TESTING, count=9),), is_window_open=True) == 0


@given(st.permutations([S.SUCCEEDED] * 20 + [S.ROLLED_BACK] * 3 + [S.REJECTED] * 2), st.integers(1, 30))
def test_thresholds_hold_whatever_order_outcomes_come_in(outcomes: list[State], percent: int) -> None:
    """It stops at the very outcome that reaches the threshold, and at no other."""
    plan = replace(Plan(), stop=replace(Plan().stop, percent=percent))
    for ended in range(1, len(outcomes) + 1):
        standings = [stand(outcome, 1) for outcome in outcomes[:ended]]
        standings += [stand(S.TESTING, 1, len(outcomes) - ended)] * (ended < len(outcomes))
        counts = Counts.of(standings)
        reached = counts.failed >= max(2, counts.started * percent / 100)
        stopped = decide(view(plan=plan), standings, NOW, health=list).event is E.STOP_RULE
        assert stopped is reached
