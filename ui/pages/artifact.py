"""An artifact's page: what it is, what its manifest and each signature are worth, what uses it; and what can be done with it."""

from __future__ import annotations

from functools import partial
from typing import Final

import msgspec
import trio
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits_updates import ARTIFACT_NOTE_LENGTH_MAX, DAY_MS, MANIFEST_BYTES_MAX
from appliance.management.audit import Act
from appliance.management.manifest import Signed, parse_signed
from storage.catalog.artifacts import Artifact
from ui import auth
from ui.api.artifacts import file_response
from ui.artifact_views import artifact_view
from ui.pages.artifact_looks import ARTIFACT, SIGNATURE, state_of, used_text
from ui.pages.artifacts import URL
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.typed import check_typed
from ui.pages.views import Notice
from ui.problem import status_of

_NOTICES: Final = {
    "added": "The image is here. Sign it, and it can be rolled out.",
    "signed": "The signature is added.",
    "noted": "The note is saved.",
    "checked": "The bytes are what they should be.",
}


async def show(shell: Shell, request: Request) -> Response:
    """`GET /firmware/artifacts/{artifact_id}`. Raises NotFound: `artifact_unknown`."""
    return await _page(shell, request)


async def sign(shell: Shell, request: Request) -> Response:
    """`POST …/sign` with days: sign with the box's own key; days for a new manifest, "" for the one that is there."""
    days = (await form_of(request)).get("days", "").strip()
    artifact_id = _id(request)
    try:
        if days and not (days.isascii() and days.isdigit() and 1 <= int(days[:6]) <= 36_500):
            raise UsageError(
                "The number of days can't be used.", hint="Give one from 1 to 36500.", code="body_unusable"
            )
        expires = shell.services.clock.now_ms() + int(days) * DAY_MS if days else None
        await shell.services.artifacts.keys.sign_on_box(
            artifact_id,
            await _act(request, "artifact.sign"),
            not_before_ms=None,
            expires_at_ms=expires,
        )
    except HomeportError as error:
        return await _page(shell, request, error=error)
    return _back(artifact_id, "signed")


async def add_signatures(shell: Shell, request: Request) -> Response:
    """`POST …/manifest` with file: signatures that were made elsewhere."""
    artifact_id = _id(request)
    try:
        signed = await read_document(request)
        await shell.services.artifacts.keys.add_signatures(
            artifact_id, signed, await _act(request, "artifact.sign")
        )
    except HomeportError as error:
        return await _page(shell, request, error=error)
    return _back(artifact_id, "signed")


async def manifest_file(shell: Shell, request: Request) -> Response:
    """`GET …/manifest`: the manifest as a file, to be signed elsewhere."""
    artifact_id = _id(request)
    row = await shell.services.catalog.read(lambda catalog: catalog.artifact(artifact_id))
    signed = await shell.services.artifacts.keys.draft(artifact_id)
    return document_response(signed, manifest_name(row))


async def content(shell: Shell, request: Request) -> Response:
    """`GET …/content`: the bytes as a file."""
    artifact_id = _id(request)
    services = shell.services
    row = await services.catalog.read(lambda catalog: catalog.artifact(artifact_id))
    blob = await trio.to_thread.run_sync(partial(services.artifacts.store.open_blob, row.sha256))
    await shell.write(
        request,
        "artifact.download",
        lambda catalog: catalog.note("artifact.download", object_kind="artifact", object_id=artifact_id),
    )
    return file_response(blob, row)


async def note(shell: Shell, request: Request) -> Response:
    """`POST …/note` with note."""
    artifact_id = _id(request)
    text = (await form_of(request)).get("note", "").replace("\r\n", "\n")[:ARTIFACT_NOTE_LENGTH_MAX]
    await shell.write(request, "artifact.edit", lambda catalog: catalog.set_artifact_note(artifact_id, text))
    return _back(artifact_id, "noted")


async def check(shell: Shell, request: Request) -> Response:
    """`POST …/check`: read the bytes and compare them."""
    artifact_id = _id(request)
    row = await shell.services.catalog.read(lambda catalog: catalog.artifact(artifact_id))
    try:
        act = await _act(request, "artifact.check")
        async with shell.services.audit.noted(act, object_kind="artifact", object_id=artifact_id):
            await shell.services.artifacts.check(row.sha256)
    except HomeportError as error:
        return await _page(shell, request, error=error)
    return _back(artifact_id, "checked")


async def remove(shell: Shell, request: Request) -> Response:
    """`POST …/remove` with confirm: the artifact's name and version."""
    artifact_id = _id(request)
    row = await shell.services.catalog.read(lambda catalog: catalog.artifact(artifact_id))
    form = await form_of(request)
    try:
        check_typed(form.get("confirm", ""), f"{row.name} {row.version}")
        await shell.services.artifacts.remove(artifact_id, await _act(request, "artifact.remove"))
    except HomeportError as error:
        return await _page(shell, request, error=error)
    return RedirectResponse(f"{URL}?done=removed", 303)


async def read_document(request: Request) -> Signed:
    """The document in a form's file. Raises UsageError: `body_invalid`, `manifest_invalid`."""
    upload = (await request.form()).get("file")
    if not isinstance(upload, UploadFile) or not upload.filename:
        raise UsageError("No file was chosen.", hint="Choose the signed file.", code="body_invalid")
    return parse_signed(await upload.read(2 * MANIFEST_BYTES_MAX + 1))


def document_response(signed: Signed, filename: str) -> Response:
    """A document with its signatures, as a file."""
    return Response(
        msgspec.json.format(msgspec.json.encode(signed), indent=2) + b"\n",
        media_type="application/json",
        headers={"content-disposition": f'attachment; filename="{plain(filename)}"'},
    )


def plain(filename: str) -> str:
    """A file's name without what a shell or a header would take for more: versions are vendors' words, and people paste commands."""
    return "".join(each if each.isascii() and (each.isalnum() or each in "._-") else "_" for each in filename)


def manifest_name(row: Artifact) -> str:
    """The name of the file with an artifact's manifest."""
    return plain(f"{row.name}-{row.version}.manifest")


async def _page(shell: Shell, request: Request, *, error: HomeportError | None = None) -> Response:
    view = await artifact_view(shell.services, _id(request), await scope_of(request))
    facts = await shell.services.artifacts.keys.facts()
    found = await shell.services.artifacts.found_in(view.row)
    notice = _NOTICES.get(request.query_params.get("done", ""))
    return await shell.render(
        request,
        "artifact.html",
        status=200 if error is None else status_of(error),
        title=f"{view.row.name} {view.row.version}",
        section="artifacts",
        view=view,
        row=view.row,
        look=ARTIFACT[state_of(view)],
        used=used_text(view),
        facts=() if found is None else found.facts,
        signatures=[(each, SIGNATURE[each.state]) for each in view.trust.signatures],
        keys=facts,
        manifest_name=manifest_name(view.row),
        url=f"{URL}/{view.row.artifact_id}",
        note_length_max=ARTIFACT_NOTE_LENGTH_MAX,
        problem="" if error is None else problem_text(error),
        notice=Notice(tone="good", text=notice) if notice else None,
    )


def _id(request: Request) -> str:
    return str(request.path_params["artifact_id"])


def _back(artifact_id: str, done: str) -> Response:
    return RedirectResponse(f"{URL}/{artifact_id}?done={done}", 303)


async def _act(request: Request, action: str) -> Act:
    return Act(action=action, actor=await auth.actor_of(request))
