"""An image that comes with a page's form: the same upload as over the API, in one request whose size is not known before its end."""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec
from starlette.requests import Request

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits_updates import FORM_TEXT_BYTES_MAX
from appliance.management.audit import Act
from storage.catalog.artifacts import Artifact
from ui.api.artifact_structs import UploadCreation
from ui.artifact_uploads import UploadWish
from ui.auth import actor_of, require_still
from ui.form_stream import FormStream
from ui.services import Services

FORM_FIELDS: Final = (
    "name", "version", "format", "hw", "min_version", "max_version", "epoch", "note", "is_rollback_image"
)  # fmt: skip


def wish_of(form: dict[str, str], filename: str, size_bytes: int) -> UploadWish:
    """What the form's words wish for. Raises UsageError: `body_unusable`, saying which field."""
    values: dict[str, object] = {
        "name": form.get("name", "").strip(),
        "size_bytes": size_bytes,
        "filename": filename.replace("\\", "/").rpartition("/")[2][-255:],
        "note": form.get("note", "").replace("\r\n", "\n"),
        "is_rollback_image": form.get("is_rollback_image") == "1",
    }
    for key in ("version", "min_version", "max_version"):
        values[key] = form.get(key, "").strip() or None
    values["format"] = None if form.get("format", "auto") == "auto" else form["format"]
    hw = [each.strip() for each in form.get("hw", "").split(",") if each.strip()]
    values["hw"] = hw or None
    epoch = form.get("epoch", "").strip()
    try:
        values["epoch"] = int(epoch) if epoch else None
        wish = msgspec.convert(values, UploadCreation)
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(
            f"The form can't be used: {error}.",
            hint="Names have letters, digits, dots, dashes and underscores; a version is one short line.",
            code="body_unusable",
        ) from error
    return UploadWish(
        name=wish.name,
        version=wish.version or "",
        filename=wish.filename,
        size_bytes=wish.size_bytes,
        format=wish.format,
        hw=wish.hw,
        min_version=wish.min_version or "",
        max_version=wish.max_version or "",
        epoch=wish.epoch,
        note=wish.note,
        is_rollback_image=wish.is_rollback_image,
    )


async def add_by_form(
    services: Services, request: Request, form: dict[str, str], stream: FormStream
) -> Artifact:
    """Make an artifact of a form that is still arriving; what is refused leaves nothing behind.

    Raises:
        HomeportError: as the upload's own.
    """
    length = request.headers.get("content-length", "")
    if not length.isdigit():
        raise UsageError(
            "The form does not say how large it is.", hint="Send it with a browser.", code="body_invalid"
        )
    uploads = services.artifacts.uploads
    actor = await actor_of(request)
    by = Act(action="artifact.upload", actor=actor)
    # The whole body is the most that the file can have; what it has is known at its end.
    size_bytes_max = services.artifacts.store.room.size_bytes_max
    most_bytes = int(length)
    if size_bytes_max < most_bytes <= size_bytes_max + 2 * FORM_TEXT_BYTES_MAX:
        most_bytes = size_bytes_max  # the largest image there may be, and the form around it
    wish = wish_of(form, stream.filename or "", most_bytes)
    upload_id = (await uploads.begin(wish, by)).upload.upload_id
    try:
        size_bytes = await uploads.receive(
            upload_id, 0, stream.pieces(), by, still_allowed=partial(require_still, request)
        )
        if not size_bytes:
            raise UsageError("The file is empty.", hint="Choose the image's file.", code="artifact_empty")
        await uploads.settle(upload_id, size_bytes)
        return await uploads.finish(upload_id, Act(action="artifact.add", actor=actor))
    except HomeportError:
        await uploads.abandon(upload_id, Act(action="artifact.upload_remove", actor=actor))
        raise
