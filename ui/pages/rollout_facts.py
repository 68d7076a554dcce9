"""Turns rollouts, as the catalog has them, into what their pages show. Pure: who looks and what time it is are arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from appliance.management.executions import NEEDS_A_HAND, State
from appliance.management.permissions import Permission
from appliance.management.rollouts import LIVE, RolloutEvent, RolloutState, target
from appliance.management.wave_counts import Counts, Standing
from appliance.management.waves import Wave, that_add
from storage.catalog.rollouts import Rollout
from ui.pages.addresses import artifact_url, rollout_url
from ui.pages.format import duration_text
from ui.pages.looks import Look
from ui.pages.rollout_plan_words import reach_text
from ui.pages.rollout_views import ActView, RolloutsView, RolloutView, WaveView
from ui.pages.rollout_words import Bar, bar_of
from ui.retrying import RETRIED

_R, _E = RolloutState, RolloutEvent
_WAVE_OVER: Final = Look("over", "ok", "good")
_WAVE_NOW: Final = Look("now", "turn", "warn")
_WAVE_SOAKS: Final = Look("soaking", "late", "good")
_WAVE_COMES: Final = Look("comes", "never_seen", "idle")
_WAVE_HALTED: Final = Look("halted", "pause", "warn")


@dataclass(frozen=True, slots=True, kw_only=True)
class Looker:
    """Who looks at a rollout: their id and what they may."""

    user_id: str
    may: frozenset[Permission]


def counts_by_state(counts: Iterable[Standing]) -> dict[str, int]:
    """The executions of all waves by state."""
    found: Counter[str] = Counter()
    for each in counts:
        found[each.state] += each.count
    return dict(found)


def view_of(rollout: Rollout, counts: Sequence[Standing], *, artifact: str, looker: Looker) -> RolloutView:
    """A rollout as a card.

    Args:
        artifact: Its name and version, in words.
    """
    url = rollout_url(rollout.rollout_id)
    bar = bar_of(counts_by_state(counts), lambda kind: f"{url}?{urlencode({'kind': kind})}#devices")
    return RolloutView(
        rollout_id=rollout.rollout_id,
        name=rollout.name,
        state=rollout.state,
        artifact=artifact,
        artifact_url=artifact_url(rollout.artifact_id),
        bar=bar,
        stands=stands_text(rollout, counts),
        gate=_gate_text(rollout),
        soak_until_ms=rollout.soak_until_at_ms if rollout.state is _R.SOAKING else None,
        reason=rollout.reason,
        hand_count=sum(each.count for each in counts if each.needs_hand or each.state in NEEDS_A_HAND),
        created_by=rollout.created_by_name or rollout.created_by,
        created_at_ms=rollout.created_at_ms,
        approved_by=rollout.approved_by,
        approved_at_ms=rollout.approved_at_ms,
        started_at_ms=rollout.started_at_ms,
        ended_at_ms=rollout.ended_at_ms,
        acts=acts_of(
            rollout, bar, looker, has_failed=any(each.count and each.state in RETRIED for each in counts)
        ),
        cannot=_cannot(rollout, looker),
    )


def overview_of(views: Iterable[RolloutView]) -> RolloutsView:
    """The views by what an operator has to look at first."""
    all_ = tuple(views)
    return RolloutsView(
        live=tuple(each for each in all_ if each.state in LIVE),
        waiting=tuple(each for each in all_ if each.state == _R.AWAITING_APPROVAL),
        drafts=tuple(each for each in all_ if each.state in (_R.DRAFT, _R.READY)),
        ended=tuple(each for each in all_ if each.state in (_R.STOPPED, _R.ROLLED_BACK, _R.COMPLETED)),
    )


def stands_text(rollout: Rollout, counts: Sequence[Standing]) -> str:
    """Where it is: "Wave 2 of 4 is under way"."""
    numbers = [rollout.wave, *(each.wave for each in counts)] if counts else [len(rollout.plan.waves) - 1]
    wave_count = max(numbers) + 1
    where = f"Wave {rollout.wave + 1} of {wave_count}"
    return {
        _R.DRAFT: "A draft: nobody is updated yet",
        _R.AWAITING_APPROVAL: "A second person has to approve it",
        _R.READY: "Ready: nobody is updated before somebody starts it",
        _R.RUNNING: f"{where} is under way",
        _R.SOAKING: f"{where} is watched before the next one",
        _R.PAUSED: f"Paused in wave {rollout.wave + 1} of {wave_count}",
        _R.STOPPING: "Stopping: whoever is in the middle finishes",
        _R.STOPPED: "Stopped",
        _R.ROLLING_BACK: "Devices go back to the version before",
        _R.ROLLED_BACK: "Devices went back to the version before",
        _R.COMPLETED: "Completed",
    }[rollout.state]


def acts_of(rollout: Rollout, bar: Bar, looker: Looker, *, has_failed: bool) -> tuple[ActView, ...]:
    """What whoever looks may do with it now, in the order of the buttons.

    Args:
        has_failed: Devices gave up or ran out of time.
    """

    def can(event: RolloutEvent) -> bool:
        return target(rollout.state, event) is not None

    acts: list[ActView] = []
    if "rollouts.approve" in looker.may and can(_E.APPROVE) and rollout.created_by != looker.user_id:
        acts.append(ActView(key="approve", label="Approve", is_primary=True))
    if "rollouts.manage" in looker.may:
        if rollout.state is _R.DRAFT:
            acts.append(ActView(key="submit", label="Submit", is_primary=True))
            acts.append(ActView(key="edit", label="Change", asks=True))
        if can(_E.START):
            acts.append(ActView(key="start", label="Start", is_primary=True))
        if can(_E.PAUSE):
            acts.append(ActView(key="pause", label="Pause"))
        if rollout.state is _R.PAUSED:
            acts.append(ActView(key="resume", label="Resume", is_primary=True))
        if rollout.state in LIVE and has_failed:
            acts.append(ActView(key="retry-failed", label="Retry the failed"))
        if can(_E.ROLL_BACK):
            acts.append(ActView(key="rollback", label="Roll back", asks=True))
        if can(_E.ABORT):
            acts.append(ActView(key="abort", label="Abort", asks=True))
    if {"rollouts.manage", "rollouts.approve"} & looker.may and can(_E.REFUSE):
        acts.append(ActView(key="refuse", label="Send it back", asks=True))
    return tuple(acts)


def waves_of(rollout: Rollout, counts: Sequence[Standing], whole: Sequence[Standing]) -> tuple[WaveView, ...]:
    """Its waves, the first one first; none before it has started.

    Args:
        counts: Of the devices that whoever looks may see. whole: Of all its devices, which say which waves of the plan there are.
    """
    by_wave: dict[int, list[Standing]] = {}
    for each in counts:
        by_wave.setdefault(each.wave, []).append(each)
    plan = that_add(rollout.plan.waves, sum(each.count for each in whole if each.state is not State.NOOP))
    if len(plan) <= max((each.wave for each in whole), default=0):
        plan = ()  # Devices were updated by themselves meanwhile: better no words than those of another wave.
    return tuple(
        WaveView(
            number=number + 1,
            reach=_reach_text(plan, number),
            look=_wave_look(rollout, number),
            bar=bar_of(counts_by_state(of_wave)),
            started=Counts.of(of_wave).started,
            succeeded=Counts.of(of_wave).succeeded,
            failed=Counts.of(of_wave).failed,
        )
        for number, of_wave in sorted(by_wave.items())
    )


def _reach_text(plan: Sequence[Wave], number: int) -> str:
    if number >= len(plan):
        return ""
    return "the rest" if number == len(plan) - 1 else f"up to {reach_text(plan[number])}"


def _wave_look(rollout: Rollout, number: int) -> Look:
    if number < rollout.wave or rollout.state is _R.COMPLETED:
        return _WAVE_OVER
    if number > rollout.wave:
        return _WAVE_COMES
    if rollout.state is _R.RUNNING:
        return _WAVE_NOW
    return _WAVE_SOAKS if rollout.state is _R.SOAKING else _WAVE_HALTED


def _gate_text(rollout: Rollout) -> str:
    """What is waited for, while something is."""
    if rollout.state is _R.RUNNING and rollout.wave_started_at_ms is not None:
        return (
            f"When every device of this wave is done, it is watched for {duration_text(rollout.plan.gate.soak_s * 1_000)};"
            f" then at least {rollout.plan.gate.success_percent} % of those started have to have succeeded."
        )
    return ""


def _cannot(rollout: Rollout, looker: Looker) -> str:
    if rollout.state is not _R.AWAITING_APPROVAL:
        return ""
    if rollout.created_by == looker.user_id:
        return "You made it, so somebody else has to approve it: another installer or admin."
    if "rollouts.approve" not in looker.may:
        return "An installer or admin has to approve it."
    return ""
