"""What the endpoints about traces take and answer."""

from __future__ import annotations

from typing import Any

from appliance.core.limits import PAGE_ITEM_COUNT_DEFAULT
from ui.api.structs import Answer, Limit, Query


class TraceQuery(Query, kw_only=True, frozen=True):
    """How many, the newest first."""

    limit: Limit = PAGE_ITEM_COUNT_DEFAULT


class Span(Answer, kw_only=True, frozen=True):
    """A step of a trace: from `start_us` after the trace's start, `duration_us` long. `parent_id` is "" for the first; a parent that is not
    among the spans is the device's own, or somebody else's. `kind` is internal, server, client, producer or consumer. `attributes` follow
    OpenTelemetry's semantic conventions; docs/TRACING.md lists the steps. `error` is "" for a step that went well."""

    span_id: str
    parent_id: str
    name: str
    kind: str
    start_us: int
    duration_us: int
    attributes: dict[str, Any]
    error: str


class Trace(Answer, kw_only=True, frozen=True):
    """Where a reading, or a request, spent its time. `start_at_us` is UTC, microseconds; `device_ids` whose readings are in it;
    `cut` that it has more steps than are kept."""

    trace_id: str
    device_ids: tuple[str, ...]
    start_at_us: int
    duration_us: int
    spans: tuple[Span, ...]
    cut: bool


class TraceList(Answer, kw_only=True, frozen=True):
    """Traces that are kept in memory, the newest first."""

    traces: tuple[Trace, ...]


class TraceNext(Answer, kw_only=True, frozen=True):
    """The device's next reading will be traced, if it comes within `waits_ms`."""

    device_id: str
    waits_ms: int
