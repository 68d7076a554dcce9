"""The endpoint that does the same thing with many devices."""

from __future__ import annotations

from http import HTTPStatus

from ui import device_bulk
from ui.api import import_structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.auth import actor_of
from ui.problem import status_of


async def change_devices(call: Call) -> Reply:
    wish: import_structs.BulkRequest = call.body
    assert call.identity is not None
    result = await device_bulk.carry_out(
        call.services,
        wish.ids,
        device_bulk.Operation.of(wish.op, tag=wish.tag, group=wish.group),
        role=call.identity.role,
        scope=call.scope,
        actor=await actor_of(call.request),
    )
    items = tuple(_item(outcome) for outcome in result.outcomes)
    failed_count = sum(bool(item.code) for item in items)
    return Reply(
        content=import_structs.BulkAnswer(
            op=wish.op,
            done_count=len(items) - failed_count,
            failed_count=failed_count,
            connections_closed=result.connections_closed,
            items=items,
        )
    )


def _item(outcome: device_bulk.Outcome) -> import_structs.BulkItem:
    error = outcome.error
    if error is not None:
        return import_structs.BulkItem(
            device_id=outcome.device_id,
            status=status_of(error),
            code=error.code,
            message=error.message,
            hint=error.hint,
        )
    assert outcome.device is not None
    return import_structs.BulkItem(
        device_id=outcome.device_id,
        status=HTTPStatus.OK,
        state=outcome.device.state,
        token=outcome.token,
    )


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/devices/bulk",
        handler=change_devices,
        needs="devices.operate",
        action="device.bulk",
        idempotent=True,
        summary="Do the same with up to 1,000 devices; the answer says of each what came of it",
        body=import_structs.BulkRequest,
        is_bulk=True,
        answer=import_structs.BulkAnswer,
        tags=("devices",),
    ),
)
