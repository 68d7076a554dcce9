"""The list of devices: filter and page in the URL, what waits for adoption on top, live for the rows shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import UsageError
from appliance.management.permissions import Scope, may
from storage.catalog import Catalog
from storage.catalog.alarm_devices import DeviceAlarms
from ui import auth
from ui.api.import_structs import BulkOperation
from ui.device_bulk import NEEDS
from ui.live import sse
from ui.live.hub import Frame
from ui.pages.device_bulk import WORDS
from ui.pages.device_facts import device_view, device_views
from ui.pages.device_list import WITH_ALARMS, WRONG_CLOCK, DeviceList, Filter, read_list
from ui.pages.live_page import stream
from ui.pages.looks import DEVICE_CLOCKS_WRONG, PRESENCE, REGISTRY, WITH_ALARMS_LOOK
from ui.pages.scoped import scope_of, still_sees
from ui.pages.shell import Shell, form_of
from ui.pages.templating import partial
from ui.pages.views import Chip, DeviceView, Notice, WaitingView

_NOTICES = {
    "adopted": "Adopted. Give it a token so that it can connect.",
    "rejected": "Rejected. It stays out.",
}
_BULK: tuple[BulkOperation, ...] = ("tag", "untag", "add_to_group", "remove_from_group", "decommission")
"""What can be done with devices in service that were ticked."""


async def show(shell: Shell, request: Request) -> Response:
    """`GET /devices?state=&q=&group=&tag=&fw=&after=`."""
    chosen = Filter.of_query(request.query_params)
    services = shell.services
    scope = await scope_of(request)
    found = await read_list(services.catalog, services.live.devices(), chosen, scope=scope)
    notice = _NOTICES.get(request.query_params.get("done", ""))
    return await shell.render(
        request,
        "devices.html",
        title="Devices",
        section="devices",
        live_url="/live/devices" + chosen.query(after=chosen.after),
        filter=chosen,
        chips=await _chips(shell, chosen, scope),
        rows=_rows(shell, found),
        groups=found.groups,
        bulk=[(op, WORDS[op]) for op in _BULK if await _may(request, op)],
        selectable=await _may(request, "tag") and chosen.state not in ("rejected", "decommissioned"),
        export_url="/api/v1/devices.csv" + _export_query(chosen),
        waiting=_waiting(shell, found),
        may_decide=await _may(request, "adopt"),
        first_url="/devices" + chosen.query() if chosen.after else "",
        next_url="/devices" + chosen.query(after=found.next_after) if found.next_after else "",
        notice=Notice(tone="good", text=notice) if notice else None,
    )


async def live(shell: Shell, request: Request) -> Response:
    """`GET /live/devices` with the page's own query: so that after a gap the list itself is sent afresh."""
    services = shell.services
    chosen = Filter.of_query(request.query_params)
    identity = await auth.require(request)
    scope = identity.scope
    found = await read_list(services.catalog, services.live.devices(), chosen, scope=scope)
    by_id = {device.device_id: device for device in found.devices}

    may_decide = await _may(request, "adopt")

    def fragment(name: str, **context: Any) -> str:
        return shell.templates.render(
            name,
            now_ms=services.clock.now_ms(),
            csrf=identity.csrf_token,
            selectable=may_decide and chosen.state not in ("rejected", "decommissioned"),
            may_decide=may_decide,
            **context,
        )

    def waiting_html(waiting: WaitingView) -> str:
        return partial("waiting", fragment("devices_waiting.html", waiting=waiting))

    waiting_total, alarms = found.waiting_total, found.alarms

    def row(device_id: str) -> str:
        view = device_view(
            by_id[device_id],
            services.live.device(device_id),
            now_ms=services.clock.now_ms(),
            stale_after_ms=services.stale_after_ms,
        )
        html = fragment("device_row.html", d=_alarmed(view, alarms))
        return partial(view.dom_id, html, swap="outerMorph")

    async def render(frame: Frame) -> list[bytes]:
        nonlocal waiting_total, alarms
        html, keys = "", set(frame.keys)
        if frame.is_first:
            html = partial("rows", fragment("device_rows.html", rows=_rows(shell, found)))
            html += waiting_html(_waiting(shell, found))
        elif frame.is_beat and (await shell.overview.counts(scope)).of("waiting") != waiting_total:
            now = await read_list(services.catalog, services.live.devices(), chosen, scope=scope)
            waiting_total = now.waiting_total
            html = waiting_html(_waiting(shell, now))
        if frame.is_beat:
            then = alarms
            alarms = await services.catalog.read(lambda catalog: catalog.alarms_by_device(list(by_id)))
            keys |= {each for each in by_id if then.get(each) != alarms.get(each)}
        html += "".join(map(row, sorted(keys)))
        return [sse.event(html, seq=frame.seq)] if html else []

    return stream(
        shell,
        request,
        by_id,
        render,
        still_shown=lambda: still_sees(services.catalog, scope, list(by_id)),
    )


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

    scope = await scope_of(request)

    def write(catalog: Catalog) -> None:
        catalog.get_device(device_id, scope=scope)
        if decision == "adopt":
            catalog.adopt_device(device_id)
        else:
            catalog.reject_device(device_id)

    await shell.write(request, f"device.{decision}", write)
    shell.services.hub.touch([device_id])
    return RedirectResponse(f"/devices?done={decision}ed", 303)


async def _may(request: Request, op: BulkOperation) -> bool:
    identity = await auth.require(request)
    return may(identity.role, identity.scope, NEEDS[op])


def _export_query(chosen: Filter) -> str:
    """What of the list's filter an export knows; presence is of the moment, and not in it."""
    pairs = [("q", chosen.text), ("group", chosen.group), ("tag", chosen.tag)]
    if chosen.state in ("rejected", "decommissioned"):
        pairs.append(("state", chosen.state))
    encoded = urlencode([(key, value) for key, value in pairs if value])
    return f"?{encoded}" if encoded else ""


def _rows(shell: Shell, found: DeviceList) -> tuple[DeviceView, ...]:
    services = shell.services
    views = device_views(
        found.devices,
        services.live,
        now_ms=services.clock.now_ms(),
        stale_after_ms=services.stale_after_ms,
    )
    return tuple(_alarmed(view, found.alarms) for view in views)


def _alarmed(view: DeviceView, alarms: Mapping[str, DeviceAlarms]) -> DeviceView:
    """A row with how many active alarms the device has."""
    found = alarms.get(view.device_id)
    if found is None:
        return view
    return replace(view, alarm_severity=found.severity, alarm_count=found.count)


def _waiting(shell: Shell, found: DeviceList) -> WaitingView:
    services = shell.services
    rows = device_views(
        found.waiting, services.live, now_ms=services.clock.now_ms(), stale_after_ms=services.stale_after_ms
    )
    return WaitingView(total=found.waiting_total, rows=rows)


async def _chips(shell: Shell, chosen: Filter, scope: Scope) -> tuple[Chip, ...]:
    counts = await shell.overview.counts(scope)
    looks = {
        **PRESENCE,
        WRONG_CLOCK: DEVICE_CLOCKS_WRONG,
        WITH_ALARMS: WITH_ALARMS_LOOK,
        "rejected": REGISTRY["rejected"],
        "decommissioned": REGISTRY["decommissioned"],
    }
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
