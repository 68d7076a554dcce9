"""Own frames go out as soon as they are durable, to a few peers: other failure domains first, the own site, relays. Pure.

For each peer there is a cursor: where the next chunk begins that it is sent. It runs ahead of what the peer acknowledged by as much
as the window allows, and goes back to it when nothing is heard for long. A peer that is far behind is sent the same way: its backlog,
oldest first, at the priority of a backlog.
"""

from __future__ import annotations

import hashlib
from typing import Final

from appliance.core.limits_replication import READ_COUNT_MAX, SERVED_UNSENT_BYTES_MAX, UNSENT_BYTES_MAX
from replication.effects import NotThere, PackedChunk, Place, Read
from replication.gossip.forks import Forks
from replication.gossip.parts import cut
from replication.gossip.state import NOTHING, Core, Held, PeerState, Push, end_of, order, place_of
from replication.messages import Stored
from replication.scheduling import Priority
from storage.replicas.streams import StreamHead, StreamId

PUSH_COUNT: Final = 2
"""Peers that every own frame is pushed to at once."""
PUSH_SITE_COUNT_MAX: Final = 8
"""Nodes of the own site: what is published here is delivered there within a second."""
PUSH_RELAY_COUNT_MAX: Final = 2
LIVE_AGE_MS: Final = 10_000
"""What is younger goes out before any repair or backlog."""
ACKNOWLEDGE_MS: Final = 30_000
"""A chunk of which nothing was heard for so long is sent again, beside twice the time that its link takes for what is under way: at
50 kbit/s a frame of 512 KiB takes 84 s."""
TRIES_MAX: Final = 3
"""So often the time is doubled."""
REST_MS: Final = 30_000
"""So long a peer isn't pushed to when reading for it failed."""


class Pusher:
    """Sends what is new of own streams."""

    def __init__(self, core: Core, forks: Forks) -> None:
        self._core = core
        self._forks = forks
        self._targets: dict[StreamId, tuple[str, ...]] = {}
        self._reads: dict[int, tuple[tuple[StreamId, Place, int], list[str]]] = {}
        self._by_key: dict[tuple[StreamId, Place, int], int] = {}

    def invalidate(self) -> None:
        """Who is connected, or who there is, has changed."""
        self._targets.clear()

    def targets(self, stream: StreamId) -> tuple[str, ...]:
        """The peers that an own stream is pushed to."""
        found = self._targets.get(stream)
        if found is None:
            found = self._targets[stream] = tuple(self._choose(stream))
        return found

    def others(self, stream: StreamId) -> list[str]:
        """Connected peers that hold the stream and aren't pushed to."""
        targets = self.targets(stream)
        return [
            name
            for name, state in self._core.peers.items()
            if name not in targets and state.is_told and self._core.fleet.is_holder(name, stream.node_id)
        ]

    def push(self, stream: StreamId, now_ms: int) -> None:
        """Sends what there is to whoever it is due to."""
        held = self._core.held[stream]
        for name in self.targets(stream):
            self._push_to(self._core.peers[name], held, now_ms)

    def push_all(self, state: PeerState, now_ms: int) -> None:
        """Sends what one peer lacks of own streams."""
        for stream in self._core.watermarks:
            if stream in self._core.held and state.node_id in self.targets(stream):
                self._push_to(state, self._core.held[stream], now_ms)

    def acknowledged(self, state: PeerState, stream: StreamId, head: StreamHead, now_ms: int) -> None:
        """A peer has an own stream up to this head."""
        push = state.pushes.get(stream)
        if push is None:
            return
        while push.unacknowledged and order(push.unacknowledged[0][0]) <= head.place:
            _, size_bytes, at_ms = push.unacknowledged.popleft()
            state.push_window.end(size_bytes, now_ms - at_ms)
            state.pace.proved(size_bytes, now_ms - at_ms)
            push.tries = 0
        if order(push.cursor) < head.place:
            push.cursor = place_of(head)

    def told(self, state: PeerState, message: Stored, now_ms: int) -> None:
        """A peer said what it has: what it didn't take goes again at once, not when all patience is gone."""
        for entry in message.entries if message.is_gap else ():
            stream = state.aliases.get(entry.stream, entry.stream)
            push, known = state.pushes.get(stream), state.heads.get(stream, NOTHING)
            is_last_word = entry.holder == state.node_id and known.place == (entry.epoch, entry.next_seq)
            if push is not None and push.unacknowledged and is_last_word:
                self._go_back(state, stream, push)
        self.push_all(state, now_ms)

    def is_reading(self, number: int) -> bool:
        return number in self._reads

    def read(self, effect: Read, outcome: PackedChunk | NotThere, now_ms: int) -> None:
        """What was read for pushing."""
        key, names = self._reads.pop(effect.number)
        del self._by_key[key]
        for name in names:
            state = self._core.peers.get(name)
            push = state.pushes.get(effect.stream) if state is not None else None
            if state is None or push is None or push.read != effect.number:
                continue  # it left, and perhaps came again, meanwhile
            push.read = 0
            if isinstance(outcome, PackedChunk):
                if push.cursor == effect.place:
                    self._send(state, push, outcome, now_ms)
            else:
                self._not_there(state, push, effect, outcome, now_ms)
            self._push_to(state, self._core.held[effect.stream], now_ms)

    def tick(self, now_ms: int) -> None:
        """Sends again what nothing is heard of."""
        for state in self._core.peers.values():
            for stream, push in state.pushes.items():
                if not push.unacknowledged:
                    continue
                allowed_ms = (ACKNOWLEDGE_MS << min(push.tries, TRIES_MAX)) + 2 * state.pace.takes_ms(
                    state.push_window.under_way_bytes + state.unsent_bytes
                )
                if now_ms - push.unacknowledged[0][2] >= allowed_ms:
                    push.tries += 1
                    self._go_back(state, stream, push)
            self.push_all(state, now_ms)

    @property
    def is_waiting(self) -> bool:
        """Whether time alone may bring something to do."""
        return any(
            push.unacknowledged or push.not_before_ms
            for state in self._core.peers.values()
            for push in state.pushes.values()
        )

    def _go_back(self, state: PeerState, stream: StreamId, push: Push) -> None:
        """What isn't acknowledged is sent again. It is one loss, however many chunks it is of: the window is halved once."""
        state.push_window.give_up(sum(size_bytes for _, size_bytes, _ in push.unacknowledged))
        push.unacknowledged.clear()
        push.cursor = place_of(state.heads.get(stream, NOTHING))

    def _choose(self, stream: StreamId) -> list[str]:
        core = self._core
        nodes = core.fleet.nodes
        told = [
            name
            for name, state in core.peers.items()
            if state.is_told and name in nodes and not nodes[name].is_cloud
        ]
        told.sort(
            key=lambda name: (
                not core.fleet.is_holder(name, core.node_id),
                -core.fleet.distance(name),
                hashlib.sha256(f"{core.node_id} {name}".encode()).digest(),
            )
        )
        site = [name for name in told if core.fleet.distance(name) == 0][:PUSH_SITE_COUNT_MAX]
        relays = [name for name in told if nodes[name].is_relay][:PUSH_RELAY_COUNT_MAX]
        return list(dict.fromkeys([*told[:PUSH_COUNT], *site, *relays]))

    def _push_to(self, state: PeerState, held: Held, now_ms: int) -> None:
        stream = held.stream
        if stream in state.aliases:
            return  # it has another history of ours; it asks for this one by itself
        push = state.pushes.get(stream)
        if push is None:
            push = state.pushes[stream] = Push(place_of(state.heads.get(stream, NOTHING)))
        if push.read or now_ms < push.not_before_ms or order(push.cursor) >= held.head.place:
            return
        if not self._has_room(state, push, stream, now_ms) or self._core.unsent_bytes >= UNSENT_BYTES_MAX:
            return
        push.not_before_ms = 0
        key = (stream, push.cursor, state.push_window.chunk_bytes)
        number = self._by_key.get(key)
        if number is None:
            if len(self._reads) >= READ_COUNT_MAX:
                return
            number = self._core.number()
            self._by_key[key] = number
            self._reads[number] = (key, [])
            self._core.out.append(
                Read(number=number, stream=stream, place=push.cursor, bytes_max=state.push_window.chunk_bytes)
            )
        self._reads[number][1].append(state.node_id)
        push.read = number

    def _has_room(self, state: PeerState, push: Push, stream: StreamId, now_ms: int) -> bool:
        """Whether the next chunk may go. One of a stream's tail is under way beside whatever the backlog of the other one takes."""
        if self._is_live(stream, push.cursor.next_seq, now_ms) and not (push.unacknowledged and push.is_live):
            # The tail goes by itself, when what is before it is there.
            return not push.unacknowledged and state.unsent_bytes < SERVED_UNSENT_BYTES_MAX
        return state.push_window.is_open and state.unsent_bytes < state.pace.queue_bytes

    def _is_live(self, stream: StreamId, seq: int, now_ms: int) -> bool:
        return self._core.watermarks[stream].age_ms(seq, now_ms) <= LIVE_AGE_MS

    def _send(self, state: PeerState, push: Push, chunk: PackedChunk, now_ms: int) -> None:
        mark = self._core.watermarks[chunk.stream]
        mark.knows(chunk.next_seq, chunk.hash)
        if not push.unacknowledged:
            push.is_live = self._is_live(chunk.stream, chunk.first_seq, now_ms)
        priority = Priority.LIVE if push.is_live else Priority.BACKLOG
        for part in cut(chunk, 0, state.pace.part_bytes):
            self._core.send(state.node_id, part, priority, len(part.data))
        push.cursor = end_of(chunk)
        push.unacknowledged.append((push.cursor, len(chunk.data), now_ms))
        state.push_window.begin(len(chunk.data))

    def _not_there(self, state: PeerState, push: Push, effect: Read, outcome: NotThere, now_ms: int) -> None:
        push.not_before_ms = now_ms + REST_MS
        if outcome.reason == "parted":
            held = Place(epoch=effect.place.epoch, next_seq=effect.place.next_seq, hash=outcome.hash)
            branch = self._forks.found(effect.stream, held, effect.place.hash, state.node_id)
            if branch is not None:
                self._core.alias(state, effect.stream, branch)
