"""What is known of devices when a rollout chooses among them: their standing, what they run, what is known to be bad for them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from appliance.core.errors import NotFound
from appliance.management.rollout_plan import Targets
from appliance.management.targets import Candidate
from storage.catalog.database import CatalogDatabase


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutArtifact:
    """An artifact, as far as a rollout needs it. `expires_at_ms` is its manifest's, None for never."""

    artifact_id: str
    name: str
    version: str
    sha256: str
    size_bytes: int
    hw: tuple[str, ...]
    expires_at_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownBad:
    """Devices, and kinds of hardware, that a digest is known to be bad for."""

    devices: frozenset[str]
    hw: frozenset[str]


class RolloutTargetTable(CatalogDatabase):
    """Methods of the catalog about a rollout's targets."""

    def find_rollout_artifact(self, artifact_id: str) -> RolloutArtifact | None:
        """The artifact, or None."""
        found = self.row(
            "SELECT artifact_id, name, version, sha256, size_bytes, hw, expires_at_ms FROM artifacts WHERE artifact_id = ?",
            (artifact_id,),
        )
        if found is None:
            return None
        return RolloutArtifact(**{**dict(found), "hw": tuple(json.loads(found["hw"]))})

    def rollout_artifact(self, artifact_id: str) -> RolloutArtifact:
        """The artifact. Raises NotFound: `artifact_unknown`."""
        found = self.find_rollout_artifact(artifact_id)
        if found is None:
            raise NotFound(
                f"There is no artifact “{artifact_id[:100]}”.",
                hint="Look at the list of artifacts, or upload it first.",
                code="artifact_unknown",
            )
        return found

    def check_targets(self, targets: Targets) -> None:
        """Refuse names that mean nothing: a misspelt group would leave its devices out without a word.

        Raises:
            NotFound: `device_unknown`, `group_unknown`, `tag_unknown`.
        """
        for kind, words, sql in (
            ("device", (*targets.devices, *targets.except_), "SELECT device_id FROM devices"),
            ("group", targets.groups, "SELECT group_id FROM groups"),
            ("tag", targets.tags, "SELECT DISTINCT value FROM devices, json_each(devices.tags)"),
        ):
            missing = self.row(
                f"SELECT value FROM json_each(?) WHERE value NOT IN ({sql})",  # noqa: S608
                (json.dumps(words, ensure_ascii=False),),
            )
            if missing is not None:
                raise NotFound(
                    f"There is no {kind} “{missing[0][:200]}”.",
                    hint=f"Look at the list of {kind}s; a rollout names only what is there.",
                    code=f"{kind}_unknown",
                )

    def rollout_candidates(self, targets: Targets) -> list[Candidate]:
        """The devices that a rollout's words mean, in the order of their ids; applications are none."""
        words = (targets.devices, targets.groups, targets.tags)
        texts = [json.dumps(each, ensure_ascii=False) for each in words]
        found = self.rows(
            "SELECT d.device_id, d.state, d.groups, d.tags, f.hw, f.version, f.digest, f.is_confirmed, n.device_id IS NOT NULL "
            "AS needs_hand FROM devices AS d LEFT JOIN device_firmware AS f USING (device_id) LEFT JOIN (SELECT DISTINCT "
            "device_id FROM executions WHERE needs_manual_intervention = 1 OR state IN ('manual', 'lost', 'regressed', "
            "'rollback_failed')) AS n USING (device_id) "
            "WHERE d.kind = 'device' AND (? OR d.device_id IN (SELECT value FROM json_each(?)) "
            "OR EXISTS (SELECT 1 FROM json_each(d.groups) WHERE value IN (SELECT value FROM json_each(?))) "
            "OR EXISTS (SELECT 1 FROM json_each(d.tags) WHERE value IN (SELECT value FROM json_each(?)))) ORDER BY d.device_id",
            (targets.all, *texts),
        )
        return [
            Candidate(
                device_id=row["device_id"],
                state=row["state"],
                groups=json.loads(row["groups"]),
                tags=json.loads(row["tags"]),
                hw=row["hw"] or "",
                version=row["version"] or "",
                digest=row["digest"] or "",
                is_confirmed=None if row["is_confirmed"] is None else bool(row["is_confirmed"]),
                needs_hand=bool(row["needs_hand"]),
            )
            for row in found
        ]

    def count_unapproved_devices(self, digest: str) -> int:
        """How many devices have an execution with this image, whatever artifacts name it, by rollouts that nobody else approved."""
        found = self.row(
            "SELECT count(DISTINCT e.device_id) FROM rollouts AS r JOIN executions AS e USING (rollout_id) "
            "WHERE e.to_digest = ? AND r.approved_by = '' AND e.state <> 'noop'",
            (digest,),
        )
        assert found
        return int(found[0])

    def known_bad_for(self, digest: str) -> KnownBad:
        """For whom a digest is known to be bad."""
        found = self.rows("SELECT device_id, hw FROM known_bad WHERE digest = ?", (digest,))
        return KnownBad(
            devices=frozenset(device_id for device_id, _ in found if device_id),
            hw=frozenset(hw for _, hw in found if hw),
        )
