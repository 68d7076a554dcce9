"""All rollouts: those that wait for somebody, those under way with their bars, drafts, and what was."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ui import auth
from ui.live import sse
from ui.live.hub import Frame
from ui.pages.live_page import stream
from ui.pages.rollout_facts import Looker, overview_of
from ui.pages.rollout_views import RolloutsView
from ui.pages.shell import Shell
from ui.pages.templating import partial
from ui.pages.views import Notice

_NOTICES: Final = {"draft": "Saved as a draft. Nobody is updated before it is submitted and started."}


async def looker_of(shell: Shell, request: Request) -> Looker:
    """Who looks."""
    identity = await auth.require(request)
    return Looker(user_id=identity.user_id, may=await shell.permissions_of(request))


async def show(shell: Shell, request: Request) -> Response:
    """`GET /firmware`."""
    notice = _NOTICES.get(request.query_params.get("done", ""))
    return await shell.render(
        request,
        "rollouts.html",
        title="Rollouts",
        section="rollouts",
        live_url="/live/firmware",
        notice=Notice(tone="good", text=notice) if notice else None,
        v=await _view(shell, request),
    )


async def live(shell: Shell, request: Request) -> Response:
    """`GET /live/firmware`: all of it, where it has changed."""
    shown: RolloutsView | None = None

    async def render(frame: Frame) -> list[bytes]:
        nonlocal shown
        view = await _view(shell, request)
        if view == shown and not frame.is_first:
            return []
        shown = view
        html = shell.templates.render("rollouts_body.html", v=view, now_ms=shell.services.clock.now_ms())
        return [sse.event(partial("rollouts", html), seq=frame.seq)]

    return stream(shell, request, None, render)


async def _view(shell: Shell, request: Request) -> RolloutsView:
    identity = await auth.require(request)
    updates = await shell.updates.get(identity.scope)
    return overview_of(updates.views(await looker_of(shell, request)))
