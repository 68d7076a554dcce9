"""The endpoint by which records that nobody has are marked lost."""

from __future__ import annotations

import msgspec

from ui.api import lost_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.auth import actor_of
from ui.lost_marking import MARK_LOST, LostWords


async def mark_lost(call: Call) -> Reply:
    wish: structs.LostWish = call.body
    words = LostWords(
        node_id=wish.node_id,
        name=wish.name,
        epoch=wish.epoch,
        first_seq=wish.first_seq,
        next_seq=wish.next_seq,
        by=(await actor_of(call.request)).name,
        reason=wish.reason,
    )
    async with call.noted(object_kind="log", object_id=words.stream, detail=words.detail):
        done = await call.services.mark_lost(words.fields)
    return Reply(content=msgspec.convert(done, structs.LostMark))


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/replication/lost",
        handler=mark_lost,
        needs="sites.manage",
        action=MARK_LOST,
        summary="Mark records lost that nobody who is reached has: a gap for good, on all boxes",
        body=structs.LostWish,
        answer=structs.LostMark,
        status=201,
        errors=(404, 409),
        codes={
            404: ("fleet_missing", "range_not_missing"),
            409: ("range_is_held", "range_not_provable"),
            422: ("range_unreadable",),
            503: ("holders_not_asked", "replicator_away"),
        },
        tags=("sites",),
    ),
)
