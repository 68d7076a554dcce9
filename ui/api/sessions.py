"""Endpoints about who is signed in with what."""

from __future__ import annotations

import dataclasses

from ui import sessions_desk as desk
from ui.api import people_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply


async def list_sessions(call: Call) -> Reply:
    query: structs.SessionsQuery = call.query
    found = await desk.list_signed_in(call.request, whose(call, query))
    return Reply(
        content=structs.SignedInList(
            sessions=[structs.SignedIn(**dataclasses.asdict(each)) for each in found]
        )
    )


async def end_signed_in(call: Call) -> Reply:
    await desk.end_signed_in(call.request, call.path["session_id"])
    return Reply(content=None)


async def end_other_sessions(call: Call) -> Reply:
    return Reply(content=structs.EndedCount(ended=await desk.end_others(call.request)))


def whose(call: Call, query: structs.SessionsQuery) -> str | None:
    """Whose a list is of: one's own if nothing is said; a program on the box has none, and sees everybody's."""
    assert call.identity is not None
    if query.all or (query.user is None and call.identity.via == "local"):
        return None
    return query.user or call.identity.user_id


_TAGS = ("sessions",)

ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/sessions",
        handler=list_sessions,
        needs="account.own",
        summary="Browsers and programs that one is signed in with; admins see those of others",
        query=structs.SessionsQuery,
        answer=structs.SignedInList,
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path="/sessions/{session_id}",
        handler=end_signed_in,
        needs="account.own",
        action="session.end",
        summary="End one of them at once",
        status=204,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/account/sign-out-others",
        handler=end_other_sessions,
        needs="account.own",
        action="session.end_others",
        summary="End all that one is signed in with, but what asks now",
        answer=structs.EndedCount,
        tags=_TAGS,
    ),
)
