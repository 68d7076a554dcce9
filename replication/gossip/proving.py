"""A holder says how far it has an own stream: counted as safe only when the place it names lies on our history. Pure.

Places of frames that were pushed, and of the newest ones, are known by heart. Any other is read; a holder that names one which never
was ours has another history of our stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from appliance.core.limits_replication import READ_COUNT_MAX
from replication.effects import NotThere, PackedChunk, Place, Read
from replication.gossip.fleet_view import Domain
from replication.gossip.naming import Namer, Parted
from replication.gossip.state import Core
from storage.replicas.streams import StreamId

UNCONFIRMED_MS: Final = 15_000
"""So long after it connected a peer may take to say what it has; what it doesn't name by then is not there any more."""


class Prover:
    """Takes what holders say into the watermarks, once proved.

    Args:
        before_news: Called before something is safe that wasn't: the last moment of the age that ends now.
    """

    def __init__(
        self, core: Core, namer: Namer, *, parted: Parted, before_news: Callable[[int], None]
    ) -> None:
        self._core = core
        self._parted = parted
        self._namer = namer
        self._before_news = before_news
        self._reads: dict[int, tuple[str, StreamId, Place]] = {}
        self._due: dict[tuple[str, StreamId], Place] = {}
        self.ahead: dict[StreamId, tuple[str, Place]] = {}

    def said(self, holder: str, stream: StreamId, place: Place, now_ms: int) -> None:
        """A holder is said to have an own stream up to a place."""
        mark, head = self._core.watermarks[stream], self._core.held[stream].head
        if place.next_seq > head.next_seq and place.epoch >= head.epoch:
            self.ahead[stream] = (holder, place)
        elif place.epoch == head.epoch and mark.proof(place):
            self._before_news(now_ms)
            mark.store(holder, place.next_seq)
        elif place.next_seq > mark.stored.get(holder, 1):
            self._due[(holder, stream)] = place
            self.prove()

    def lost(self, holder: str, stream: StreamId, next_seq: int) -> None:
        """A holder has less of an own stream than it had."""
        mark = self._core.watermarks.get(stream)
        if mark is not None:
            self._due.pop((holder, stream), None)
            mark.lose(holder, max(1, next_seq))

    def prove(self) -> None:
        """Has places read that aren't known by heart."""
        while self._due and len(self._reads) < READ_COUNT_MAX:
            (holder, stream), place = self._due.popitem()
            number = self._core.number()
            self._reads[number] = (holder, stream, place)
            self._core.out.append(Read(number=number, stream=stream, place=place, bytes_max=1))

    def unconfirmed(self, now_ms: int, *, within_ms: int) -> Iterator[tuple[str, StreamId]]:
        """Holders that came back without what they once stored: their disk was lost, so it is safe there no longer.

        Args:
            within_ms: This is asked at least so often.
        """
        for state in self._core.peers.values():
            since_ms = now_ms - state.connected_at_ms
            if not state.is_told or not UNCONFIRMED_MS <= since_ms < UNCONFIRMED_MS + within_ms:
                continue
            for stream, mark in self._core.watermarks.items():
                head = state.heads.get(stream)
                next_seq = head.next_seq if head is not None else 1
                if mark.stored.get(state.node_id, 1) > next_seq:
                    mark.lose(state.node_id, next_seq)
                    yield state.node_id, stream

    def is_reading(self, number: int) -> bool:
        return number in self._reads

    def read(self, effect: Read, outcome: PackedChunk | NotThere, now_ms: int) -> None:
        """What was read to prove a place."""
        holder, stream, place = self._reads.pop(effect.number)
        mark = self._core.watermarks[stream]
        if isinstance(outcome, PackedChunk):
            # A later epoch that began before that place proves nothing: the holder may have parted from us earlier still.
            if (outcome.first_seq, outcome.prev_hash) == (place.next_seq, place.hash):
                self._before_news(now_ms)
                mark.store(holder, place.next_seq)
            elif outcome.first_seq < place.next_seq:
                self._namer.is_replaced(holder, stream, place, now_ms)
        elif outcome.reason == "nothing" and place.next_seq <= self._core.held[stream].head.next_seq:
            self._before_news(now_ms)
            mark.store(holder, place.next_seq)
        elif outcome.reason == "parted":
            held = Place(epoch=place.epoch, next_seq=place.next_seq, hash=outcome.hash)
            self._parted(holder, stream, held, place.hash)
        self.prove()

    def rpo_ms(self, level: Domain, now_ms: int) -> int:
        """The age of the oldest own frame that isn't safe; 0 when all are, or where there is nobody else."""
        if not self.is_somebody_apart(level):
            return 0
        worst_ms, fleet = 0, self._core.fleet
        for mark in self._core.watermarks.values():
            if mark.safe_seq(fleet, level) < mark.next_seq:
                worst_ms = max(worst_ms, mark.rpo_ms(fleet, level, now_ms))
        return worst_ms

    def is_somebody_apart(self, level: Domain) -> bool:
        """Whether there is a node at all on which a copy would be safe."""
        return self._core.fleet.is_somebody_apart(level)
