"""A cloud node's pages of one site: its boxes, devices and open alarms, and a device with its values. Read only; each shows when it was answered, and
where nobody answers, since when, with what the box said last of itself."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from appliance.core.errors import HomeportError, NotFound
from ui.api import alarm_structs, structs
from ui.auth import actor_of
from ui.pages import site_facts
from ui.pages.cloud_sites_facts import SITE_DIGITS, site_view
from ui.pages.device_chart import range_of
from ui.pages.shell import Shell
from ui.site_reading import SiteReadingDesk

ROW_COUNT: Final = 100
ALARM_COUNT: Final = 50
SEARCH_LENGTH_MAX: Final = 128


async def show(shell: Shell, request: Request) -> Response:
    """`GET /sites/site?site=ID&q=&after=`.

    Raises:
        NotFound: `site_unknown`.
    """
    desk, query = _desk(shell), request.query_params
    site_id, text = query.get("site", ""), query.get("q", "").strip()[:SEARCH_LENGTH_MAX]
    boxes = await desk.boxes(site_id)
    actor = await actor_of(request)
    devices = alarms = None
    problem: HomeportError | None = None
    asked = {"q": text, "cursor": query.get("after", "")[:SEARCH_LENGTH_MAX], "limit": str(ROW_COUNT)}
    try:
        read = await desk.read(
            site_id, "devices", actor, query=urlencode({key: value for key, value in asked.items() if value})
        )
        devices = read.as_a(structs.DevicePage)
        read_alarms = await desk.read(site_id, "alarms", actor, query=urlencode({"limit": str(ALARM_COUNT)}))
        alarms = read_alarms.as_a(alarm_structs.AlarmPage)
    except HomeportError as error:
        problem = error
    more = devices.next_cursor if devices is not None else None
    return await shell.render(
        request,
        "site.html",
        title=f"Site {site_id[:SITE_DIGITS]}",
        section="sites",
        site=site_view(site_id, boxes),
        told=[(node, words) for node in boxes if (words := site_facts.told_text(node))],
        rows=site_facts.device_rows(site_id, devices.devices) if devices is not None else None,
        alarms=site_facts.alarm_rows(site_id, alarms.alarms) if alarms is not None else None,
        alarm_count=alarms.count if alarms is not None else 0,
        text=text,
        as_of=read if devices is not None else None,
        reading_problem=problem,
        page=site_facts.PAGE,
        first_url=site_facts.site_url(site_id, q=text) if asked["cursor"] else "",
        next_url=site_facts.site_url(site_id, q=text, after=more) if more else "",
    )


async def show_device(shell: Shell, request: Request) -> Response:
    """`GET /sites/site/device?site=ID&device=ID&range=24h&metric=a`.

    Raises:
        NotFound: `site_unknown`, `device_unknown`. NotAuthorized, Unavailable: as `SiteReadingDesk.read`.
    """
    desk, query = _desk(shell), request.query_params
    site_id, device_id = query.get("site", ""), query.get("device", "")
    actor = await actor_of(request)
    read = await desk.read(site_id, "device", actor, device_id=device_id)
    device = read.as_a(structs.Device)
    newest = (await desk.read(site_id, "newest", actor, device_id=device_id)).as_a(structs.NewestValues)
    return await shell.render(
        request,
        "site_device.html",
        title=device_id,
        section="sites",
        charts=True,
        site_id=site_id,
        site_title=f"Site {site_id[:SITE_DIGITS]}",
        site_url=site_facts.site_url(site_id),
        d=site_facts.device_view(device),
        device_id=device_id,
        newest=site_facts.newest_views(newest, device.stale_after_ms),
        chart=site_facts.chart_view(site_id, device_id, newest, query),
        as_of=read,
        page=site_facts.PAGE,
    )


async def chart_data(shell: Shell, request: Request) -> Response:
    """`GET /sites/site/chart?site=ID&device=ID&metric=NAME&range=24h`: one metric's history as JSON for js/chart.js.

    Raises:
        As `show_device`.
    """
    desk, query = _desk(shell), request.query_params
    metric, chosen = query.get("metric", ""), range_of(query)
    question = site_facts.chart_question(metric, chosen, shell.services.clock.now_ms())
    read = await desk.read(
        query.get("site", ""),
        "telemetry",
        await actor_of(request),
        device_id=query.get("device", ""),
        query=question,
    )
    history = site_facts.chart_history(read.as_a(structs.Telemetry), metric, chosen)
    return Response(
        msgspec.json.encode(history), media_type="application/json", headers={"cache-control": "no-store"}
    )


def _desk(shell: Shell) -> SiteReadingDesk:
    desk = shell.services.site_reading
    if desk is None:
        raise NotFound("This is no cloud node.", hint="Look on the cloud node.", code="site_unknown")
    return desk
