"""A region behind a cloud node, as an engine (engine.py): each call is a question over the link, and done when the region has done it.

Nothing is sealed or opened here: pieces come sealed with the site's key, and the cloud node can't read them. Which cloud node is meant is said
by its name in the fleet, so that one that was made anew is found again.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from appliance.core.errors import NotFound, RemoteProtocolError
from appliance.core.limits_replication import GATEWAY_NAMES_COUNT
from replication.tier.engine import Engine, Fenced, Opening, TierAway, TierUnfit
from replication.tier.engines.names import check_key
from replication.tier.engines.requests import EngineStatistics, Kind, Requests
from replication.tier.gateway_messages import (
    Answer,
    Done,
    Epochs,
    Get,
    GetObject,
    Last,
    NotDone,
    Objects,
    Open,
    Pieces,
    Put,
    PutObject,
    Question,
    Remove,
    RemoveObject,
    TierPart,
    WireName,
    decode_answer,
    encode_call,
)
from replication.tier.gateway_parts import Assembler, Carrier, away, send_in_parts
from replication.tier.pieces import Piece, PieceName
from storage.replicas.streams import StreamId

REQUEST_MAX: Final = 2**32 - 1
_KINDS: Final[dict[type, Kind]] = {
    Put: "put",
    PutObject: "put",
    Get: "get",
    GetObject: "get",
    Remove: "remove",
    RemoveObject: "remove",
}
"""What a question is for the region behind; all others list."""


class GatewayClient:
    """Questions under way to cloud nodes. Hand it what comes from peers, and when a link is gone."""

    def __init__(self, links: Carrier) -> None:
        self.links = links
        # Not from the beginning: an answer to a question of the process before would be taken for one to ours.
        self._number = secrets.randbelow(REQUEST_MAX)
        self._waiting: dict[tuple[str, int], _Waiting] = {}
        self._assembler = Assembler(lambda peer, request, total: (peer, request) in self._waiting)

    def receive(self, peer: str, part: TierPart) -> None:
        """A part of an answer. Raises RemoteProtocolError."""
        data = self._assembler.take(peer, part)
        if data is not None and (waiting := self._waiting.get((peer, part.request))) is not None:
            waiting.answer = decode_answer(data)
            waiting.done.set()

    def link_down(self, peer: str) -> None:
        self._assembler.left(peer)
        for (name, _), waiting in self._waiting.items():
            if name == peer:
                waiting.done.set()

    async def ask(self, peer: str, question: Question) -> Done:
        """Ask a cloud node. However long the answer takes: who asks has a deadline.

        Raises:
            TierAway, TierUnfit, Fenced: as the engine there. NotFound: `piece_gone`.
        """
        self._number = self._number % REQUEST_MAX + 1
        key, waiting = (peer, self._number), _Waiting()
        self._waiting[key] = waiting
        try:
            await send_in_parts(self.links, peer, key[1], encode_call(question), is_answer=False)
            await waiting.done.wait()
        finally:
            del self._waiting[key]
        return _done(peer, waiting.answer)

    def opening(self, find: Callable[[], str], region: str) -> Opening:
        """What connects a region behind a cloud node.

        Args:
            find: The cloud node's id. Raises TierUnfit where the fleet has none of its name.
            region: As the cloud node calls it.
        """

        @asynccontextmanager
        async def connect() -> AsyncIterator[Engine]:
            peer = find()
            if peer not in self.links.peers():
                raise away(peer)
            done = await self.ask(peer, Open(region))
            yield LinkedEngine(self, peer, region, piece_bytes_max=done.number)

        return connect


class _Waiting:
    def __init__(self) -> None:
        self.done = trio.Event()
        self.answer: Answer | None = None


class LinkedEngine:
    """See the module: an `Engine`."""

    def __init__(self, client: GatewayClient, peer: str, region: str, *, piece_bytes_max: int) -> None:
        self._client, self._peer, self._region = client, peer, region
        self._piece_bytes_max = piece_bytes_max
        self._requests = Requests()

    def statistics(self) -> EngineStatistics:
        """Questions by kind: what the region itself is asked for them is the cloud node's to say."""
        return self._requests.statistics(None)

    @property
    def piece_bytes_max(self) -> int:
        return self._piece_bytes_max

    async def put(self, piece: Piece, *, is_mending: bool = False) -> None:
        await self._ask(Put(self._region, piece.data, is_mending))

    async def last(self, stream: StreamId, epoch: int) -> PieceName | None:
        done = await self._ask(Last(self._region, stream, epoch))
        return done.names[0].name if done.names else None

    async def epochs(self) -> dict[StreamId, list[int]]:
        done = await self._ask(Epochs(self._region))
        return {stream: list(epochs) for stream, epochs in done.epochs}

    async def pieces(self, stream: StreamId, epoch: int, from_seq: int = 0) -> AsyncIterator[PieceName]:
        while True:
            done = await self._ask(Pieces(self._region, stream, epoch, from_seq))
            for each in done.names:
                yield each.name
            if len(done.names) < GATEWAY_NAMES_COUNT:
                return
            from_seq = done.names[-1].next_seq

    async def get(self, name: PieceName) -> bytes:
        data = (await self._ask(Get(self._region, WireName.of(name)))).data
        assert data is not None
        return data

    async def remove(self, name: PieceName) -> None:
        await self._ask(Remove(self._region, WireName.of(name)))

    async def put_object(self, key: str, data: bytes) -> bool:
        check_key(key)
        return bool((await self._ask(PutObject(self._region, key, data))).number)

    async def get_object(self, key: str) -> bytes | None:
        check_key(key)
        return (await self._ask(GetObject(self._region, key))).data

    async def objects(self, prefix: str = "") -> AsyncIterator[str]:
        after = ""
        while True:
            done = await self._ask(Objects(self._region, prefix, after))
            for key in done.keys:
                yield key
            if len(done.keys) < GATEWAY_NAMES_COUNT:
                return
            after = done.keys[-1]

    async def remove_object(self, key: str) -> None:
        check_key(key)
        await self._ask(RemoveObject(self._region, key))

    async def _ask(self, question: Question) -> Done:
        self._requests.count(_KINDS.get(type(question), "list"))
        return await self._client.ask(self._peer, question)


def _done(peer: str, answer: Answer | None) -> Done:
    match answer:
        case Done():
            return answer
        case None:
            raise away(peer)
        case NotDone(kind="fenced", message=message, last=last):
            raise Fenced(message, last=None if last is None else last.name)
        case NotDone(kind="gone", message=message, hint=hint):
            raise NotFound(message, hint=hint, code="piece_gone")
        case NotDone(kind="unfit", message=message, hint=hint):
            raise TierUnfit(message, hint=hint)
        case NotDone(message=message, hint=hint):
            raise TierAway(message, hint=hint)
    raise RemoteProtocolError("An answer about the tier is none.")
