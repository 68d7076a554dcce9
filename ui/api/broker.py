"""Endpoints about the broker: how it does, who is connected, what is retained."""

from __future__ import annotations

from ui import broker_desk, broker_numbers
from ui.api import broker_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.auth import actor_of


async def get_broker(call: Call) -> Reply:
    return Reply(content=broker_numbers.broker(call.services))


async def list_clients(call: Call) -> Reply:
    query: structs.ClientQuery = call.query
    return Reply(
        content=await broker_desk.clients(
            call.services, q=query.q, cursor=query.cursor, limit=query.limit, state=query.state
        )
    )


async def get_client(call: Call) -> Reply:
    return Reply(content=await broker_desk.client(call.services, call.path["client_id"]))


async def kick_client(call: Call) -> Reply:
    return Reply(
        content=await broker_desk.kick(call.services, await actor_of(call.request), call.path["client_id"])
    )


async def end_session(call: Call) -> Reply:
    return Reply(
        content=await broker_desk.end_session(
            call.services, await actor_of(call.request), call.path["client_id"]
        )
    )


async def list_retained(call: Call) -> Reply:
    query: structs.RetainedQuery = call.query
    return Reply(
        content=await broker_desk.retained(call.services, q=query.q, cursor=query.cursor, limit=query.limit)
    )


async def clear_retained(call: Call) -> Reply:
    query: structs.ClearQuery = call.query
    return Reply(
        content=await broker_desk.clear_retained(
            call.services, await actor_of(call.request), query.topic, query.seq
        )
    )


_CLIENT = "/broker/clients/{client_id}"
_TAGS = ("broker",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/broker",
        handler=get_broker,
        needs="broker.read",
        summary="The broker at a glance: connections, traffic, queues, limits, disk",
        answer=structs.Broker,
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/broker/clients",
        handler=list_clients,
        needs="broker.read",
        summary="List clients that are connected or have a session",
        query=structs.ClientQuery,
        answer=structs.ClientPage,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=_CLIENT + "/kick",
        any_name=True,
        handler=kick_client,
        needs="broker.operate",
        action="client.kick",
        summary="Close a client's connection; it may come back",
        answer=structs.Kicked,
        errors=(404, 409, 422),
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path=_CLIENT,
        any_name=True,
        handler=end_session,
        needs="broker.operate",
        action="client.end_session",
        summary="End a client's session: its connection, its subscriptions and what waits for it",
        answer=structs.SessionEnded,
        errors=(404, 422),
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_CLIENT,
        any_name=True,
        handler=get_client,
        needs="broker.read",
        summary="Get a client with its subscriptions",
        answer=structs.ClientDetail,
        errors=(404, 422),
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/broker/retained",
        handler=list_retained,
        needs="broker.operate",
        summary="List retained messages, the newest first",
        query=structs.RetainedQuery,
        answer=structs.RetainedPage,
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path="/broker/retained",
        handler=clear_retained,
        needs="broker.operate",
        action="retained.clear",
        summary="Clear a topic's retained message, as an empty retained publish does",
        query=structs.ClearQuery,
        answer=structs.Cleared,
        errors=(404,),
        tags=_TAGS,
    ),
)
