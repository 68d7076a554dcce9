"""Asking peers for whole streams, one after the other: for a box that has lost its own. For trio.

Beside the replicator, which keeps up many streams with many peers and counts on a box that is well, this is a program that does one thing
and ends: it asks who has what, copies it from whoever has most, goes on with another holder when one goes away, and says how far
it is. Everything is verified as any copy is. It answers nothing that it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from appliance.core.errors import StorageError, Unavailable
from appliance.core.limits_replication import PULL_CREDIT_BYTES_MAX
from replication.effects import Effect, PackedChunk, Send
from replication.fences import Claim
from replication.gossip.parts import Assembly
from replication.gossip.state import NOTHING
from replication.messages import (
    AskHeads,
    ChunkPart,
    ClaimAnswer,
    GossipMessage,
    Heads,
    Lacking,
    Pull,
    Wanted,
    decode_message,
    encode_message,
)
from replication.packing import unpack
from replication.scheduling import Priority
from replication.sources import OnGap, Progress
from storage.replicas.replica_log import ReplicaLog
from storage.replicas.streams import StreamHead, StreamId

ANSWER_S: Final = 60.0
"""Without a part of what was asked for, after which a peer is taken for gone: six parts on a link of 50 kbit/s."""
HEADS_S: Final = 5.0
"""For peers to say what they hold; whoever is slower isn't counted on."""
BUSY_S: Final = 0.25
NO_STREAM: Final = StreamId("0" * 32, "catalog")
"""Of a node that there is not."""


class Sender(Protocol):
    """What links do for this (replication/link/links.py)."""

    def peers(self) -> list[str]: ...

    def send(
        self, peer: str, data: bytes, priority: Priority, on_left: Callable[[], None] | None = None
    ) -> bool: ...


class GoneError(Exception):
    """A peer does not answer, or not with what it said that it holds."""


@dataclass(slots=True)
class _Request:
    """What one peer was asked for."""

    peer: str
    number: int
    told: ChunkPart | None = None
    assembly: Assembly | None = None
    chunk: PackedChunk | None = None
    lacking: Lacking | None = None
    is_gone: bool = False
    changed: trio.Event = field(default_factory=trio.Event)

    def note(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class Fetcher:
    """Hand it to the links as their listener before they run.

    Args:
        links: All peers it may ask.
        first_request: Its requests have the numbers after this one.
    Attributes:
        told: Peers that have said all that they hold.
        parted: Streams of which a peer has another history than is here.
    """

    def __init__(self, links: Sender, *, first_request: int = 0) -> None:
        self._links = links
        self._heads: dict[str, dict[StreamId, StreamHead]] = {}
        self._requests: dict[int, _Request] = {}
        self._number = first_request
        self.told: set[str] = set()
        self.parted: set[StreamId] = set()
        self._claim: Claim | None = None
        self._news = trio.Event()

    # --- As the links' listener -------------------------------------------------------------------------------

    def link_up(self, peer: str) -> None:
        self._heads.setdefault(peer, {})
        self._note()

    def link_down(self, peer: str) -> None:
        self._heads.pop(peer, None)
        self.told.discard(peer)
        for request in self._requests.values():
            if request.peer == peer:
                request.is_gone = True
                request.note()
        self._note()

    def message(self, peer: str, data: bytes) -> None:
        """Raises RemoteProtocolError for what can't be understood."""
        message = decode_message(data)
        if isinstance(message, Heads):
            known = self._heads.setdefault(peer, {})
            known.update((entry.stream, entry.head) for entry in message.entries)
            if message.is_full:
                self.told.add(peer)
            self._note()
        elif isinstance(message, ClaimAnswer) and self._claim is not None:
            self._do(self._claim.answered(peer, message))
            self._note()
        elif isinstance(message, ChunkPart) and message.request:
            self._take_part(peer, message)
        elif isinstance(message, Lacking):
            request = self._requests.get(message.request)
            if request is not None and request.peer == peer:
                request.lacking = message
                request.note()

    # --- Asking -----------------------------------------------------------------------------------------------

    async def first_peer(self, within_s: float) -> str:
        """A peer that is connected.

        Raises:
            Unavailable: `no_peer`.
        """
        with trio.move_on_after(within_s):
            while not self._links.peers():
                await self._news.wait()
        peers = self._links.peers()
        if not peers:
            raise Unavailable(
                "No peer could be reached.",
                hint="Look whether it runs, at its address and port (replication.bind), and at what is between.",
                code="no_peer",
            )
        return peers[0]

    def heads_of(self, node_id: str) -> dict[StreamId, StreamHead]:
        """The furthest that any connected peer has said of each of a node's streams, without asking."""
        found: dict[StreamId, StreamHead] = {}
        for peer in self._links.peers():
            for stream, head in self._of(peer, node_id).items():
                if stream not in found or found[stream].place < head.place:
                    found[stream] = head
        return found

    async def holders(self, node_id: str) -> Mapping[StreamId, dict[str, StreamHead]]:
        """What connected peers hold of a node's streams: how far each, by stream and peer."""
        marks = []
        for peer in self._links.peers():
            if self._links.send(peer, encode_message(AskHeads(node_id)), Priority.CONTROL):
                # Heads come unasked as well. What is answered after this question is answered after that one.
                with suppress(GoneError):
                    marks.append(self._ask(peer, NO_STREAM, NOTHING))
        with trio.move_on_after(HEADS_S):
            for mark in marks:
                while mark.lacking is None and not mark.is_gone:
                    await mark.changed.wait()
        for mark in marks:
            self._requests.pop(mark.number, None)
        found: dict[StreamId, dict[str, StreamHead]] = {}
        for peer in self._links.peers():
            for stream, head in self._of(peer, node_id).items():
                found.setdefault(stream, {})[peer] = head
        return found

    async def claim(self, claim: Claim, *, within_s: float) -> bool:
        """Asks connected peers for their voices; whether a majority of all nodes gave theirs in time."""
        self._claim = claim
        for peer in self._links.peers():
            self._do(claim.connected(peer))
        with trio.move_on_after(within_s):
            while claim.status.state != "claimed":
                await self._news.wait()
        self._claim = None
        return claim.status.state == "claimed"

    async def copy(
        self,
        stream: StreamId,
        log: ReplicaLog,
        *,
        until: tuple[int, int] | None = None,
        progress: Progress = lambda stream, done, total: None,
        on_gap: OnGap | None = None,
    ) -> StreamHead:
        """Copies all that connected peers hold of a stream; gives how far that is.

        Args:
            until: Of a stream that grows: this place (epoch, next_seq) is enough.
            on_gap: Never called: where one holder can't go on another one is asked.
        Raises:
            Unavailable: `stream_not_had`: no holder is left that has more, and one said that there is.
            StorageError: the disk failed, or is full.
        """
        tried: set[str] = set()
        reason = ""
        while True:
            holders = (await self.holders(stream.node_id)).get(stream, {})
            best = max(
                ((head.place, peer) for peer, head in holders.items() if peer not in tried), default=None
            )
            here = log.head()
            if best is None or best[0] <= here.place or (until is not None and here.place >= until):
                wanted = until or max((head.place for head in holders.values()), default=(0, 0))
                if wanted > here.place:
                    raise Unavailable(
                        f"{stream} is had up to record {here.next_seq - 1}; there are {wanted[1] - 1}: {reason}.",
                        hint="Run this again once a holder can be reached: it goes on where it stopped.",
                        code="stream_not_had",
                    )
                return here
            peer = best[1]
            target = _at_most(holders[peer], until)
            try:
                await self._copy_from(peer, stream, log, target, progress)
                await self._footers_from(peer, stream, log, target)
            except GoneError as error:
                reason = str(error)
            tried.add(peer)

    async def _copy_from(
        self, peer: str, stream: StreamId, log: ReplicaLog, target: StreamHead, progress: Progress
    ) -> None:
        pending = self._ask(peer, stream, log.head())
        while True:
            told = await self._wait_told(pending)
            if isinstance(told, Lacking):
                self._requests.pop(pending.number, None)
                if told.reason == "busy":
                    await trio.sleep(BUSY_S)
                elif told.reason == "expired" and log.is_empty:
                    pending = self._ask(peer, stream, NOTHING)
                    continue
                elif told.reason == "nothing":
                    return
                else:
                    if told.reason == "parted":
                        self.parted.add(stream)
                    raise GoneError(f"{peer} says “{told.reason}”")
                pending = self._ask(peer, stream, log.head())
                continue
            after = None
            if (told.epoch, told.next_seq) < target.place and told.next_seq > told.first_seq:
                after = self._ask(peer, stream, StreamHead(told.epoch, told.next_seq, told.hash))
            chunk = unpack(await self._wait_whole(pending))
            if not log.is_empty and chunk.first_seq < log.head().next_seq:
                # It goes on from an earlier place, in a later epoch: what is here is a history of its own.
                self.parted.add(stream)
                raise GoneError(f"{peer} has another history")

            def append() -> StreamHead:
                if log.is_empty and chunk.segment_first_seq > 1:  # noqa: B023 - done before the next turn
                    return log.begin(chunk)  # noqa: B023
                return log.append(chunk)  # noqa: B023

            head = await trio.to_thread.run_sync(append)
            progress(stream, head.next_seq - 1, target.next_seq - 1)
            if head.place >= target.place:
                return
            pending = after or self._ask(peer, stream, head)

    async def _footers_from(self, peer: str, stream: StreamId, log: ReplicaLog, target: StreamHead) -> None:
        while (head := log.head()).sealed_seq < target.sealed_seq:
            request = self._ask(
                peer, stream, StreamHead(head.epoch, head.sealed_seq, head.hash), wanted="footer"
            )
            if isinstance(await self._wait_told(request), Lacking):
                self._requests.pop(request.number, None)
                return  # the segment stays unsealed; the writer seals it
            chunk = unpack(await self._wait_whole(request))
            try:
                after = await trio.to_thread.run_sync(log.append, chunk)
            except StorageError:
                return
            if after.sealed_seq <= head.sealed_seq:
                return

    def _ask(self, peer: str, stream: StreamId, place: StreamHead, *, wanted: Wanted = "frames") -> _Request:
        self._number += 1
        request = self._requests[self._number] = _Request(peer, self._number)
        self._say(
            peer,
            Pull(
                self._number, stream, place.epoch, place.next_seq, place.hash, PULL_CREDIT_BYTES_MAX, wanted
            ),
        )
        return request

    async def _wait_told(self, request: _Request) -> ChunkPart | Lacking:
        while request.told is None:
            if request.lacking is not None:
                return request.lacking
            await self._wait(request)
        return request.told

    async def _wait_whole(self, request: _Request) -> PackedChunk:
        while request.chunk is None:
            await self._wait(request)
        del self._requests[request.number]
        return request.chunk

    async def _wait(self, request: _Request) -> None:
        if request.is_gone:
            raise GoneError(f"{request.peer} has gone")
        with trio.move_on_after(ANSWER_S) as scope:
            await request.changed.wait()
        if scope.cancelled_caught or request.is_gone:
            raise GoneError(f"{request.peer} does not answer")

    def _take_part(self, peer: str, part: ChunkPart) -> None:
        request = self._requests.get(part.request)
        if request is None or request.peer != peer or request.chunk is not None:
            return
        if request.assembly is None:
            request.told, request.assembly = part, Assembly(part, 0)
        if request.assembly.is_of(part):
            request.chunk = request.assembly.add(part, 0)
            request.note()

    def _of(self, peer: str, node_id: str) -> dict[StreamId, StreamHead]:
        return {
            stream: head for stream, head in self._heads.get(peer, {}).items() if stream.node_id == node_id
        }

    def _say(self, peer: str, message: GossipMessage) -> None:
        if not self._links.send(peer, encode_message(message), Priority.CONTROL):
            raise GoneError(f"{peer} takes nothing")

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._links.send(effect.peer, encode_message(effect.message), effect.priority)

    def _note(self) -> None:
        self._news.set()
        self._news = trio.Event()


def _at_most(head: StreamHead, until: tuple[int, int] | None) -> StreamHead:
    """What to have of a holder."""
    if until is None or head.place <= until:
        return head
    epoch, next_seq = until
    return StreamHead(epoch, next_seq, head.hash, head.first_seq, min(head.sealed_seq, next_seq))
