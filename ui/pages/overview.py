"""The Overview: what is wrong, how many devices are in which state, and how the box itself does."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ui.live import sse
from ui.live.hub import Frame
from ui.pages.alarms import nav_partial
from ui.pages.live_page import stream
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell
from ui.pages.templating import partial
from ui.pages.views import OverviewView


async def show(shell: Shell, request: Request) -> Response:
    """`GET /`; on a cloud node, which has no devices, the page of all sites."""
    if shell.services.config.node.role == "cloud":
        return RedirectResponse("/sites", 303)
    return await shell.render(
        request,
        "overview.html",
        title="Overview",
        section="overview",
        live_url="/live/overview",
        o=await shell.overview.get(await scope_of(request)),
        may=await shell.permissions_of(request),
    )


async def live(shell: Shell, request: Request) -> Response:
    """`GET /live/overview`: the whole body, at most once a second."""
    shown: OverviewView | None = None

    async def render(frame: Frame) -> list[bytes]:
        nonlocal shown
        view = await shell.overview.get(await scope_of(request))
        if view is shown and not frame.is_first:
            return []
        shown = view
        html = shell.templates.render(
            "overview_body.html",
            o=view,
            may=await shell.permissions_of(request),
            now_ms=shell.services.clock.now_ms(),
        )
        html = partial("overview", html)
        if "alarms.read" in await shell.permissions_of(request):
            html += nav_partial(shell, await shell.alarms.counts(await scope_of(request)))
        return [sse.event(html, seq=frame.seq)]

    return stream(shell, request, None, render)
