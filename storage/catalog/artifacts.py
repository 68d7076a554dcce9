"""Artifacts: names for bytes, what they fit, their manifests; and uploads that are on their way to become one.

The bytes lie in storage/artifacts. What a rollout or an execution that has not ended needs is not removed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from appliance.core.errors import Conflict, LimitExceeded, NotFound
from appliance.core.limits_updates import ARTIFACT_COUNT_MAX
from appliance.management.artifact_image import ArtifactFormat
from appliance.management.manifest import Manifest, ManifestArtifact, ManifestCompat, Signature
from storage.catalog.database import CatalogDatabase

_COUNTER: Final = "artifact_counter."
"""Settings that keep the highest release counter of a name, also when its artifacts are gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Bytes with a name. Times are UTC ms.

    Attributes:
        sha1: Some devices' protocols want it beside the SHA-256; nothing here relies on it.
        hw: Kinds of hardware that it fits; none for any.
        min_version, max_version: That a device may have before, "" for any.
        manifest: The canonical text that was signed, "" for none.
        is_vendor_signed: Whether the file carries its maker's own signature, which devices check.
        release_counter, not_before_ms, expires_at_ms: The manifest's, 0 and None without one.
        row_version: Another after every change, for If-Match.
    """

    artifact_id: str
    name: str
    version: str
    sha256: str
    sha1: str
    size_bytes: int
    filename: str
    format: ArtifactFormat
    hw: tuple[str, ...] = ()
    min_version: str = ""
    max_version: str = ""
    epoch: int = 0
    release_counter: int = 0
    not_before_ms: int | None = None
    expires_at_ms: int | None = None
    is_vendor_signed: bool = False
    manifest: str = ""
    signatures: tuple[Signature, ...] = ()
    note: str = ""
    created_by: str = ""
    created_at_ms: int = 0
    updated_at_ms: int = 0
    row_version: int = field(default=0, compare=False)

    def manifest_of(self, *, not_before_ms: int, expires_at_ms: int, release_counter: int) -> Manifest:
        """A manifest of this artifact."""
        return Manifest(
            artifact=ManifestArtifact(
                name=self.name,
                version=self.version,
                size=self.size_bytes,
                sha256=self.sha256,
                format=self.format,
            ),
            compat=ManifestCompat(
                hw=list(self.hw),
                min_version=self.min_version or None,
                max_version=self.max_version or None,
            ),
            epoch=self.epoch,
            not_before=not_before_ms,
            expires=expires_at_ms,
            release_counter=release_counter,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactUse:
    """What uses an artifact and has not ended.

    Attributes:
        rollouts: Their names.
        device_count: Devices that are being brought to it, or would go back to it.
    """

    rollouts: tuple[str, ...] = ()
    device_count: int = 0


_COLUMNS: Final = (
    "artifact_id, name, version, sha256, sha1, size_bytes, filename, format, hw, min_version, max_version, epoch, "
    "release_counter, not_before_ms, expires_at_ms, is_vendor_signed, manifest, signatures, note, created_by, created_at_ms, updated_at_ms"
)


class ArtifactTable(CatalogDatabase):
    """Methods of the catalog about artifacts."""

    def artifacts(self) -> tuple[Artifact, ...]:
        """All artifacts, the newest first; there are ARTIFACT_COUNT_MAX at most."""
        found = self.rows(f"SELECT {_COLUMNS}, hlc FROM artifacts ORDER BY created_at_ms DESC, artifact_id")  # noqa: S608
        return tuple(map(_artifact, found))

    def artifact(self, artifact_id: str) -> Artifact:
        """One of them. Raises NotFound: `artifact_unknown`."""
        found = self.row(f"SELECT {_COLUMNS}, hlc FROM artifacts WHERE artifact_id = ?", (artifact_id,))  # noqa: S608
        if found is None:
            raise _unknown(artifact_id)
        return _artifact(found)

    def find_artifact(self, name: str, version: str) -> Artifact | None:
        """The artifact of that name and version, None for none."""
        found = self.row(
            f"SELECT {_COLUMNS}, hlc FROM artifacts WHERE name = ? AND version = ?",  # noqa: S608
            (name, version),
        )
        return None if found is None else _artifact(found)

    def artifacts_of_bytes(self, sha256: str) -> tuple[Artifact, ...]:
        """Artifacts that these bytes are of, the newest first."""
        found = self.rows(
            f"SELECT {_COLUMNS}, hlc FROM artifacts WHERE sha256 = ? ORDER BY created_at_ms DESC, artifact_id",  # noqa: S608
            (sha256,),
        )
        return tuple(map(_artifact, found))

    def check_artifact_free(self, name: str, version: str) -> None:
        """Refuse a name and version that is there. Raises Conflict: `artifact_exists`."""
        if self.find_artifact(name, version) is not None:
            raise Conflict(
                f"There is an artifact {name} {version} already.",
                hint="A version is given once: choose another one, or remove the artifact that is there.",
                code="artifact_exists",
            )

    def add_artifact(self, made: Artifact) -> Artifact:
        """Keep a new one; its times are set here.

        Raises:
            Conflict: `artifact_exists`. LimitExceeded: `artifact_count`.
        """
        with self.transaction():
            self.check_artifact_free(made.name, made.version)
            (count,) = self.rows("SELECT count(*) FROM artifacts")[0]
            if count >= ARTIFACT_COUNT_MAX:
                raise LimitExceeded(
                    f"There are {ARTIFACT_COUNT_MAX} artifacts already.",
                    hint="Remove those that no device needs any more.",
                    code="artifact_count",
                )
            now_ms = self._clock.now_ms()
            self.execute(
                f"INSERT INTO artifacts ({_COLUMNS}, origin, hlc) VALUES"  # noqa: S608
                " (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, NULL, NULL, ?, '', '[]', ?, ?, ?, ?, ?, ?)",
                (
                    made.artifact_id,
                    made.name,
                    made.version,
                    made.sha256,
                    made.sha1,
                    made.size_bytes,
                    made.filename,
                    made.format,
                    json.dumps(made.hw),
                    made.min_version,
                    made.max_version,
                    made.epoch,
                    int(made.is_vendor_signed),
                    made.note,
                    made.created_by,
                    now_ms,
                    now_ms,
                    self.origin,
                    self.hlc,
                ),
            )
        return self.artifact(made.artifact_id)

    def set_artifact_note(self, artifact_id: str, note: str) -> Artifact:
        """Write what people want to know of it. Raises NotFound: `artifact_unknown`."""
        with self.transaction():
            changed = self.execute(
                "UPDATE artifacts SET note = ?, updated_at_ms = ?, origin = ?, hlc = ? WHERE artifact_id = ?",
                (note, self._clock.now_ms(), self.origin, self.hlc, artifact_id),
            )
            if not changed:
                raise _unknown(artifact_id)
        return self.artifact(artifact_id)

    def set_artifact_manifest(
        self, artifact_id: str, manifest: Manifest, signatures: tuple[Signature, ...]
    ) -> Artifact:
        """Keep a manifest with its signatures, which the caller has checked. Raises NotFound: `artifact_unknown`."""
        with self.transaction():
            changed = self.execute(
                "UPDATE artifacts SET manifest = ?, signatures = ?, release_counter = ?, not_before_ms = ?, expires_at_ms = ?,"
                " updated_at_ms = ?, origin = ?, hlc = ? WHERE artifact_id = ?",
                (
                    manifest.text(),
                    msgspec.json.encode(signatures).decode(),
                    manifest.release_counter,
                    manifest.not_before,
                    manifest.expires,
                    self._clock.now_ms(),
                    self.origin,
                    self.hlc,
                    artifact_id,
                ),
            )
            if not changed:
                raise _unknown(artifact_id)
            if manifest.release_counter > self.highest_release_counter(manifest.artifact.name):
                self._set_counter(manifest.artifact.name, manifest.release_counter)
        return self.artifact(artifact_id)

    def highest_release_counter(self, name: str) -> int:
        """Of all manifests that were ever accepted for a name, 0 for none."""
        found = self.row("SELECT value FROM settings WHERE key = ?", (_COUNTER + name,))
        return 0 if found is None else int(json.loads(found[0]))

    def highest_epoch(self, name: str) -> int:
        """Of all artifacts of a name, 0 for none."""
        (found,) = self.rows("SELECT coalesce(max(epoch), 0) FROM artifacts WHERE name = ?", (name,))[0]
        return int(found)

    def artifact_uses(self) -> dict[str, ArtifactUse]:
        """What uses each artifact and has not ended, by its id; those that nothing uses are not in it."""
        rollouts: dict[str, list[str]] = {}
        for artifact_id, name in self.rows(
            "SELECT artifact_id, name FROM rollouts WHERE ended_at_ms IS NULL ORDER BY created_at_ms, rollout_id"
        ):
            rollouts.setdefault(artifact_id, []).append(name)
        devices: dict[str, set[str]] = {}
        for device_id, *digests in self.rows(
            "SELECT device_id, to_digest, from_digest FROM executions WHERE ended_at_ms IS NULL"
        ):
            for digest in digests:
                devices.setdefault(digest.removeprefix("sha256:"), set()).add(device_id)
        return {
            artifact_id: ArtifactUse(
                rollouts=tuple(rollouts.get(artifact_id, ())), device_count=len(devices.get(sha256, ()))
            )
            for artifact_id, sha256 in self.rows("SELECT artifact_id, sha256 FROM artifacts")
            if artifact_id in rollouts or sha256 in devices
        }

    def remove_artifact(self, artifact_id: str) -> Artifact:
        """Forget an artifact; gives what it was. Its bytes are removed by whoever looks after them.

        Raises:
            NotFound: `artifact_unknown`. Conflict: `artifact_in_use`: a rollout or an execution needs it; it says which.
        """
        with self.transaction():
            found = self.artifact(artifact_id)
            use = self.artifact_uses().get(artifact_id, ArtifactUse())
            others = len(self.artifacts_of_bytes(found.sha256)) > 1
            if use.rollouts:
                raise _in_use(found, f"the rollout “{use.rollouts[0]}”" + _more(len(use.rollouts) - 1))
            if use.device_count and not others:
                raise _in_use(
                    found,
                    f"{use.device_count} {'device' if use.device_count == 1 else 'devices'} in an update",
                )
            self.execute("DELETE FROM artifacts WHERE artifact_id = ?", (artifact_id,))
        return found

    def artifact_digests(self) -> frozenset[str]:
        """Digests of all bytes that an artifact names."""
        return frozenset(each[0] for each in self.rows("SELECT DISTINCT sha256 FROM artifacts"))

    def _set_counter(self, name: str, counter: int) -> None:
        self.execute(
            "INSERT INTO settings (key, value, origin, hlc) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE "
            "SET value = excluded.value, origin = excluded.origin, hlc = excluded.hlc",
            (_COUNTER + name, str(counter), self.origin, self.hlc),
        )


def _artifact(row: Any) -> Artifact:
    values = {name: row[name] for name in _COLUMNS.split(", ")}
    values["is_vendor_signed"] = bool(row["is_vendor_signed"])
    values["hw"] = tuple(json.loads(row["hw"]))
    values["signatures"] = msgspec.json.decode(row["signatures"], type=tuple[Signature, ...])
    return Artifact(**values, row_version=row["hlc"])


def _unknown(artifact_id: str) -> NotFound:
    return NotFound(
        f"There is no artifact {artifact_id[:64]}.",
        hint="`homeport artifact list` names them.",
        code="artifact_unknown",
    )


def _in_use(found: Artifact, by: str) -> Conflict:
    return Conflict(
        f"{found.name} {found.version} is in use by {by}.",
        hint="Let it end, or stop it; then remove the artifact.",
        code="artifact_in_use",
    )


def _more(count: int) -> str:
    return f" and {count} more" if count else ""
