"""Endpoints about erasing a device's readings."""

from __future__ import annotations

import trio

from appliance.core.errors import UsageError
from storage.catalog import Catalog, erasures
from ui.api import archive_structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.services import Services


def erasure_answer(found: erasures.Erasure) -> archive_structs.Erasure:
    return archive_structs.Erasure(
        erasure_id=found.erasure_id,
        device_id=found.device_id,
        state=found.state,
        before_seq=found.before_seq,
        reading_count=found.reading_count,
        requested_at_ms=found.requested_at_ms,
        erased_at_ms=found.erased_at_ms,
        completed_at_ms=found.completed_at_ms,
    )


async def log_position(services: Services) -> tuple[int, int]:
    """Epoch and sequence of the log's head: everything before it is to go."""
    head = await trio.to_thread.run_sync(services.log_head)
    return head.epoch, head.next_seq


async def erase_device_readings(call: Call) -> Reply:
    wish: archive_structs.ErasureWish = call.body
    device_id = call.path["device_id"]
    if wish.confirm != device_id:
        raise UsageError(
            f"Nothing was erased: “confirm” is not {device_id}.",
            hint="Send the device's id once more as confirm.",
            code="not_confirmed",
        )
    epoch, before_seq = await log_position(call.services)

    def write(catalog: Catalog) -> erasures.Erasure:
        return catalog.request_erasure(device_id, epoch=epoch, before_seq=before_seq)

    return Reply(content=erasure_answer(await call.write(write)))


async def list_erasures(call: Call) -> Reply:
    query: archive_structs.ErasureQuery = call.query
    found = await call.services.catalog.read(
        lambda reader: reader.list_erasures(device_id=query.device_id or None, limit=query.limit)
    )
    return Reply(content=archive_structs.ErasureList(erasures=tuple(map(erasure_answer, found))))


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/devices/{device_id}/erase-readings",
        handler=erase_device_readings,
        needs="telemetry.erase",
        action="device.erase",
        idempotent=True,
        is_bulk=True,
        summary="Erase a device's readings for good: store and archive at once, the log as it goes",
        body=archive_structs.ErasureWish,
        answer=archive_structs.Erasure,
        status=202,
        errors=(409,),
        tags=("archive",),
    ),
    Endpoint(
        method="GET",
        path="/erasures",
        handler=list_erasures,
        needs="archive.read",
        summary="List erasures with how far each is, the newest first",
        query=archive_structs.ErasureQuery,
        answer=archive_structs.ErasureList,
        tags=("archive",),
    ),
)
