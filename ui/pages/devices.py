"""The list of devices: filter and page in the URL, what waits for adoption on top, live for the rows shown."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import UsageError
from storage.catalog import Catalog
from ui import auth
from ui.live import sse
from ui.live.hub import Frame
from ui.pages.device_facts import device_view, device_views
from ui.pages.device_list import DeviceList, Filter, read_list
from ui.pages.live_page import stream
from ui.pages.looks import PRESENCE, REGISTRY
from ui.pages.shell import Shell, form_of
from ui.pages.templating import partial
from ui.pages.views import Chip, DeviceView, Notice, WaitingView

_NOTICES = {
    "adopted": "Adopted. Give it a token so that it can connect.",
    "rejected": "Rejected. It stays out.",
}


async def show(shell: Shell, request: Request) -> Response:
    """`GET /devices?state=&q=&after=`."""
    chosen = Filter.of_query(request.query_params)
    services = shell.services
    found = await read_list(services.catalog, services.live.devices(), chosen)
    notice = _NOTICES.get(request.query_params.get("done", ""))
    return await shell.render(
        request,
        "devices.html",
        title="Devices",
        section="devices",
        live_url="/live/devices" + chosen.query(after=chosen.after),
        filter=chosen,
        chips=await _chips(shell, chosen),
        rows=_rows(shell, found),
        waiting=_waiting(shell, found),
        first_url="/devices" + chosen.query() if chosen.after else "",
        next_url="/devices" + chosen.query(after=found.next_after) if found.next_after else "",
        notice=Notice(tone="good", text=notice) if notice else None,
    )


async def live(shell: Shell, request: Request) -> Response:
    """`GET /live/devices` with the page's own query: so that after a gap the list itself is sent afresh."""
    services = shell.services
    chosen = Filter.of_query(request.query_params)
    found = await read_list(services.catalog, services.live.devices(), chosen)
    identity = await auth.require(request)
    by_id = {device.device_id: device for device in found.devices}

    def fragment(name: str, **context: Any) -> str:
        return shell.templates.render(
            name, now_ms=services.clock.now_ms(), csrf=identity.csrf_token, **context
        )

    def waiting_html(waiting: WaitingView) -> str:
        return partial("waiting", fragment("devices_waiting.html", waiting=waiting))

    waiting_total = found.waiting_total

    async def render(frame: Frame) -> list[bytes]:
        nonlocal waiting_total
        html = ""
        if frame.is_first:
            html = partial("rows", fragment("device_rows.html", rows=_rows(shell, found)))
            html += waiting_html(_waiting(shell, found))
        elif frame.is_beat and (await shell.overview.counts()).of("waiting") != waiting_total:
            now = await read_list(services.catalog, services.live.devices(), chosen)
            waiting_total = now.waiting_total
            html = waiting_html(_waiting(shell, now))
        for device_id in frame.keys:
            view = device_view(
                by_id[device_id],
                services.live.device(device_id),
                now_ms=services.clock.now_ms(),
                stale_after_ms=services.stale_after_ms,
            )
            html += partial(view.dom_id, fragment("device_row.html", d=view), swap="outerMorph")
        return [sse.event(html, seq=frame.seq)] if html else []

    return stream(shell, request, by_id, render)


async def decide(shell: Shell, request: Request) -> Response:
    """`POST /devices/{id}/decide` with decision=adopt or reject.

    Raises:
        UsageError: another decision. NotFound, Conflict: as the catalog says.
    """
    device_id = request.path_params["device_id"]
    decision = (await form_of(request)).get("decision", "")
    if decision not in ("adopt", "reject"):
        raise UsageError(
            "A device is adopted or rejected.", hint="Use the buttons of the list.", code="body_invalid"
        )

    def write(catalog: Catalog) -> None:
        if decision == "adopt":
            catalog.adopt_device(device_id)
        else:
            catalog.reject_device(device_id)

    await shell.services.catalog.write(write)
    shell.services.hub.touch([device_id])
    return RedirectResponse(f"/devices?done={decision}ed", 303)


def _rows(shell: Shell, found: DeviceList) -> tuple[DeviceView, ...]:
    services = shell.services
    return device_views(
        found.devices,
        services.live,
        now_ms=services.clock.now_ms(),
        stale_after_ms=services.stale_after_ms,
    )


def _waiting(shell: Shell, found: DeviceList) -> WaitingView:
    services = shell.services
    rows = device_views(
        found.waiting, services.live, now_ms=services.clock.now_ms(), stale_after_ms=services.stale_after_ms
    )
    return WaitingView(total=found.waiting_total, rows=rows)


async def _chips(shell: Shell, chosen: Filter) -> tuple[Chip, ...]:
    counts = await shell.overview.counts()
    looks = {**PRESENCE, "rejected": REGISTRY["rejected"], "decommissioned": REGISTRY["decommissioned"]}
    chips = [
        Chip(
            look=None, count=counts.of(""), url="/devices" + chosen.query(state=""), current=not chosen.state
        )
    ]
    for word, look in looks.items():
        count = counts.of(word)
        if count or word in PRESENCE or word == chosen.state:
            url = "/devices" + chosen.query(state=word)
            chips.append(Chip(look=look, count=count, url=url, current=word == chosen.state))
    return tuple(chips)
