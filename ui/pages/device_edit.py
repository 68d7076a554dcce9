"""Changing one device: what is said of it, what it may do, its tokens; other hardware under its id; its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import Conflict, UsageError
from appliance.identity import new_token
from appliance.management.access import Access, role_unknown
from appliance.management.group_rules import check_access_change, check_group_change
from appliance.management.permissions import may
from storage.catalog import Catalog, Device, Group
from ui import auth
from ui.api.devices import close_connections, tell_access_changed
from ui.pages.device_token import token_page
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, problem_text
from ui.pages.typed import check_typed
from ui.pages.views import device_url
from ui.problem import status_of

R = TypeVar("R")


async def show(shell: Shell, request: Request) -> Response:
    """`GET /devices/{id}/edit`. Raises NotFound: `device_unknown`."""
    return await _page(shell, request)


async def edit(shell: Shell, request: Request) -> Response:
    """`POST /devices/{id}/edit`: name and tags; groups, serial, access and role for whoever may manage devices.

    Raises:
        NotFound: `device_unknown`, `group_unknown`. NotAuthorized: a group out of one's scope.
    """
    form = await request.form()
    identity = await auth.require(request)
    manages = may(identity.role, identity.scope, "devices.manage")
    groups = [each for each in form.getlist("groups") if isinstance(each, str)]
    tags = [line for line in str(form.get("tags", "")).splitlines() if line.strip()]
    roles = [each.name for each in shell.services.config.broker_role]

    def write(catalog: Catalog, device: Device) -> None:
        if str(device.version) != form.get("version"):
            raise Conflict(
                "The device was changed while you were editing it.",
                hint="Look at what is there now, and make your change again.",
                code="version_differs",
            )
        if not manages:
            catalog.edit_device(device.device_id, name=str(form.get("name", "")), tags=tags)
            return
        # Whoever is limited to some groups isn't asked.
        access, role = str(form.get("access", device.access)), str(form.get("role", device.role))
        if access not in ("own", "site"):
            raise UsageError("There is no such access.", hint="Choose own or site.", code="body_invalid")
        if role and role not in roles and role != device.role:
            raise role_unknown(role, roles)
        # Groups that whoever asks can't see stay as they are: the form doesn't offer them.
        kept = [each for each in device.groups if identity.scope is not None and each not in identity.scope]
        after = [*kept, *(each for each in groups if each not in kept)]
        ordered = [
            *(each for each in device.groups if each in after),
            *(each for each in after if each not in device.groups),
        ]
        check_group_change(identity.scope, before=device.groups, after=ordered)
        wanted = (cast(Access, access), role)
        check_access_change(identity.scope, before=(device.access, device.role), after=wanted)
        catalog.edit_device(
            device.device_id,
            name=str(form.get("name", "")),
            tags=tags,
            groups=ordered,
            serial=str(form.get("serial", "")),
        )
        if wanted != (device.access, device.role):
            catalog.set_access(device.device_id, access=wanted[0], role=role)

    try:
        await _write(shell, request, "device.edit", write)
    except (UsageError, Conflict) as error:
        return await _page(shell, request, status=status_of(error), problem=problem_text(error))
    await tell_access_changed(shell.services, request.path_params["device_id"])
    return RedirectResponse(f"{_url(request)}?done=edited", 303)


async def revoke_token(shell: Shell, request: Request) -> Response:
    """`POST /devices/{id}/tokens/{token_id}/revoke`. Raises NotFound: `device_unknown`, `token_unknown`."""
    token_id = request.path_params["token_id"]
    await _write(
        shell,
        request,
        "device_token.revoke",
        lambda catalog, device: catalog.revoke_token(device.device_id, token_id),
    )
    await tell_access_changed(shell.services, request.path_params["device_id"])
    return RedirectResponse(f"{_url(request)}?done=token_ended#credentials", 303)


async def show_replace(shell: Shell, request: Request) -> Response:
    """`GET /devices/{id}/replace`: what will happen, and the id to type."""
    return await _ask(shell, request, "device_replace.html", "Other hardware for")


async def replace(shell: Shell, request: Request) -> Response:
    """`POST /devices/{id}/replace` with confirm and serial: the new token, shown once.

    Raises:
        UsageError: `not_confirmed`. NotFound: `device_unknown`. Conflict: it isn't active.
    """
    form = await request.form()
    check_typed(str(form.get("confirm", "")), request.path_params["device_id"])
    token = new_token()
    token_hash = shell.services.keys.token_hash(token.encode())

    def write(catalog: Catalog, device: Device) -> Device:
        replaced = catalog.replace_device(device.device_id, serial=str(form.get("serial", "")))
        catalog.set_token(device.device_id, token_hash)
        return replaced

    device = await _write(shell, request, "device.replace", write)
    await close_connections(shell.services, device.device_id)
    return await token_page(shell, request, device, token, is_first=False)


async def show_decommission(shell: Shell, request: Request) -> Response:
    """`GET /devices/{id}/decommission`: what will happen, and the id to type."""
    return await _ask(shell, request, "device_decommission.html", "Decommission")


async def decommission(shell: Shell, request: Request) -> Response:
    """`POST /devices/{id}/decommission` with confirm.

    Raises:
        UsageError: `not_confirmed`. NotFound: `device_unknown`.
    """
    form = await request.form()
    check_typed(str(form.get("confirm", "")), request.path_params["device_id"])
    device = await _write(
        shell,
        request,
        "device.decommission",
        lambda catalog, each: catalog.decommission_device(each.device_id),
    )
    await close_connections(shell.services, device.device_id)
    shell.services.hub.touch([device.device_id])
    return RedirectResponse(f"{_url(request)}?done=decommissioned", 303)


async def _write(shell: Shell, request: Request, action: str, fn: Callable[[Catalog, Device], R]) -> R:
    device_id = request.path_params["device_id"]
    scope = await scope_of(request)
    return await shell.write(
        request, action, lambda catalog: fn(catalog, catalog.get_device(device_id, scope=scope))
    )


async def _ask(shell: Shell, request: Request, template: str, title: str) -> Response:
    device, _ = await _read(shell, request)
    return await shell.render(
        request,
        template,
        title=f"{title} {device.device_id}",
        section="devices",
        device=device,
        url=device_url(device.device_id),
    )


async def _page(shell: Shell, request: Request, *, status: int = 200, problem: str = "") -> Response:
    device, groups = await _read(shell, request)
    return await shell.render(
        request,
        "device_edit.html",
        status=status,
        title=f"Edit {device.device_id}",
        section="devices",
        device=device,
        url=device_url(device.device_id),
        groups=groups,
        may_widen=await scope_of(request) is None,
        roles=sorted({each.name for each in shell.services.config.broker_role} | ({device.role} - {""})),
        problem=problem,
    )


async def _read(shell: Shell, request: Request) -> tuple[Device, list[Group]]:
    device_id = request.path_params["device_id"]
    scope = await scope_of(request)
    return await shell.services.catalog.read(
        lambda catalog: (
            catalog.get_device(device_id, scope=scope),
            catalog.list_groups(scope=scope, counted=False),
        )
    )


def _url(request: Request) -> str:
    return device_url(request.path_params["device_id"])
