"""Endpoints about what needs somebody: the work queue, devices that run something else than they should, the fence."""

from __future__ import annotations

from functools import partial

from appliance.management.audit import Act
from appliance.updates.fence import raise_fence_and_tell
from storage.catalog import Catalog
from ui.api import execution_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.api.executions import execution_answer, updates_of
from ui.auth import actor_of
from ui.pages.execution_words import words_of


async def list_work_queue(call: Call) -> Reply:
    query: structs.WorkQueueQuery = call.query

    def read(catalog: Catalog) -> structs.WorkQueue:
        page = catalog.executions_in_need(
            rollout_id=query.rollout_id, scope=call.scope, cursor=query.cursor, limit=query.limit
        )
        return structs.WorkQueue(
            items=tuple(
                structs.WorkItem(
                    execution=execution_answer(each),
                    since_ms=each.state_since_ms,
                    next_step=words_of(each.state).next,
                )
                for each in page.executions
            ),
            count=catalog.count_in_need(scope=call.scope),
            next_cursor=page.next_cursor,
        )

    return Reply(content=await call.services.catalog.read(read))


async def list_drift(call: Call) -> Reply:
    query: structs.DriftQuery = call.query
    found = await call.services.catalog.read(
        lambda catalog: catalog.drift(scope=call.scope, limit=query.limit)
    )
    return Reply(
        content=structs.DriftList(
            devices=tuple(
                structs.DriftedDevice(
                    device_id=each.device_id,
                    execution_id=each.execution_id,
                    version=each.version,
                    digest=each.digest,
                    expected_version=each.should_version,
                    expected_digest=each.should_digest,
                    reported_at_ms=each.reported_at_ms,
                )
                for each in found
            )
        )
    )


async def raise_fence(call: Call) -> Reply:
    by = Act(action=call.action, actor=await actor_of(call.request))
    fence = await updates_of(call).engine.do(raise_fence_and_tell, by=by)
    return Reply(content=structs.Fence(fence=fence))


_TAGS = ("executions",)
_LIST = partial(Endpoint, method="GET", needs="firmware.read", tags=_TAGS)
ENDPOINTS = (
    _LIST(
        path="/work-queue",
        handler=list_work_queue,
        summary="Devices that need a hand after an update, each with its next step",
        query=structs.WorkQueueQuery,
        answer=structs.WorkQueue,
    ),
    _LIST(
        path="/firmware/drift",
        handler=list_drift,
        summary="Devices that report something else than their last update ended with",
        query=structs.DriftQuery,
        answer=structs.DriftList,
    ),
    Endpoint(
        method="POST",
        path="/firmware/raise-fence",
        handler=raise_fence,
        needs="keys.manage",
        action="firmware.raise_fence",
        summary="Void whatever another box may still say to devices",
        answer=structs.Fence,
        tags=_TAGS,
    ),
)
