"""The messages of a subject in order, headers only: through a consumer that lives as long as the listing. For trio.

A consumer may live on a server that lacks what the leader acknowledged a moment ago, so a listing goes on until it has seen the message that the
leader named, or the leader says that it is gone.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

import trio

from appliance.core.limits_jetstream import NATS_CALL_S, NATS_CONSUMER_S, NATS_LAG_S, NATS_PAGE_COUNT
from replication.tier.engine import TierAway, TierUnfit
from replication.tier.engines.jetstream_calls import Calls, code_of, judged
from replication.tier.engines.jetstream_connection import Connection
from replication.tier.engines.jetstream_wire import Message


@dataclass(frozen=True, slots=True)
class Listed:
    """A message without its bytes."""

    seq: int
    headers: Mapping[str, str]


@dataclass(slots=True)
class _Page:
    found: list[Listed]
    is_end: bool


async def listed(calls: Calls, subject: str, from_seq: int) -> AsyncGenerator[Listed, None]:
    """The messages of a subject at or after a place.

    Raises:
        TierAway, TierUnfit: as the engine's contract says.
    """
    until = await calls.last_seq(subject)
    next_seq = max(1, from_seq)
    name = ""
    waited_until = trio.current_time() + NATS_CALL_S
    while next_seq <= until:
        if not name:
            name = await _consumer(calls, subject, next_seq)
        page = await _page(calls, name)
        for each in page.found:
            yield each
            next_seq = each.seq + 1
        if page.found:
            waited_until = trio.current_time() + NATS_CALL_S
        elif trio.current_time() > waited_until:
            raise TierAway(
                "A NATS server lacks what its leader has, and does not catch up.", code="tier_away"
            )
        if page.is_end and next_seq <= until:
            # It lags, or was ended, or what was the last message is gone.
            await trio.sleep(NATS_LAG_S)
            until = await calls.last_seq(subject)
            name = ""
    if name:
        await calls.api(f"CONSUMER.DELETE.{calls.stream}.{name}")


async def _consumer(calls: Calls, subject: str, from_seq: int) -> str:
    name = f"list-{secrets.token_hex(8)}"
    config = {
        "name": name,
        "filter_subject": subject,
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": from_seq,
        "ack_policy": "none",
        "replay_policy": "instant",
        "headers_only": True,
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": NATS_CONSUMER_S * 1_000_000_000,
    }
    answer = await calls.api(
        f"CONSUMER.CREATE.{calls.stream}.{name}.{subject}",
        {"stream_name": calls.stream, "config": config, "action": ""},
    )
    if code_of(answer):
        raise TierUnfit(
            f"JetStream makes no consumer: {answer['error'].get('description', '')}.",
            hint="docs/CLOUD.md lists the rights that are needed.",
        )
    return name


async def _page(calls: Calls, name: str) -> _Page:
    question = json.dumps({"batch": NATS_PAGE_COUNT, "no_wait": True}).encode()

    def is_last(message: Message) -> bool:
        return message.status != 0 or not message.reply or _place_of(message)[1] == 0

    async def ask(connection: Connection) -> _Page:
        messages = await connection.ask_many(
            f"$JS.API.CONSUMER.MSG.NEXT.{calls.stream}.{name}", question, is_last, count_max=NATS_PAGE_COUNT
        )
        found = [Listed(_place_of(message)[0], message.headers) for message in messages if message.reply]
        if messages and not messages[-1].reply and messages[-1].status == 0:
            judged(messages[-1])
        return _Page(found, not found or len(found) < NATS_PAGE_COUNT or _place_of(messages[-1])[1] == 0)

    return await calls.call(ask)


def _place_of(message: Message) -> tuple[int, int]:
    """(place in the stream, how many more there are) of a message that a consumer gives, by where its acknowledgement would go.

    Source: NATS ADR-15. `$JS.ACK.STREAM.CONSUMER.DELIVERED.SEQ.CONSUMER_SEQ.TIME.PENDING`, or with domain and account before, and a token behind.
    """
    words = message.reply.split(".")
    at = 5 if len(words) == 9 else 7
    try:
        return int(words[at]), int(words[at + 3])
    except (IndexError, ValueError) as error:
        raise TierAway("A NATS server says not where a message is.", code="tier_away") from error
