"""What a device is told to do: the job document of an execution, made from what the catalog has.

Source: docs/DEVICE_CONTRACT.md. The manifest is what its keys signed, as an object; its signed bytes are its canonical JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from appliance.core.errors import Conflict
from appliance.management.blocks import stream_id
from appliance.management.execution import Execution
from appliance.management.executions import State
from storage.catalog.catalog import Catalog

ROLLBACK_STATES: Final = frozenset({State.ROLLBACK_PENDING, State.ROLLING_BACK})
Link = Callable[[Execution, str], str]
"""Where an execution's device gets the bytes of a sha256 over HTTPS."""


def plain_link(execution: Execution, sha256: str) -> str:
    """The path on the devices' own port."""
    return f"/dl/{sha256}"


def job_document(catalog: Catalog, execution: Execution, link: Link = plain_link) -> dict[str, Any]:
    """What its device is to do.

    Raises:
        Conflict: `execution_without_artifact`: rollout or artifact are gone, which nothing allows while it is alive.
    """
    terms = catalog.execution_terms(execution.rollout_id)
    artifact = catalog.artifact_facts(terms.artifact_id) if terms is not None else None
    if terms is None or artifact is None:
        raise Conflict(
            f"Execution “{execution.execution_id}” has no rollout or artifact any more.",
            hint="Cancel it; its device has nothing to install.",
            code="execution_without_artifact",
        )
    if execution.state in ROLLBACK_STATES:
        is_under_way = execution.state is State.ROLLING_BACK
        return {
            "op": "fw.rollback",
            "rollout": execution.rollout_id,
            "to_version": execution.from_version,
            "to_sha256": execution.from_digest,
            "attempt": execution.rollback_attempt_count + (0 if is_under_way else 1),
            "max_rollback_attempts": execution.max_rollback_attempts,
            "fence": terms.fence,
        }
    sha256 = artifact["sha256"]
    compat = {"hw": artifact["hw"]}
    compat |= {name: artifact[name] for name in ("min_version", "max_version") if artifact[name]}
    policy = {
        "confirm_s": terms.confirm_ms // 1_000,
        "reboot_s": terms.reboot_ms // 1_000,
        "max_attempts": execution.max_attempts,
        "max_rollback_attempts": execution.max_rollback_attempts,
    }
    if window := terms.plan.get("window"):
        policy["window"] = window
    return {
        "op": "fw.install",
        "rollout": execution.rollout_id,
        "attempt": execution.attempt,
        "artifact": {
            "name": artifact["name"],
            "version": artifact["version"],
            "size": artifact["size_bytes"],
            "sha256": sha256,
            "format": artifact["format"],
            "stream": stream_id(sha256),
            "url": link(execution, sha256),
        },
        "compat": compat,
        "epoch": artifact["epoch"],
        "manifest": artifact["manifest"],
        "sig": artifact["signatures"],
        "policy": policy,
        "fence": terms.fence,
    }
