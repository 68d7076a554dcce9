"""Anti-entropy between nodes: any number of streams, any number of peers, no IO.

Theory of operation: every stream has one writer, dense sequences and a chain of hashes, so a head (epoch, next sequence, hash) says
all of who lacks what. Own frames are pushed as they become durable; heads travel in digests; what a digest shows to be
missing is pulled. A chunk is appended only where a copy ends and only by whoever verifies it; then `stored` goes back to whom it
matters, and from there by gossip to everybody, so that the writer knows what is safe though no direct path may lead there.

Every method takes the monotonic time in ms and returns what is to be done, in order; effects.py says how results come back.
A peer is named by its node id. Its link was authenticated and its messages decoded before; what it says may still be wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from appliance.core.limits_replication import HELD_STREAM_COUNT_MAX, PART_BYTES_MIN
from replication.effects import Append, Effect, NotThere, PackedChunk, Place, Read, Refused
from replication.gossip.fleet_view import DOMAINS, Domain, FleetView, PeerInfo
from replication.gossip.forks import Forks
from replication.gossip.naming import Namer
from replication.gossip.proving import Prover
from replication.gossip.pulling import Puller
from replication.gossip.pushing import Pusher
from replication.gossip.reaching import Reacher
from replication.gossip.serving import Server
from replication.gossip.state import NOTHING, Core, Held, PeerState, place_of
from replication.gossip.statistics import GossipStatistics, collect
from replication.gossip.telling import Teller
from replication.gossip.tiers import Tiers
from replication.gossip.watermark import SafeBook, Watermark
from replication.messages import (
    AskHeads,
    ChunkPart,
    ForkProof,
    GossipMessage,
    Heads,
    Lacking,
    Pull,
    Stored,
    StoredEntry,
)
from replication.randomness import Randomness
from storage.replicas.streams import StreamHead, StreamId

CHECK_INTERVAL_MS = 1_000
"""So often what is under way is looked at."""
FULL_RETRY_MS = 30_000
"""After a full or failed disk nothing is appended for so long."""


class Gossip:
    """See the module.

    Args:
        rng: All randomness there is; a simulation seeds it.
        safe_at, book: What is apart from us counts as safe; what was known to be so before this process.
    """

    def __init__(
        self,
        node_id: str,
        rng: Randomness,
        now_ms: int,
        *,
        safe_at: Domain = "node",
        book: SafeBook | None = None,
    ) -> None:
        book = book or SafeBook()
        self._core = Core(node_id, rng)
        self._safe_at: Domain = safe_at
        self.forks = Forks(self._core)
        self._teller = Teller(self._core, now_ms)
        self._pusher = Pusher(self._core, self.forks)
        self._puller = Puller(self._core, self.forks, tell_duplicate=self._teller.repeat)
        self.reacher = Reacher(self._core, self._puller, self._teller)
        self._namer = Namer(self._core, self.forks, found=self._heard, parted=self._parted)
        self._server = Server(self._core, self.forks, parted=self._parted)
        self._prover = Prover(self._core, self._namer, parted=self._parted, before_news=self._sample)
        self.tiers = Tiers(self._core, self._teller, self._prover, hearsay=self._hearsay)
        self._history, self._core.watermarks = book.history, book.marks
        self._check_at_ms: int | None = None
        self.refused_counts: dict[str, int] = {}
        self._kinds: dict[type, Callable[..., None]] = {
            Heads: self._on_heads,
            Stored: self._on_stored,
            Pull: lambda state, message, now_ms: self._server.pull(state, message),
            ChunkPart: self._on_part,
            Lacking: self._on_lacking,
            ForkProof: lambda state, message, now_ms: self.forks.told(message, state.node_id),
            AskHeads: lambda state, message, now_ms: self.reacher.asked(state, message.node_id, now_ms),
        }

    # --- What happens here ------------------------------------------------------------------------------------

    def set_fleet(self, nodes: Iterable[PeerInfo], now_ms: int) -> list[Effect]:
        """Who there is, from the roster: all nodes that aren't decommissioned, ourselves among them."""
        self._teller.set_fleet(FleetView(self._core.node_id, nodes))
        self._invalidate(now_ms)
        return self._done(now_ms)

    def holds(self, stream: StreamId, head: StreamHead, now_ms: int, *, age_ms: int = 0) -> list[Effect]:
        """A stream is held up to here: what was found at the start, and each time that the own log has grown.

        Args:
            age_ms: Of the newest of it, where it was found at the start.
        """
        is_own = stream.node_id == self._core.node_id and not stream.branch
        held = self._core.held.get(stream)
        if held is None:
            held = self._core.held[stream] = Held(stream, head, is_own=is_own)
        is_back = head.next_seq < held.head.next_seq
        held.head = head
        self._teller.changed(stream)
        if is_own:
            mark = self._core.watermarks.setdefault(stream, Watermark(self._core.node_id))
            if is_back:
                mark.began_anew(head.next_seq)
            mark.reached(head.next_seq, head.hash, now_ms - age_ms)
            told = self._prover.ahead.pop(stream, None)
            if told is not None:
                # Often it was read from our log and sent a moment before we looked at its head.
                self._prover.said(told[0], stream, told[1], now_ms)
            self._pusher.push(stream, now_ms)
            self._teller.announce(stream, self._pusher.others(stream), now_ms)
            self.reacher.grew(stream, head, now_ms)
        return self._done(now_ms)

    def dropped(self, stream: StreamId, now_ms: int) -> list[Effect]:
        """A copy is not held here any more."""
        held = self._core.held.get(stream)
        if held is not None and not held.is_own and not held.appending:
            self._puller.refuse(held, "", now_ms, is_peers_fault=False)
            del self._core.held[stream]
        return self._done(now_ms)

    def connected(self, peer: str, now_ms: int) -> list[Effect]:
        """A link to a peer stands. A link of before that is still known is forgotten."""
        if peer in self._core.peers:
            self._leave(peer)
        state = self._core.peers[peer] = PeerState(peer, now_ms)
        self._teller.greet(state, now_ms)
        self.forks.greet(peer)
        self._invalidate(now_ms)
        return self._done(now_ms)

    def disconnected(self, peer: str, now_ms: int) -> list[Effect]:
        """A link is gone, and with it everything that was under way."""
        if peer in self._core.peers:
            self._leave(peer)
            self._invalidate(now_ms)
        return self._done(now_ms)

    def receive(self, peer: str, message: GossipMessage, now_ms: int) -> list[Effect]:
        """A message of a connected peer. One of a peer that has left is passed over."""
        state = self._core.peers.get(peer)
        if state is not None:
            self._kinds[type(message)](state, message, now_ms)
        return self._done(now_ms)

    def read(self, effect: Read, outcome: PackedChunk | NotThere, now_ms: int) -> list[Effect]:
        """The answer to a Read."""
        if self._pusher.is_reading(effect.number):
            self._pusher.read(effect, outcome, now_ms)
        elif self._server.is_reading(effect.number):
            self._server.read(effect, outcome)
        elif self._puller.is_reading(effect.number):
            self._puller.read(effect, outcome, now_ms)
        elif self._namer.is_reading(effect.number):
            self._namer.read(effect, outcome, now_ms)
            self._puller.pull(now_ms)
        elif self._prover.is_reading(effect.number):
            self._prover.read(effect, outcome, now_ms)
        return self._done(now_ms)

    def appended(self, effect: Append, outcome: StreamHead | Refused, now_ms: int) -> list[Effect]:
        """The answer to an Append: what the copy has now, or why it was refused."""
        held = self._core.held.get(effect.chunk.stream)
        if held is None or held.appending != effect.number:
            return self._done(now_ms)
        held.appending = 0
        chunk, peer, request = held.waiting.popleft()
        held.waiting_bytes -= len(chunk.data)
        if isinstance(outcome, StreamHead):
            held.head = outcome
            self._puller.appended(held, chunk, peer, request, now_ms)
            self._teller.changed(held.stream)
            self._teller.acknowledge(held.stream, outcome, peer)
            self.reacher.grew(held.stream, outcome, now_ms)
        else:
            self._refused(held, chunk, peer, request, outcome, now_ms)
        self._puller.start(held, now_ms)
        self._puller.pull(now_ms)
        return self._done(now_ms)

    def sent(self, peer: str, size_bytes: int, now_ms: int) -> list[Effect]:
        """So many bytes of what was to be sent left for the peer, or were dropped with its link."""
        self._core.unsent_bytes = max(0, self._core.unsent_bytes - size_bytes)
        state = self._core.peers.get(peer)
        if state is not None:
            state.unsent_bytes = max(0, state.unsent_bytes - size_bytes)
            state.pace.left(size_bytes, now_ms, is_more=state.unsent_bytes > 0)
            self._pusher.push_all(state, now_ms)
            self._server.serve(state)
        return self._done(now_ms)

    def tick(self, now_ms: int) -> list[Effect]:
        """Time has come for something; harmless at any other time."""
        self._teller.tick(now_ms)
        self.reacher.tell(now_ms)
        if self._check_at_ms is not None and now_ms >= self._check_at_ms:
            self._check_at_ms = None
            self._pusher.tick(now_ms)
            self._puller.tick(now_ms)
            self._namer.tick(now_ms)
            self.reacher.tick(now_ms)
            for holder, stream in self._prover.unconfirmed(now_ms, within_ms=2 * CHECK_INTERVAL_MS):
                self._teller.lost(holder, stream)
            self._prover.prove()
        self._sample(now_ms)
        return self._done(now_ms)

    def next_at_ms(self) -> int | None:
        """When `tick` is due; None: not before something happens."""
        times = (self._teller.next_at_ms(), self.reacher.next_at_ms(), self._check_at_ms)
        return min([at_ms for at_ms in times if at_ms is not None], default=None)

    # --- What is known ----------------------------------------------------------------------------------------

    def head(self, stream: StreamId) -> StreamHead:
        """How far a stream is held here."""
        held = self._core.held.get(stream)
        return held.head if held is not None else NOTHING

    def safe_seq(self, stream: StreamId, domain: Domain | None = None) -> int:
        """The first sequence of an own stream that isn't safe; 1 where nothing is."""
        mark = self._core.watermarks.get(stream)
        return mark.safe_seq(self._core.fleet, domain or self._safe_at) if mark is not None else 1

    def rpo_ms(self, now_ms: int, domain: Domain | None = None) -> int:
        """The age of the oldest own frame that isn't safe; 0 when all are, or where there is nobody else."""
        return self._prover.rpo_ms(domain or self._safe_at, now_ms)

    def is_somebody_apart(self, domain: Domain | None = None) -> bool:
        """Whether there is a node at all on which a copy would be safe."""
        return self._prover.is_somebody_apart(domain or self._safe_at)

    def stored_by(self, stream: StreamId) -> dict[str, tuple[int, int]]:
        """Who has how much of a stream, as (epoch, next sequence), as far as is known here."""
        return {entry.holder: (entry.epoch, entry.next_seq) for entry in self._teller.holder_of(stream)}

    def part_bytes(self, peer: str) -> int:
        """How large a part is good on a peer's link."""
        state = self._core.peers.get(peer)
        return state.pace.part_bytes if state is not None else PART_BYTES_MIN

    @property
    def ahead(self) -> dict[StreamId, tuple[str, Place]]:
        """Own streams of which somebody has more than we: our disk was lost, or is an old one. No epoch is to go on that way."""
        return self._prover.ahead

    def statistics(self, now_ms: int) -> GossipStatistics:
        """All of it, for the page, metrics and the support bundle."""
        self._sample(now_ms)
        return collect(
            self._core,
            self._puller,
            self._server,
            self._history,
            {domain: self.rpo_ms(now_ms, domain) for domain in DOMAINS},
            forks=self.forks,
            safe_at=self._safe_at,
            refused_counts=self.refused_counts,
            ahead=self._prover.ahead,
            now_ms=now_ms,
        )

    # --- Messages ---------------------------------------------------------------------------------------------

    def _on_heads(self, state: PeerState, message: Heads, now_ms: int) -> None:
        for entry in message.entries:
            self._heard(state, entry.stream, entry.head, now_ms, entry.is_near)
        if message.is_full and not state.is_told:
            state.is_told = True
            self._pusher.invalidate()
        self._pusher.push_all(state, now_ms)
        self._puller.pull(now_ms)

    def _on_stored(self, state: PeerState, message: Stored, now_ms: int) -> None:
        for entry in message.entries:
            if entry.holder == state.node_id:
                known = state.heads.get(state.aliases.get(entry.stream, entry.stream), NOTHING)
                head = StreamHead(entry.epoch, entry.next_seq, entry.hash, known.first_seq, known.sealed_seq)
                self._heard(state, entry.stream, head, now_ms, entry.is_near)
            elif entry.holder != self._core.node_id and entry.holder in self._core.fleet:
                self._hearsay(entry, state.node_id, now_ms)
        self._pusher.told(state, message, now_ms)
        self._puller.pull(now_ms)

    def _on_part(self, state: PeerState, message: ChunkPart, now_ms: int) -> None:
        self._puller.part(state, message, now_ms)
        self._puller.pull(now_ms)

    def _on_lacking(self, state: PeerState, message: Lacking, now_ms: int) -> None:
        start = self._puller.lacking(state, message, now_ms)
        if message.reason == "parted" and start is not None:
            self._parted(state.node_id, start[0], start[1], message.hash)
        self._puller.pull(now_ms)

    # --- What follows -----------------------------------------------------------------------------------------

    def _heard(
        self, state: PeerState, name: StreamId, head: StreamHead, now_ms: int, is_near: bool = True
    ) -> None:
        """A peer has a stream, by its own word."""
        if name.node_id not in self._core.fleet or not head.epoch:
            return
        stream = self._namer.ours(state, name, head, now_ms)
        if stream is None:
            return
        known = state.heads.get(stream)
        if known is None and len(state.heads) >= HELD_STREAM_COUNT_MAX:
            return
        held = self._core.held.get(stream)
        if held is not None and held.head.place == head.place and held.head.hash != head.hash:
            state.heads[stream] = head
            self._parted(state.node_id, stream, place_of(held.head), head.hash)
            return
        if known is not None and known.place > head.place:
            return  # it was overtaken on its way
        if known is not None and known.place == head.place and not head.last_at_ms:
            return
        state.heads[stream] = head
        if known is None:
            self._teller.concerned(state, stream)
        if not stream.branch:
            entry = StoredEntry(state.node_id, stream, head.epoch, head.next_seq, head.hash, is_near)
            self._hearsay(entry, state.node_id, now_ms)
        if held is not None and held.is_own:
            self._pusher.acknowledged(state, stream, head, now_ms)
        else:
            self._puller.lags.heard(state, stream, head, now_ms)

    def _hearsay(self, entry: StoredEntry, source: str, now_ms: int) -> None:
        stream = entry.stream
        if stream.node_id not in self._core.fleet or not self._teller.is_for_us(entry):
            return
        self._teller.heard(entry, source, now_ms)
        self.reacher.heard(stream, (entry.epoch, entry.next_seq), source)
        held = self._core.held.get(stream)
        if held is None or not held.is_own:
            return
        place = Place(epoch=entry.epoch, next_seq=entry.next_seq, hash=entry.hash)
        self._prover.said(entry.holder, stream, place, now_ms)

    def _parted(self, holder: str, stream: StreamId, held: Place, their_hash: bytes) -> None:
        """A node has another history of a stream: its branch is copied too, under a name of its own."""
        state = self._core.peers.get(holder)
        head = state.heads.get(stream) if state is not None else None
        seen = place_of(head) if head is not None else None
        branch = self.forks.found(stream, held, their_hash, holder, seen)
        if branch is not None and state is not None:
            self._core.alias(state, stream, branch)
            if (head := state.heads.get(branch)) is not None:
                self._puller.lags.heard(state, branch, head, state.connected_at_ms)

    def _refused(
        self, held: Held, chunk: PackedChunk, peer: str, request: int, refused: Refused, now_ms: int
    ) -> None:
        self.refused_counts[refused.reason] = self.refused_counts.get(refused.reason, 0) + 1
        held.head = refused.head
        self._puller.appended(held, chunk, peer, request, now_ms)
        is_peers_fault = refused.reason in ("damaged", "fork", "refused", "gap")
        self._puller.refuse(held, peer, now_ms, is_peers_fault=is_peers_fault)
        if refused.reason in ("full", "failed"):
            held.not_before_ms = now_ms + FULL_RETRY_MS
        self._puller.refused(held, chunk, refused, now_ms)
        state = self._core.peers.get(peer)
        if refused.reason == "fork" and refused.fork_place is not None:
            self._parted(peer, held.stream, refused.fork_place, refused.fork_hash)
        elif state is not None:
            self._teller.acknowledge(held.stream, held.head, peer)

    def _leave(self, peer: str) -> None:
        state = self._core.peers[peer]
        self._puller.left(state)
        self._core.unsent_bytes = max(0, self._core.unsent_bytes - state.unsent_bytes)
        del self._core.peers[peer]

    def _invalidate(self, now_ms: int) -> None:
        self._pusher.invalidate()
        self.reacher.invalidate(now_ms)

    def _sample(self, now_ms: int) -> None:
        for domain in DOMAINS:
            self._history.add(domain, self.rpo_ms(now_ms, domain), now_ms)

    def _done(self, now_ms: int) -> list[Effect]:
        if self._check_at_ms is None and self._core.peers:
            self._check_at_ms = now_ms + CHECK_INTERVAL_MS
        return self._core.take()
