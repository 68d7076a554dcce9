"""What API and pages say of traces: those that somebody may see, and tracing the next reading of a device.

A trace belongs to the devices whose readings are in it; who is limited to groups sees one only if all of these are theirs. Traces of
requests alone are for who sees the whole site.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from appliance.core.errors import NotFound, Unavailable
from appliance.core.limits_tracing import TRACE_BOOK_COUNT_MAX
from appliance.management.audit import Act, Actor
from appliance.management.permissions import Scope
from appliance.tracing.book import Trace
from storage.catalog import Catalog
from ui.services import Services

TRACE_NEXT: Final = "device.trace_next"


async def of_device(services: Services, device_id: str, *, scope: Scope, limit: int) -> list[Trace]:
    """A device's newest traces, the newest first. Raises NotFound: `device_unknown`; and as the catalog."""
    await services.catalog.read(lambda catalog: catalog.get_device(device_id, scope=scope))
    found = services.tracing.recorder.book.of_device(device_id, TRACE_BOOK_COUNT_MAX)
    return (await _visible(services, found, scope))[:limit]


async def newest(services: Services, *, scope: Scope, limit: int) -> list[Trace]:
    """The newest traces of readings, the newest first."""
    found = services.tracing.recorder.book.newest(TRACE_BOOK_COUNT_MAX)
    return (await _visible(services, found, scope))[:limit]


async def one(services: Services, trace_id: str, *, scope: Scope) -> Trace:
    """One trace. Raises NotFound: `trace_unknown`: it is not kept (any more), or not of their devices."""
    found = services.tracing.recorder.book.trace(trace_id)
    visible = await _visible(services, [found], scope) if found is not None else []
    if not visible:
        raise NotFound(
            "This trace isn't known here.",
            hint=f"The newest {TRACE_BOOK_COUNT_MAX} are kept until the node starts again; older ones are at the collector, where there is one.",
            code="trace_unknown",
        )
    return visible[0]


async def trace_next(services: Services, actor: Actor, device_id: str, *, scope: Scope) -> int:
    """Have the next reading of a device traced; returns for how long it is waited for, ms.

    Raises:
        NotFound: `device_unknown`. Conflict: `tracing_off`. Unavailable: the broker is away, or of another version.
    """
    await services.catalog.read(lambda catalog: catalog.get_device(device_id, scope=scope))
    act = Act(action=TRACE_NEXT, actor=actor)
    async with services.audit.noted(act, object_kind="device", object_id=device_id):
        answer = await services.broker.ask("trace_next", device=device_id)
    waits_ms = answer.get("waits_ms")
    if not isinstance(waits_ms, int):
        raise Unavailable(
            "The broker's answer can't be understood.",
            hint="Restart the appliance, so that both processes are of one version.",
            code="broker_version",
        )
    return waits_ms


async def _visible(services: Services, traces: Sequence[Trace], scope: Scope) -> list[Trace]:
    if scope is None or not traces:
        return list(traces)
    asked = {device for trace in traces for device in trace.device_ids}

    def read(catalog: Catalog) -> set[str]:
        return {device for device in asked if catalog.find_device(device, scope=scope) is not None}

    theirs = await services.catalog.read(read)
    return [trace for trace in traces if trace.device_ids and theirs.issuperset(trace.device_ids)]
