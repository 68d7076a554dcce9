"""Artifacts, uploads and keys as the API answers with them."""

from __future__ import annotations

from storage.catalog.artifacts import Artifact
from ui.api import artifact_structs as structs
from ui.artifact_keys_desk import KeyFacts
from ui.artifact_uploads import UploadState
from ui.artifact_views import ArtifactView

_PLAIN = [
    "artifact_id",
    "name",
    "version",
    "format",
    "size_bytes",
    "sha256",
    "sha1",
    "filename",
    "hw",
    "min_version",
    "max_version",
    "epoch",
    "is_vendor_signed",
    "release_counter",
    "not_before_ms",
    "expires_at_ms",
    "note",
    "created_by",
    "created_at_ms",
]


def version_of(row: Artifact) -> str:
    """For ETags."""
    return str(row.row_version)


def artifact_answer(view: ArtifactView) -> structs.ArtifactAnswer:
    row, trust = view.row, view.trust
    refusal = trust.refusal
    return structs.ArtifactAnswer(
        **{name: getattr(row, name) for name in _PLAIN},
        has_manifest=bool(row.manifest),
        signatures=tuple(
            structs.SignatureOf(key_id=each.key_id, key_name=each.name, state=each.state)
            for each in trust.signatures
        ),
        good_count=trust.good_count,
        needed_count=trust.needed_count,
        refusal=(
            None
            if refusal is None
            else structs.Refusal(code=refusal.code, message=refusal.message, hint=refusal.hint)
        ),
        is_damaged=view.is_damaged,
        used_by=structs.UsedBy(rollouts=view.use.rollouts, device_count=view.use.device_count),
    )


def upload_answer(state: UploadState) -> structs.Upload:
    row = state.upload
    return structs.Upload(
        upload_id=row.upload_id,
        name=row.name,
        version=row.version,
        filename=row.filename,
        size_bytes=row.size_bytes,
        offset=state.offset,
        created_by=row.created_by,
        created_at_ms=row.created_at_ms,
        updated_at_ms=row.updated_at_ms,
    )


def keys_answer(facts: KeyFacts) -> structs.ArtifactKeys:
    box = facts.box_key
    return structs.ArtifactKeys(
        version=facts.keys.version,
        threshold=facts.keys.threshold,
        unsigned=facts.unsigned,
        keys=tuple(
            structs.KeyOf(
                key_id=each.key_id,
                name=each.name,
                public=each.public,
                state=each.state,
                is_on_box=box is not None and box.key_id == each.key_id,
            )
            for each in facts.known
        ),
        box_key=None if box is None else structs.BoxKey(key_id=box.key_id, name=box.name, public=box.public),
    )
