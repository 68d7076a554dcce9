"""The page Artifacts: what there is and what it is worth, what is on its way, and the room; and the form for another one."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits import MIB
from appliance.core.limits_updates import ARTIFACT_COMPAT_COUNT_MAX, ARTIFACT_NOTE_LENGTH_MAX
from appliance.management.artifact_image import ARTIFACT_FORMATS, FORMAT_WORDS
from appliance.management.audit import Act
from ui import auth
from ui.artifact_form import FORM_FIELDS, add_by_form
from ui.artifact_views import artifact_views
from ui.form_stream import FormStream
from ui.middleware import discard_body
from ui.pages.artifact_looks import ARTIFACT, state_of, used_text
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.views import Notice
from ui.problem import status_of

URL: Final = "/firmware/artifacts"
EMPTY: Final = {**dict.fromkeys(FORM_FIELDS, ""), "format": "auto"}
"""The form before anything was typed."""
_NOTICES: Final = {"removed": "The artifact is removed.", "upload_removed": "The upload is removed."}


async def show(shell: Shell, request: Request) -> Response:
    """`GET /firmware/artifacts`."""
    desk = shell.services.artifacts
    views = await artifact_views(shell.services, await scope_of(request))
    uploads = await desk.uploads.all()
    promised = sum(each.upload.size_bytes for each in uploads)
    notice = _NOTICES.get(request.query_params.get("done", ""))
    return await shell.render(
        request,
        "artifacts.html",
        title="Artifacts",
        section="artifacts",
        rows=[(view, ARTIFACT[state_of(view)], used_text(view)) for view in views],
        uploads=[(each, 100 * each.offset // each.upload.size_bytes) for each in uploads],
        used_bytes=desk.statistics().blob_bytes + promised,
        quota_bytes=desk.store.room.quota_bytes,
        words=FORMAT_WORDS,
        notice=Notice(tone="good", text=notice) if notice else None,
    )


async def remove_upload(shell: Shell, request: Request) -> Response:
    """`POST /firmware/artifacts/uploads/remove` with id. Raises NotFound: `upload_unknown`."""
    upload_id = (await form_of(request)).get("id", "")
    by = Act(action="artifact.upload_remove", actor=await auth.actor_of(request))
    await shell.services.artifacts.uploads.abandon(upload_id, by)
    return RedirectResponse(f"{URL}?done=upload_removed", 303)


async def show_new(shell: Shell, request: Request) -> Response:
    """`GET /firmware/artifacts/new`."""
    return await _form_page(shell, request)


async def new(shell: Shell, request: Request) -> Response:
    """`POST /firmware/artifacts/new`: the form with the image, which goes to disk as it comes. Without JavaScript."""
    form: dict[str, str] = {}
    stream = FormStream(request)
    try:
        async with aclosing(stream):
            form = await stream.fields()
            await auth.check_csrf(request, form.get(auth.CSRF_FIELD))
            await auth.require_still(request)
            if not stream.filename:
                raise UsageError("No file was chosen.", hint="Choose the image's file.", code="body_invalid")
            made = await add_by_form(shell.services, request, form, stream)
    except HomeportError as error:
        if not stream.is_read:
            await discard_body(request.receive)  # so that the browser gets to see the answer
        if error.code == "csrf_failed":
            raise
        return await _form_page(
            shell, request, status=status_of(error), form=form, problem=problem_text(error)
        )
    return RedirectResponse(f"{URL}/{made.artifact_id}?done=added", 303)


async def _form_page(
    shell: Shell,
    request: Request,
    *,
    status: int = 200,
    form: dict[str, str] | None = None,
    problem: str = "",
) -> Response:
    context: dict[str, Any] = {
        "form": {**EMPTY, **(form or {})},
        "formats": [(each, FORMAT_WORDS[each]) for each in ARTIFACT_FORMATS],
        "size_mib_max": shell.services.artifacts.store.room.size_bytes_max // MIB,
        "hw_count_max": ARTIFACT_COMPAT_COUNT_MAX,
        "note_length_max": ARTIFACT_NOTE_LENGTH_MAX,
    }
    return await shell.render(
        request,
        "artifact_new.html",
        status=status,
        title="Add an image",
        section="artifacts",
        problem=problem,
        **context,
    )
