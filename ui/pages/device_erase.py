"""Erasing a device's readings, from its page: what will happen, and its id to type."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError
from storage.catalog import Device
from ui.api.erasures import log_position
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.typed import check_typed
from ui.pages.views import device_url
from ui.problem import status_of


async def show(shell: Shell, request: Request) -> Response:
    """`GET /devices/{id}/erase`. Raises NotFound: `device_unknown`."""
    return await _page(shell, request)


async def erase(shell: Shell, request: Request) -> Response:
    """`POST /devices/{id}/erase` with confirm. Raises NotFound: `device_unknown`."""
    device = await _device(shell, request)
    form = await form_of(request)
    try:
        check_typed(form.get("confirm", ""), device.device_id)
        epoch, before_seq = await log_position(shell.services)
        await shell.write(
            request,
            "device.erase",
            lambda catalog: catalog.request_erasure(device.device_id, epoch=epoch, before_seq=before_seq),
        )
    except HomeportError as error:
        return await _page(shell, request, status=status_of(error), problem=problem_text(error))
    return RedirectResponse("/storage#erasures", 303)


async def _device(shell: Shell, request: Request) -> Device:
    device_id, scope = request.path_params["device_id"], await scope_of(request)
    return await shell.services.catalog.read(lambda reader: reader.get_device(device_id, scope=scope))


async def _page(shell: Shell, request: Request, *, status: int = 200, problem: str = "") -> Response:
    device = await _device(shell, request)
    return await shell.render(
        request,
        "device_erase.html",
        status=status,
        title=f"Erase the readings of {device.device_id}",
        section="devices",
        device=device,
        url=device_url(device.device_id),
        problem=problem,
    )
