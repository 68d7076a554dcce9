"""What updates ask an operator to look at: what is waited for, what went wrong, and for how long that is said."""

from __future__ import annotations

from appliance.management.rollout_plan import Plan, Policy, Targets
from appliance.management.rollouts import RolloutState
from storage.catalog.rollouts import Rollout
from ui.pages.update_attention import ROLLED_BACK_SHOWN_MS, update_attention
from ui.pages.update_facts import Updates

NOW_MS = 1_800_000_000_000


def rollout(state: RolloutState, *, reason: str = "", ended_at_ms: int | None = None) -> Rollout:
    return Rollout(
        rollout_id="r1",
        name="To <2>",
        artifact_id="a1",
        state=state,
        before_pause="",
        wave=0,
        targets=Targets(all=True),
        plan=Plan(),
        policy=Policy(),
        reason=reason,
        rollback_from_wave=None,
        accepted_failures=0,
        wave_started_at_ms=None,
        soak_until_at_ms=None,
        deadline_at_ms=None,
        fence=0,
        created_by="anna",
        created_by_name="Anna",
        approved_by="",
        approved_at_ms=None,
        approved_device_count=None,
        created_at_ms=NOW_MS,
        started_at_ms=None,
        ended_at_ms=ended_at_ms,
        updated_at_ms=NOW_MS,
    )


def lines(*rollouts: Rollout, in_need: int = 0) -> list[tuple[str, str]]:
    updates = Updates(rollouts=rollouts, counts={}, artifacts={}, in_need=in_need)
    return [(each.tone, each.text) for each in update_attention(updates, NOW_MS)]


def test_devices_that_need_a_hand_come_first() -> None:
    paused = rollout(RolloutState.PAUSED, reason="Too many fail.")
    assert lines(paused, in_need=2) == [
        ("bad", "2 devices need a hand after an update."),
        ("warn", "The rollout “To <2>” is paused. Too many fail."),
    ]


def test_what_waits_for_a_person_is_said() -> None:
    assert lines(rollout(RolloutState.AWAITING_APPROVAL)) == [
        ("warn", "The rollout “To <2>” waits for a second person.")
    ]


def test_what_runs_or_is_well_is_not() -> None:
    assert lines(rollout(RolloutState.RUNNING), rollout(RolloutState.COMPLETED, ended_at_ms=NOW_MS)) == []


def test_a_rollout_that_went_back_is_said_over_a_weekend() -> None:
    went_back = RolloutState.ROLLED_BACK
    just_now = rollout(went_back, reason="2 of 3 failed.", ended_at_ms=NOW_MS - ROLLED_BACK_SHOWN_MS + 1)
    assert lines(just_now) == [("warn", "The rollout “To <2>” was rolled back. 2 of 3 failed.")]
    assert lines(rollout(went_back, ended_at_ms=NOW_MS - ROLLED_BACK_SHOWN_MS)) == []
