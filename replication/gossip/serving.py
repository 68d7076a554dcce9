"""Others ask for pieces of what is held here, own or copies: answered one after the other, as fast as the link takes them. Pure."""

from __future__ import annotations

from typing import Final

from appliance.core.limits_replication import (
    READ_COUNT_MAX,
    SERVED_PULL_COUNT_MAX,
    SERVED_UNSENT_BYTES_MAX,
    UNSENT_BYTES_MAX,
)
from replication.effects import NotThere, PackedChunk, Place, Read
from replication.gossip.forks import Forks
from replication.gossip.naming import Parted
from replication.gossip.parts import cut
from replication.gossip.state import NOTHING, ZERO_HASH, Core, PeerState
from replication.messages import Lacking, LackReason, Pull
from replication.scheduling import Priority

READS_FOR_ONE_PEER: Final = 2
"""One is sent while the next is read."""
LIVE_READS_FOR_ONE_PEER: Final = 4
"""So that tails of other streams are read while a backlog is."""


class Server:
    """Answers pulls."""

    def __init__(self, core: Core, forks: Forks, *, parted: Parted) -> None:
        self._core = core
        self._forks = forks
        self._parted = parted
        self._reads: dict[int, tuple[str, Pull]] = {}
        self.served_bytes = 0

    def pull(self, state: PeerState, message: Pull) -> None:
        """A peer asks."""
        if len(state.served) >= SERVED_PULL_COUNT_MAX:
            self._lack(state, message, "busy")
            return
        state.served.append(message)
        self.serve(state)

    def serve(self, state: PeerState) -> None:
        """Reads for the next requests of a peer, if its link takes the answers."""
        while len(self._reads) < READ_COUNT_MAX and (message := self._next(state)) is not None:
            stream = message.stream  # a Pull has our name for it
            held = self._core.held.get(stream)
            if held is None or not held.head.epoch:
                self._lack(state, message, "unknown")
                continue
            number = self._core.number()
            self._reads[number] = (state.node_id, message)
            state.serving += 1
            place = Place(epoch=message.epoch, next_seq=message.next_seq, hash=message.hash)
            self._core.out.append(
                Read(
                    number=number,
                    stream=stream,
                    place=place,
                    bytes_max=message.credit_bytes,
                    wanted=message.wanted,
                )
            )

    def _next(self, state: PeerState) -> Pull | None:
        """The request whose turn it is: tails first; the rest as far as the link takes the answers."""
        if self._core.unsent_bytes >= UNSENT_BYTES_MAX:
            return None
        if state.serving < LIVE_READS_FOR_ONE_PEER and state.unsent_bytes < SERVED_UNSENT_BYTES_MAX:
            live = next((message for message in state.served if message.is_live), None)
            if live is not None:
                state.served.remove(live)
                return live
        is_open = state.serving < READS_FOR_ONE_PEER and state.unsent_bytes < state.pace.queue_bytes
        return state.served.popleft() if state.served and is_open else None

    def is_reading(self, number: int) -> bool:
        return number in self._reads

    def read(self, effect: Read, outcome: PackedChunk | NotThere) -> None:
        """What was read for a request."""
        peer, message = self._reads.pop(effect.number)
        state = self._core.peers.get(peer)
        if state is None or not state.serving:
            return
        state.serving -= 1
        if isinstance(outcome, PackedChunk):
            self._answer(state, message, outcome)
        else:
            if outcome.reason == "parted":
                held = Place(epoch=message.epoch, next_seq=message.next_seq, hash=outcome.hash)
                told = state.heads.get(effect.stream)
                if told is not None and (told.next_seq, told.hash) == (message.next_seq, message.hash):
                    self._parted(peer, effect.stream, held, message.hash)  # it is what it has under this name
                else:
                    self._forks.found(effect.stream, held, message.hash, peer)
            self._lack(state, message, outcome.reason, outcome.hash)
        self.serve(state)

    def _answer(self, state: PeerState, message: Pull, chunk: PackedChunk) -> None:
        priority = Priority.LIVE if message.is_live else Priority.BACKLOG
        if message.wanted == "footer":
            priority = Priority.REPAIR
        self.served_bytes += len(chunk.data)
        for part in cut(chunk, message.request, state.pace.part_bytes):
            self._core.send(state.node_id, part, priority, len(part.data))

    def _lack(self, state: PeerState, message: Pull, reason: LackReason, frame_hash: bytes = b"") -> None:
        held = self._core.held.get(message.stream)
        head = held.head if held is not None else NOTHING
        lacking = Lacking(message.request, message.stream, reason, head.epoch, head.next_seq, head.hash)
        if reason == "parted":
            lacking = Lacking(
                message.request,
                message.stream,
                reason,
                message.epoch,
                message.next_seq,
                frame_hash or ZERO_HASH,
            )
        self._core.send(state.node_id, lacking, Priority.CONTROL)
