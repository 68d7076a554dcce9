"""Endpoints for lists of devices: CSV in and out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
from starlette.responses import StreamingResponse

from appliance.core.errors import HomeportError
from appliance.management.audit import Act
from appliance.management.device_csv import MEDIA_TYPE
from ui.api import import_structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.auth import actor_of, require_still
from ui.device_export import FILE_NAME, export_devices
from ui.device_import import ACTION, import_devices, report_fields, rules_of
from ui.middleware import discard_body


async def create_devices_from_csv(call: Call) -> Reply:
    query: import_structs.ImportQuery = call.query
    rules = rules_of(
        call.services, scope=call.scope, update=query.update, tokens=query.tokens, dry_run=query.dry_run
    )
    is_whole = False

    async def pieces() -> AsyncGenerator[bytes, None]:
        nonlocal is_whole
        async with aclosing(call.request.stream()) as stream:
            async for piece in stream:
                await require_still(call.request)
                yield piece
        is_whole = True

    try:
        report = await import_devices(call.services, pieces(), rules, actor=await actor_of(call.request))
    except HomeportError:
        if not is_whole:
            # So that the client gets to see the answer (ui/middleware.py).
            await discard_body(call.request.receive)
        raise
    return Reply(content=msgspec.convert(report_fields(report), import_structs.ImportAnswer))


async def get_devices_as_csv(call: Call) -> Reply:
    query: import_structs.ExportQuery = call.query
    by = Act(action="device.export", actor=await actor_of(call.request))
    await call.services.catalog.write(
        lambda catalog: catalog.note("device.export", object_kind="device", object_id="*"), by=by
    )
    lines = export_devices(
        call.services.catalog,
        states=query.state,
        kind=query.kind,
        groups=query.group,
        tags=query.tag,
        serial=query.serial,
        q=query.q,
        scope=call.scope,
    )
    return Reply(
        content=None,
        response=StreamingResponse(
            lines,
            media_type=MEDIA_TYPE,
            headers={"content-disposition": f'attachment; filename="{FILE_NAME}"'},
        ),
    )


_TAGS = ("devices",)
ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/devices/import",
        handler=create_devices_from_csv,
        needs="devices.manage",
        action=ACTION,
        summary="Register devices from CSV, with a report per row",
        query=import_structs.ImportQuery,
        body_media=MEDIA_TYPE,
        is_bulk=True,
        answer=import_structs.ImportAnswer,
        errors=(409,),
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/devices.csv",
        handler=get_devices_as_csv,
        needs="devices.read",
        summary="Devices as CSV, which can be imported again",
        query=import_structs.ExportQuery,
        media=(MEDIA_TYPE,),
        is_bulk=True,
        tags=_TAGS,
    ),
)
