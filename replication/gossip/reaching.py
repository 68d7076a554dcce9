"""Nodes to which there is no link: of whom their streams are asked, who is told of news, and what is passed on. Pure.

A node that is to hold a stream whose writer it has no link to asks for it by `AskHeads`: two peers that have it, and, where none has or
nothing more came for a while, the one from which the newest word of it came. Whoever is asked tells at once what it has, and each time that it has more, for some minutes. If it has nothing
itself and is not to hold it, it holds it from then on too and asks further: so a stream takes one way to those who are to have it,
however many boxes are between, and no box takes it that nobody needs.

It ends nowhere in a circle: each hop goes to somebody who had heard as much before, and who asks isn't asked back.
"""

from __future__ import annotations

from typing import Final

from appliance.core.limits_replication import HELD_STREAM_COUNT_MAX
from replication.gossip.pulling import Puller
from replication.gossip.state import Core, PeerState
from replication.gossip.telling import Teller
from replication.messages import AskHeads
from replication.scheduling import Priority
from storage.replicas.streams import STREAM_NAMES, StreamHead, StreamId

ASK_MS: Final = 60_000
"""So often a node is asked for."""
SEEK_MS: Final = 10_000
"""... and so often while no peer has anything of it."""
NEWS_MS: Final = 180_000
"""So long whoever asked is told of news, and what is held for it is wanted: two askings may get lost."""
TELL_MS: Final = 1_000
"""News of one peer are told together, so often."""
ASKED_COUNT: Final = 2
"""Peers that are asked, so that one of them may be slow."""
ASK_COUNT_MAX: Final = 16
"""Nodes that are asked for in a second, so that a link that comes up in a large fleet carries something else too."""


class Reacher:
    """See the module."""

    def __init__(self, core: Core, puller: Puller, teller: Teller) -> None:
        self._core = core
        self._puller = puller
        self._teller = teller
        self._ask_at_ms: dict[str, int] = {}
        self._held: dict[str, list[tuple[int, int]]] = {}
        self._heard: dict[StreamId, tuple[tuple[int, int], str]] = {}
        self._tell_at_ms: int | None = None

    def invalidate(self, now_ms: int) -> None:
        """Who is connected, or who there is, has changed: all are asked for anew."""
        self._ask_at_ms = dict.fromkeys(self._ask_at_ms, now_ms)

    def next_at_ms(self) -> int | None:
        """When `tell` has something to do."""
        return self._tell_at_ms

    def reached_by(self, node_id: str) -> str:
        """A peer that has streams of a node to which there is no link; "" where nobody has."""
        having = self._having(node_id) if node_id not in self._core.peers else []
        return having[0] if having else ""

    def heard(self, stream: StreamId, place: tuple[int, int], source: str) -> None:
        """A peer said, of itself or of others, that a stream goes so far: from there it can be had."""
        known = self._heard.get(stream)
        if known is None and len(self._heard) >= HELD_STREAM_COUNT_MAX:
            return
        if known is None or place > known[0] or known[1] not in self._core.peers:
            self._heard[stream] = (place, source)

    def asked(self, state: PeerState, node_id: str, now_ms: int) -> None:
        """A peer asks for a node's streams."""
        self._teller.tell_heads_of(node_id, state.node_id)
        core = self._core
        if node_id not in core.fleet or state.node_id not in core.fleet or node_id == state.node_id:
            return
        state.news[node_id] = now_ms + NEWS_MS
        for name in STREAM_NAMES:
            self._teller.concerned(state, StreamId(node_id, name))
        if node_id == core.node_id or core.fleet.is_holder(core.node_id, node_id):
            return
        if core.fleet.is_cloud:
            return
        if node_id not in core.passing:
            self._ask_at_ms[node_id] = now_ms
        core.passing[node_id] = now_ms + NEWS_MS
        for peer in core.peers.values():
            for stream, head in peer.heads.items():
                if stream.node_id == node_id:
                    self._puller.lags.heard(peer, stream, head, now_ms)
        self._ask(now_ms)

    def grew(self, stream: StreamId, head: StreamHead, now_ms: int) -> None:
        """More of a stream is held here: whoever asked for its node is told, soon."""
        for state in self._core.peers.values():
            theirs = state.heads.get(stream)
            is_news = theirs is None or theirs.place < head.place
            if is_news and state.news.get(stream.node_id, 0) > now_ms:
                state.news_due[stream] = None
                if self._tell_at_ms is None:
                    self._tell_at_ms = now_ms + TELL_MS

    def tell(self, now_ms: int) -> None:
        """Tells what is due."""
        if self._tell_at_ms is not None and now_ms >= self._tell_at_ms:
            self._tell_at_ms = None
            for state in self._core.peers.values():
                self._teller.tell_heads(state, list(state.news_due))
                state.news_due.clear()

    def tick(self, now_ms: int) -> None:
        """Each second: asks for whoever is due."""
        core = self._core
        for node_id in [name for name, until_ms in core.passing.items() if until_ms <= now_ms]:
            del core.passing[node_id]
        for state in core.peers.values():
            for node_id in [name for name, until_ms in state.news.items() if until_ms <= now_ms]:
                del state.news[node_id]
        self._ask(now_ms)

    def _ask(self, now_ms: int) -> None:
        core = self._core
        count = 0
        for node_id in self._wanted():
            if now_ms < self._ask_at_ms.setdefault(node_id, now_ms):
                continue
            count += 1
            if count > ASK_COUNT_MAX:
                return
            having = self._having(node_id)
            self._ask_at_ms[node_id] = now_ms + (ASK_MS if having else SEEK_MS)
            is_stuck = self._is_stuck(node_id)
            peers = having[:ASKED_COUNT]
            if is_stuck or not peers:
                peers = [*peers, *self._towards(node_id, now_ms)]
            for peer in dict.fromkeys(peers):
                core.send(peer, AskHeads(node_id), Priority.CONTROL)

    def _wanted(self) -> list[str]:
        """Nodes that are to be asked for: no link leads to them, or what they have is held for others only."""
        core = self._core
        found = [node_id for node_id in core.fleet.origins if node_id not in core.peers]
        if not core.passing:
            return found
        wanted = {*found, *core.passing} - {core.node_id}
        return [node_id for node_id in core.fleet.nodes if node_id in wanted]

    def _having(self, node_id: str) -> list[str]:
        """Connected peers that have streams of a node, those that have most of them first; the node itself before all."""
        streams = [StreamId(node_id, name) for name in STREAM_NAMES]
        found = [
            (name != node_id, [(-head.epoch, -head.next_seq) for head in heads], name)
            for name, state in self._core.peers.items()
            if (heads := [state.heads[stream] for stream in streams if stream in state.heads])
        ]
        return [name for _, _, name in sorted(found)]

    def _is_stuck(self, node_id: str) -> bool:
        """Whether somebody has more of a node than is held here, and nothing came since it was asked for last: a way that was may be gone."""
        streams = [StreamId(node_id, name) for name in STREAM_NAMES]
        places = [held.head.place for stream in streams if (held := self._core.held.get(stream)) is not None]
        told = [self._heard[stream][0] for stream in streams if stream in self._heard]
        before, self._held[node_id] = self._held.get(node_id), places
        return before == places and sum(place[1] for place in told) > sum(place[1] for place in places)

    def _towards(self, node_id: str, now_ms: int) -> list[str]:
        """Whom to ask where no peer has anything: who told of it last, else anybody; but not one who asks us for the same."""
        peers = {
            name: None
            for name, state in self._core.peers.items()
            if state.news.get(node_id, 0) <= now_ms and name in self._core.fleet
        }
        for name in STREAM_NAMES:
            told = self._heard.get(StreamId(node_id, name))
            if told is not None and told[1] in peers:
                return [told[1]]
        if not self._teller.interest.is_long_apart(node_id):
            return []
        return [self._core.rng.choice(list(peers))] if peers else []
