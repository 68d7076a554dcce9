"""What regions of the tier have, as whoever asked them says: holders that send no messages of their own. Pure."""

from __future__ import annotations

from collections.abc import Callable

from replication.gossip.proving import Prover
from replication.gossip.state import Core
from replication.gossip.telling import Teller
from replication.messages import StoredEntry
from storage.replicas.streams import StreamHead, StreamId

Hearsay = Callable[[StoredEntry, str, int], None]
"""Takes in what somebody has: (entry, who says it, now)."""


class Tiers:
    """Regions of the tier as holders. What follows leaves with the machine's next tick.

    Args:
        hearsay: As of what any holder is said to have.
    """

    def __init__(self, core: Core, teller: Teller, prover: Prover, *, hearsay: Hearsay) -> None:
        self._core, self._teller, self._prover, self._hearsay = core, teller, prover, hearsay

    def has(
        self, holder: str, stream: StreamId, head: StreamHead, now_ms: int, *, is_less: bool = False
    ) -> None:
        """A region was asked from here, and has a stream up to `head`.

        Args:
            holder: Its id among holders (replication/tier/pieces.py); one that the fleet doesn't know is passed over.
            is_less: It had more: what it lost is safe there no longer.
        """
        if holder not in self._core.fleet:
            return
        if is_less:
            self._teller.lost(holder, stream)
            self._prover.lost(holder, stream, head.next_seq)
        if head.epoch:
            self._hearsay(self._teller.statement(holder, stream, head), self._core.node_id, now_ms)

    def told(self, stream: StreamId) -> dict[str, StreamHead]:
        """How far each region is said to have a stream, by the region's id."""
        nodes = self._core.fleet.nodes
        return {
            entry.holder: StreamHead(entry.epoch, entry.next_seq, entry.hash)
            for entry in self._teller.holder_of(stream)
            if (info := nodes.get(entry.holder)) is not None and info.is_tier
        }

    def nodes_have(self, stream: StreamId) -> int:
        """The first sequence of an own stream that no other node has, regions apart."""
        mark, nodes = self._core.watermarks.get(stream), self._core.fleet.nodes
        if mark is None:
            return 1
        stored = (
            seq
            for holder, seq in mark.stored.items()
            if (info := nodes.get(holder)) is not None and not info.is_tier
        )
        return max(stored, default=1)
