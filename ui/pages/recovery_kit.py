"""The recovery kit on paper, as a file and as a QR code, until somebody confirms that it is kept elsewhere.

Shown to a session that was opened a short while ago, and confirmed by such a one. Each showing, the confirmation and putting it off are in the audit.
"""

from __future__ import annotations

import trio
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.identity import recovery_kit
from appliance.identity.recovery_kit import RecoveryKit
from storage.catalog import Catalog
from ui.pages.first_run_progress import BY_KEY, note_done, progress, step_after
from ui.pages.fresh_session import is_fresh, sign_in_again
from ui.pages.shell import Shell, form_of
from ui.services import Services

KIT_URL = BY_KEY["recovery_kit"].url
FILE_NAME = "homeport-recovery-kit-{node}.txt"


async def show(shell: Shell, request: Request) -> Response:
    """`GET /setup/recovery-kit`."""
    return await _shown(shell, request)


async def _shown(shell: Shell, request: Request, *, status: int = 200, problem: str = "") -> Response:
    kit = await _pending(shell.services)
    if kit is not None:
        if not await is_fresh(shell, request):
            return sign_in_again(request)
        await _note(shell, request, "recovery_kit.show")
    return await _page(shell, request, kit, status=status, problem=problem)


async def download(shell: Shell, request: Request) -> Response:
    """`POST /setup/recovery-kit/file`: the kit as a text file. A POST, so that no prefetch and no history holds it."""
    kit = await _pending(shell.services)
    if kit is None:
        return RedirectResponse(KIT_URL, 303)
    if not await is_fresh(shell, request):
        return RedirectResponse(KIT_URL, 303)
    await _note(shell, request, "recovery_kit.show")
    name = FILE_NAME.format(node=shell.services.node_name)
    return Response(
        kit.text(await _box(shell)),
        media_type="text/plain; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"},
    )


async def decide(shell: Shell, request: Request) -> Response:
    """`POST /setup/recovery-kit` with `later`, or with `kept`=yes: the box then forgets its own copy."""
    form = await form_of(request)
    if "later" in form:
        await _note(shell, request, "recovery_kit.postpone")
    elif form.get("kept") == "yes":
        # What is forgotten now nobody brings back: whoever found a browser open, or a token, can't do it.
        if await _pending(shell.services) is not None and not await is_fresh(shell, request):
            return sign_in_again(request)
        await _note(shell, request, "recovery_kit.confirm")
        await trio.to_thread.run_sync(recovery_kit.confirm, shell.services.config.node.data_dir)
    elif await _pending(shell.services) is not None:
        problem = "Nothing was confirmed. Print or save the kit and tick the box, or choose “Later”."
        return await _shown(shell, request, status=422, problem=problem)

    def write(catalog: Catalog) -> None:
        note_done(catalog, "recovery_kit")

    before = await progress(shell.services.catalog)
    await shell.write(request, "setup.step", write)
    return RedirectResponse(step_after("recovery_kit") if before.next_step else "/", 303)


async def _pending(services: Services) -> RecoveryKit | None:
    return await trio.to_thread.run_sync(recovery_kit.pending, services.config.node.data_dir)


async def _box(shell: Shell) -> str:
    site = await shell.site.get()
    node = shell.services.node_name
    return f"{site.name} ({node})" if site.name else node


async def _note(shell: Shell, request: Request, action: str) -> None:
    await shell.write(
        request,
        action,
        lambda catalog: catalog.note(action, object_kind="recovery_kit", object_id=shell.services.node_name),
    )


async def _page(
    shell: Shell, request: Request, kit: RecoveryKit | None, *, status: int = 200, problem: str = ""
) -> Response:
    step = (await progress(shell.services.catalog)).next_step
    return await shell.render(
        request,
        "recovery_kit.html",
        status=status,
        problem=problem,
        title="Recovery kit",
        kit=kit,
        box=await _box(shell),
        lines=kit.lines() if kit else [],
        is_first_run=step is not None,
        next_url=step_after("recovery_kit") if step else "/",
    )
