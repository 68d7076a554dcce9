"""Endpoints about maintenances: times in which alarms of some devices are expected."""

from __future__ import annotations

import secrets
from functools import partial

import msgspec

from appliance.management.permissions import Scope
from appliance.management.rule import RuleScope
from storage.catalog import Catalog
from storage.catalog.maintenances import Maintenance
from ui.api import alarm_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.auth import actor_of

ID_BYTES = 8


def maintenance_answer(
    catalog: Catalog, found: Maintenance, now_ms: int, *, scope: Scope
) -> structs.Maintenance:
    """Whoever is limited to some groups learns why their alarms are suppressed and until when, and no names of other devices."""
    shown = found.scope if scope is None else RuleScope(all=found.scope.all)
    return structs.Maintenance(
        maintenance_id=found.maintenance_id,
        scope=msgspec.convert(msgspec.to_builtins(shown), structs.MaintenanceScope),
        reason=found.reason,
        from_at_ms=found.from_at_ms,
        until_at_ms=found.until_at_ms,
        state=found.state(now_ms),
        created_by=found.created_by,
        created_at_ms=found.created_at_ms,
        suppressed_count=catalog.count_alarms_suppressed_by(found.maintenance_id),
    )


async def list_maintenances(call: Call) -> Reply:
    query: structs.MaintenanceQuery = call.query
    now_ms = call.services.clock.now_ms()

    def read(catalog: Catalog) -> structs.MaintenanceList:
        found = catalog.list_maintenances(states=query.state, limit=query.limit)
        return structs.MaintenanceList(
            maintenances=tuple(maintenance_answer(catalog, each, now_ms, scope=call.scope) for each in found)
        )

    return Reply(content=await call.services.catalog.read(read))


async def get_maintenance(call: Call) -> Reply:
    maintenance_id, now_ms = call.path["maintenance_id"], call.services.clock.now_ms()

    def read(catalog: Catalog) -> tuple[structs.Maintenance, int]:
        found = catalog.get_maintenance(maintenance_id)
        return maintenance_answer(catalog, found, now_ms, scope=call.scope), found.version

    answer, version = await call.services.catalog.read(read)
    return Reply(content=answer, version=str(version))


async def add_maintenance(call: Call) -> Reply:
    wish: structs.NewMaintenance = call.body
    now_ms, by = call.services.clock.now_ms(), (await actor_of(call.request)).name
    scope = msgspec.convert(msgspec.to_builtins(wish.scope), RuleScope)

    def write(catalog: Catalog) -> structs.Maintenance:
        made = catalog.add_maintenance(
            secrets.token_hex(ID_BYTES),
            scope=scope,
            reason=wish.reason,
            from_at_ms=now_ms if wish.from_at_ms is None else wish.from_at_ms,
            until_at_ms=wish.until_at_ms,
            by=by,
        )
        return maintenance_answer(catalog, made, now_ms, scope=call.scope)

    return Reply(content=await call.write(write))


async def end_maintenance(call: Call) -> Reply:
    maintenance_id, now_ms = call.path["maintenance_id"], call.services.clock.now_ms()

    def write(catalog: Catalog) -> structs.Maintenance:
        return maintenance_answer(catalog, catalog.end_maintenance(maintenance_id), now_ms, scope=call.scope)

    return Reply(content=await call.write(write))


_ONE = "/maintenances/{maintenance_id}"
_TAGS = ("alarms",)
_UNKNOWN = {404: ("maintenance_unknown",)}
_READ = partial(Endpoint, method="GET", needs="alarms.read", tags=_TAGS)
_WRITE = partial(
    Endpoint,
    method="POST",
    needs="maintenance.manage",
    answer=structs.Maintenance,
    idempotent=True,
    tags=_TAGS,
)
ENDPOINTS = (
    _READ(
        path="/maintenances",
        handler=list_maintenances,
        summary="List maintenances, that which is over last first",
        query=structs.MaintenanceQuery,
        answer=structs.MaintenanceList,
    ),
    _WRITE(
        path="/maintenances",
        handler=add_maintenance,
        action="maintenance.create",
        summary="Have nobody told of alarms of some devices for a while",
        body=structs.NewMaintenance,
        status=201,
        errors=(404, 429),
        codes={
            404: ("device_unknown", "group_unknown", "tag_unknown"),
            422: ("maintenance_invalid",),
            429: ("maintenance_count",),
        },
    ),
    _READ(
        path=_ONE,
        handler=get_maintenance,
        summary="Get a maintenance",
        etag=True,
        answer=structs.Maintenance,
        errors=(404,),
        codes=_UNKNOWN,
    ),
    _WRITE(
        path=f"{_ONE}/end",
        handler=end_maintenance,
        action="maintenance.end",
        summary="End a maintenance now; what is still wrong is told",
        errors=(404, 409),
        codes={**_UNKNOWN, 409: ("maintenance_over",)},
    ),
)
