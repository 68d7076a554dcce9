"""One device: state, newest values, charts, its credentials; and adding one."""

from __future__ import annotations

import re
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, NotFound
from appliance.core.limits import DEVICE_ID_BYTES_MAX
from appliance.identity import new_token
from appliance.management.group_rules import check_group_change
from storage.catalog import Catalog, Device, DeviceToken, Group
from ui import auth
from ui.live import sse
from ui.live.hub import Frame
from ui.live.twin_keys import commands_key, twin_key
from ui.pages import device_alarms, device_certificates, device_chart, device_twin, telemetry_facts
from ui.pages.alarm_marks import read_marks
from ui.pages.alarm_views import AlarmView
from ui.pages.connect_facts import endpoints
from ui.pages.device_facts import numeric_metrics
from ui.pages.device_firmware import FirmwareView, read_firmware
from ui.pages.device_token import first_since, newest_of, token_page, view_of
from ui.pages.live_page import stream
from ui.pages.scoped import scope_of, still_sees
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.templating import partial
from ui.pages.traces import JourneyView, traces_of
from ui.pages.views import Notice, device_url
from ui.problem import status_of

SINCE = re.compile(r"[0-9]{1,15}")
_NOTICES = {
    "edited": "Changed.",
    "token_ended": "The token has ended; connections that came with it are cut.",
    "decommissioned": "Decommissioned. Its readings stay.",
    "twin_set": "What is desired is set; the device is told when it listens.",
    "command_sent": "The command is on its way: its state is below.",
    "command_canceled": "The command is taken back.",
    "forgiven": "The image may be offered again.",
    "trace_next": "The next reading is traced, if it comes within 15 minutes; it is shown below.",
}

NOT_TRACED: Final = Notice(
    tone="bad",
    text="The next reading can't be traced now: the broker is away, or tracing is switched off in homeport.toml.",
)


async def show(shell: Shell, request: Request) -> Response:
    """`GET /devices/{id}?range=24h&metric=a&metric=b`.

    Raises:
        NotFound: `device_unknown`.
    """
    device, tokens = await _read(shell, request)
    now_ms = shell.services.clock.now_ms()
    done = request.query_params.get("done", "")
    notice = _NOTICES.get(done)
    view = view_of(shell, device)
    newest = newest_of(shell, device.device_id)
    chart = device_chart.choose(
        device.device_id,
        numeric_metrics(shell.services.live.newest(device.device_id)),
        request.query_params,
        known_ms=shell.services.clock.now_ms() - device.created_at_ms,
    )
    return await shell.render(
        request,
        "device.html",
        title=device.device_id,
        section="devices",
        live_url=f"/live{view.url}" + ("" if newest else "?empty=1"),
        charts=True,
        d=view,
        newest=newest,
        device=device,
        tokens=tokens,
        valid_count=sum(each.expires_at_ms is None or each.expires_at_ms > now_ms for each in tokens),
        notice=Notice(tone="good", text=notice)
        if notice
        else (NOT_TRACED if done == "trace_not" else device_certificates.notice(request)),
        behind=telemetry_facts.behind(shell.services.pipeline.statistics()),
        endpoints=endpoints(shell.services.config, request.url.hostname or ""),
        topic=f"dm/{device.device_id}/telemetry",
        chart=chart,
        alarms=await device_alarms.rows_of(shell, request, device.device_id),
        traces=await traces_of(shell, request, device.device_id),
        **await device_twin.parts(shell, request, device.device_id),
        certificates=await device_certificates.certificates_view(shell, request, device.device_id),
        f=await shell.services.catalog.read(lambda catalog: read_firmware(catalog, device.device_id)),
    )


async def live(shell: Shell, request: Request) -> Response:
    """`GET /live/devices/{id}`: state, newest values, and samples for the charts.

    `?first=UTC_MS` is the page that waits for the first message since then with a new token, `?empty=1` one that had no value to show
    and is loaded afresh when there is one.

    Raises:
        NotFound: `device_unknown`.
    """
    device, _ = await _read(shell, request)
    device_id = device.device_id
    services = shell.services
    since = request.query_params.get("first")
    since_ms = None if since is None else int(since) if SINCE.fullmatch(since) else 0
    is_empty = "empty" in request.query_params
    sampled_at_ms: dict[str, int] = {}
    firmware: FirmwareView | None = None
    alarms: tuple[AlarmView, ...] | None = None
    traces: tuple[JourneyView, ...] | None = None
    identity = await auth.require(request)
    may_operate = "alarms.operate" in await shell.permissions_of(request)

    def samples() -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        for name, newest in services.live.newest(device_id).items():
            if isinstance(newest.value, int | float) and sampled_at_ms.get(name) != newest.observed_at_ms:
                sampled_at_ms[name] = newest.observed_at_ms
                found.append({"metric": name, "at_ms": newest.observed_at_ms, "value": float(newest.value)})
        return found

    async def firmware_html() -> str:
        """The part about firmware, "" where nothing of it has changed."""
        nonlocal firmware
        now = await services.catalog.read(lambda catalog: read_firmware(catalog, device_id))
        if now == firmware:
            return ""
        firmware = now
        html = shell.templates.render("device_firmware_now.html", f=now, now_ms=services.clock.now_ms())
        return partial("firmware-now", html)

    async def alarms_html() -> str:
        """Its alarms, "" where nothing of them has changed."""
        nonlocal alarms
        now = await device_alarms.rows_of(shell, request, device_id)
        if now is None or now == alarms:
            return ""
        alarms = now
        html = shell.templates.render(
            "device_alarm_rows.html",
            rows=now,
            now_ms=services.clock.now_ms(),
            csrf=identity.csrf_token,
            tickable=False,
            may_operate=may_operate,
            back=f"{device_url(device_id)}#alarms-of-it",
        )
        return partial("device-alarms", html)

    async def traces_html() -> str:
        """Its traced readings, "" where there are no others."""
        nonlocal traces
        now = await traces_of(shell, request, device_id)
        if now is None or now == traces:
            return ""
        traces = now
        now_ms = services.clock.now_ms()
        html = shell.templates.render("device_trace_rows.html", traces=now, now_ms=now_ms)
        return partial("device-traces", html)

    async def render(frame: Frame) -> list[bytes]:
        if frame.is_beat:
            html = "" if since_ms is not None else await firmware_html() + await alarms_html()
            html += "" if since_ms is not None else await traces_html()
            return [sse.event(html, seq=frame.seq)] if html else []
        view, newest = view_of(shell, device), newest_of(shell, device_id)
        now_ms = services.clock.now_ms()
        if since_ms is not None:
            first = first_since(shell, device_id, since_ms)
            html = shell.templates.render("first_message.html", d=view, first=first)
            return [sse.event(partial("first-message", html), seq=frame.seq)]
        html = partial("state", shell.templates.render("device_state.html", d=view, now_ms=now_ms))
        html += await firmware_html()
        html += await alarms_html()
        html += await traces_html()
        html += partial("newest", shell.templates.render("newest.html", newest=newest, now_ms=now_ms))
        html += await device_twin.live_parts(shell, request, device_id, frame)
        events = [sse.event(html, seq=frame.seq)]
        fresh_samples = samples()
        if is_empty and newest:
            events.append(sse.json_event("reload", {}, seq=frame.seq))
        elif fresh_samples and not frame.is_first:
            events.append(sse.json_event("sample", fresh_samples, seq=frame.seq))
        return events

    scope = await scope_of(request)
    return stream(
        shell,
        request,
        [device_id, twin_key(device_id), commands_key(device_id)],
        render,
        still_shown=lambda: still_sees(services.catalog, scope, [device_id]),
    )


async def chart_data(shell: Shell, request: Request) -> Response:
    """`GET /devices/{id}/chart?metric=NAME&range=24h`: one metric's history as JSON for js/chart.js.

    Raises:
        NotFound: `device_unknown`. Unavailable: the store is away or the query took too long.
    """
    device, _ = await _read(shell, request)
    now_ms = shell.services.clock.now_ms()
    metric, chosen = request.query_params.get("metric", ""), device_chart.range_of(request.query_params)
    history = await device_chart.history(
        shell.services.telemetry, device.device_id, metric, chosen, now_ms=now_ms
    )
    if "alarms.read" in await shell.permissions_of(request):
        scope = await scope_of(request)
        history["marks"] = await shell.services.catalog.read(
            lambda catalog: read_marks(
                catalog,
                [device.device_id],
                metric,
                now_ms - chosen.span_ms,
                now_ms + 1,
                now_ms=now_ms,
                scope=scope,
            )
        )
    return Response(
        msgspec.json.encode(history), media_type="application/json", headers={"cache-control": "no-store"}
    )


async def show_new(shell: Shell, request: Request) -> Response:
    """`GET /devices/new?first=1`."""
    is_first = request.query_params.get("first") == "1"
    return await _new_page(shell, request, is_first=is_first, device_id="sensor-1" if is_first else "")


async def new(shell: Shell, request: Request) -> Response:
    """`POST /devices/new` with device_id, name and group: registers it and shows its token, once."""
    form = await form_of(request)
    device_id, name, group = form.get("device_id", "").strip(), form.get("name", ""), form.get("group", "")
    groups = [group] if group else []
    is_first = form.get("first") == "1"
    token = new_token()
    token_hash = shell.services.keys.token_hash(token.encode())
    scope = await scope_of(request)

    def write(catalog: Catalog) -> Device:
        with catalog.transaction():
            check_group_change(scope, before=(), after=groups)
            device = catalog.add_device(device_id, name=name, groups=groups)
            catalog.set_token(device_id, token_hash)
            return device

    try:
        device = await shell.write(request, "device.create", write)
    except HomeportError as error:
        return await _new_page(
            shell,
            request,
            status=status_of(error),
            is_first=is_first,
            device_id=device_id[:128],
            name=name[:100],
            group=group,
            problem=problem_text(error),
        )
    return await token_page(shell, request, device, token, is_first=is_first)


async def issue_token(shell: Shell, request: Request) -> Response:
    """`POST /devices/{id}/token`: a new token, shown once; the old ones end and their connections are closed.

    Raises:
        NotFound: `device_unknown`. Conflict: the device is rejected or decommissioned.
    """
    device_id = request.path_params["device_id"]
    token = new_token()
    token_hash = shell.services.keys.token_hash(token.encode())

    scope = await scope_of(request)

    def write(catalog: Catalog) -> tuple[Device, int]:
        with catalog.transaction():
            catalog.get_device(device_id, scope=scope)
            ended = catalog.revoke_tokens(device_id)
            catalog.set_token(device_id, token_hash)
            return catalog.get_device(device_id), ended

    device, ended = await shell.write(request, "device_token.create", write)
    if ended and shell.services.broker.connected:
        await shell.services.broker.revoke(device_id)
    return await token_page(shell, request, device, token, is_first=False)


async def redirect_token(shell: Shell, request: Request) -> Response:
    """`GET /devices/{id}/token`: what a reload of the token's page leads to; the token is not shown again."""
    device, _ = await _read(shell, request)
    return RedirectResponse(view_of(shell, device).url, 303)


async def _new_page(
    shell: Shell,
    request: Request,
    *,
    is_first: bool,
    device_id: str,
    name: str = "",
    group: str = "",
    status: int = 200,
    problem: str = "",
) -> Response:
    scope = await scope_of(request)
    groups: list[Group] = await shell.services.catalog.read(
        lambda catalog: catalog.list_groups(scope=scope, counted=False)
    )
    return await shell.render(
        request,
        "device_new.html",
        status=status,
        title="Connect your first device" if is_first else "Add a device",
        section="devices",
        is_first=is_first,
        device_id=device_id,
        name=name,
        group=group,
        groups=groups,
        needs_group=scope is not None,
        problem=problem,
    )


async def _read(shell: Shell, request: Request) -> tuple[Device, list[DeviceToken]]:
    device_id = request.path_params["device_id"]
    if len(device_id) > DEVICE_ID_BYTES_MAX:
        raise NotFound("There is no such device.", hint="Look at the list of devices.", code="device_unknown")
    scope = await scope_of(request)
    return await shell.services.catalog.read(
        lambda catalog: (catalog.get_device(device_id, scope=scope), catalog.tokens_of(device_id))
    )
