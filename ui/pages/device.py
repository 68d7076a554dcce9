"""One device: state, newest values, charts, its credentials; and adding one."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, NotFound
from appliance.core.limits import DEVICE_ID_BYTES_MAX
from appliance.identity import new_token
from storage.catalog import Catalog, Device
from ui.live import sse
from ui.live.hub import Frame
from ui.pages import device_chart
from ui.pages.connect_facts import CERTIFICATE_NAME, endpoints, examples
from ui.pages.device_facts import device_view, newest_views, numeric_metrics
from ui.pages.live_page import stream
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.templating import partial
from ui.pages.views import DeviceView, NewestView
from ui.problem import status_of


async def show(shell: Shell, request: Request) -> Response:
    """`GET /devices/{id}?range=24h&metric=a&metric=b`.

    Raises:
        NotFound: `device_unknown`.
    """
    device, tokens = await _read(shell, request)
    view = _view(shell, device)
    newest = _newest(shell, device.device_id)
    chart = device_chart.choose(
        view.url,
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
        tokens=tokens,
        endpoints=endpoints(shell.services.config, request.url.hostname or ""),
        topic=f"dm/{device.device_id}/telemetry",
        chart=chart,
    )


async def live(shell: Shell, request: Request) -> Response:
    """`GET /live/devices/{id}`: state, newest values, and samples for the charts.

    `?first=1` is the page that waits for a new device's first message, `?empty=1` one that had no value to show
    and is loaded afresh when there is one.

    Raises:
        NotFound: `device_unknown`.
    """
    device, _ = await _read(shell, request)
    device_id = device.device_id
    services = shell.services
    is_first_message = "first" in request.query_params
    is_empty = "empty" in request.query_params
    sampled_at_ms: dict[str, int] = {}

    def samples() -> list[dict[str, object]]:
        found: list[dict[str, object]] = []
        for name, newest in services.live.newest(device_id).items():
            if isinstance(newest.value, int | float) and sampled_at_ms.get(name) != newest.observed_at_ms:
                sampled_at_ms[name] = newest.observed_at_ms
                found.append({"metric": name, "at_ms": newest.observed_at_ms, "value": float(newest.value)})
        return found

    async def render(frame: Frame) -> list[bytes]:
        if frame.is_beat:
            return []
        view, newest = _view(shell, device), _newest(shell, device_id)
        now_ms = services.clock.now_ms()
        if is_first_message:
            html = shell.templates.render("first_message.html", d=view, first=newest[0] if newest else None)
            return [sse.event(partial("first-message", html), seq=frame.seq)]
        html = partial("state", shell.templates.render("device_state.html", d=view, now_ms=now_ms))
        html += partial("newest", shell.templates.render("newest.html", newest=newest, now_ms=now_ms))
        events = [sse.event(html, seq=frame.seq)]
        fresh_samples = samples()
        if is_empty and newest:
            events.append(sse.json_event("reload", {}, seq=frame.seq))
        elif fresh_samples and not frame.is_first:
            events.append(sse.json_event("sample", fresh_samples, seq=frame.seq))
        return events

    return stream(shell, request, [device_id], render)


async def chart_data(shell: Shell, request: Request) -> Response:
    """`GET /devices/{id}/chart?metric=NAME&range=24h`: one metric's history as JSON for js/chart.js.

    Raises:
        NotFound: `device_unknown`. Unavailable: the store is away or the query took too long.
    """
    device, _ = await _read(shell, request)
    history = await device_chart.history(
        shell.services.telemetry,
        device.device_id,
        request.query_params.get("metric", ""),
        device_chart.range_of(request.query_params),
        now_ms=shell.services.clock.now_ms(),
    )
    return Response(
        msgspec.json.encode(history), media_type="application/json", headers={"cache-control": "no-store"}
    )


async def show_new(shell: Shell, request: Request) -> Response:
    """`GET /devices/new?first=1`."""
    is_first = request.query_params.get("first") == "1"
    return await _new_page(shell, request, is_first=is_first, device_id="sensor-1" if is_first else "")


async def new(shell: Shell, request: Request) -> Response:
    """`POST /devices/new` with device_id and name: registers it and shows its token, once."""
    form = await form_of(request)
    device_id, name = form.get("device_id", "").strip(), form.get("name", "")
    is_first = form.get("first") == "1"
    token = new_token()
    token_hash = shell.services.keys.token_hash(token.encode())

    def write(catalog: Catalog) -> Device:
        with catalog.transaction():
            device = catalog.add_device(device_id, name=name)
            catalog.set_token(device_id, token_hash)
            return device

    try:
        device = await shell.services.catalog.write(write)
    except HomeportError as error:
        return await _new_page(
            shell,
            request,
            status=status_of(error),
            is_first=is_first,
            device_id=device_id[:128],
            name=name[:100],
            problem=problem_text(error),
        )
    return await _token_page(shell, request, device, token, is_first=is_first)


async def issue_token(shell: Shell, request: Request) -> Response:
    """`POST /devices/{id}/token`: a new token, shown once; the old ones end and their connections are closed.

    Raises:
        NotFound: `device_unknown`. Conflict: the device is rejected or decommissioned.
    """
    device_id = request.path_params["device_id"]
    token = new_token()
    token_hash = shell.services.keys.token_hash(token.encode())

    def write(catalog: Catalog) -> tuple[Device, int]:
        with catalog.transaction():
            ended = catalog.revoke_tokens(device_id)
            catalog.set_token(device_id, token_hash)
            return catalog.get_device(device_id), ended

    device, ended = await shell.services.catalog.write(write)
    if ended and shell.services.broker.connected:
        await shell.services.broker.revoke(device_id)
    return await _token_page(shell, request, device, token, is_first=False)


async def redirect_token(shell: Shell, request: Request) -> Response:
    """`GET /devices/{id}/token`: what a reload of the token's page leads to; the token is not shown again."""
    device, _ = await _read(shell, request)
    return RedirectResponse(_view(shell, device).url, 303)


async def _token_page(
    shell: Shell, request: Request, device: Device, token: str, *, is_first: bool
) -> Response:
    view = _view(shell, device)
    newest = _newest(shell, device.device_id)
    services = shell.services
    return await shell.render(
        request,
        "device_token.html",
        title=f"Connect {device.device_id}",
        section="devices",
        live_url=f"/live{view.url}?first=1",
        d=view,
        first=newest[0] if newest else None,
        token=token,
        is_first=is_first,
        certificate=CERTIFICATE_NAME,
        examples=examples(services.config, request.url.hostname or "", device.device_id, token),
        fingerprint=services.tls.fingerprint if services.config.broker.tls_bind else "",
    )


async def _new_page(
    shell: Shell,
    request: Request,
    *,
    is_first: bool,
    device_id: str,
    name: str = "",
    status: int = 200,
    problem: str = "",
) -> Response:
    return await shell.render(
        request,
        "device_new.html",
        status=status,
        title="Connect your first device" if is_first else "Add a device",
        section="devices",
        is_first=is_first,
        device_id=device_id,
        name=name,
        problem=problem,
    )


async def _read(shell: Shell, request: Request) -> tuple[Device, int]:
    device_id = request.path_params["device_id"]
    if len(device_id) > DEVICE_ID_BYTES_MAX:
        raise NotFound("There is no such device.", hint="Look at the list of devices.", code="device_unknown")
    now_ms = shell.services.clock.now_ms()

    def read(catalog: Catalog) -> tuple[Device, int]:
        tokens = catalog.tokens_of(device_id)
        valid = [t for t in tokens if t.expires_at_ms is None or t.expires_at_ms > now_ms]
        return catalog.get_device(device_id), len(valid)

    return await shell.services.catalog.read(read)


def _view(shell: Shell, device: Device) -> DeviceView:
    services = shell.services
    return device_view(
        device,
        services.live.device(device.device_id),
        now_ms=services.clock.now_ms(),
        stale_after_ms=services.stale_after_ms,
    )


def _newest(shell: Shell, device_id: str) -> tuple[NewestView, ...]:
    services = shell.services
    return newest_views(
        device_id,
        services.live.newest(device_id),
        now_ms=services.clock.now_ms(),
        stale_after_ms=services.stale_after_ms,
    )
