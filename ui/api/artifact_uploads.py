"""Endpoints for uploads of artifacts: begun, sent in pieces of any size, gone on with after any cut, finished."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from starlette.responses import Response

from appliance.core.errors import HomeportError
from appliance.management.audit import Act
from ui.api import artifact_structs as structs
from ui.api.artifact_answers import artifact_answer, upload_answer, version_of
from ui.api.artifacts import OCTETS
from ui.api.endpoint import Call, Endpoint, Reply
from ui.artifact_uploads import UploadState, UploadWish
from ui.artifact_views import artifact_view
from ui.auth import actor_of, require_still
from ui.middleware import discard_body

OFFSET_HEADER = "upload-offset"


async def begin_upload(call: Call) -> Reply:
    wish: structs.UploadCreation = call.body
    made = await call.services.artifacts.uploads.begin(
        UploadWish(
            name=wish.name,
            version=wish.version or "",
            filename=wish.filename,
            size_bytes=wish.size_bytes,
            sha256=wish.sha256 or "",
            format=wish.format,
            hw=wish.hw,
            min_version=wish.min_version or "",
            max_version=wish.max_version or "",
            epoch=wish.epoch,
            note=wish.note,
            is_rollback_image=wish.is_rollback_image,
        ),
        await _act(call),
        also=None if call.idempotent is None else call.idempotent.take,
    )
    if call.idempotent is not None:
        call.idempotent.taken = True
    return _reply(made)


async def list_uploads(call: Call) -> Reply:
    found = await call.services.artifacts.uploads.all()
    return Reply(content=structs.Uploads(uploads=tuple(map(upload_answer, found))))


async def get_upload(call: Call) -> Reply:
    return _reply(await call.services.artifacts.uploads.get(call.path["upload_id"]))


async def send_upload(call: Call) -> Reply:
    query: structs.UploadPiece = call.query
    upload_id = call.path["upload_id"]
    is_whole = False

    async def pieces() -> AsyncGenerator[bytes, None]:
        nonlocal is_whole
        async with aclosing(call.request.stream()) as stream:
            async for piece in stream:
                yield piece
        is_whole = True

    try:
        await call.services.artifacts.uploads.receive(
            upload_id,
            query.offset,
            pieces(),
            await _act(call),
            still_allowed=partial(require_still, call.request),
        )
    except HomeportError:
        if not is_whole:
            # So that the client gets to see the answer (ui/middleware.py).
            await discard_body(call.request.receive)
        raise
    return _reply(await call.services.artifacts.uploads.get(upload_id))


async def finish_upload(call: Call) -> Reply:
    made = await call.services.artifacts.uploads.finish(call.path["upload_id"], await _act(call))
    view = await artifact_view(call.services, made.artifact_id, call.scope)
    return Reply(content=artifact_answer(view), version=version_of(view.row))


async def remove_upload(call: Call) -> Reply:
    await call.services.artifacts.uploads.abandon(call.path["upload_id"], await _act(call))
    return Reply(content=None)


def _reply(state: UploadState) -> Reply:
    """The upload; its offset is in a header too, for who asks with HEAD."""

    def dress(response: Response) -> None:
        response.headers[OFFSET_HEADER] = str(state.offset)

    return Reply(content=upload_answer(state), dress=dress)


async def _act(call: Call) -> Act:
    return Act(action=call.action, actor=await actor_of(call.request))


_TAGS = ("artifacts",)
_UNKNOWN = {404: ("upload_unknown",)}
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/artifact-uploads",
        handler=list_uploads,
        needs="firmware.read",
        summary="Uploads that are not finished",
        answer=structs.Uploads,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/artifact-uploads",
        handler=begin_upload,
        needs="artifacts.manage",
        action="artifact.upload",
        summary="Begin an upload",
        body=structs.UploadCreation,
        answer=structs.Upload,
        status=201,
        idempotent=True,
        errors=(507,),
        codes={
            409: ("artifact_exists", "upload_exists", "artifact_epoch_low", "upload_count"),
            413: ("artifact_too_large",),
            507: ("disk_full", "artifact_quota"),
        },
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/artifact-uploads/{upload_id}",
        handler=get_upload,
        needs="firmware.read",
        summary="How far an upload is; HEAD has it in Upload-Offset",
        answer=structs.Upload,
        errors=(404,),
        codes=_UNKNOWN,
        tags=_TAGS,
    ),
    Endpoint(
        method="PATCH",
        path="/artifact-uploads/{upload_id}",
        handler=send_upload,
        needs="artifacts.manage",
        action="artifact.upload",
        summary="Send the bytes from an offset on, as many as you like",
        query=structs.UploadPiece,
        body_media=OCTETS,
        answer=structs.Upload,
        errors=(404, 409, 507),
        codes={
            **_UNKNOWN,
            409: ("upload_offset", "upload_taken_over"),
            413: ("upload_too_long",),
            507: ("disk_full",),
        },
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/artifact-uploads/{upload_id}/finish",
        handler=finish_upload,
        needs="artifacts.manage",
        action="artifact.add",
        summary="Make an artifact of an upload that is whole",
        answer=structs.ArtifactAnswer,
        status=201,
        errors=(404, 409, 422, 507),
        codes={
            **_UNKNOWN,
            409: (
                "upload_incomplete",
                "artifact_sha256_differs",
                "artifact_exists",
                "artifact_epoch_low",
                "artifact_count",
            ),
            422: (
                "artifact_format",
                "artifact_content",
                "artifact_version_missing",
                "artifact_version_differs",
                "artifact_compat_differs",
                "artifact_epoch_differs",
            ),
            507: ("disk_full",),
        },
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path="/artifact-uploads/{upload_id}",
        handler=remove_upload,
        needs="artifacts.manage",
        action="artifact.upload_remove",
        summary="Remove an upload",
        errors=(404,),
        codes=_UNKNOWN,
        tags=_TAGS,
    ),
)
