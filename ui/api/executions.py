"""Endpoints about executions, the work queue, and devices that run something else than they should.

Whoever is limited to some groups finds the executions of their devices and no others.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Final

from appliance.core.errors import Unavailable
from appliance.management.execution import Execution
from appliance.management.executions import State
from appliance.updates.desk import Operation, Updates, possible
from storage.catalog import Catalog
from storage.catalog.executions import ExecutionPage
from ui import retrying
from ui.api import execution_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.auth import actor_of

_HIDDEN: Final = ("slot_touched", "boot_id", "install_boot_id", "report_seq", "report_key", "notify_count",
                  "transition_count", "push_due_at_ms", "watch_until_at_ms", "health")  # fmt: skip


def execution_answer(execution: Execution) -> structs.Execution:
    return structs.Execution(**_fields(execution))  # type: ignore[arg-type]


def _fields(execution: Execution) -> dict[str, object]:
    found = {name: value for name, value in asdict(execution).items() if name not in _HIDDEN}
    return {
        **found,
        "state": execution.state.value,
        "may": tuple(operation.value for operation in possible(execution)),
    }


def _page(found: ExecutionPage) -> structs.ExecutionPage:
    return structs.ExecutionPage(
        executions=tuple(map(execution_answer, found.executions)), next_cursor=found.next_cursor
    )


def updates_of(call: Call) -> Updates:
    """The engine's desk. Raises Unavailable: `updates_away`."""
    if call.services.updates is None:
        raise Unavailable("Updates are not ready yet.", hint="Try again in a moment.", code="updates_away")
    return call.services.updates


async def list_executions(call: Call) -> Reply:
    query: structs.ExecutionQuery = call.query
    found = await call.services.catalog.read(
        lambda catalog: catalog.list_executions(
            rollout_id=query.rollout_id,
            device_id=query.device_id,
            states=[State(state) for state in query.state],
            scope=call.scope,
            cursor=query.cursor,
            limit=query.limit,
        )
    )
    return Reply(content=_page(found))


async def list_rollout_executions(call: Call) -> Reply:
    query: structs.RolloutExecutionQuery = call.query
    rollout_id = call.path["rollout_id"]

    def read(catalog: Catalog) -> ExecutionPage:
        catalog.get_rollout(rollout_id)
        return catalog.list_executions(
            rollout_id=rollout_id,
            states=[State(state) for state in query.state],
            scope=call.scope,
            cursor=query.cursor,
            limit=query.limit,
        )

    return Reply(content=_page(await call.services.catalog.read(read)))


async def list_device_executions(call: Call) -> Reply:
    query: structs.RolloutExecutionQuery = call.query
    device_id = call.path["device_id"]

    def read(catalog: Catalog) -> ExecutionPage:
        catalog.get_device(device_id, scope=call.scope)
        return catalog.list_executions(
            device_id=device_id,
            states=[State(state) for state in query.state],
            cursor=query.cursor,
            limit=query.limit,
        )

    return Reply(content=_page(await call.services.catalog.read(read)))


async def list_rollout_events(call: Call) -> Reply:
    rollout_id = call.path["rollout_id"]

    def read(catalog: Catalog) -> structs.RolloutHistory:
        catalog.get_rollout(rollout_id)
        moves = catalog.rollout_history(rollout_id)
        return structs.RolloutHistory(events=tuple(structs.RolloutEvent(**asdict(move)) for move in moves))

    return Reply(content=await call.services.catalog.read(read))


async def get_execution(call: Call) -> Reply:
    execution_id = call.path["execution_id"]

    def read(catalog: Catalog) -> structs.ExecutionWithEvents:
        execution = catalog.visible_execution(execution_id, scope=call.scope)
        events = []
        for each in catalog.execution_events(execution_id):
            fields = asdict(each)
            del fields["execution_id"]
            events.append(structs.ExecutionEvent(**fields))
        return structs.ExecutionWithEvents(**_fields(execution), events=tuple(events))  # type: ignore[arg-type]

    return Reply(content=await call.services.catalog.read(read))


async def _operate(call: Call, operation: Operation) -> Reply:
    execution_id = call.path["execution_id"]
    await call.services.catalog.read(
        lambda catalog: catalog.visible_execution(execution_id, scope=call.scope)
    )
    done = await updates_of(call).operate(
        execution_id, operation, await actor_of(call.request), reason=call.body.reason
    )
    return Reply(content=execution_answer(done))


async def retry_execution(call: Call) -> Reply:
    return await _operate(call, Operation.RETRY)


async def retry_execution_rollback(call: Call) -> Reply:
    return await _operate(call, Operation.RETRY_ROLLBACK)


async def mark_execution_recovered(call: Call) -> Reply:
    return await _operate(call, Operation.MARK_RECOVERED)


async def replace_execution_device(call: Call) -> Reply:
    return await _operate(call, Operation.REPLACE_DEVICE)


async def ignore_execution(call: Call) -> Reply:
    return await _operate(call, Operation.IGNORE)


async def accept_execution(call: Call) -> Reply:
    return await _operate(call, Operation.ACCEPT)


async def cancel_execution(call: Call) -> Reply:
    return await _operate(call, Operation.CANCEL)


async def roll_back_execution(call: Call) -> Reply:
    return await _operate(call, Operation.ROLLBACK)


async def retry_failed(call: Call) -> Reply:
    found = await retrying.retry_failed(call.services, call.path["rollout_id"], await actor_of(call.request))
    return Reply(content=structs.RetryOutcome(**asdict(found)))


_EXECUTION = "/executions/{execution_id}"
_TAGS = ("executions",)
_LIST = partial(Endpoint, method="GET", needs="firmware.read", tags=_TAGS)
_ACT = partial(
    Endpoint,
    method="POST",
    needs="executions.operate",
    body=structs.ExecutionOrder,
    answer=structs.Execution,
    errors=(404, 409),
    codes={
        404: ("execution_unknown",),
        409: ("execution_state", "execution_followed"),
        503: ("updates_busy", "updates_timeout"),
    },
    tags=_TAGS,
)
ENDPOINTS = (
    _LIST(
        path="/executions",
        handler=list_executions,
        summary="List executions",
        query=structs.ExecutionQuery,
        answer=structs.ExecutionPage,
    ),
    _LIST(
        path=_EXECUTION,
        handler=get_execution,
        summary="Get an execution with its history",
        answer=structs.ExecutionWithEvents,
        errors=(404,),
        codes={404: ("execution_unknown",)},
    ),
    _ACT(
        path=_EXECUTION + "/retry",
        handler=retry_execution,
        action="execution.retry",
        summary="Try an update once more, from the beginning",
    ),
    _ACT(
        path=_EXECUTION + "/retry-rollback",
        handler=retry_execution_rollback,
        action="execution.retry_rollback",
        summary="Have a device go back once more; its attempts count anew",
    ),
    _ACT(
        path=_EXECUTION + "/mark-recovered",
        handler=mark_execution_recovered,
        action="execution.mark_recovered",
        summary="Mark a device recovered, by the version that it has reported since",
        codes={404: ("execution_unknown",), 409: ("execution_state", "execution_not_recovered")},
    ),
    _ACT(
        path=_EXECUTION + "/replace",
        handler=replace_execution_device,
        action="execution.replace_device",
        summary="Take an execution out, because its device is replaced by other hardware",
    ),
    _ACT(
        path=_EXECUTION + "/ignore",
        handler=ignore_execution,
        action="execution.ignore",
        summary="Close an execution without knowing what its device runs",
    ),
    _ACT(
        path=_EXECUTION + "/accept",
        handler=accept_execution,
        action="execution.accept",
        summary="Accept that a device fell back to its old version later",
    ),
    _ACT(
        path=_EXECUTION + "/cancel",
        handler=cancel_execution,
        action="execution.cancel",
        summary="Call an execution off, as long as nothing was written to its device",
    ),
    _ACT(
        path=_EXECUTION + "/rollback",
        handler=roll_back_execution,
        action="execution.rollback",
        summary="Have one device go back to what it ran before",
    ),
    _LIST(
        path="/rollouts/{rollout_id}/executions",
        handler=list_rollout_executions,
        summary="List a rollout's devices and how far each is",
        query=structs.RolloutExecutionQuery,
        answer=structs.ExecutionPage,
        errors=(404,),
        codes={404: ("rollout_unknown",)},
    ),
    _LIST(
        path="/rollouts/{rollout_id}/events",
        handler=list_rollout_events,
        summary="A rollout's moves, the newest first",
        answer=structs.RolloutHistory,
        errors=(404,),
        codes={404: ("rollout_unknown",)},
    ),
    Endpoint(
        method="POST",
        path="/rollouts/{rollout_id}/retry-failed",
        handler=retry_failed,
        needs="rollouts.manage",
        action=retrying.ACTION,
        is_bulk=True,
        summary="Try all devices of a rollout that failed or ran out of time once more",
        answer=structs.RetryOutcome,
        errors=(404, 409),
        codes={404: ("rollout_unknown",), 409: ("rollout_state",)},
        tags=_TAGS,
    ),
    _LIST(
        path="/devices/{device_id}/executions",
        handler=list_device_executions,
        summary="List a device's updates",
        query=structs.RolloutExecutionQuery,
        answer=structs.ExecutionPage,
        errors=(404,),
        codes={404: ("device_unknown",)},
    ),
)
