"""Where readings spent their time: the part of a device's page, tracing its next reading, and the page of a trace.

Bars are drawn as SVG: the page's policy allows no styles of its own. What they say stands beside them in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import Conflict, Unavailable
from appliance.tracing.book import Trace
from appliance.tracing.journeys import Journey, journeys, milliseconds, tree
from appliance.tracing.span import Span
from ui import auth, trace_desk
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell
from ui.pages.views import device_url

ROW_COUNT: Final = 5
BAR: Final = 1000
"""Width of a bar in units of its own."""
_BAR_MIN: Final = 4
"""So that a short step can be seen."""
INDENT_MAX: Final = 4
_FATES: Final = {
    "reading": "",
    "duplicate": "stored before",
    "dead_letter": "a dead letter",
    "status": "a status",
    "unmapped": "no reading: no mapping knows its topic",
}
_WORDS: Final = {
    "messaging.destination.name": "topic",
    "messaging.client.id": "client",
    "messaging.mqtt.qos": "QoS",
    "messaging.batch.message_count": "messages in the batch",
    "db.operation.batch.size": "rows",
    "homeport.log.seq": "record",
    "homeport.log.records": "records in the block",
    "homeport.fate": "became",
    "homeport.rule.id": "rule",
    "homeport.alarm.id": "alarm",
    "homeport.notification.target": "target",
    "homeport.notification.attempt": "attempt",
    "url.path": "path",
    "http.response.status_code": "status",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BarView:
    """A part of a bar; `number` is its colour."""

    name: str
    took: str
    x: int
    width: int
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JourneyView:
    """A traced reading as it is shown."""

    url: str
    trace_id: str
    arrived_at_ms: int
    took: str
    fate: str
    stages: tuple[BarView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """A step of a trace as it is shown."""

    depth: int
    name: str
    after: str
    bar: BarView
    words: tuple[tuple[str, str], ...]
    error: str


def trace_url(trace_id: str) -> str:
    """Where a trace is shown."""
    return f"/traces/{quote(trace_id, safe='')}"


async def traces_of(shell: Shell, request: Request, device_id: str) -> tuple[JourneyView, ...] | None:
    """A device's newest traced readings; None for whoever may not see them."""
    if "traces.read" not in await shell.permissions_of(request):
        return None
    found = await trace_desk.of_device(
        shell.services, device_id, scope=await scope_of(request), limit=ROW_COUNT
    )
    return journey_views(found, device_id)


def journey_views(traces: Sequence[Trace], device_id: str) -> tuple[JourneyView, ...]:
    """The ways of a device's messages, the newest first."""
    ways = [each for trace in traces for each in journeys(trace) if each.device_id == device_id]
    return tuple(_journey_view(each) for each in ways[:ROW_COUNT])


async def trace_next(shell: Shell, request: Request) -> Response:
    """`POST /devices/{id}/trace-next`. Raises NotFound: `device_unknown`."""
    device_id = request.path_params["device_id"]
    done = "trace_next"
    try:
        await trace_desk.trace_next(
            shell.services, await auth.actor_of(request), device_id, scope=await scope_of(request)
        )
    except (Conflict, Unavailable):
        done = "trace_not"
    return RedirectResponse(f"{device_url(device_id)}?done={done}#traces", 303)


async def show(shell: Shell, request: Request) -> Response:
    """`GET /traces/{trace_id}`. Raises NotFound: `trace_unknown`."""
    trace = await trace_desk.one(
        shell.services, request.path_params["trace_id"], scope=await scope_of(request)
    )
    return await shell.render(
        request,
        "trace.html",
        title="Trace",
        section="devices",
        trace=trace,
        devices=[(device, device_url(device)) for device in trace.device_ids],
        took=_took(trace.end_us - trace.start_us),
        started_at_ms=trace.start_us // 1000,
        ways=[_journey_view(each) for each in journeys(trace)],
        steps=step_views(trace),
    )


def step_views(trace: Trace) -> list[StepView]:
    """A trace's steps, each below its parent."""
    whole_us = max(1, trace.end_us - trace.start_us)
    return [_step_view(trace, whole_us, depth, span) for depth, span in tree(trace.spans)]


def _step_view(trace: Trace, whole_us: int, depth: int, span: Span) -> StepView:
    after_us = span.start_us - trace.start_us
    took = _took(span.duration_us)
    width = max(_BAR_MIN, span.duration_us * BAR // whole_us)
    words = [(word, str(span.attributes[key])) for key, word in _WORDS.items() if key in span.attributes]
    return StepView(
        depth=min(depth, INDENT_MAX),
        name=span.name,
        after=_took(after_us),
        bar=BarView(
            name=span.name, took=took, x=min(after_us * BAR // whole_us, BAR - _BAR_MIN), width=width
        ),
        words=tuple(words),
        error=span.error,
    )


def _journey_view(journey: Journey) -> JourneyView:
    whole_us = max(1, journey.duration_us)
    return JourneyView(
        url=trace_url(journey.trace_id),
        trace_id=journey.trace_id,
        arrived_at_ms=journey.arrived_us // 1000,
        took=_took(journey.duration_us),
        fate=_FATES.get(journey.fate, journey.fate),
        stages=tuple(
            BarView(
                name=each.name,
                took=_took(each.duration_us),
                x=each.start_us * BAR // whole_us,
                width=max(1, each.duration_us * BAR // whole_us),
                number=number,
            )
            for number, each in enumerate(journey.stages)
        ),
    )


def _took(duration_us: int) -> str:
    """A duration that is not broken in two."""
    return milliseconds(duration_us).replace(" ", "\N{NO-BREAK SPACE}")
