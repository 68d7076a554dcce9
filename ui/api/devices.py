"""Endpoints about devices."""

from __future__ import annotations

import contextlib

from appliance.core.errors import Unavailable
from appliance.identity import new_token
from appliance.management.access import role_unknown
from appliance.management.freshness import freshness
from appliance.management.readings import Quality
from storage import catalog
from storage.catalog import Catalog
from ui.api import structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.services import Services

QUALITY_WORDS: dict[int, structs.Quality] = {
    Quality.GOOD: "good",
    Quality.UNCERTAIN: "uncertain",
    Quality.BAD: "bad",
}


def device_answer(services: Services, device: catalog.Device) -> structs.Device:
    """A device of the catalog with what the live view knows of it."""
    return structs.Device(**_fields(services, device))  # type: ignore[arg-type]


def _fields(services: Services, device: catalog.Device) -> dict[str, object]:
    live = services.live.device(device.device_id)
    reading_at_ms = live.last_reading_at_ms if live else None
    return {
        "device_id": device.device_id,
        "kind": device.kind,
        "access": device.access,
        "role": device.role,
        "state": device.state,
        "name": device.name,
        "tags": device.tags,
        "first_contact_at_ms": device.first_contact_at_ms,
        "created_at_ms": device.created_at_ms,
        "updated_at_ms": device.updated_at_ms,
        "presence": str(live.presence) if live else "never_seen",
        "presence_since_ms": live.presence_since_ms if live else None,
        "presence_reason": (live.presence_reason or None) if live else None,
        "last_seen_at_ms": live.last_seen_at_ms if live else None,
        "last_reading_at_ms": reading_at_ms,
        "freshness": freshness(reading_at_ms, services.clock.now_ms(), services.stale_after_ms).value,
        "address": (live.address or None) if live else None,
    }


def _with_token(
    services: Services, device: catalog.Device, token: str | None, *, closed: bool = True
) -> structs.DeviceWithToken:
    return structs.DeviceWithToken(
        **_fields(services, device),  # type: ignore[arg-type]
        token=token,
        connections_closed=closed,
    )


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
                for device_id in reader.device_ids()
                if presence_of.get(device_id, "never_seen") == "never_seen"
            ]
        elif wanted is not None:
            ids = [device_id for device_id, word in presence_of.items() if word == wanted]
        return reader.list_devices(
            states=query.state,
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
    device = await call.services.catalog.read(lambda reader: reader.get_device(device_id))
    return Reply(content=device_answer(call.services, device))


async def create_device(call: Call) -> Reply:
    new: structs.NewDevice = call.body
    check_role_known(call.services, new.role)
    token = new_token()
    token_hash = call.services.keys.token_hash(token.encode())

    def write(writer: Catalog) -> catalog.Device:
        device = writer.add_device(
            new.device_id, kind=new.kind, access=new.access, role=new.role, name=new.name, tags=new.tags
        )
        writer.set_token(new.device_id, token_hash)
        return device

    device = await call.services.catalog.write(write)
    return Reply(content=_with_token(call.services, device, token))


async def adopt_device(call: Call) -> Reply:
    device_id = call.path["device_id"]
    token = new_token()
    token_hash = call.services.keys.token_hash(token.encode())

    def write(writer: Catalog) -> tuple[catalog.Device, bool]:
        device = writer.adopt_device(device_id)
        needs_token = not writer.tokens_of(device_id)
        if needs_token:
            writer.set_token(device_id, token_hash)
        return device, needs_token

    device, given = await call.services.catalog.write(write)
    return Reply(content=_with_token(call.services, device, token if given else None))


async def reject_device(call: Call) -> Reply:
    device_id = call.path["device_id"]
    device = await call.services.catalog.write(lambda writer: writer.reject_device(device_id))
    closed = await close_connections(call.services, device_id)
    return Reply(content=_with_token(call.services, device, None, closed=closed))


async def decommission_device(call: Call) -> Reply:
    device_id = call.path["device_id"]
    device = await call.services.catalog.write(lambda writer: writer.decommission_device(device_id))
    closed = await close_connections(call.services, device_id)
    return Reply(content=_with_token(call.services, device, None, closed=closed))


async def set_access(call: Call) -> Reply:
    wish: structs.AccessRequest = call.body
    device_id = call.path["device_id"]
    check_role_known(call.services, wish.role)
    device = await call.services.catalog.write(
        lambda writer: writer.set_access(device_id, access=wish.access, role=wish.role)
    )
    with contextlib.suppress(
        Unavailable
    ):  # The broker looks at the catalog by itself: within a second, or when it is back.
        await call.services.broker.access_changed(device_id)
    return Reply(content=device_answer(call.services, device))


def check_role_known(services: Services, role: str) -> None:
    """Refuse a role that the configuration doesn't have. Raises UsageError: `role_unknown`."""
    known = [each.name for each in services.config.broker_role]
    if role and role not in known:
        raise role_unknown(role, known)


async def create_token(call: Call) -> Reply:
    wish: structs.TokenRequest = call.body
    device_id = call.path["device_id"]
    token = new_token()
    token_hash = call.services.keys.token_hash(token.encode())
    old_valid_until_ms = call.services.clock.now_ms() + wish.overlap_s * 1000

    def write(writer: Catalog) -> catalog.Device:
        if wish.overlap_s == 0:
            writer.revoke_tokens(device_id)
        writer.set_token(device_id, token_hash, old_valid_until_ms=old_valid_until_ms)
        return writer.get_device(device_id)

    device = await call.services.catalog.write(write)
    closed = await close_connections(call.services, device_id) if wish.overlap_s == 0 else True
    return Reply(content=_with_token(call.services, device, token, closed=closed))


async def close_connections(services: Services, device_id: str) -> bool:
    """Cut a device's connections; False when the broker can't be told now."""
    try:
        await services.broker.revoke(device_id)
    except Unavailable:
        return False
    return True


async def newest_values(call: Call) -> Reply:
    services, device_id = call.services, call.path["device_id"]
    await services.catalog.read(lambda reader: reader.get_device(device_id))
    now_ms = services.clock.now_ms()
    newest = services.live.newest(device_id)
    return Reply(
        content=structs.NewestValues(
            device_id=device_id,
            now_ms=now_ms,
            values=tuple(
                structs.Newest(
                    metric=name,
                    value=newest[name].value,
                    observed_at_ms=newest[name].observed_at_ms,
                    received_at_ms=newest[name].received_at_ms,
                    quality=QUALITY_WORDS[newest[name].quality],
                    freshness=freshness(newest[name].received_at_ms, now_ms, services.stale_after_ms).value,
                )
                for name in sorted(newest)
            ),
        )
    )


_DEVICE = "/devices/{device_id}"
_TAGS = ("devices",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/devices",
        handler=list_devices,
        summary="List devices",
        query=structs.DeviceQuery,
        answer=structs.DevicePage,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/devices",
        handler=create_device,
        summary="Register a device and make its token",
        body=structs.NewDevice,
        answer=structs.DeviceWithToken,
        status=201,
        errors=(409,),
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_DEVICE,
        handler=get_device,
        summary="Get a device",
        answer=structs.Device,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=_DEVICE + "/adopt",
        handler=adopt_device,
        summary="Let a waiting or rejected device in",
        answer=structs.DeviceWithToken,
        errors=(404, 409),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=_DEVICE + "/reject",
        handler=reject_device,
        summary="Keep a waiting device out",
        answer=structs.DeviceWithToken,
        errors=(404, 409),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=_DEVICE + "/decommission",
        handler=decommission_device,
        summary="End a device for good; its readings stay",
        answer=structs.DeviceWithToken,
        errors=(404, 409),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=_DEVICE + "/access",
        handler=set_access,
        summary="Change what a device may publish and subscribe; holds at once",
        body=structs.AccessRequest,
        answer=structs.Device,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=_DEVICE + "/token",
        handler=create_token,
        summary="Make a new token beside the one in use",
        body=structs.TokenRequest,
        answer=structs.DeviceWithToken,
        status=201,
        errors=(404, 409),
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_DEVICE + "/newest",
        handler=newest_values,
        summary="The newest value of each metric",
        answer=structs.NewestValues,
        errors=(404,),
        tags=_TAGS,
    ),
)
