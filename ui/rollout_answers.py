"""Rollouts as the API and pages show them: the row, its artifact, how its waves stand, what can be done with it."""

from __future__ import annotations

import msgspec

from appliance.management.permissions import Scope
from appliance.management.rollout_plan import Plan, Policy, Targets
from appliance.management.targets import LEFT_OUT_WORDS
from appliance.management.wave_counts import Counts, Standing
from appliance.management.windows import closes_at_ms, opens_at_ms
from appliance.updates.rollout_acts import Draft, back_count, open_count, possible
from appliance.updates.rollout_choosing import Preview
from storage.catalog import Catalog
from storage.catalog.rollout_targets import RolloutArtifact
from storage.catalog.rollouts import Rollout
from storage.catalog.site_zone import site_zone
from ui.api import rollout_structs as structs

PREVIEW_DEVICE_COUNT_MAX = 100
"""Named in a preview, of each kind; all are counted."""
_NO_ARTIFACT = RolloutArtifact(
    artifact_id="", name="", version="", sha256="", size_bytes=0, hw=(), expires_at_ms=None
)


def targets_of(wish: structs.TargetsWish) -> Targets:
    """What a body says, as the rules have it."""
    return Targets(
        devices=wish.devices,
        groups=wish.groups,
        tags=wish.tags,
        all=wish.all,
        hw=wish.hw,
        except_=wish.except_,
    )


def plan_of(wish: structs.PlanWish) -> Plan:
    """What a body says, as the rules have it. Raises UsageError: `wave_invalid`, `window_invalid`."""
    return Plan.of_json(msgspec.to_builtins(wish))


def policy_of(wish: structs.PolicyWish) -> Policy:
    """What a body says, as the rules have it."""
    return Policy.of_json(msgspec.to_builtins(wish))


def draft_of(new: structs.NewRollout) -> Draft:
    """A new rollout, as the rules have it. Raises UsageError: `wave_invalid`, `window_invalid`."""
    return Draft(
        name=new.name,
        artifact_id=new.artifact_id,
        targets=targets_of(new.targets),
        plan=plan_of(new.plan),
        policy=policy_of(new.policy),
    )


def edited(rollout: Rollout, wish: structs.RolloutEdit) -> Draft:
    """A draft with what a body changes in it."""
    unset = msgspec.UNSET
    return Draft(
        name=rollout.name if wish.name is unset else wish.name,
        artifact_id=rollout.artifact_id if wish.artifact_id is unset else wish.artifact_id,
        targets=rollout.targets if wish.targets is unset else targets_of(wish.targets),
        plan=rollout.plan if wish.plan is unset else plan_of(wish.plan),
        policy=rollout.policy if wish.policy is unset else policy_of(wish.policy),
    )


def rollout_answer(catalog: Catalog, rollout: Rollout, *, scope: Scope, now_ms: int) -> structs.Rollout:
    """A rollout with how it stands; of a scope's devices only."""
    zone = site_zone(catalog)
    standings = catalog.standings(rollout.rollout_id, scope=scope)
    artifact = catalog.find_rollout_artifact(rollout.artifact_id) or _NO_ARTIFACT
    window = rollout.plan.window
    plan = msgspec.convert(rollout.plan.to_json(), structs.PlanWish)
    targets = msgspec.convert(rollout.targets.to_json(), structs.TargetsWish)
    if scope is not None:
        targets, plan = structs.TargetsWish(), msgspec.structs.replace(plan, canaries=())
    plain = ("rollout_id", "name", "wave", "reason", "rollback_from_wave", "accepted_failures", "wave_started_at_ms",
             "soak_until_at_ms", "deadline_at_ms", "fence", "created_by", "created_by_name", "approved_by",
             "approved_at_ms", "created_at_ms", "started_at_ms", "ended_at_ms", "updated_at_ms")  # fmt: skip
    return structs.Rollout(
        **{name: getattr(rollout, name) for name in plain},
        state=rollout.state.value,
        artifact=structs.RolloutArtifact(
            artifact_id=rollout.artifact_id,
            name=artifact.name,
            version=artifact.version,
            sha256=artifact.sha256,
            size_bytes=artifact.size_bytes,
        ),
        targets=targets,
        plan=plan,
        policy=msgspec.convert(rollout.policy.to_json(), structs.PolicyWish),
        waves=wave_answers(standings),
        device_count=Counts.of(standings).total,
        abort_count=open_count(standings),
        window_closes_at_ms=closes_at_ms(window, now_ms, zone) if window else None,
        window_opens_at_ms=opens_at_ms(window, now_ms, zone) if window else None,
        version=str(rollout.version),
        may=tuple(event.value for event in possible(rollout)),  # type: ignore[misc]
    )


def wave_answers(standings: list[Standing]) -> tuple[structs.RolloutWave, ...]:
    """How each wave stands, from the first one on."""
    found = []
    for wave in range(max((each.wave for each in standings), default=-1) + 1):
        of_wave = [each for each in standings if each.wave == wave]
        counts = Counts.of(of_wave)
        by_state: dict[str, int] = {}
        for each in of_wave:
            by_state[each.state] = by_state.get(each.state, 0) + each.count
        found.append(
            structs.RolloutWave(
                wave=wave,
                device_count=counts.total,
                started=counts.started,
                succeeded=counts.succeeded,
                failed=counts.failed,
                open=counts.open,
                by_state=by_state,
                rollback_count=back_count(standings, wave),
            )
        )
    return tuple(found)


def preview_answer(preview: Preview) -> structs.RolloutPreview:
    """A preview, with the first devices of each kind."""
    choice = preview.choice
    to_update = [each.device_id for each in choice.chosen if each.device_id not in choice.already]
    left_out = []
    for reason, count in sorted(preview.left_out_counts().items()):
        devices = [device_id for device_id, why in choice.left_out.items() if why is reason]
        left_out.append(
            structs.LeftOutDevices(
                reason=reason.value,
                text=LEFT_OUT_WORDS[reason],
                device_count=count,
                devices=tuple(devices[:PREVIEW_DEVICE_COUNT_MAX]),
            )
        )
    return structs.RolloutPreview(
        device_count=len(to_update),
        already_count=len(choice.already),
        wave_sizes=preview.wave_sizes,
        devices=tuple(to_update[:PREVIEW_DEVICE_COUNT_MAX]),
        left_out=tuple(left_out),
        needs_approval=preview.needs_approval,
    )
