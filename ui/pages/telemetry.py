"""Readings of several devices over a range: charts with a line per device, or the same as tables; all of it in the URL.

The page itself asks nothing of the store: charts fetch their history one by one, so that a slow store shows in a chart and not as a page
that doesn't come. Tables are for those who read numbers, or have no JavaScript.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits import CHART_DEVICE_COUNT_MAX, CHART_METRIC_COUNT_MAX, PICKER_DEVICE_COUNT_MAX
from appliance.management.permissions import Scope
from storage.catalog import Catalog, Device
from ui.pages import telemetry_facts
from ui.pages.alarm_marks import read_marks
from ui.pages.format import instant_text
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, problem_text
from ui.pages.telemetry_choice import WORDS, Choice
from ui.pages.telemetry_facts import Table
from ui.pages.templating import partial
from ui.pages.views import device_url
from ui.problem import status_of
from ui.telemetry_file import MEDIA

DRAWN_METRIC_COUNT_DEFAULT = 3
LIVE_RELOAD_MS = 5_000


async def show(shell: Shell, request: Request) -> Response:
    """`GET /telemetry?device=&metric=&from=-24h&to=&aggregation=band&live=1&view=table&q=`."""
    services, scope = shell.services, await scope_of(request)
    now_ms = services.clock.now_ms()
    wanted = Choice.of(request.query_params)
    chosen, found = await services.catalog.read(lambda catalog: _devices(catalog, wanted, scope))
    missing = [name for name in wanted.devices if name not in chosen]
    choice = replace(wanted, devices=tuple(name for name in wanted.devices if name in chosen))
    offered = telemetry_facts.metrics_to_choose(services.live, choice.devices)
    drawn = list(choice.metrics or offered[:DRAWN_METRIC_COUNT_DEFAULT]) if choice.devices else []
    # What the page shows is what its links say, also where nothing was ticked.
    choice = replace(choice, metrics=tuple(drawn))
    problem, status, range_ms = "", 200, (0, 0)
    tables: tuple[Table, ...] = ()
    try:
        range_ms = choice.range_ms(now_ms)
        if choice.table and drawn:
            tables = await telemetry_facts.tables(services, choice, drawn, *range_ms)
    except HomeportError as error:
        problem, status, drawn = problem_text(error), status_of(error), []
    urls = {name: device_url(name) for name in choice.devices}
    return await shell.render(
        request,
        "telemetry.html",
        status=status,
        title="Telemetry",
        section="telemetry",
        charts=bool(drawn) and not choice.table,
        choice=choice,
        words=WORDS,
        chosen=[chosen[name] for name in choice.devices],
        found=found,
        count_max=PICKER_DEVICE_COUNT_MAX,
        line_count_max=CHART_DEVICE_COUNT_MAX,
        figure_count_max=CHART_METRIC_COUNT_MAX,
        offered=[*(name for name in choice.metrics if name not in offered), *offered],
        missing=missing,
        problem=problem,
        behind=telemetry_facts.behind(services.pipeline.statistics()),
        figures=telemetry_facts.figures(services, choice, drawn, urls, now_ms) if not choice.table else (),
        tables=tables,
        range_text="" if problem else " to ".join(instant_text(at_ms)[:16] for at_ms in range_ms) + " UTC",
        reload_ms=LIVE_RELOAD_MS if choice.live and choice.is_moving else 0,
        now_url=choice.url("/telemetry/now"),
        live_link=replace(choice, live=not choice.live).url(),
        table_link=replace(choice, table=not choice.table).url(),
        exports=[(name, choice.export_url(name, *range_ms)) for name in MEDIA] if drawn else [],
    )


async def now(shell: Shell, request: Request) -> Response:
    """`GET /telemetry/now?device=&metric=`: the legends with what is newest now, each for its place in the page."""
    services, scope = shell.services, await scope_of(request)
    wanted = Choice.of(request.query_params)
    chosen, _ = await services.catalog.read(lambda catalog: _devices(catalog, wanted, scope))
    urls = {name: device_url(name) for name in wanted.devices if name in chosen}
    choice = replace(wanted, devices=tuple(urls))
    now_ms = services.clock.now_ms()
    html = "".join(
        partial(figure.legend_id, shell.templates.render("telemetry_legend.html", f=figure, now_ms=now_ms))
        for figure in telemetry_facts.figures(services, choice, choice.metrics, urls, now_ms)
    )
    return Response(html, media_type="text/html", headers={"cache-control": "no-store", "vary": "cookie"})


async def found_devices(shell: Shell, request: Request) -> Response:
    """`GET /telemetry/devices?q=&device=`: devices to tick, as a piece of the page; those that are ticked already first."""
    scope = await scope_of(request)
    choice = Choice.of(request.query_params)
    chosen, found = await shell.services.catalog.read(lambda catalog: _devices(catalog, choice, scope))
    html = shell.templates.render(
        "telemetry_found.html",
        chosen=list(chosen.values()),
        found=found,
        choice=choice,
        count_max=PICKER_DEVICE_COUNT_MAX,
    )
    return Response(html, media_type="text/html", headers={"cache-control": "no-store", "vary": "cookie"})


async def data(shell: Shell, request: Request) -> Response:
    """`GET /telemetry/data?device=&metric=&from=&to=&aggregation=`: one metric's lines as JSON for js/chart.js.

    Raises:
        NotFound: `device_unknown`. UsageError: `time_invalid`, `range_invalid`, `query_invalid`. Unavailable: the store is away or slow.
    """
    services = shell.services
    choice = Choice.of(request.query_params)
    if len(choice.metrics) != 1 or not choice.devices:
        raise UsageError(
            "A chart has one metric of some devices.", hint="Choose them on the page.", code="query_invalid"
        )
    scope = await scope_of(request)

    def check(catalog: Catalog) -> None:
        for device_id in choice.devices:
            catalog.get_device(device_id, scope=scope)

    await services.catalog.read(check)
    range_ms = choice.range_ms(services.clock.now_ms())
    history = await telemetry_facts.history(services, choice.metrics[0], choice, *range_ms)
    if "alarms.read" in await shell.permissions_of(request):
        now_ms = services.clock.now_ms()
        history["marks"] = await services.catalog.read(
            lambda catalog: read_marks(
                catalog, choice.devices, choice.metrics[0], *range_ms, now_ms=now_ms, scope=scope
            )
        )
    return Response(
        msgspec.json.encode(history), media_type="application/json", headers={"cache-control": "no-store"}
    )


def _devices(catalog: Catalog, choice: Choice, scope: Scope) -> tuple[dict[str, Device], list[Device]]:
    """The chosen devices that there are, by id; and those to choose from: what was searched for, or the first ones."""
    looked_up = (catalog.find_device(name, scope=scope) for name in choice.devices)
    chosen = {device.device_id: device for device in looked_up if device is not None}
    page = catalog.list_devices(
        q=choice.q, scope=scope, kind="device", limit=PICKER_DEVICE_COUNT_MAX + 1 + len(chosen)
    )
    others = [device for device in page.devices if device.device_id not in chosen]
    return chosen, others[: PICKER_DEVICE_COUNT_MAX + 1]
