"""Which devices a rollout would get now, in which waves, and who is left out and why; for the preview and for the start."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from appliance.core.errors import Conflict, LimitExceeded
from appliance.core.limits_updates import ROLLOUT_DEVICE_COUNT_MAX, ROLLOUT_LARGE_DEVICE_COUNT
from appliance.identity import artifact_trust
from appliance.management.rollout_plan import Plan, Targets
from appliance.management.site_settings import APPROVAL_SETTING, SITE_SETTINGS
from appliance.management.targets import LEFT_OUT_WORDS, Choice, LeftOut, choose
from appliance.management.waves import sizes
from storage.catalog import Catalog
from storage.catalog.rollout_targets import RolloutArtifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What would happen if a rollout started now.

    Attributes:
        wave_sizes: Devices that each wave adds. needs_approval: Whether a second person has to approve it.
    """

    artifact: RolloutArtifact
    choice: Choice
    wave_sizes: tuple[int, ...]
    needs_approval: bool

    def left_out_counts(self) -> dict[LeftOut, int]:
        """How many are left out, by reason."""
        return dict(Counter(self.choice.left_out.values()))


def look_ahead(catalog: Catalog, artifact_id: str, targets: Targets, plan: Plan) -> Preview:
    """Choose devices as a start would.

    Raises:
        UsageError: as the checks of targets and plan. NotFound: `artifact_unknown`, `device_unknown`, `group_unknown`, `tag_unknown`.
        LimitExceeded: `rollout_devices`.
    """
    targets.check()
    plan.check()
    artifact = catalog.rollout_artifact(artifact_id)
    catalog.check_targets(targets)
    bad = catalog.known_bad_for(artifact.sha256)
    choice = choose(
        targets,
        catalog.rollout_candidates(targets),
        digest=artifact.sha256,
        artifact_hw=artifact.hw,
        bad_devices=bad.devices,
        bad_hw=bad.hw,
    )
    if choice.to_update_count > ROLLOUT_DEVICE_COUNT_MAX:
        raise LimitExceeded(
            f"The rollout is for {choice.to_update_count} devices; one has {ROLLOUT_DEVICE_COUNT_MAX} at most.",
            hint="Make several, by group or by tag.",
            code="rollout_devices",
        )
    return Preview(
        artifact=artifact,
        choice=choice,
        wave_sizes=sizes(plan.waves, choice.to_update_count),
        needs_approval=needs_approval(catalog, artifact.sha256, choice.to_update_count),
    )


def needs_approval(catalog: Catalog, digest: str, device_count: int) -> bool:
    """Whether the site wants a second person for so many devices.

    Devices that got this image without one count too: many small rollouts are a large one, and so are many names.
    """
    rule = catalog.get_setting(APPROVAL_SETTING, SITE_SETTINGS[APPROVAL_SETTING].default)
    if rule in ("always", "never"):
        return bool(rule == "always")
    return catalog.count_unapproved_devices(digest) + device_count > ROLLOUT_LARGE_DEVICE_COUNT


def check_usable(catalog: Catalog, preview: Preview, now_ms: int) -> None:
    """Refuse to go on with a rollout that nobody would get, or whose artifact no device would take any more, or nobody vouches for.

    Raises:
        Conflict: `targets_none`, `artifact_expired`; `artifact_unsigned`, `artifact_signatures`, `signature_bad`, `manifest_not_yet`.
    """
    if preview.choice.to_update_count == 0:
        count = len(preview.choice.already)
        reasons = "; ".join(
            f"{number}: {LEFT_OUT_WORDS[why].rstrip('.')}"
            for why, number in sorted(preview.left_out_counts().items())
        )
        left_out = f"{len(preview.choice.left_out)} left out" + (f" ({reasons})" if reasons else "")
        raise Conflict(
            f"No device is left to update: {count} run it already, {left_out}.",
            hint="Choose other devices; the preview names those that are left out.",
            code="targets_none",
        )
    expires_at_ms = preview.artifact.expires_at_ms
    if expires_at_ms is not None and expires_at_ms <= now_ms:
        raise Conflict(
            f"The manifest of {preview.artifact.name} {preview.artifact.version} has expired: devices would refuse it.",
            hint="Sign it again with a later end.",
            code="artifact_expired",
        )
    artifact_trust.check_usable(catalog, preview.artifact.artifact_id, now_ms=now_ms)
