"""Parts of chunks that peers push: put together within bounds, and dropped where they are of no use. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from appliance.core.limits_replication import HELD_STREAM_COUNT_MAX, PUSHED_ASSEMBLY_BYTES_MAX
from replication.effects import PackedChunk
from replication.gossip.parts import Assembly
from replication.gossip.state import NOTHING, Core, Held, PeerState, order
from replication.messages import ChunkPart, Stored, StoredEntry
from replication.scheduling import Priority
from storage.replicas.streams import StreamId

IDLE_MS: Final = 30_000
"""A chunk of which no part came for so long is given up."""


class PushedParts:
    """See the module.

    Args:
        tell_duplicate: Called when a peer pushes what is here already: it lost our word that it is.
    """

    def __init__(self, core: Core, *, tell_duplicate: Callable[[PeerState, Held], None]) -> None:
        self._core = core
        self._tell_duplicate = tell_duplicate
        self.duplicate_count = 0
        self.dropped_count = 0

    def take(self, state: PeerState, stream: StreamId, part: ChunkPart, now_ms: int) -> PackedChunk | None:
        """A part of a push; the chunk when it is whole."""
        held = self._core.held.get(stream)
        oldest = state.heads.get(stream, NOTHING).first_seq
        if (held is None or not held.end.epoch) and part.first_seq > oldest:
            # What came before got lost on its way. A copy that began here would make its writer believe that it has all.
            self.dropped_count += part.offset == 0
            return None
        if held is None:
            if stream.node_id not in self._core.fleet or len(self._core.held) >= HELD_STREAM_COUNT_MAX:
                return None
            held = self._core.held[stream] = Held(stream, NOTHING, is_own=False)
        if held.is_own:
            return None
        key = (stream, 0)
        assembly = state.assemblies.get(key)
        if assembly is None or not assembly.is_of(part):
            if (part.epoch, part.next_seq) <= held.head.place:
                if part.offset == 0:
                    self.duplicate_count += 1
                    self._tell_duplicate(state, held)
                return None
            if assembly is not None:
                self._drop(state, key)
            if state.pushed_bytes and state.pushed_bytes + part.total_bytes > PUSHED_ASSEMBLY_BYTES_MAX:
                self.dropped_count += 1
                self.missed(state, held)
                return None
            assembly = state.assemblies[key] = Assembly(part, now_ms)
            state.pushed_bytes += part.total_bytes
        held.pushed_at_ms = now_ms
        chunk = assembly.add(part, now_ms)
        if chunk is not None:
            self._drop(state, key)
        return chunk

    def missed(self, state: PeerState, held: Held) -> None:
        """A pushed chunk was not taken, so nothing that follows it is: its sender is told as soon as nothing waits to be appended."""
        held.gap_of = state.node_id
        self.tell_gap(held)

    def tell_gap(self, held: Held) -> None:
        """Has what is missing pushed again, once for each place: what is under way beyond it is dropped meanwhile."""
        if not held.gap_of or held.waiting:
            return
        state, held.gap_of = self._core.peers.get(held.gap_of), ""
        head = held.head
        if state is None or not head.epoch or state.gaps_told.get(held.stream) == order(head):
            return
        state.gaps_told[held.stream] = order(head)
        entry = StoredEntry(self._core.node_id, held.stream, head.epoch, head.next_seq, head.hash, True)
        self._core.send(state.node_id, Stored((entry,), is_gap=True), Priority.CONTROL)

    def tick(self, state: PeerState, now_ms: int) -> None:
        """Gives up what doesn't come."""
        for key, assembly in list(state.assemblies.items()):
            if not key[1] and now_ms - assembly.touched_at_ms >= IDLE_MS:
                self._drop(state, key)

    def _drop(self, state: PeerState, key: tuple[StreamId, int]) -> None:
        assembly = state.assemblies.pop(key)
        state.pushed_bytes -= assembly.total_bytes
