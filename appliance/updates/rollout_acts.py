"""What people do with rollouts: each act asks the table whether it may follow, and is one transaction with its entry in the audit.

All of them work on a catalog within the caller's transaction; `Engine` has to be woken afterwards, so that the planner looks at what
changed. Raises everywhere: NotFound `rollout_unknown`, Conflict `rollout_state` for what can't be done now.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from appliance.core.errors import Conflict, LimitExceeded, NotAuthorized, UsageError
from appliance.core.limits_updates import (
    ROLLOUT_LARGE_DEVICE_COUNT,
    ROLLOUT_LIVE_COUNT_MAX,
    ROLLOUT_NAME_LENGTH_MAX,
)
from appliance.management.executions import State
from appliance.management.rollout_machine import GO_BACK
from appliance.management.rollout_plan import Plan, Policy, Targets
from appliance.management.rollouts import ENDED, LIVE, RolloutEvent, RolloutState, target
from appliance.management.wave_counts import Counts, Standing
from appliance.management.waves import assign
from appliance.updates.fence import current_fence
from appliance.updates.rollout_choosing import check_usable, look_ahead
from storage.catalog import Catalog
from storage.catalog.rollout_executions import NewExecution
from storage.catalog.rollouts import Rollout

_UNAPPROVED: Final[dict[str, Any]] = {
    "approved_by": "",
    "approved_at_ms": None,
    "approved_device_count": None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a rollout is to be."""

    name: str
    artifact_id: str
    targets: Targets
    plan: Plan = field(default_factory=Plan)
    policy: Policy = field(default_factory=Policy)

    def check(self) -> None:
        """Raises UsageError: `rollout_name`, and as targets, plan and policy."""
        if not 1 <= len(self.name) <= ROLLOUT_NAME_LENGTH_MAX or not self.name.isprintable():
            raise UsageError(
                f"A rollout's name has 1 to {ROLLOUT_NAME_LENGTH_MAX} visible characters.",
                hint="Say in a few words what it is for.",
                code="rollout_name",
            )
        self.targets.check()
        self.plan.check()
        self.policy.check()


@dataclass(frozen=True, slots=True)
class Author:
    """Who does it: the user's id (an API token counts as its owner), and how pages name them."""

    user_id: str
    name: str = ""


def create(catalog: Catalog, rollout_id: str, draft: Draft, author: Author) -> Rollout:
    """Make a draft. Raises UsageError: as `Draft.check`. NotFound: what it names is not there."""
    draft.check()
    catalog.rollout_artifact(draft.artifact_id)
    catalog.check_targets(draft.targets)
    return catalog.create_rollout(
        rollout_id,
        name=draft.name.strip(),
        artifact_id=draft.artifact_id,
        targets=draft.targets,
        plan=draft.plan,
        policy=draft.policy,
        created_by=author.user_id,
        created_by_name=author.name,
    )


def edit(catalog: Catalog, rollout_id: str, draft: Draft, author: Author) -> Rollout:
    """Change a draft. Whoever does it is its maker from now on: what one person wrote the same person must not approve."""
    rollout = catalog.get_rollout(rollout_id)
    if rollout.state is not RolloutState.DRAFT:
        raise Conflict(
            f"The rollout is {_words(rollout.state)}: only a draft can be changed.",
            hint="Send it back first, or make another one.",
            code="rollout_state",
        )
    draft.check()
    catalog.rollout_artifact(draft.artifact_id)
    catalog.check_targets(draft.targets)
    return catalog.change_rollout(
        rollout_id,
        name=draft.name.strip(),
        artifact_id=draft.artifact_id,
        targets=draft.targets,
        plan=draft.plan,
        policy=draft.policy,
        created_by=author.user_id,
        created_by_name=author.name,
    )


def submit(catalog: Catalog, rollout_id: str, author: Author, now_ms: int) -> Rollout:
    """Say that a draft is done: it waits for a second person where the site wants one, and is ready elsewhere.

    Raises:
        Conflict: `targets_none`, `artifact_expired`, and as `check_usable`.
    """
    rollout = catalog.get_rollout(rollout_id)
    _next(rollout, RolloutEvent.SUBMIT)
    preview = look_ahead(catalog, rollout.artifact_id, rollout.targets, rollout.plan)
    check_usable(catalog, preview, now_ms)
    event = RolloutEvent.SUBMIT if preview.needs_approval else RolloutEvent.SUBMIT_WITHOUT_APPROVAL
    return _move(catalog, rollout, author, event, **_UNAPPROVED, reason="")


def approve(catalog: Catalog, rollout_id: str, author: Author, now_ms: int) -> Rollout:
    """Approve what somebody else made, for the devices that it is for now. Raises NotAuthorized: `own_rollout`; and as `look_ahead`."""
    rollout = catalog.get_rollout(rollout_id)
    _next(rollout, RolloutEvent.APPROVE)
    if author.user_id == rollout.created_by:
        raise NotAuthorized(
            "You made this rollout, or changed it last: somebody else has to approve it.",
            hint="Ask another installer or admin; who may be alone changes the setting firmware.approval.",
            code="own_rollout",
        )
    preview = look_ahead(catalog, rollout.artifact_id, rollout.targets, rollout.plan)
    return _move(
        catalog,
        rollout,
        author,
        RolloutEvent.APPROVE,
        approved_by=author.user_id,
        approved_at_ms=now_ms,
        approved_device_count=preview.choice.to_update_count,
    )


def refuse(catalog: Catalog, rollout_id: str, author: Author, reason: str) -> Rollout:
    """Send a rollout back to be a draft, with a reason for its maker."""
    rollout = catalog.get_rollout(rollout_id)
    return _move(
        catalog,
        rollout,
        author,
        RolloutEvent.REFUSE,
        reason=reason.strip(),
        **_UNAPPROVED,
    )


def start(catalog: Catalog, rollout_id: str, author: Author, now_ms: int) -> Rollout:
    """Choose the devices, put them into waves, and begin with the first one; what the planner looks at from now on.

    Raises:
        Conflict: `targets_none`, `artifact_expired`, `rollout_needs_approval`. LimitExceeded: `rollouts_live`, `rollout_devices`.
    """
    rollout = catalog.get_rollout(rollout_id)
    _next(rollout, RolloutEvent.START)
    counts = catalog.count_rollouts()
    if sum(counts[state] for state in LIVE) >= ROLLOUT_LIVE_COUNT_MAX:
        raise LimitExceeded(
            f"{ROLLOUT_LIVE_COUNT_MAX} rollouts are under way.",
            hint="Wait until one is over, or stop one.",
            code="rollouts_live",
        )
    preview = look_ahead(catalog, rollout.artifact_id, rollout.targets, rollout.plan)
    check_usable(catalog, preview, now_ms)
    if preview.needs_approval:
        _check_approved(rollout, preview.choice.to_update_count)
    choice = preview.choice
    of_devices = {each.device_id: each for each in choice.chosen}
    waves = assign(
        [device_id for device_id in of_devices if device_id not in choice.already],
        rollout.plan.waves,
        seed=rollout_id,
        canaries=rollout.plan.canaries,
    )
    deadline_at_ms = now_ms + rollout.plan.deadline_s * 1000
    catalog.add_executions(
        rollout,
        [
            NewExecution(
                execution_id=execution_id_of(rollout_id, number),
                device_id=device_id,
                wave=waves.get(device_id, len(preview.wave_sizes) - 1),
                from_version=of_devices[device_id].version,
                from_digest=of_devices[device_id].digest,
                is_noop=device_id in choice.already,
            )
            for number, device_id in enumerate(of_devices, start=1)
        ],
        to_version=preview.artifact.version,
        to_digest=preview.artifact.sha256,
        size_bytes=preview.artifact.size_bytes,
        deadline_at_ms=deadline_at_ms,
    )
    return _move(
        catalog,
        rollout,
        author,
        RolloutEvent.START,
        wave=0,
        wave_started_at_ms=now_ms,
        started_at_ms=now_ms,
        deadline_at_ms=deadline_at_ms,
        fence=current_fence(catalog),
        reason="",
    )


def pause(catalog: Catalog, rollout_id: str, author: Author, reason: str) -> Rollout:
    """Halt whoever has not begun to install; the others finish."""
    rollout = catalog.get_rollout(rollout_id)
    return _move(
        catalog,
        rollout,
        author,
        RolloutEvent.PAUSE,
        before_pause=rollout.state,
        reason=reason.strip() or "Paused by hand.",
    )


def resume(catalog: Catalog, rollout_id: str, author: Author, now_ms: int) -> Rollout:
    """Go on. The failures so far are accepted by that: they don't stop it again, further ones do. A soak begins anew."""
    rollout = catalog.get_rollout(rollout_id)
    accepted = Counts.of(catalog.standings(rollout_id)).failed
    if rollout.before_pause == RolloutState.SOAKING:
        event = RolloutEvent.RESUME_SOAKING
        more: dict[str, Any] = {"soak_until_at_ms": now_ms + rollout.plan.gate.soak_s * 1000}
    else:
        event, more = RolloutEvent.RESUME, {"wave_started_at_ms": now_ms}
    return _move(
        catalog, rollout, author, event, before_pause="", reason="", accepted_failures=accepted, **more
    )


def abort(
    catalog: Catalog, rollout_id: str, author: Author, reason: str, *, confirm_count: int, now_ms: int
) -> Rollout:
    """Stop for good: whoever has not begun to install is let off, the others finish.

    Args:
        confirm_count: How many devices are let off, as whoever asks has read it.
    Raises:
        Conflict: `confirmation_differs`.
    """
    rollout = catalog.get_rollout(rollout_id)
    is_over = _next(rollout, RolloutEvent.ABORT) in ENDED
    _confirmed(open_count(catalog.standings(rollout_id)), confirm_count, "are let off")
    return _move(
        catalog,
        rollout,
        author,
        RolloutEvent.ABORT,
        reason=reason.strip() or "Stopped by hand.",
        before_pause="",
        ended_at_ms=now_ms if is_over else None,
    )


def roll_back(
    catalog: Catalog, rollout_id: str, author: Author, *, wave: int | None, reason: str, confirm_count: int
) -> Rollout:
    """Have devices go back to what they ran before: of one wave and later ones, or of all.

    Args:
        wave: From which on; None for the current one.
        confirm_count: How many devices go back, as whoever asks has read it.
    Raises:
        Conflict: `confirmation_differs`; `rollback_none`: it is over, and nobody would.
    """
    rollout = catalog.get_rollout(rollout_id)
    _next(rollout, RolloutEvent.ROLL_BACK)
    from_wave = rollout.wave if wave is None else wave
    count = back_count(catalog.standings(rollout_id), from_wave)
    if rollout.state in ENDED and not count:
        raise Conflict(
            "No device would go back: none runs what this rollout brought, or a later update has written over what it came from.",
            hint="Make a rollout of the version that the devices are to run.",
            code="rollback_none",
        )
    _confirmed(count, confirm_count, "go back")
    return _move(
        catalog,
        rollout,
        author,
        RolloutEvent.ROLL_BACK,
        rollback_from_wave=from_wave,
        reason=reason.strip() or "Rolled back by hand.",
        before_pause="",
        ended_at_ms=None,
    )


def open_count(standings: list[Standing]) -> int:
    """How many devices an abort is about: those that nobody is done with."""
    return Counts.of(standings).open


def back_count(standings: list[Standing], from_wave: int) -> int:
    """How many devices a rollback is about: those that run the new version, or try or install it."""
    states = {*GO_BACK, State.INSTALLING, State.REBOOTING}
    return sum(
        each.count
        for each in standings
        if each.wave >= from_wave and each.state in states and not each.has_moved_on
    )


def possible(rollout: Rollout) -> tuple[RolloutEvent, ...]:
    """What a person may do with a rollout where it is."""
    acts = (
        RolloutEvent.SUBMIT, RolloutEvent.APPROVE, RolloutEvent.REFUSE, RolloutEvent.START, RolloutEvent.PAUSE,
        RolloutEvent.RESUME, RolloutEvent.ABORT, RolloutEvent.ROLL_BACK,
    )  # fmt: skip
    return tuple(event for event in acts if target(rollout.state, event) is not None)


def execution_id_of(rollout_id: str, number: int) -> str:
    """The id of a rollout's execution, from 1: what its device knows as the job."""
    return f"{rollout_id}-{number}"


def _next(rollout: Rollout, event: RolloutEvent) -> RolloutState:
    found = target(rollout.state, event)
    if found is None:
        may = ", ".join(each.replace("_", " ") for each in possible(rollout)) or "nothing"
        raise Conflict(
            f"The rollout is {_words(rollout.state)}: it can't {event.replace('_', ' ')} now.",
            hint=f"What can be done with it now: {may}.",
            code="rollout_state",
        )
    return found


def _move(catalog: Catalog, rollout: Rollout, author: Author, event: RolloutEvent, **columns: Any) -> Rollout:
    return catalog.move_rollout(rollout, event, _next(rollout, event), actor=author.user_id, **columns)


def _confirmed(count: int, said: int, what: str) -> None:
    if count != said:
        raise Conflict(
            f"{count} devices {what}, and {said} were confirmed.",
            hint=f"Look at it again, and confirm {count}.",
            code="confirmation_differs",
        )


def _check_approved(rollout: Rollout, device_count: int) -> None:
    """Refuse to start what nobody approved for so many: groups and tags may have got devices since.

    As many more as one person may update alone are nobody's business: sites grow.
    """
    approved_count = rollout.approved_device_count
    if not rollout.approved_by or approved_count is None:
        because = ""
    elif device_count > approved_count + ROLLOUT_LARGE_DEVICE_COUNT:
        because = f", and {approved_count} when it was approved"
    else:
        return
    raise Conflict(
        f"The rollout is for {device_count} devices now{because}: a second person has to approve it.",
        hint="Send it back and submit it again.",
        code="rollout_needs_approval",
    )


def _words(state: RolloutState) -> str:
    return state.replace("_", " ")
