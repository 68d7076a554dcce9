"""Which history a peer means. Pure.

On the wire a stream has the name that its sender has for it; a Pull has the name that its receiver has. The stream's own name means
the history that the node took first, and a branch's name comes from where a node noticed a fork, so two nodes may call one history
by different names. A branch that a peer names is therefore looked up by the place it says it has: the history held here on which
that place lies is meant. One that lies on none after a while is taken as a history of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from appliance.core.limits_replication import BRANCH_COUNT_MAX, HELD_STREAM_COUNT_MAX, READ_COUNT_MAX
from replication.effects import NotThere, PackedChunk, Place, Read
from replication.gossip.forks import Forks
from replication.gossip.state import Core, Held, PeerState, place_of
from storage.replicas.streams import StreamHead, StreamId

UNKNOWN_MS: Final = 20_000
"""A branch that runs ahead of what is held here lies on none of it for a moment; for so long it is looked up again."""

Parted = Callable[[str, StreamId, Place, bytes], None]
"""A node, a stream, a place as it is held here, and what the node has there."""


@dataclass(slots=True)
class _LookUp:
    peer: str
    name: StreamId
    head: StreamHead
    candidates: list[StreamId]
    contested: bytes | None = None
    """What a history that ends in the same epoch has in that place; b"" where no frame of it ends there."""


class Namer:
    """Finds a peer's names for what is held here.

    Args:
        found: Called with a peer, its name for a stream that is known now, how far it has it, and the time.
        parted: As in proving.py.
    """

    def __init__(
        self,
        core: Core,
        forks: Forks,
        *,
        found: Callable[[PeerState, StreamId, StreamHead, int], None],
        parted: Parted,
    ) -> None:
        self._core = core
        self._forks = forks
        self._tell_found = found
        self._parted = parted
        self._doubts: dict[int, tuple[str, StreamHead]] = {}
        self._reads: dict[int, _LookUp] = {}
        self._unknown: dict[tuple[str, StreamId], tuple[int, StreamHead]] = {}

    def ours(self, state: PeerState, name: StreamId, head: StreamHead, now_ms: int) -> StreamId | None:
        """What a stream is called here that a peer names; None: it is being found out, and told of again."""
        known = state.aliases.get(name)
        if known is not None:
            return self._straightened(state, name, known, head, now_ms)
        own_name = self._core.held.get(name)
        if own_name is not None and self._is_doubtful(state, own_name, head):
            self.doubt(state, name, head)
        # What this peer calls otherwise is what we call so: then this name means another history there.
        is_taken = name in list(state.aliases.values())
        if not is_taken and (not name.branch or own_name is not None):
            told = self._unknown.get((state.node_id, name))
            if told is not None and not told[1].is_same_place(head):
                del self._unknown[(state.node_id, name)]  # it went on
            return name
        held = self._histories(name)
        if not held:
            return name
        for stream in held:
            if self._core.held[stream].head.is_same_place(head):
                self._call(state, name, stream, now_ms)
                return stream
        key = (state.node_id, name)
        since_ms = self._unknown.get(key, (now_ms, head))[0]
        if key in self._unknown or len(self._unknown) < HELD_STREAM_COUNT_MAX:
            self._unknown[key] = (since_ms, head)
            self._begin(key, held)
        return None

    def _straightened(
        self, state: PeerState, name: StreamId, known: StreamId, head: StreamHead, now_ms: int
    ) -> StreamId:
        """A branch that came to go along our own stream is called that from now on: it is stored of us, and not copied here.

        So does what another body of this node had, once a later epoch of ours replaced its end.
        """
        own = StreamId(name.node_id, name.name)
        held = self._core.held.get(own)
        if held is None or not held.is_own or known == own or not held.head.is_same_place(head):
            return known
        self._call(state, name, own, now_ms)
        return own

    def doubt(self, state: PeerState, stream: StreamId, head: StreamHead) -> None:
        """Find out whether a peer that has less than our copy has the same history, once for each of its heads."""
        if state.doubted.get(stream) != head.hash and len(self._doubts) < READ_COUNT_MAX:
            state.doubted[stream] = head.hash
            number = self._core.number()
            self._doubts[number] = (state.node_id, head)
            self._core.out.append(Read(number=number, stream=stream, place=place_of(head), bytes_max=1))

    def is_replaced(self, peer: str, stream: StreamId, place: Place, now_ms: int) -> None:
        """A peer's copy of an own stream ends behind the beginning of a later epoch of ours.

        A moment later it goes on with that epoch, and has as a branch what was replaced. One that doesn't is of another body of this node.
        """
        state = self._core.peers.get(peer)
        head = state.heads.get(stream) if state is not None else None
        if (
            head is not None
            and (head.place, head.hash) == ((place.epoch, place.next_seq), place.hash)
            and len(self._unknown) < HELD_STREAM_COUNT_MAX
        ):
            self._unknown.setdefault((peer, stream), (now_ms, head))

    def tick(self, now_ms: int) -> None:
        """Looks up again what wasn't found."""
        for key, (since_ms, _) in list(self._unknown.items()):
            if key[0] not in self._core.peers:
                del self._unknown[key]
            elif now_ms - since_ms >= UNKNOWN_MS:
                self._begin(key, self._histories(key[1]))

    def _is_doubtful(self, state: PeerState, held: Held, head: StreamHead) -> bool:
        """A writer has all of its stream, and where there was a fork a peer that has less may have the other history."""
        if held.is_own or held.stream.branch or head.place >= held.head.place:
            return False
        return held.stream.node_id == state.node_id or self._forks.frozen_at(held.stream) is not None

    def _begin(self, key: tuple[str, StreamId], held: list[StreamId]) -> None:
        is_under_way = any((each.peer, each.name) == key for each in self._reads.values())
        if held and not is_under_way and len(self._reads) < READ_COUNT_MAX:
            self._look_up(_LookUp(*key, self._unknown[key][1], held))

    def is_reading(self, number: int) -> bool:
        return number in self._reads or number in self._doubts

    def read(self, effect: Read, outcome: PackedChunk | NotThere, now_ms: int) -> None:
        """What was found out."""
        if effect.number in self._doubts:
            peer, head = self._doubts.pop(effect.number)
            state = self._core.peers.get(peer)
            if state is None:
                return
            if isinstance(outcome, NotThere) and outcome.reason == "parted":
                self._is_other(state, effect.stream, head, outcome, now_ms)
            elif isinstance(outcome, PackedChunk) and outcome.first_seq < head.next_seq:
                self._is_replaced(state, effect.stream, head, now_ms)
            return
        look_up = self._reads.pop(effect.number)
        state = self._core.peers.get(look_up.peer)
        if state is None:
            self._unknown.pop((look_up.peer, look_up.name), None)
            return
        place = effect.place
        if self._is_here(effect, outcome):
            self._found(state, look_up, effect.stream, now_ms)
            return
        held = self._core.held.get(effect.stream)
        if isinstance(outcome, NotThere) and outcome.reason == "parted" and held is not None:
            is_same_epoch = held.head.epoch == place.epoch
            look_up.contested = outcome.hash if is_same_epoch else look_up.contested
        if look_up.candidates:
            self._look_up(look_up)
        else:
            since_ms = self._unknown.get((look_up.peer, look_up.name), (now_ms, look_up.head))[0]
            has_room = len(self._histories(look_up.name)) <= BRANCH_COUNT_MAX
            if now_ms - since_ms < UNKNOWN_MS or not has_room:
                return
            if look_up.name.branch and look_up.name not in list(state.aliases.values()):
                self._forks.move_branch(look_up.name, place)
                self._found(state, look_up, look_up.name, now_ms)
                if look_up.contested is not None:
                    # Both may be branches of which the stream itself knows nothing any more: its writer began anew before either.
                    ours = Place(epoch=place.epoch, next_seq=place.next_seq, hash=look_up.contested)
                    whole = StreamId(look_up.name.node_id, look_up.name.name)
                    self._forks.found(whole, ours, place.hash, state.node_id, place)
            else:
                self._unknown.pop((look_up.peer, look_up.name), None)
                self._is_other(state, look_up.name, look_up.head, outcome, now_ms)

    def _is_here(self, effect: Read, outcome: PackedChunk | NotThere) -> bool:
        """Whether a place lies on a history that is held here; its writer may have begun a later epoch there that we don't have."""
        place, held = effect.place, self._core.held.get(effect.stream)
        if isinstance(outcome, PackedChunk):
            return (outcome.first_seq, outcome.prev_hash) == (place.next_seq, place.hash)
        end = (held.head.next_seq, held.head.hash) if held is not None else None
        return outcome.reason == "nothing" and end == (place.next_seq, place.hash)

    def _is_replaced(self, state: PeerState, name: StreamId, head: StreamHead, now_ms: int) -> None:
        """A later epoch began, in what is held here, before the end of what a writer has: it writes another history than our copy is of.

        An old snapshot that came back does so. That may be held here as a branch; else it is a fork, and is copied.
        """
        held = self._histories(name)
        for stream in held:
            if self._core.held[stream].head.is_same_place(head):
                self._found(state, _LookUp(state.node_id, name, head, []), stream, now_ms)
                return
        self._unknown[(state.node_id, name)] = (now_ms - UNKNOWN_MS, head)
        self._begin((state.node_id, name), held)

    def _is_other(
        self,
        state: PeerState,
        name: StreamId,
        head: StreamHead,
        outcome: PackedChunk | NotThere,
        now_ms: int,
    ) -> None:
        """What a peer has under a name is none of the histories held here: it is a fork of what has that name here."""
        ours = outcome.hash if isinstance(outcome, NotThere) else b""
        held = Place(epoch=head.epoch, next_seq=head.next_seq, hash=ours)
        self._parted(state.node_id, StreamId(name.node_id, name.name), held, head.hash)
        if name in state.aliases:
            state.heads.pop(state.aliases[name], None)
            self._tell_found(state, name, head, now_ms)

    def _found(self, state: PeerState, look_up: _LookUp, stream: StreamId, now_ms: int) -> None:
        self._unknown.pop((look_up.peer, look_up.name), None)
        if stream == look_up.name and not stream.branch:
            return
        self._call(state, look_up.name, stream, now_ms)
        self._tell_found(state, look_up.name, look_up.head, now_ms)

    def _call(self, state: PeerState, name: StreamId, stream: StreamId, now_ms: int) -> None:
        """From now on a peer's name means a history held here; what it told under that history's name here is doubtful then."""
        if stream == name and not name.branch:
            return
        state.aliases[name] = stream
        told = state.heads.get(stream)
        if told is not None and stream not in state.aliases and stream in self._core.held:
            self._unknown.setdefault((state.node_id, stream), (now_ms - UNKNOWN_MS, told))

    def _look_up(self, look_up: _LookUp) -> None:
        stream = look_up.candidates.pop(0)
        number = self._core.number()
        self._reads[number] = look_up
        self._core.out.append(Read(number=number, stream=stream, place=place_of(look_up.head), bytes_max=1))

    def _histories(self, name: StreamId) -> list[StreamId]:
        """All that is held here of one node's stream, under whatever name."""
        return [
            stream
            for stream, held in self._core.held.items()
            if (stream.node_id, stream.name) == (name.node_id, name.name) and held.head.epoch
        ]
