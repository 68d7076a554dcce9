"""What of artifacts the executions of one device name: a question of delivery to the catalog. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from storage.catalog.database import CatalogDatabase

DIGEST_PREFIX: Final = "sha256:"
_OPEN: Final = """
SELECT e.execution_id, e.rollout_id, e.state, e.is_admitted, e.to_digest, e.from_digest,
    coalesce(json_extract(r.plan, '$.bandwidth_bytes_s'), 0) AS bandwidth_bytes_s
FROM executions e LEFT JOIN rollouts r ON r.rollout_id = e.rollout_id
WHERE e.device_id = ? AND e.ended_at_ms IS NULL ORDER BY e.created_at_ms
"""
_ARTIFACT: Final = (
    "SELECT name, version, filename FROM artifacts WHERE sha256 = ? ORDER BY created_at_ms LIMIT 1"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenExecution:
    """An execution that has not ended.

    Attributes:
        target_sha256, origin_sha256: 64 hexadecimal digits; "" where it is not known.
        bandwidth_bytes_s: Its rollout's budget; 0 is none.
    """

    execution_id: str
    rollout_id: str
    state: str
    is_admitted: bool
    target_sha256: str
    origin_sha256: str
    bandwidth_bytes_s: int


def open_executions(catalog: CatalogDatabase, device_id: str) -> list[OpenExecution]:
    """Those of a device that have not ended, oldest first; a handful at most."""
    return [
        OpenExecution(
            execution_id=row["execution_id"],
            rollout_id=row["rollout_id"],
            state=row["state"],
            is_admitted=bool(row["is_admitted"]),
            target_sha256=row["to_digest"].removeprefix(DIGEST_PREFIX),
            origin_sha256=row["from_digest"].removeprefix(DIGEST_PREFIX),
            bandwidth_bytes_s=int(row["bandwidth_bytes_s"]),
        )
        for row in catalog.rows(_OPEN, (device_id,))
    ]


def artifact_title(catalog: CatalogDatabase, sha256: str) -> tuple[str, str] | None:
    """Name and version, and the file's name, of the first artifact with these bytes; None where no row names them."""
    row = catalog.row(_ARTIFACT, (sha256,))
    return None if row is None else (f"{row['name']} {row['version']}", row["filename"])


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFile:
    """An artifact as clients of other servers are told of it."""

    name: str
    version: str
    filename: str
    size_bytes: int
    sha1: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceUpdate:
    """An execution with what its device is to install, forth and back.

    Attributes:
        rollback_attempt_count: Attempts that it has begun.
        target, origin: None where no artifact has these bytes.
        began: It has left QUEUED.
        bytes_done: Of the image, that it has been sent.
        may_install: Its maintenance window is open, which whoever reads it fills in.
    """

    execution_id: str
    rollout_id: str
    state: str
    is_admitted: bool
    rollback_attempt_count: int
    began: bool
    bytes_done: int
    ended_at_ms: int | None
    target: ArtifactFile | None
    origin: ArtifactFile | None
    may_install: bool = True


_UPDATES: Final = """
SELECT execution_id, rollout_id, state, is_admitted, rollback_attempt_count, started_at_ms, ended_at_ms, bytes_done,
    to_digest, from_digest
FROM executions WHERE device_id = ? ORDER BY ended_at_ms IS NOT NULL, created_at_ms DESC LIMIT ?
"""
_FILE: Final = "SELECT name, version, filename, size_bytes, sha1, sha256 FROM artifacts WHERE sha256 = ? ORDER BY created_at_ms LIMIT 1"


def updates_of(catalog: CatalogDatabase, device_id: str, count_max: int) -> list[DeviceUpdate]:
    """A device's executions, those that have not ended first, then the newest."""
    return [
        DeviceUpdate(
            execution_id=row["execution_id"],
            rollout_id=row["rollout_id"],
            state=row["state"],
            is_admitted=bool(row["is_admitted"]),
            rollback_attempt_count=row["rollback_attempt_count"],
            began=row["started_at_ms"] is not None,
            bytes_done=row["bytes_done"],
            ended_at_ms=row["ended_at_ms"],
            target=_file(catalog, row["to_digest"]),
            origin=_file(catalog, row["from_digest"]),
        )
        for row in catalog.rows(_UPDATES, (device_id, count_max))
    ]


def _file(catalog: CatalogDatabase, digest: str) -> ArtifactFile | None:
    row = catalog.row(_FILE, (digest.removeprefix(DIGEST_PREFIX),)) if digest else None
    if row is None:
        return None
    return ArtifactFile(
        name=row["name"],
        version=row["version"],
        filename=row["filename"],
        size_bytes=row["size_bytes"],
        sha1=row["sha1"],
        sha256=row["sha256"],
    )
