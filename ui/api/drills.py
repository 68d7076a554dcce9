"""Endpoints about drills: a restore from other boxes that is tried beside the data."""

from __future__ import annotations

from appliance.management.audit import Act
from appliance.management.drill import DrillProgress
from ui import drill_acts
from ui.api import drill_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.auth import actor_of


async def list_drills(call: Call) -> Reply:
    now = call.services.drills.now()
    return Reply(
        content=structs.Drills(
            running=now.running,
            drills=now.kept,
            days=now.days,
            due_at_ms=now.due_at_ms,
            cloud_days=now.cloud_days,
            cloud_due_at_ms=now.cloud_due_at_ms,
        )
    )


async def start_drill(call: Call) -> Reply:
    begun = await drill_acts.start(call.services, Act(action=call.action, actor=await actor_of(call.request)))
    return Reply(content=_shown(begun))


async def start_cloud_drill(call: Call) -> Reply:
    wish: structs.CloudDrillWish = call.body
    act = Act(action=call.action, actor=await actor_of(call.request))
    begun = await drill_acts.start(call.services, act, source="cloud", region=wish.region)
    return Reply(content=_shown(begun))


async def stop_drill(call: Call) -> Reply:
    begun = await drill_acts.stop(call.services, Act(action=call.action, actor=await actor_of(call.request)))
    return Reply(content=_shown(begun))


def _shown(begun: DrillProgress) -> structs.Drill:
    return structs.Drill(drill_id=begun.drill_id, begun_at_ms=begun.begun_at_ms, step=begun.step)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/replication/drills",
        handler=list_drills,
        needs="sites.read",
        summary="Say what drills found, and how far one is that is under way",
        answer=structs.Drills,
        tags=("sites",),
    ),
    Endpoint(
        method="POST",
        path="/replication/drills",
        handler=start_drill,
        needs="sites.manage",
        action="drill.start",
        summary="Lose a scratch copy of this box on purpose, have it back from other boxes, and compare",
        answer=structs.Drill,
        status=202,
        errors=(404, 409),
        codes={404: ("fleet_missing",), 409: ("drill_running",)},
        tags=("sites",),
    ),
    Endpoint(
        method="POST",
        path="/replication/tier/drills",
        handler=start_cloud_drill,
        needs="sites.manage",
        action="drill.start",
        summary="Lose a scratch copy of this box on purpose, have it back from a region of the cloud, and compare",
        body=structs.CloudDrillWish,
        answer=structs.Drill,
        status=202,
        errors=(404, 409),
        codes={404: ("fleet_missing", "tier_missing", "tier_region_unknown"), 409: ("drill_running",)},
        tags=("sites",),
    ),
    Endpoint(
        method="POST",
        path="/replication/drills/stop",
        handler=stop_drill,
        needs="sites.manage",
        action="drill.stop",
        summary="Call off the drill that is under way",
        answer=structs.Drill,
        errors=(404,),
        codes={404: ("drill_unknown",)},
        tags=("sites",),
    ),
)
