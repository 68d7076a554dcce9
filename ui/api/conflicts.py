"""Endpoints about conflicts: values that people wrote on nodes that did not know of each other."""

from __future__ import annotations

from appliance.management import hlc
from appliance.management.audit import shown
from storage.catalog import Catalog, conflicts
from ui.api import conflict_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.auth import actor_of


def conflict_answer(found: conflicts.FieldConflict) -> structs.FieldConflict:
    return structs.FieldConflict(
        conflict_id=found.conflict_id,
        table=found.table,
        key=found.key,
        register=found.register,
        values=tuple(
            structs.ConflictValue(
                values=shown(each.values),
                node=each.clock.origin,
                written_at_ms=hlc.wall_ms(each.clock.hlc),
            )
            for each in found.candidates
        ),
        found_at_ms=found.found_at_ms,
        state=found.state,
        resolved_at_ms=found.resolved_at_ms,
        resolved_by=found.resolved_by,
    )


async def list_conflicts(call: Call) -> Reply:
    query: structs.ConflictQuery = call.query

    def read(catalog: Catalog) -> structs.ConflictList:
        page = catalog.list_conflicts(state=query.state, cursor=query.cursor, limit=query.limit)
        return structs.ConflictList(
            conflicts=tuple(map(conflict_answer, page.conflicts)),
            open_count=catalog.count_conflicts(),
            next_cursor=page.next_cursor,
        )

    return Reply(content=await call.services.catalog.read(read))


async def get_conflict(call: Call) -> Reply:
    conflict_id = call.path["conflict_id"]
    return Reply(
        content=await call.services.catalog.read(
            lambda catalog: conflict_answer(catalog.get_conflict(conflict_id))
        )
    )


async def resolve_conflict(call: Call) -> Reply:
    choice: structs.ConflictChoice = call.body
    conflict_id, by = call.path["conflict_id"], (await actor_of(call.request)).name
    return Reply(
        content=await call.write(
            lambda catalog: conflict_answer(catalog.resolve_conflict(conflict_id, choice.value, by=by))
        )
    )


_ONE = "/conflicts/{conflict_id}"
_TAGS = ("sites",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/conflicts",
        handler=list_conflicts,
        needs="conflicts.read",
        summary="List values that nodes of the site wrote without knowing of each other",
        query=structs.ConflictQuery,
        answer=structs.ConflictList,
        errors=(404,),
        codes={404: ("conflict_unknown",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_ONE,
        handler=get_conflict,
        needs="conflicts.read",
        summary="Describe a conflict with all of its values",
        answer=structs.FieldConflict,
        errors=(404,),
        codes={404: ("conflict_unknown",)},
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/resolve",
        handler=resolve_conflict,
        needs="conflicts.resolve",
        action="conflict.resolve",
        idempotent=True,
        summary="Put one of the values in force on all nodes",
        body=structs.ConflictChoice,
        answer=structs.FieldConflict,
        errors=(404, 409),
        codes={404: ("conflict_unknown",), 409: ("conflict_resolved", "constraint_failed")},
        tags=_TAGS,
    ),
)
