"""Endpoints about dead letters as groups, and reading them again after a mapping was mended."""

from __future__ import annotations

from typing import Final

import trio

from appliance.management.readings import HINT_OF_REASON
from storage.catalog.replays import Replay
from ui.api import letter_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.letters import LetterGroup
from ui.services import Services

REPLAYS_SHOWN: Final = 50
_HINTS: Final = {str(reason): hint for reason, hint in HINT_OF_REASON.items()}


def replay_answer(replay: Replay) -> structs.Replay:
    return structs.Replay(
        replay_id=replay.replay_id,
        reason=replay.reason,
        pattern=replay.pattern,
        device_id=replay.device_id,
        state=replay.state,
        letter_count=replay.letter_count,
        message_count=replay.message_count,
        row_count=replay.row_count,
        still_dead=replay.still_dead,
        requested_at_ms=replay.requested_at_ms,
        done_at_ms=replay.done_at_ms,
    )


def _group(group: LetterGroup) -> structs.LetterGroup:
    sample = group.sample
    return structs.LetterGroup(
        reason=group.reason,
        hint=_HINTS.get(group.reason, ""),
        pattern=group.pattern,
        count=group.count,
        first_at_ms=group.first_at_ms,
        last_at_ms=group.last_at_ms,
        sample_topic=sample.topic,
        sample_payload=sample.payload,
        sample_payload_bytes=sample.payload_bytes,
        sample_detail=sample.detail,
        sample_epoch=sample.epoch,
        sample_seq=sample.seq,
    )


async def list_letter_groups(call: Call) -> Reply:
    query: structs.GroupQuery = call.query
    found = await call.services.telemetry.letter_groups(query.limit)
    return Reply(content=structs.LetterGroups(groups=tuple(map(_group, found))))


async def list_replays(call: Call) -> Reply:
    found = await call.services.catalog.read(lambda catalog: catalog.list_replays(limit=REPLAYS_SHOWN))
    return Reply(content=structs.ReplayList(replays=tuple(map(replay_answer, found))))


async def get_replay(call: Call) -> Reply:
    replay_id = call.path["replay_id"]
    found = await call.services.catalog.read(lambda catalog: catalog.get_replay(replay_id))
    return Reply(content=replay_answer(found))


async def head_position(services: Services) -> tuple[int, int]:
    """The log's head, (epoch, next sequence): what came before it is meant by a replay."""
    head = await trio.to_thread.run_sync(services.log_head)
    return max((head.epoch, head.next_seq), (0, 1))


async def replay_letters(call: Call) -> Reply:
    wish: structs.NewReplay = call.body
    epoch, at_seq = await head_position(call.services)
    made = await call.write(
        lambda catalog: catalog.request_replay(
            reason=wish.reason, pattern=wish.pattern, device_id=wish.device_id, epoch=epoch, at_seq=at_seq
        )
    )
    return Reply(content=replay_answer(made))


_TAGS = ("dead letters",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/dead-letters/groups",
        handler=list_letter_groups,
        needs="dead_letters.read",
        summary="Dead letters by reason and topic pattern, the group with the newest first",
        query=structs.GroupQuery,
        answer=structs.LetterGroups,
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/dead-letters/replays",
        handler=list_replays,
        needs="dead_letters.read",
        summary="The newest replays, and how far they are",
        answer=structs.ReplayList,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/dead-letters/replays",
        handler=replay_letters,
        needs="dead_letters.replay",
        action="dead_letters.replay",
        idempotent=True,
        is_bulk=True,
        summary="Read dead letters again by the mappings that hold now",
        body=structs.NewReplay,
        answer=structs.Replay,
        status=202,
        errors=(409,),
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/dead-letters/replays/{replay_id}",
        handler=get_replay,
        needs="dead_letters.read",
        summary="How far a replay is",
        answer=structs.Replay,
        errors=(404,),
        tags=_TAGS,
    ),
)
