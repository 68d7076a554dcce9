"""Streams of which peers have more than is held here: who has, by how much, and whether it is the tail that is lacking. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from replication.gossip.state import NOTHING, Core, PeerState, has_footer
from storage.replicas.streams import StreamHead, StreamId

LIVE_LAG_MS: Final = 10_000
"""A stream that lags by less is asked for before any backlog."""
TOLD_ALL_MS: Final = 20_000
"""So long after it connected a peer has told all that it has: what it tells later is new."""


class Lags:
    """See the module."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._peers: dict[StreamId, dict[str, None]] = {}
        self._level_ms: dict[StreamId, int] = {}

    @property
    def peers(self) -> Mapping[StreamId, Mapping[str, None]]:
        """Streams of which some peer may have more than is held here, and which peers."""
        return self._peers

    def heard(self, state: PeerState, stream: StreamId, head: StreamHead, now_ms: int) -> None:
        """A peer has a stream up to this head."""
        held = self._core.held.get(stream)
        if held is not None and held.is_own:
            return
        mine = held.head if held is not None else NOTHING
        if (head.place > mine.place or has_footer(head, mine)) and self._core.is_wanted(stream):
            if stream not in self._peers and now_ms - state.connected_at_ms >= TOLD_ALL_MS:
                self._level_ms[stream] = now_ms
            self._peers.setdefault(stream, {})[state.node_id] = None

    def left(self, peer: str) -> None:
        """A peer's link is gone."""
        for stream in list(self._peers):
            self.forget(stream, peer)

    def appended(self, stream: StreamId, mine: StreamHead) -> None:
        """More of a stream is held here: whoever has no more than that is forgotten."""
        for name in list(self._peers.get(stream, ())):
            state = self._core.peers.get(name)
            head = state.heads.get(stream) if state is not None else None
            if head is None or (head.place <= mine.place and not has_footer(head, mine)):
                self.forget(stream, name)

    def forget(self, stream: StreamId, peer: str) -> None:
        """A peer has no more of a stream than is held here."""
        peers = self._peers.get(stream)
        if peers is not None:
            peers.pop(peer, None)
            if not peers:
                del self._peers[stream]
                self._level_ms.pop(stream, None)

    def lag_ms(self, stream: StreamId, state: PeerState) -> int:
        """By how much a peer is ahead, by the times in the stream."""
        held = self._core.held.get(stream)
        return state.heads[stream].last_at_ms - (held.head if held is not None else NOTHING).last_at_ms

    def is_live(self, stream: StreamId, state: PeerState, now_ms: int) -> bool:
        """Whether it is the tail that is lacking: by the times in it, or since it was level a moment ago (it may be written rarely)."""
        held = self._core.held.get(stream)
        if held is None or not held.head.epoch:
            return False
        level_ms = self._level_ms.get(stream)
        is_new = level_ms is not None and now_ms - level_ms <= LIVE_LAG_MS
        return is_new or self.lag_ms(stream, state) <= LIVE_LAG_MS
