"""Endpoints about bridges to other brokers."""

from __future__ import annotations

from ui import bridges
from ui.api import bridge_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply


async def list_bridges(call: Call) -> Reply:
    return Reply(content=structs.Bridges(bridges=list(await bridges.bridges(call.services))))


async def get_bridge(call: Call) -> Reply:
    return Reply(content=await bridges.bridge(call.services, call.path["name"]))


_TAGS = ("bridges",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/bridges",
        handler=list_bridges,
        needs="bridges.read",
        summary="List the bridges to other brokers",
        answer=structs.Bridges,
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/bridges/{name}",
        handler=get_bridge,
        needs="bridges.read",
        summary="Get a bridge",
        answer=structs.Bridge,
        errors=(404,),
        tags=_TAGS,
    ),
)
