"""Endpoints about devices. Whoever is limited to some groups finds no others here: a device outside is one that isn't there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

from msgspec import UNSET

from appliance.core.errors import Unavailable
from appliance.identity import new_token
from appliance.management.access import role_unknown
from appliance.management.clock_offset import clock_word
from appliance.management.freshness import freshness
from appliance.management.group_rules import check_access_change, check_group_change
from appliance.management.permissions import check
from storage import catalog
from storage.catalog import Catalog
from ui.api import device_structs, structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.services import Services

R = TypeVar("R")


def device_answer(services: Services, device: catalog.Device) -> structs.Device:
    """A device of the catalog with what the live view knows of it."""
    return structs.Device(**_fields(services, device))  # type: ignore[arg-type]


def _fields(services: Services, device: catalog.Device) -> dict[str, object]:
    live = services.live.device(device.device_id)
    reading_at_ms = live.last_reading_at_ms
    stale_after_ms = services.stale_after_ms_of(device.device_id)
    return {
        "device_id": device.device_id,
        "kind": device.kind,
        "access": device.access,
        "role": device.role,
        "state": device.state,
        "name": device.name,
        "tags": device.tags,
        "groups": device.groups,
        "serial": device.serial,
        "first_contact_at_ms": device.first_contact_at_ms,
        "created_at_ms": device.created_at_ms,
        "updated_at_ms": device.updated_at_ms,
        "replaced_at_ms": device.replaced_at_ms,
        "version": str(device.version),
        "presence": str(live.presence),
        "presence_since_ms": live.presence_since_ms,
        "presence_reason": live.presence_reason or None,
        "last_seen_at_ms": live.last_seen_at_ms,
        "last_reading_at_ms": reading_at_ms,
        "freshness": freshness(reading_at_ms, services.clock.now_ms(), stale_after_ms).value,
        "stale_after_ms": stale_after_ms,
        "watermark_at_ms": live.watermark_at_ms,
        "watermark_received_at_ms": live.watermark_received_at_ms,
        "clock_offset_ms": live.clock_offset_ms,
        "clock": clock_word(live.clock_offset_ms),
        "address": live.address or None,
    }


def with_token(
    services: Services, device: catalog.Device, token: str | None, *, closed: bool = True
) -> structs.DeviceWithToken:
    return structs.DeviceWithToken(
        **_fields(services, device),  # type: ignore[arg-type]
        token=token,
        connections_closed=closed,
    )


async def write_device(call: Call, fn: Callable[[Catalog, catalog.Device], R]) -> R:
    """Write about the device of the path, if whoever asks may see it and it is as they saw it (If-Match).

    Raises:
        NotFound: `device_unknown`. Conflict: `version_differs`. And what fn raises.
    """
    device_id = call.path["device_id"]

    def write(writer: Catalog) -> R:
        device = writer.get_device(device_id, scope=call.scope)
        call.expect(str(device.version))
        return fn(writer, device)

    return await call.write(write)


async def list_devices(call: Call) -> Reply:
    query: structs.DeviceQuery = call.query
    wanted = query.presence
    # Looked at in the event loop, and only when asked for: it is work for every device there is.
    presence_of = (
        {}
        if wanted is None
        else {device_id: str(device.presence) for device_id, device in call.services.live.devices().items()}
    )

    def read(reader: Catalog) -> catalog.DevicePage:
        ids: list[str] | None = None
        if wanted == "never_seen":
            ids = [
                device_id
                for device_id in reader.device_ids(scope=call.scope)
                if presence_of.get(device_id, "never_seen") == "never_seen"
            ]
        elif wanted is not None:
            ids = [device_id for device_id, word in presence_of.items() if word == wanted]
        return reader.list_devices(
            states=query.state,
            kind=query.kind,
            groups=query.group,
            tags=query.tag,
            serial=query.serial,
            scope=call.scope,
            q=query.q,
            ids=ids,
            cursor=query.cursor,
            limit=query.limit,
        )

    page = await call.services.catalog.read(read)
    return Reply(
        content=structs.DevicePage(
            devices=tuple(device_answer(call.services, device) for device in page.devices),
            next_cursor=page.next_cursor,
        )
    )


async def get_device(call: Call) -> Reply:
    device_id = call.path["device_id"]
    device = await call.services.catalog.read(lambda reader: reader.get_device(device_id, scope=call.scope))
    return Reply(content=device_answer(call.services, device), version=str(device.version))


async def create_device(call: Call) -> Reply:
    new: structs.NewDevice = call.body
    check_role_known(call.services, new.role)
    check_group_change(call.scope, before=(), after=new.groups)
    check_access_change(call.scope, after=(new.access, new.role))
    token = new_token()
    token_hash = call.services.keys.token_hash(token.encode())

    def write(writer: Catalog) -> catalog.Device:
        device = writer.add_device(
            new.device_id,
            kind=new.kind,
            access=new.access,
            role=new.role,
            name=new.name,
            tags=new.tags,
            groups=new.groups,
            serial=new.serial,
        )
        writer.set_token(new.device_id, token_hash)
        return device

    device = await call.write(write)
    return Reply(content=with_token(call.services, device, token), version=str(device.version))


async def edit_device(call: Call) -> Reply:
    wish: device_structs.DeviceEdit = call.body
    assert call.identity is not None
    if wish.groups is not UNSET or wish.serial is not UNSET:
        check(call.identity.role, call.scope, "devices.manage")

    def write(writer: Catalog, device: catalog.Device) -> catalog.Device:
        if wish.groups is not UNSET:
            check_group_change(call.scope, before=device.groups, after=wish.groups)
        return writer.edit_device(
            device.device_id,
            name=None if wish.name is UNSET else wish.name,
            tags=None if wish.tags is UNSET else wish.tags,
            groups=None if wish.groups is UNSET else wish.groups,
            serial=None if wish.serial is UNSET else wish.serial,
        )

    device = await write_device(call, write)
    return Reply(content=device_answer(call.services, device), version=str(device.version))


async def adopt_device(call: Call) -> Reply:
    token = new_token()
    token_hash = call.services.keys.token_hash(token.encode())

    def write(writer: Catalog, device: catalog.Device) -> tuple[catalog.Device, bool]:
        adopted = writer.adopt_device(device.device_id)
        # To one that is in already this gives nothing: its credentials are for whoever manages devices.
        needs_token = device.state != "active" and not writer.tokens_of(device.device_id)
        if needs_token:
            writer.set_token(device.device_id, token_hash)
        return adopted, needs_token

    device, given = await write_device(call, write)
    return Reply(
        content=with_token(call.services, device, token if given else None), version=str(device.version)
    )


async def reject_device(call: Call) -> Reply:
    device = await write_device(call, lambda writer, device: writer.reject_device(device.device_id))
    closed = await close_connections(call.services, device.device_id)
    return Reply(content=with_token(call.services, device, None, closed=closed), version=str(device.version))


async def decommission_device(call: Call) -> Reply:
    device = await write_device(call, lambda writer, device: writer.decommission_device(device.device_id))
    closed = await close_connections(call.services, device.device_id)
    return Reply(content=with_token(call.services, device, None, closed=closed), version=str(device.version))


async def replace_device(call: Call) -> Reply:
    wish: device_structs.Replacement = call.body
    token = new_token()
    token_hash = call.services.keys.token_hash(token.encode())

    def write(writer: Catalog, device: catalog.Device) -> catalog.Device:
        replaced = writer.replace_device(device.device_id, serial=wish.serial)
        writer.set_token(device.device_id, token_hash)
        return replaced

    device = await write_device(call, write)
    closed = await close_connections(call.services, device.device_id)
    return Reply(content=with_token(call.services, device, token, closed=closed), version=str(device.version))


async def set_access(call: Call) -> Reply:
    wish: structs.AccessRequest = call.body
    check_role_known(call.services, wish.role)

    def write(writer: Catalog, device: catalog.Device) -> catalog.Device:
        after = (wish.access, wish.role)
        check_access_change(call.scope, before=(device.access, device.role), after=after)
        return writer.set_access(device.device_id, access=wish.access, role=wish.role)

    device = await write_device(call, write)
    await tell_access_changed(call.services, device.device_id)
    return Reply(content=device_answer(call.services, device), version=str(device.version))


async def tell_access_changed(services: Services, device_id: str) -> None:
    """Have the broker look at once at what a device may, and which of its credentials count."""
    # While it is away it need not be told: it looks at the catalog by itself, within a second or when it is back.
    with contextlib.suppress(Unavailable):
        await services.broker.access_changed(device_id)


def check_role_known(services: Services, role: str) -> None:
    """Refuse a role that the configuration doesn't have. Raises UsageError: `role_unknown`."""
    known = [each.name for each in services.config.broker_role]
    if role and role not in known:
        raise role_unknown(role, known)


async def close_connections(services: Services, device_id: str) -> bool:
    """Cut a device's connections; False when the broker can't be told now."""
    try:
        await services.broker.revoke(device_id)
    except Unavailable:
        return False
    return True


_DEVICE = "/devices/{device_id}"
_TAGS = ("devices",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/devices",
        handler=list_devices,
        needs="devices.read",
        summary="List devices",
        query=structs.DeviceQuery,
        answer=structs.DevicePage,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/devices",
        handler=create_device,
        needs="devices.manage",
        action="device.create",
        idempotent=True,
        summary="Register a device and make its token",
        body=structs.NewDevice,
        answer=structs.DeviceWithToken,
        status=201,
        errors=(404, 409),
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_DEVICE,
        handler=get_device,
        needs="devices.read",
        summary="Get a device",
        etag=True,
        answer=structs.Device,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="PATCH",
        path=_DEVICE,
        handler=edit_device,
        needs="devices.operate",
        action="device.edit",
        summary="Change a device's name, tags, groups or serial number",
        body=device_structs.DeviceEdit,
        etag=True,
        answer=structs.Device,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=_DEVICE + "/adopt",
        handler=adopt_device,
        needs="devices.operate",
        action="device.adopt",
        etag=True,
        idempotent=True,
        summary="Let a waiting or rejected device in",
        answer=structs.DeviceWithToken,
        errors=(404, 409),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=_DEVICE + "/reject",
        handler=reject_device,
        needs="devices.operate",
        action="device.reject",
        etag=True,
        idempotent=True,
        summary="Keep a waiting device out",
        answer=structs.DeviceWithToken,
        errors=(404, 409),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=_DEVICE + "/decommission",
        handler=decommission_device,
        needs="devices.manage",
        action="device.decommission",
        etag=True,
        idempotent=True,
        summary="End a device for good; its readings stay",
        answer=structs.DeviceWithToken,
        errors=(404, 409),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=_DEVICE + "/access",
        handler=set_access,
        needs="devices.manage",
        action="device.set_access",
        etag=True,
        idempotent=True,
        summary="Change what a device may publish and subscribe; holds at once",
        body=structs.AccessRequest,
        answer=structs.Device,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=_DEVICE + "/replace",
        handler=replace_device,
        needs="devices.manage",
        action="device.replace",
        etag=True,
        idempotent=True,
        summary="Let other hardware take over the id and its history; every credential of the one before ends",
        body=device_structs.Replacement,
        answer=structs.DeviceWithToken,
        errors=(404, 409),
        tags=_TAGS,
    ),
)
