"""Endpoints about the tokens of a device: what they are is shown once, when they are made."""

from __future__ import annotations

from appliance.identity import new_token
from storage import catalog
from storage.catalog import Catalog
from ui.api import device_structs, structs
from ui.api.devices import close_connections, tell_access_changed, with_token, write_device
from ui.api.endpoint import Call, Endpoint, Reply


async def create_token(call: Call) -> Reply:
    wish: structs.TokenRequest = call.body
    token = new_token()
    token_hash = call.services.keys.token_hash(token.encode())
    old_valid_until_ms = call.services.clock.now_ms() + wish.overlap_s * 1000

    def write(writer: Catalog, device: catalog.Device) -> catalog.Device:
        if wish.overlap_s == 0:
            writer.revoke_tokens(device.device_id)
        writer.set_token(device.device_id, token_hash, old_valid_until_ms=old_valid_until_ms)
        return device

    device = await write_device(call, write)
    closed = await close_connections(call.services, device.device_id) if wish.overlap_s == 0 else True
    return Reply(content=with_token(call.services, device, token, closed=closed))


async def list_device_tokens(call: Call) -> Reply:
    device_id = call.path["device_id"]

    def read(reader: Catalog) -> list[catalog.DeviceToken]:
        reader.get_device(device_id, scope=call.scope)
        return reader.tokens_of(device_id)

    tokens = await call.services.catalog.read(read)
    return Reply(
        content=device_structs.DeviceTokens(
            device_id=device_id,
            tokens=tuple(
                device_structs.DeviceToken(
                    token_id=token.token_id,
                    created_at_ms=token.created_at_ms,
                    expires_at_ms=token.expires_at_ms,
                )
                for token in tokens
            ),
        )
    )


async def revoke_device_token(call: Call) -> Reply:
    token_id = call.path["token_id"]
    await write_device(call, lambda writer, device: writer.revoke_token(device.device_id, token_id))
    # Connections that came with another of its tokens stay: the broker knows which each came with.
    await tell_access_changed(call.services, call.path["device_id"])
    return Reply(content=None)


_TAGS = ("devices",)
ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/devices/{device_id}/token",
        handler=create_token,
        needs="devices.manage",
        action="device_token.create",
        idempotent=True,
        summary="Make a new token beside the one in use",
        body=structs.TokenRequest,
        answer=structs.DeviceWithToken,
        status=201,
        errors=(404, 409),
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/devices/{device_id}/tokens",
        handler=list_device_tokens,
        needs="devices.read",
        summary="The tokens of a device: how old, until when",
        answer=device_structs.DeviceTokens,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path="/devices/{device_id}/tokens/{token_id}",
        handler=revoke_device_token,
        needs="devices.manage",
        action="device_token.revoke",
        summary="End one token; connections that came with it are cut at once",
        errors=(404,),
        tags=_TAGS,
    ),
)
