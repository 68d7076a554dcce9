"""The page “Bridges”: where to, in which state and since when, how far behind, what went wrong and what to do."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from ui import bridges
from ui.live import sse
from ui.live.hub import Frame
from ui.pages.bridge_facts import BridgeView, view_of
from ui.pages.live_page import stream
from ui.pages.shell import Shell
from ui.pages.templating import partial


async def show(shell: Shell, request: Request) -> Response:
    """`GET /bridges`."""
    return await shell.render(
        request,
        "bridges.html",
        title="Bridges",
        section="bridges",
        live_url="/live/bridges",
        views=await _views(shell),
    )


async def live(shell: Shell, request: Request) -> Response:
    """`GET /live/bridges`: all of it, where it has changed."""
    shown: tuple[BridgeView, ...] | None = None

    async def render(frame: Frame) -> list[bytes]:
        nonlocal shown
        views = await _views(shell)
        if views == shown and not frame.is_first:
            return []
        shown = views
        html = shell.templates.render("bridges_body.html", views=views, now_ms=shell.services.clock.now_ms())
        return [sse.event(partial("bridges", html), seq=frame.seq)]

    return stream(shell, request, None, render)


async def _views(shell: Shell) -> tuple[BridgeView, ...]:
    return tuple(view_of(each) for each in await bridges.bridges(shell.services))
