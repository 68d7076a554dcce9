"""Endpoints about traces: where a reading spent its time."""

from __future__ import annotations

from typing import Any

from appliance.tracing.book import Trace
from appliance.tracing.span import SpanKind
from ui import trace_desk
from ui.api import trace_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.auth import actor_of


def trace_answer(trace: Trace) -> structs.Trace:
    """A trace as the API tells it."""
    start_us = trace.start_us
    return structs.Trace(
        trace_id=trace.trace_id,
        device_ids=trace.device_ids,
        start_at_us=start_us,
        duration_us=trace.end_us - start_us,
        spans=tuple(
            structs.Span(
                span_id=span.span_id,
                parent_id=span.parent_id,
                name=span.name,
                kind=SpanKind(span.kind).name.lower(),
                start_us=span.start_us - start_us,
                duration_us=span.duration_us,
                attributes=dict(span.attributes),
                error=span.error,
            )
            for span in trace.spans
        ),
        cut=trace.is_cut,
    )


async def list_traces(call: Call) -> Reply:
    query: structs.TraceQuery = call.query
    found = await trace_desk.newest(call.services, scope=call.scope, limit=query.limit)
    return Reply(content=structs.TraceList(traces=tuple(map(trace_answer, found))))


async def get_trace(call: Call) -> Reply:
    found = await trace_desk.one(call.services, call.path["trace_id"], scope=call.scope)
    return Reply(content=trace_answer(found))


async def list_device_traces(call: Call) -> Reply:
    query: structs.TraceQuery = call.query
    found = await trace_desk.of_device(
        call.services, call.path["device_id"], scope=call.scope, limit=query.limit
    )
    return Reply(content=structs.TraceList(traces=tuple(map(trace_answer, found))))


async def trace_next_reading(call: Call) -> Reply:
    device_id = call.path["device_id"]
    waits_ms = await trace_desk.trace_next(
        call.services, await actor_of(call.request), device_id, scope=call.scope
    )
    return Reply(content=structs.TraceNext(device_id=device_id, waits_ms=waits_ms))


_OF_DEVICE = "/devices/{device_id}/traces"
_READS: dict[str, Any] = {"method": "GET", "needs": "traces.read", "tags": ("traces",)}
ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint(
        path="/traces",
        handler=list_traces,
        summary="The newest traced readings",
        query=structs.TraceQuery,
        answer=structs.TraceList,
        **_READS,
    ),
    Endpoint(
        path="/traces/{trace_id}",
        handler=get_trace,
        summary="One trace with its steps",
        answer=structs.Trace,
        errors=(404,),
        codes={404: ("trace_unknown",)},
        **_READS,
    ),
    Endpoint(
        path=_OF_DEVICE,
        handler=list_device_traces,
        summary="A device's newest traced readings",
        query=structs.TraceQuery,
        answer=structs.TraceList,
        errors=(404,),
        codes={404: ("device_unknown",)},
        **_READS,
    ),
    Endpoint(
        method="POST",
        path=_OF_DEVICE,
        handler=trace_next_reading,
        needs="traces.read",
        action=trace_desk.TRACE_NEXT,
        summary="Trace the device's next reading",
        answer=structs.TraceNext,
        errors=(404, 409),
        codes={404: ("device_unknown",), 409: ("tracing_off",)},
        tags=("traces",),
    ),
)
