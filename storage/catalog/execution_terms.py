"""What an execution's rollout and artifact say of it: policy, fence, deadline, and what becomes the job document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.limits_executions import CONFIRM_MS_DEFAULT, REBOOT_MS_DEFAULT
from storage.catalog.database import CatalogDatabase

_ARTIFACT: Final = (
    "artifact_id, name, version, sha256, sha1, size_bytes, filename, format, hw, min_version, max_version, epoch, "
    "release_counter, manifest, signatures"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionTerms:
    """A rollout as its executions see it.

    Attributes:
        policy: {confirm_s, reboot_s, max_attempts, max_rollback_attempts}, each may be missing.
        plan: Its waves, window and so on.
    """

    rollout_id: str
    state: str
    artifact_id: str
    policy: Mapping[str, Any]
    plan: Mapping[str, Any]
    deadline_at_ms: int | None
    fence: int

    @property
    def confirm_ms(self) -> int:
        """How long the target may be tested."""
        return _ms(self.policy.get("confirm_s"), CONFIRM_MS_DEFAULT)

    @property
    def reboot_ms(self) -> int:
        """How long a restart may take."""
        return _ms(self.policy.get("reboot_s"), REBOOT_MS_DEFAULT)


class ExecutionTermsTable(CatalogDatabase):
    """Methods of the catalog about what is asked of an execution."""

    def execution_terms(self, rollout_id: str) -> ExecutionTerms | None:
        """What a rollout says, None when there is none of that id."""
        found = self.row(
            "SELECT rollout_id, state, artifact_id, policy, plan, deadline_at_ms, fence FROM rollouts WHERE rollout_id = ?",
            (rollout_id,),
        )
        if found is None:
            return None
        return ExecutionTerms(
            **{**dict(found), "policy": json.loads(found["policy"]), "plan": json.loads(found["plan"])}
        )

    def artifact_facts(self, artifact_id: str) -> dict[str, Any] | None:
        """An artifact's columns that a device is told, JSON read; None when there is none of that id."""
        found = self.row(f"SELECT {_ARTIFACT} FROM artifacts WHERE artifact_id = ?", (artifact_id,))  # noqa: S608
        if found is None:
            return None
        facts = dict(found)
        for name in ("hw", "signatures"):
            facts[name] = json.loads(facts[name])
        facts["manifest"] = json.loads(facts["manifest"]) if facts["manifest"] else None
        return facts


def _ms(said: Any, default_ms: int) -> int:
    is_good = isinstance(said, int | float) and not isinstance(said, bool) and said > 0
    return round(said * 1_000) if is_good else default_ms
