"""Endpoints of a cloud node about what is at sites, and of a site about which cloud nodes may read it."""

from __future__ import annotations

import msgspec

from appliance.core.errors import NotFound
from appliance.management.audit import Act
from appliance.management.site_reading import ALLOW, FORBID, Part
from ui.api import alarm_structs, structs
from ui.api import site_reading_structs as answers
from ui.api.endpoint import Call, Endpoint, Handler, Reply
from ui.auth import actor_of
from ui.site_grants import Reader, readers, set_reading


async def list_readers(call: Call) -> Reply:
    found = await readers(call.services)
    return Reply(content=answers.SiteReaders(readers=tuple(map(_reader, found))))


async def allow_reading(call: Call) -> Reply:
    return await _set(call, allow=True)


async def forbid_reading(call: Call) -> Reply:
    return await _set(call, allow=False)


async def site_devices(call: Call) -> Reply:
    return await _read(call, "devices", structs.DevicePage)


async def site_device(call: Call) -> Reply:
    return await _read(call, "device", structs.Device)


async def site_newest(call: Call) -> Reply:
    return await _read(call, "newest", structs.NewestValues)


async def site_device_telemetry(call: Call) -> Reply:
    return await _read(call, "telemetry", structs.Telemetry)


async def site_alarms(call: Call) -> Reply:
    return await _read(call, "alarms", alarm_structs.AlarmPage)


async def site_alarm_history(call: Call) -> Reply:
    return await _read(call, "alarm_history", alarm_structs.AlarmHistory)


async def _set(call: Call, *, allow: bool) -> Reply:
    act = Act(action=call.action, actor=await actor_of(call.request))
    found = await set_reading(call.services, call.path["node_id"], act, allow=allow)
    return Reply(content=_reader(found))


def _reader(reader: Reader) -> answers.SiteReader:
    return answers.SiteReader(node_id=reader.node_id, name=reader.name, is_allowed=reader.is_allowed)


async def _read(call: Call, part: Part, kind: type[msgspec.Struct]) -> Reply:
    desk, site_id = call.services.site_reading, call.path["site_id"]
    if desk is None:
        raise NotFound("This is no cloud node.", hint="Ask on the cloud node.", code="site_unknown")
    found = await desk.read(
        site_id,
        part,
        await actor_of(call.request),
        device_id=call.path.get("device_id", ""),
        query=call.request.url.query,
    )
    found.as_a(kind)  # whoever reads it here may rely on what the API's description says
    return Reply(
        content=answers.SiteAnswer(
            site_id=site_id,
            node_id=found.node.node_id,
            node=found.node.name,
            answered_at_ms=found.at_ms,
            answer=found.content,
        )
    )


_CODES = {
    403: ("reading_not_allowed",),
    404: ("site_unknown",),
    503: ("site_silent", "site_refused", "site_unreadable", "site_node_away", "replicator_away"),
}
_DEVICE_CODES = {**_CODES, 404: ("site_unknown", "device_unknown")}


def _reading(
    path: str,
    handler: Handler,
    summary: str,
    *,
    query: type[msgspec.Struct] | None = None,
) -> Endpoint:
    return Endpoint(
        method="GET",
        path=f"/sites/{{site_id}}{path}",
        handler=handler,
        needs="sites.read",
        summary=summary,
        query=query,
        answer=answers.SiteAnswer,
        errors=(404, 413, 422),
        codes=_DEVICE_CODES if "{device_id}" in path else _CODES,
        tags=("sites",),
    )


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/replication/readers",
        handler=list_readers,
        needs="sites.read",
        summary="List the fleet's cloud nodes, and which of them may read this site",
        answer=answers.SiteReaders,
        errors=(404,),
        codes={404: ("fleet_missing",)},
        tags=("sites",),
    ),
    Endpoint(
        method="PUT",
        path="/replication/readers/{node_id}",
        handler=allow_reading,
        needs="sites.manage",
        action=ALLOW,
        summary="Let a cloud node read this site's devices, readings and alarms",
        answer=answers.SiteReader,
        errors=(404, 409),
        codes={404: ("fleet_missing", "node_unknown"), 409: ("node_is_this", "node_no_cloud")},
        tags=("sites",),
    ),
    Endpoint(
        method="DELETE",
        path="/replication/readers/{node_id}",
        handler=forbid_reading,
        needs="sites.manage",
        action=FORBID,
        summary="Have a cloud node not read this site any more, from the next question on",
        answer=answers.SiteReader,
        errors=(404, 409),
        codes={404: ("fleet_missing", "node_unknown"), 409: ("node_is_this", "node_no_cloud")},
        tags=("sites",),
    ),
    _reading("/devices", site_devices, "On a cloud node: list a site's devices", query=structs.DeviceQuery),
    _reading("/devices/{device_id}", site_device, "On a cloud node: a device of a site"),
    _reading(
        "/devices/{device_id}/newest",
        site_newest,
        "On a cloud node: a site's device's newest value of each metric",
    ),
    _reading(
        "/devices/{device_id}/telemetry",
        site_device_telemetry,
        "On a cloud node: readings of a site's device over a range",
        query=structs.TelemetryQuery,
    ),
    _reading("/alarms", site_alarms, "On a cloud node: a site's alarms", query=alarm_structs.AlarmQuery),
    _reading(
        "/alarms/history",
        site_alarm_history,
        "On a cloud node: what happened to a site's alarms",
        query=alarm_structs.AlarmHistoryQuery,
    ),
)
