"""The page “Sites”: what is safe elsewhere, each other box with its link and lag, the copies that are here, what happens next, and
values that two boxes have differently.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ui import auth
from ui.live import sse
from ui.live.hub import Frame
from ui.pages.conflicts import NO_CONFLICTS, ConflictsView, conflicts_view
from ui.pages.drills import DrillsView, drills_view
from ui.pages.live_page import stream
from ui.pages.lost import lost_view
from ui.pages.shell import Shell
from ui.pages.site_acts import invitations_view, may_manage, readers_view
from ui.pages.sites_facts import SitesView, names_of, sites_view
from ui.pages.templating import partial
from ui.replication import ReplicationNow, replication

_NOTICES: Final = {
    "resolved": "The value is in force; the other boxes take it over.",
    "uninvited": "The invitation is called off: nobody can come by it any more.",
    "decommissioned": "The box is taken out for good; the others hear of it.",
    "tier-key": "What goes to the cloud from now on is sealed with a new key; what lies there stays readable with the recovery kit.",
    "tier-key-soon": "The new key is recorded; it seals as soon as the replicator is there.",
    "reading": "The cloud node may read this site's devices, readings and alarms from now on.",
    "reading-off": "The cloud node may not read this site any more.",
    "lost": "They are marked lost. Whatever reads the log goes on behind them, on all boxes.",
    "drill": "A drill is under way; this page shows how far it is.",
    "drill-off": "The drill is called off.",
}


async def show(shell: Shell, request: Request) -> Response:
    """`GET /sites`."""
    now = await replication(shell.services)
    view, conflicts = sites_view(now), await _conflicts(shell, request, now)
    may = await shell.permissions_of(request)
    manages = await may_manage(shell, may)
    return await shell.render(
        request,
        "sites.html",
        title="Sites",
        section="sites",
        live_url="/live/sites",
        s=view,
        conflicts=conflicts,
        lost=lost_view(now),
        invitations=await invitations_view(shell) if manages else (),
        d=drills_view(shell.services.drills.now()),
        readers=await readers_view(shell),
        may=may,
        manages=manages,
        notice=_NOTICES.get(request.query_params.get("done", "")),
    )


async def live(shell: Shell, request: Request) -> Response:
    """`GET /live/sites`: all of it but conflicts, where it has changed; a form that somebody reads stays where it is."""
    shown: SitesView | None = None
    manages = await may_manage(shell, await shell.permissions_of(request))
    identity = await auth.require(request)
    drills: DrillsView | None = None

    async def render(frame: Frame) -> list[bytes]:
        nonlocal shown, drills
        now_ms, events = shell.services.clock.now_ms(), []
        view = sites_view(await replication(shell.services))
        if view != shown or frame.is_first:
            shown = view
            html = shell.templates.render("sites_body.html", s=view, manages=manages, now_ms=now_ms)
            events.append(sse.event(partial("sites", html), seq=frame.seq))
        tried = drills_view(shell.services.drills.now())
        if tried != drills or frame.is_first:
            drills = tried
            html = shell.templates.render(
                "drills_body.html", d=tried, manages=manages, csrf=identity.csrf_token, now_ms=now_ms
            )
            events.append(sse.event(partial("drills", html), seq=frame.seq))
        return events

    return stream(shell, request, None, render)


async def _conflicts(shell: Shell, request: Request, now: ReplicationNow) -> ConflictsView:
    if now.is_alone or "conflicts.read" not in await shell.permissions_of(request):
        return NO_CONFLICTS
    return await conflicts_view(shell, names_of(now))
