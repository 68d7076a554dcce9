"""Who is told what is stored where: at once to whom it matters, and by digests whoever has to do with it, whatever the path. Pure.

An own frame's writer hears of it directly from whoever appended it. The rest is gossip: every 5 s what changed goes to one
random peer, every 60 s all of it to the next peer in turn, and to a peer that has just connected all at once. What others
have is told to peers that have to do with that stream (interest.py), and to all others, as hints, only where its writer and its holder are apart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

from appliance.core.limits_replication import DIGEST_ENTRY_COUNT_MAX, STATEMENT_COUNT_MAX
from replication.gossip.fleet_view import FleetView
from replication.gossip.interest import Interest
from replication.gossip.state import Core, Held, PeerState
from replication.messages import HeadEntry, Heads, Stored, StoredEntry
from replication.scheduling import Priority
from storage.replicas.streams import StreamHead, StreamId

DIGEST_INTERVAL_MS: Final = 5_000
FULL_DIGEST_INTERVAL_MS: Final = 60_000
ANNOUNCE_INTERVAL_MS: Final = 1_000
"""A peer that isn't pushed to hears of own commits so often; it then pulls."""
RELAY_INTERVAL_MS: Final = 1_000
"""What others stored of a peer's own streams it hears so soon: its page shows how old what isn't safe is."""
HINT_COUNT: Final = 16
"""Statements for everybody that go with one digest: 0.4 KB a second at most, however large the fleet is."""
HINT_KEPT_MS: Final = 300_000
"""A hint that waited for so long isn't passed on any more."""
HINT_AGAIN_MS: Final = 600_000
"""What says nothing new is passed on again after so long: links may have come and gone."""

Entry = TypeVar("Entry")


class Teller:
    """What this node says of itself and passes on of others."""

    def __init__(self, core: Core, now_ms: int) -> None:
        self._core = core
        self.interest = Interest(core)
        self._statements: OrderedDict[tuple[str, StreamId], StoredEntry] = OrderedDict()
        self._holders: dict[StreamId, dict[str, None]] = {}
        self._hinted_ms: dict[tuple[str, StreamId], int] = {}
        self._relays: dict[str, dict[tuple[str, StreamId], None]] = {}
        self._relay_at_ms: int | None = None
        self._digest_at_ms = now_ms + core.rng.randrange(DIGEST_INTERVAL_MS)
        self._full_at_ms = now_ms + core.rng.randrange(FULL_DIGEST_INTERVAL_MS)
        self._full_turn = 0

    def next_at_ms(self) -> int | None:
        """When `tick` has something to do; None while nobody is connected."""
        if not self._core.peers:
            return None
        due_ms = self._digest_at_ms if self._digest_at_ms < self._full_at_ms else self._full_at_ms
        if self._relay_at_ms is not None and self._relay_at_ms < due_ms:
            return self._relay_at_ms
        return due_ms

    def holder_of(self, stream: StreamId) -> Iterator[StoredEntry]:
        """Who has how much of a stream, as far as is known here."""
        return (self._statements[(holder, stream)] for holder in self._holders.get(stream, ()))

    def greet(self, state: PeerState, now_ms: int) -> None:
        """A peer has connected: it is told all that it has to do with."""
        self._send_full(state)
        for key, entry in self._statements.items():
            if key[0] == state.node_id:
                continue
            if self.interest.is_theirs(state, key[1]):
                state.statements_due[key] = None
            elif not entry.is_near:
                state.hints_due[key] = None
        self._flush(state, now_ms)

    def set_fleet(self, fleet: FleetView) -> None:
        """Who there is has changed: peers that are to hold other streams hear who has them."""
        before, self._core.fleet = self._core.fleet, fleet
        if before.nodes == fleet.nodes:
            return
        for state in self._core.peers.values():
            for key in self._statements:
                is_told = key[0] == state.node_id or self.interest.is_theirs(state, key[1], before)
                if not is_told and self.interest.is_theirs(state, key[1]):
                    state.statements_due[key] = None

    def concerned(self, state: PeerState, stream: StreamId) -> None:
        """A peer has to do with a stream from now on."""
        if not self.interest.is_everybodys:
            for holder in self._holders.get(stream, ()):
                if holder != state.node_id:
                    state.hints_due.pop((holder, stream), None)
                    state.statements_due[(holder, stream)] = None

    def is_for_us(self, entry: StoredEntry) -> bool:
        """Whether a statement is to be kept, and passed on."""
        return not entry.is_near or self.interest.is_ours(entry.stream)

    def changed(self, stream: StreamId) -> None:
        """What is held of a stream is something else than it was."""
        for state in self._core.peers.values():
            state.heads_due[stream] = None

    def statement(self, holder: str, stream: StreamId, head: StreamHead) -> StoredEntry:
        """What is said from here of a holder, and whether everybody is to hear it."""
        is_near = not self.interest.is_wide(stream)
        return StoredEntry(holder, stream, head.epoch, head.next_seq, head.hash, is_near)

    def acknowledge(self, stream: StreamId, head: StreamHead, peer: str) -> None:
        """Tells whoever sent a chunk, and the stream's writer, how far it is stored here."""
        entry = self.statement(self._core.node_id, stream, head)
        for name in dict.fromkeys((peer, stream.node_id)):
            state = self._core.peers.get(name)
            if state is not None:
                self._core.send(name, Stored((entry,)), Priority.CONTROL)
                state.heads_due.pop(stream, None)

    def repeat(self, state: PeerState, held: Held) -> None:
        """Tells a peer that pushes what is here already: it lost our word."""
        self.acknowledge(held.stream, held.head, state.node_id)

    def announce(self, stream: StreamId, peers: Sequence[str], now_ms: int) -> None:
        """Tells peers that aren't pushed to that an own stream has grown."""
        for name in peers:
            state = self._core.peers[name]
            if now_ms - state.announced_at_ms >= ANNOUNCE_INTERVAL_MS:
                state.announced_at_ms = now_ms
                self.tell_heads(state, [stream])

    def heard(self, entry: StoredEntry, source: str, now_ms: int) -> bool:
        """Somebody has something, and says so or is said to. Whether that is news."""
        key = (entry.holder, entry.stream)
        known = self._statements.get(key)
        teller = self._core.peers.get(source)
        if teller is not None and (
            known is None or (known.epoch, known.next_seq) <= (entry.epoch, entry.next_seq)
        ):
            # It knows as much as it would be told.
            teller.statements_due.pop(key, None)
            teller.hints_due.pop(key, None)
        is_news = known is None or (known.epoch, known.next_seq) < (entry.epoch, entry.next_seq)
        is_hint = self._is_hint(key, entry, now_ms, is_news=is_news)
        if is_hint:
            self._hinted_ms[key] = now_ms
        if is_news:
            self._keep(key, entry)
        if not is_news and not is_hint:
            return False
        for name, state in self._core.peers.items():
            if name in (source, entry.holder):
                continue
            if self.interest.is_theirs(state, entry.stream):
                if is_news:
                    state.statements_due[key] = None
            elif is_hint:
                state.hints_due[key] = None
        if not is_news:
            return False
        origin = entry.stream.node_id
        if origin in self._core.peers and origin not in (source, entry.holder):
            self._relays.setdefault(origin, {})[key] = None
            if self._relay_at_ms is None:
                self._relay_at_ms = now_ms + RELAY_INTERVAL_MS
        return True

    def lost(self, holder: str, stream: StreamId) -> None:
        """What a holder was said to have it has no more."""
        self._forget((holder, stream))

    def _is_hint(self, key: tuple[str, StreamId], entry: StoredEntry, now_ms: int, *, is_news: bool) -> bool:
        """Whether a statement is passed on to those who have nothing to do with it: it says something new, or did so long ago."""
        if entry.is_near or self.interest.is_everybodys:
            return False
        return is_news or now_ms - self._hinted_ms.get(key, -HINT_AGAIN_MS) >= HINT_AGAIN_MS

    def _keep(self, key: tuple[str, StreamId], entry: StoredEntry) -> None:
        self._statements[key] = entry
        self._statements.move_to_end(key)
        self._holders.setdefault(key[1], {})[key[0]] = None
        if len(self._statements) > STATEMENT_COUNT_MAX:
            self._forget(next(iter(self._statements)))

    def _forget(self, key: tuple[str, StreamId]) -> None:
        if self._statements.pop(key, None) is None:
            return
        self._hinted_ms.pop(key, None)
        holders = self._holders[key[1]]
        del holders[key[0]]
        if not holders:
            del self._holders[key[1]]

    def tell_heads_of(self, node_id: str, peer: str) -> None:
        """Tells a peer that asks what is held of one node's streams."""
        entries = tuple(
            HeadEntry(stream, held.head, not self.interest.is_wide(stream))
            for stream, held in self._core.held.items()
            if stream.node_id == node_id and held.head.epoch
        )
        self._core.send(peer, Heads(False, entries[:DIGEST_ENTRY_COUNT_MAX]), Priority.CONTROL)

    def tell_heads(self, state: PeerState, streams: Sequence[StreamId]) -> None:
        """Tells a peer how far streams are held."""
        self._send_heads(state, streams, is_full=False)
        for stream in streams:
            state.heads_due.pop(stream, None)

    def tick(self, now_ms: int) -> None:
        if self._relay_at_ms is not None and now_ms >= self._relay_at_ms:
            self._relay_at_ms = None
            self._relay()
        states = list(self._core.peers.values())
        if now_ms >= self._full_at_ms:
            self._full_at_ms = now_ms + FULL_DIGEST_INTERVAL_MS
            if states:
                # In turn, so that what got lost is told again to each of them, in a time that is known.
                self._full_turn += 1
                self._send_full(states[self._full_turn % len(states)])
        if now_ms >= self._digest_at_ms:
            self._digest_at_ms = now_ms + DIGEST_INTERVAL_MS
            self._look(now_ms)
            behind = [state for state in states if state.heads_due or state.statements_due or state.hints_due]
            if behind:
                self._flush(self._core.rng.choice(behind), now_ms)

    def _look(self, now_ms: int) -> None:
        """Where a writer and a holder are long apart, we one of them, everybody is told."""
        apart = self.interest.look(now_ms)
        if apart:
            is_own = not set(apart).isdisjoint(self._core.fleet.holders)
            for stream in self._core.held:
                if stream.node_id in apart or (is_own and stream.node_id == self._core.node_id):
                    self.changed(stream)

    def _relay(self) -> None:
        for origin, keys in self._relays.items():
            state = self._core.peers.get(origin)
            if state is not None:
                for key in keys:
                    state.statements_due.pop(key, None)
                self._send_statements(state, list(keys))
        self._relays = {}

    def _send_full(self, state: PeerState) -> None:
        state.heads_due.clear()
        self._send_heads(state, list(self._core.held), is_full=True)

    def _flush(self, state: PeerState, now_ms: int) -> None:
        """One page of each, so that a digest is small whatever changed; the rest is the next one's."""
        streams = list(islice(state.heads_due, DIGEST_ENTRY_COUNT_MAX))
        for stream in streams:
            del state.heads_due[stream]
        if streams:
            self._send_heads(state, streams, is_full=False)
        keys = list(islice(state.statements_due, DIGEST_ENTRY_COUNT_MAX))
        for key in keys:
            del state.statements_due[key]
        hints: list[tuple[str, StreamId]] = []
        while state.hints_due and len(hints) < HINT_COUNT:
            key = next(iter(state.hints_due))
            del state.hints_due[key]
            if now_ms - self._hinted_ms.get(key, -HINT_KEPT_MS) < HINT_KEPT_MS:
                hints.append(key)
        self._send_statements(state, [*keys, *hints])

    def _send_heads(self, state: PeerState, streams: Sequence[StreamId], *, is_full: bool) -> None:
        entries = [
            HeadEntry(stream, held.head, not self.interest.is_wide(stream))
            for stream in streams
            if (held := self._core.held.get(stream)) is not None and held.head.epoch
        ]
        for page in _pages(entries) or [()]:
            if page or is_full:
                self._core.send(state.node_id, Heads(is_full, page), Priority.CONTROL)

    def _send_statements(self, state: PeerState, keys: Sequence[tuple[str, StreamId]]) -> None:
        entries = [entry for key in keys if (entry := self._statements.get(key)) is not None]
        for page in _pages(entries):
            self._core.send(state.node_id, Stored(page), Priority.CONTROL)


def _pages(entries: Sequence[Entry]) -> list[tuple[Entry, ...]]:
    return [
        tuple(entries[at : at + DIGEST_ENTRY_COUNT_MAX])
        for at in range(0, len(entries), DIGEST_ENTRY_COUNT_MAX)
    ]
