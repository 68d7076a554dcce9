"""Endpoints for artifacts, their manifests and signatures."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial

import msgspec
import trio
from starlette.responses import StreamingResponse

from appliance.core.errors import HomeportError
from appliance.core.limits_updates import ARTIFACT_APPEND_BYTES
from appliance.management.audit import Act
from appliance.management.manifest import Signed
from storage.artifacts.store import Blob
from storage.catalog import Catalog
from storage.catalog.artifacts import Artifact
from ui.api import artifact_structs as structs
from ui.api.artifact_answers import artifact_answer, version_of
from ui.api.endpoint import Call, Endpoint, Reply
from ui.artifact_views import artifact_view, artifact_views
from ui.auth import actor_of

OCTETS = "application/octet-stream"


async def list_artifacts(call: Call) -> Reply:
    views = await artifact_views(call.services, call.scope)
    uploads = await call.services.artifacts.uploads.all()
    room = call.services.artifacts.store.room
    return Reply(
        content=structs.Artifacts(
            artifacts=tuple(map(artifact_answer, views)),
            used_bytes=call.services.artifacts.statistics().blob_bytes
            + sum(each.upload.size_bytes for each in uploads),
            quota_bytes=room.quota_bytes,
            size_bytes_max=room.size_bytes_max,
        )
    )


async def get_artifact(call: Call) -> Reply:
    return await _reply(call, call.path["artifact_id"])


async def edit_artifact(call: Call) -> Reply:
    edit: structs.ArtifactEdit = call.body
    artifact_id = call.path["artifact_id"]

    def write(catalog: Catalog) -> None:
        call.expect(version_of(catalog.artifact(artifact_id)))
        if not isinstance(edit.note, msgspec.UnsetType):
            catalog.set_artifact_note(artifact_id, edit.note)

    await call.write(write)
    return await _reply(call, artifact_id)


async def remove_artifact(call: Call) -> Reply:
    await call.services.artifacts.remove(call.path["artifact_id"], await _act(call))
    return Reply(content=None)


async def get_artifact_content(call: Call) -> Reply:
    artifact = await call.services.catalog.read(lambda catalog: catalog.artifact(call.path["artifact_id"]))
    return Reply(content=None, response=await content_response(call, artifact))


async def content_response(call: Call, artifact: Artifact) -> StreamingResponse:
    """An artifact's bytes as a file, noted in the audit."""
    store = call.services.artifacts.store
    blob = await trio.to_thread.run_sync(partial(store.open_blob, artifact.sha256))
    by = Act(action="artifact.download", actor=await actor_of(call.request))
    await call.services.catalog.write(
        lambda catalog: catalog.note(by.action, object_kind="artifact", object_id=artifact.artifact_id),
        by=by,
    )
    return file_response(blob, artifact)


def file_response(blob: Blob, artifact: Artifact) -> StreamingResponse:
    """An answer that is the file."""
    name = "".join(
        each if each.isascii() and (each.isalnum() or each in "._-+") else "_"
        for each in artifact.filename or f"{artifact.name}-{artifact.version}.bin"
    )
    return StreamingResponse(
        _pieces(blob),
        media_type=OCTETS,
        headers={
            "content-length": str(blob.size_bytes),
            "content-disposition": f'attachment; filename="{name}"',
            "etag": f'"{blob.sha256}"',
        },
    )


async def _pieces(blob: Blob) -> AsyncGenerator[bytes, None]:
    for offset in range(0, blob.size_bytes, ARTIFACT_APPEND_BYTES):
        yield await trio.to_thread.run_sync(blob.read, offset, ARTIFACT_APPEND_BYTES)


async def get_artifact_manifest(call: Call) -> Reply:
    query: structs.ManifestQuery = call.query
    found = await call.services.artifacts.keys.draft(
        call.path["artifact_id"], not_before_ms=query.not_before_ms, expires_at_ms=query.expires_at_ms
    )
    return Reply(content=structs.SignedDocument(document=found.document, signatures=found.signatures))


async def set_artifact_manifest(call: Call) -> Reply:
    wish: structs.SignedWish = call.body
    artifact_id = call.path["artifact_id"]
    signed = Signed(document=wish.document, signatures=wish.signatures)
    await call.services.artifacts.keys.add_signatures(artifact_id, signed, await _act(call))
    return await _reply(call, artifact_id)


async def sign_artifact(call: Call) -> Reply:
    wish: structs.SigningWish = call.body
    artifact_id = call.path["artifact_id"]
    await call.services.artifacts.keys.sign_on_box(
        artifact_id,
        await _act(call),
        not_before_ms=wish.not_before_ms,
        expires_at_ms=wish.expires_at_ms,
    )
    return await _reply(call, artifact_id)


async def check_artifact(call: Call) -> Reply:
    artifact_id = call.path["artifact_id"]
    artifact = await call.services.catalog.read(lambda catalog: catalog.artifact(artifact_id))
    async with call.noted(object_kind="artifact", object_id=artifact_id):
        try:
            await call.services.artifacts.check(artifact.sha256)
        except HomeportError as error:
            if error.code not in ("artifact_damaged", "artifact_bytes_missing"):
                raise
    return await _reply(call, artifact_id)


async def _reply(call: Call, artifact_id: str) -> Reply:
    view = await artifact_view(call.services, artifact_id, call.scope)
    return Reply(content=artifact_answer(view), version=version_of(view.row))


async def _act(call: Call) -> Act:
    return Act(action=call.action, actor=await actor_of(call.request))


_TAGS = ("artifacts",)
_SIGNATURE_CODES = (
    "manifest_differs",
    "manifest_expired",
    "release_counter_low",
    "signature_bad",
    "signature_count",
    "signature_key_unknown",
    "signature_missing",
)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/artifacts",
        handler=list_artifacts,
        needs="firmware.read",
        summary="Artifacts, what their manifests are worth, what uses them, and the room that is left",
        answer=structs.Artifacts,
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/artifacts/{artifact_id}",
        handler=get_artifact,
        needs="firmware.read",
        summary="An artifact",
        answer=structs.ArtifactAnswer,
        etag=True,
        errors=(404,),
        codes={404: ("artifact_unknown",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="PATCH",
        path="/artifacts/{artifact_id}",
        handler=edit_artifact,
        needs="artifacts.manage",
        action="artifact.edit",
        summary="Change an artifact's note",
        body=structs.ArtifactEdit,
        answer=structs.ArtifactAnswer,
        etag=True,
        errors=(404,),
        codes={404: ("artifact_unknown",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path="/artifacts/{artifact_id}",
        handler=remove_artifact,
        needs="artifacts.manage",
        action="artifact.remove",
        summary="Remove an artifact that nothing uses",
        errors=(404, 409),
        codes={404: ("artifact_unknown",), 409: ("artifact_in_use",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/artifacts/{artifact_id}/content",
        handler=get_artifact_content,
        needs="artifacts.manage",
        summary="An artifact's bytes, exactly as they were uploaded",
        media=(OCTETS,),
        is_bulk=True,
        errors=(404, 409),
        codes={404: ("artifact_unknown", "artifact_bytes_missing"), 409: ("artifact_damaged",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/artifacts/{artifact_id}/check",
        handler=check_artifact,
        needs="artifacts.manage",
        action="artifact.check",
        is_bulk=True,
        summary="Read an artifact's bytes and compare them with their digest",
        answer=structs.ArtifactAnswer,
        errors=(404,),
        codes={404: ("artifact_unknown",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/artifacts/{artifact_id}/manifest",
        handler=get_artifact_manifest,
        needs="firmware.read",
        summary="The manifest that is signed, or is to be signed",
        query=structs.ManifestQuery,
        answer=structs.SignedDocument,
        errors=(404,),
        codes={404: ("artifact_unknown",), 422: ("manifest_invalid",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="PUT",
        path="/artifacts/{artifact_id}/manifest",
        handler=set_artifact_manifest,
        needs="artifacts.manage",
        action="artifact.sign",
        summary="Add signatures that were made elsewhere, with the manifest that they are of",
        body=structs.SignedWish,
        answer=structs.ArtifactAnswer,
        errors=(404, 409),
        codes={404: ("artifact_unknown",), 409: _SIGNATURE_CODES, 422: ("manifest_invalid",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/artifacts/{artifact_id}/sign",
        handler=sign_artifact,
        needs="artifacts.manage",
        action="artifact.sign",
        summary="Sign with this box's own key",
        body=structs.SigningWish,
        answer=structs.ArtifactAnswer,
        errors=(404, 409),
        codes={
            404: ("artifact_unknown", "artifact_key_missing"),
            409: _SIGNATURE_CODES,
            422: ("manifest_invalid",),
        },
        tags=_TAGS,
    ),
)
