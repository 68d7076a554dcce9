"""A cloud node's door: what boxes of many sites ask of its regions is done, and answered when the region has done it. For trio.

Theory of operation: nothing of a site lies here. A piece is in memory from its first part until the region has acknowledged it, all of them together
within GATEWAY_WAITING_BYTES_MAX, and only then the box hears that it is there; so a cloud node that is killed, or whose disk is gone,
takes nothing with it that anybody called safe. A box reaches the streams and objects of its own site and nothing else: which site it is of,
the certificate of its link says. Pieces are sealed with the site's key, of which only the head can be read here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from appliance.core.errors import HomeportError, NotFound, RemoteProtocolError
from appliance.core.limits_replication import (
    GATEWAY_CALLS_PER_PEER_MAX,
    GATEWAY_NAMES_COUNT,
    GATEWAY_WAITING_BYTES_MAX,
)
from replication.tier.engine import OBJECT_KEY_LENGTH_MAX, Engine, Fenced, Opening, TierAway, TierUnfit
from replication.tier.envelope import PieceDamaged, name_of_piece
from replication.tier.gateway_messages import (
    WORDS_LENGTH_MAX,
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
    decode_question,
    encode_call,
)
from replication.tier.gateway_parts import Assembler, Carrier, send_in_parts
from replication.tier.kept_region import KeptRegion
from replication.tier.pieces import Piece, PieceName
from replication.tier.region_calls import ended
from storage.replicas.streams import StreamId

_NO_REGION: Final = "Name one of the regions that the cloud node has: its page Sites shows them."
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Who asks.

    Attributes:
        site_id: 32 hexadecimal digits.
        nodes: Of its site, those that are gone for good among them.
    """

    site_id: str
    nodes: frozenset[str]


@dataclass(slots=True)
class GatewayCounts:
    """Since this process began."""

    pieces: int = 0
    bytes: int = 0
    refused: int = 0


class Gateway:
    """See the module.

    Args:
        regions: What connects each, by name.
        visitor: Who a peer is; None for one that the roster doesn't have.
        on_stored: Hears which piece a region has as a stream's last: (region, its name).
    """

    def __init__(
        self,
        links: Carrier,
        regions: Mapping[str, Opening],
        *,
        visitor: Callable[[str], Visitor | None],
        on_stored: Callable[[str, PieceName], None] = lambda region, name: None,
    ) -> None:
        self._links, self._visitor, self._on_stored = links, visitor, on_stored
        self._regions = {name: KeptRegion(opening) for name, opening in regions.items()}
        self._assembler = Assembler(self._is_welcome)
        self._nursery: trio.Nursery | None = None
        self._working: dict[int, tuple[str, int]] = {}
        self._number = 0
        self._links_lost: dict[str, int] = {}
        """By peer: what is done for a link that is gone is told to nobody, for the next one's questions may bear the same numbers."""
        self.counts = GatewayCounts()

    @property
    def waiting_bytes(self) -> int:
        """Of questions that are coming or being done."""
        return self._assembler.waiting_bytes + sum(size_bytes for _, size_bytes in self._working.values())

    def receive(self, peer: str, part: TierPart) -> None:
        """A part of a question. Raises RemoteProtocolError."""
        data = self._assembler.take(peer, part)
        if data is not None and self._nursery is not None:
            question = decode_question(data)
            self._number += 1
            self._working[self._number] = (peer, len(data))
            lost = self._links_lost.get(peer, 0)
            self._nursery.start_soon(self._work, self._number, lost, peer, part.request, question)

    def link_down(self, peer: str) -> None:
        """What it had begun to say is forgotten; what is being done is finished, and nobody told."""
        self._assembler.left(peer)
        self._links_lost[peer] = self._links_lost.get(peer, 0) + 1

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answers until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for region in self._regions.values():
                nursery.start_soon(region.run)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    # --- Inside -----------------------------------------------------------------------------------------------

    def _is_welcome(self, peer: str, request: int, total_bytes: int) -> bool:
        under_way = self._assembler.count_of(peer) + sum(
            1 for name, _ in self._working.values() if name == peer
        )
        is_room = self.waiting_bytes + total_bytes <= GATEWAY_WAITING_BYTES_MAX
        if under_way < GATEWAY_CALLS_PER_PEER_MAX and is_room:
            return True
        self.counts.refused += 1
        if self._nursery is not None:
            full = NotDone("away", "The cloud node has as much to do as it takes.", "It is tried again.")
            self._nursery.start_soon(self._answer, peer, request, full)
        return False

    async def _work(self, number: int, lost: int, peer: str, request: int, question: Question) -> None:
        try:
            answer = await self._outcome(peer, question)
        finally:
            del self._working[number]
        if self._links_lost.get(peer, 0) == lost:
            await self._answer(peer, request, answer)

    async def _answer(self, peer: str, request: int, answer: Answer) -> None:
        try:
            await send_in_parts(self._links, peer, request, encode_call(answer), is_answer=True)
        except TierAway:
            log.debug("a box left before it was answered", peer=peer)

    async def _outcome(self, peer: str, question: Question) -> Answer:
        visitor, region = self._visitor(peer), self._regions.get(question.region)
        if visitor is None:
            return NotDone("unfit", "The cloud node doesn't know this box.", "Join its fleet anew.")
        if region is None:
            there = ", ".join(self._regions) or "none"
            return NotDone("unfit", f"The cloud node has no region {question.region}: {there}.", _NO_REGION)
        try:
            return await region.call(lambda engine: self._do(engine, visitor, question))
        except Fenced as fenced:
            last = None if fenced.last is None else WireName.of(fenced.last)
            return NotDone("fenced", fenced.message[:WORDS_LENGTH_MAX], "", last)
        except NotFound as error:
            return _not_done("gone", error)
        except TierUnfit as error:
            return _not_done("unfit", error)
        except (HomeportError, trio.TooSlowError) as error:
            return _not_done("away", error)

    async def _do(self, engine: Engine, visitor: Visitor, question: Question) -> Done:
        match question:
            case Open():
                return Done(number=engine.piece_bytes_max)
            case Put():
                return await self._put(engine, visitor, question)
            case Last(stream=stream, epoch=epoch):
                _check(visitor, stream)
                last = await engine.last(stream, epoch)
                if last is not None:
                    self._on_stored(question.region, last)
                return Done(names=() if last is None else (WireName.of(last),))
            case Epochs():
                found = await engine.epochs()
                return Done(
                    epochs=tuple(
                        (stream, tuple(epochs))
                        for stream, epochs in found.items()
                        if stream.node_id in visitor.nodes
                    )
                )
            case Pieces(stream=stream, epoch=epoch, from_seq=from_seq):
                _check(visitor, stream)
                return Done(names=tuple(await _first_names(engine, stream, epoch, from_seq)))
            case Get(name=name):
                _check(visitor, name.stream)
                return Done(data=await engine.get(name.name))
            case Remove(name=name):
                _check(visitor, name.stream)
                await engine.remove(name.name)
                return Done()
            case _:
                return await _do_object(engine, visitor, question)

    async def _put(self, engine: Engine, visitor: Visitor, put: Put) -> Done:
        try:
            name = name_of_piece(put.data)
        except PieceDamaged as error:
            raise TierUnfit(
                error.message, hint="The box runs another release: update one of them."
            ) from error
        _check(visitor, name.stream)
        await engine.put(Piece(name=name, data=put.data), is_mending=put.is_mending)
        self.counts.pieces += 1
        self.counts.bytes += len(put.data)
        if not put.is_mending:
            self._on_stored(put.region, name)
        return Done()


async def _do_object(
    engine: Engine, visitor: Visitor, question: PutObject | GetObject | Objects | RemoveObject
) -> Done:
    """Objects of a site are below its own id."""
    below = f"sites/{visitor.site_id}/"
    match question:
        case PutObject(key=key, data=data):
            return Done(number=int(await engine.put_object(_whole(below, key), data)))
        case GetObject(key=key):
            return Done(data=await engine.get_object(_whole(below, key)))
        case Objects(prefix=prefix, after=after):
            keys: list[str] = []
            async with ended(engine.objects(below + prefix)) as found:
                async for each in found:
                    key = each.removeprefix(below)
                    if key > after:
                        keys.append(key)
                    if len(keys) == GATEWAY_NAMES_COUNT:
                        break
            return Done(keys=tuple(keys))
        case RemoveObject(key=key):
            await engine.remove_object(_whole(below, key))
            return Done()
    raise RemoteProtocolError("A question about the tier is none.")


async def _first_names(engine: Engine, stream: StreamId, epoch: int, from_seq: int) -> list[WireName]:
    names: list[WireName] = []
    async with ended(engine.pieces(stream, epoch, from_seq)) as found:
        async for name in found:
            names.append(WireName.of(name))
            if len(names) == GATEWAY_NAMES_COUNT:
                break
    return names


def _check(visitor: Visitor, stream: StreamId) -> None:
    if stream.node_id not in visitor.nodes:
        raise TierUnfit(
            f"Node {stream.node_id} is not of the site of the box that asks.",
            hint="A box reaches what its own site has in the cloud: look which site it belongs to.",
        )


def _whole(below: str, key: str) -> str:
    if len(below) + len(key) > OBJECT_KEY_LENGTH_MAX or {".", ".."} & set(key.split("/")):
        raise TierUnfit(
            f"The key of an object has more than {OBJECT_KEY_LENGTH_MAX - len(below)} characters, or leads elsewhere.",
            hint="The box runs another release: update one of them.",
        )
    return below + key


def _not_done(kind: str, error: HomeportError | trio.TooSlowError) -> NotDone:
    if isinstance(error, trio.TooSlowError):
        return NotDone(kind, "The region did not answer the cloud node in time.")
    return NotDone(kind, error.message[:WORDS_LENGTH_MAX], error.hint[:WORDS_LENGTH_MAX])
