"""Uploads of artifacts: what is to become of the bytes that arrive. Of this node only, and no subject of the audit.

How far one is says the file in storage/artifacts, never a row.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from appliance.core.errors import Conflict, NotFound
from storage.catalog.database import CatalogDatabase


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactUpload:
    """An upload. Times are UTC ms.

    Attributes:
        size_bytes: That the whole is to have.
        sha256: That it is to have, "" where nobody said.
        fields: What else becomes the artifact's row.
    """

    upload_id: str
    name: str
    version: str
    filename: str
    size_bytes: int
    sha256: str
    fields: dict[str, Any]
    created_by: str
    created_at_ms: int
    updated_at_ms: int


class ArtifactUploadTable(CatalogDatabase):
    """Methods of the catalog about uploads."""

    def artifact_uploads(self) -> tuple[ArtifactUpload, ...]:
        """All that are not finished, the oldest first."""
        return tuple(
            map(_upload, self.rows("SELECT * FROM artifact_uploads ORDER BY created_at_ms, upload_id"))
        )

    def artifact_upload(self, upload_id: str) -> ArtifactUpload:
        """One of them. Raises NotFound: `upload_unknown`."""
        found = self.row("SELECT * FROM artifact_uploads WHERE upload_id = ?", (upload_id,))
        if found is None:
            raise NotFound(
                "There is no such upload.",
                hint="It was finished, or nobody went on with it for a day: begin a new one.",
                code="upload_unknown",
            )
        return _upload(found)

    def add_artifact_upload(self, made: ArtifactUpload) -> None:
        """Keep a new one; its times are set here.

        Raises:
            Conflict: `upload_exists`: another one is to become the same artifact.
        """
        with self.transaction():
            if self.row(
                "SELECT 1 FROM artifact_uploads WHERE name = ? AND version = ?", (made.name, made.version)
            ):
                raise Conflict(
                    f"{made.name} {made.version} is being uploaded already.",
                    hint="Go on with that upload, or remove it first.",
                    code="upload_exists",
                )
            now_ms = self._clock.now_ms()
            self.execute(
                "INSERT INTO artifact_uploads (upload_id, name, version, filename, size_bytes, sha256, fields, created_by,"
                " created_at_ms, updated_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    made.upload_id,
                    made.name,
                    made.version,
                    made.filename,
                    made.size_bytes,
                    made.sha256,
                    json.dumps(made.fields),
                    made.created_by,
                    now_ms,
                    now_ms,
                ),
            )

    def touch_artifact_upload(self, upload_id: str) -> None:
        """Note that somebody goes on with it."""
        with self.transaction():
            self.execute(
                "UPDATE artifact_uploads SET updated_at_ms = ? WHERE upload_id = ?",
                (self._clock.now_ms(), upload_id),
            )

    def set_artifact_upload_size(self, upload_id: str, size_bytes: int) -> None:
        """Say how large the whole is."""
        with self.transaction():
            self.execute(
                "UPDATE artifact_uploads SET size_bytes = ? WHERE upload_id = ?", (size_bytes, upload_id)
            )

    def remove_artifact_upload(self, upload_id: str) -> None:
        """Forget one; fine when it is gone."""
        with self.transaction():
            self.execute("DELETE FROM artifact_uploads WHERE upload_id = ?", (upload_id,))


def _upload(row: Any) -> ArtifactUpload:
    values = {name: row[name] for name in ArtifactUpload.__dataclass_fields__}
    values["fields"] = json.loads(row["fields"])
    return ArtifactUpload(**values)
