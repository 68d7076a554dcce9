"""What the parts of the machine share: the streams held here, the peers that are connected, and what is to be done. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from replication.effects import Effect, PackedChunk, Place, Send
from replication.gossip.fleet_view import FleetView
from replication.gossip.flow import Window
from replication.gossip.parts import Assembly
from replication.gossip.watermark import Watermark
from replication.messages import Message, Pull
from replication.pace import Pace
from replication.randomness import Randomness
from replication.scheduling import Priority
from storage.replicas.streams import StreamHead, StreamId

ZERO_HASH: Final = bytes(32)
NOTHING: Final = StreamHead(0, 1, ZERO_HASH)
"""Of a stream of which nothing is held: a chunk for it may begin anywhere."""


def place_of(head: StreamHead) -> Place:
    """Where a head ends."""
    return Place(epoch=head.epoch, next_seq=head.next_seq, hash=head.hash)


def end_of(chunk: PackedChunk) -> Place:
    """Where its holder is when it appended a chunk."""
    return Place(epoch=chunk.epoch, next_seq=chunk.next_seq, hash=chunk.hash)


def order(place: Place | StreamHead) -> tuple[int, int]:
    """What places are ordered by."""
    return (place.epoch, place.next_seq)


def has_footer(theirs: StreamHead, mine: StreamHead) -> bool:
    """Whether a peer has the footer of a segment of which all frames are here."""
    return theirs.epoch == mine.epoch and mine.sealed_seq < theirs.sealed_seq <= mine.next_seq


@dataclass(slots=True)
class Held:
    """A stream of which something is held here, or is to be.

    Args:
        is_own: Written by this node.
        waiting: Chunks that came whole and follow each other from the head on; the first is being appended when `appending` is set.
        gap_of: The peer of which a pushed chunk was not taken, and which wasn't told so yet; "": none.
        pushed_at_ms: When a part of it was last pushed to us by its writer: then it need not be pulled too.
    """

    stream: StreamId
    head: StreamHead
    is_own: bool
    waiting: deque[tuple[PackedChunk, str, int]] = field(default_factory=deque)
    waiting_bytes: int = 0
    appending: int = 0
    gap_of: str = ""
    pushed_at_ms: int = -(10**9)
    not_before_ms: int = 0
    """After a disk was full, or failed: nothing is appended before."""

    @property
    def end(self) -> Place:
        """Where the next chunk begins, when all that waits was appended."""
        return end_of(self.waiting[-1][0]) if self.waiting else place_of(self.head)


@dataclass(slots=True)
class Push:
    """How far an own stream was sent to a peer.

    Args:
        cursor: Where the next chunk begins.
        unacknowledged: Ends of chunks that were sent, with their size and when.
        read: The number of the read that is under way; 0: none.
        is_live: What is unacknowledged went before any backlog. All of it or nothing: the next chunk must not overtake the one before it.
    """

    cursor: Place
    unacknowledged: deque[tuple[Place, int, int]] = field(default_factory=deque)
    read: int = 0
    not_before_ms: int = 0
    tries: int = 0
    is_live: bool = False


@dataclass(slots=True)
class PullState:
    """One request under way.

    Args:
        start: Where the chunk begins that was asked for.
        end: Where it ends, once a part came.
        credit_bytes: Counted as under way until the chunk was appended.
    """

    stream: StreamId
    start: Place
    credit_bytes: int
    asked_at_ms: int
    touched_at_ms: int
    is_footer: bool = False
    is_live: bool = False
    end: Place | None = None
    last_at_ms: int = 0


@dataclass(slots=True)
class PeerState:
    """A peer that is connected.

    Args:
        heads: What it said that it has, under the name it has here (`aliases`: its history may be a branch of ours).
        doubted: Of streams: the end that was looked up last, because it had less than we.
        is_told: Its first full digest came, so that what isn't in `heads` it lacks.
        unsent_bytes: What waits for its link.
        pace: What its link carries.
        part_at_ms: When a part of anything came last.
        gaps_told: Of streams, the end here that it was last told to push again from.
        resting: Streams that it isn't asked for before a time.
        heads_due, statements_due, hints_due: What it wasn't told yet; hints are of streams that it has nothing to do with.
        news, news_due: Nodes that it asked for, and until when it is told of news of their streams; what is to be told.
    """

    node_id: str
    connected_at_ms: int
    heads: dict[StreamId, StreamHead] = field(default_factory=dict)
    aliases: dict[StreamId, StreamId] = field(default_factory=dict)
    doubted: dict[StreamId, bytes] = field(default_factory=dict)
    is_told: bool = False
    pushes: dict[StreamId, Push] = field(default_factory=dict)
    push_window: Window = field(default_factory=Window)
    pull_window: Window = field(default_factory=Window)
    unsent_bytes: int = 0
    pace: Pace = field(default_factory=Pace)
    served: deque[Pull] = field(default_factory=deque)
    serving: int = 0
    part_at_ms: int = -(10**9)
    pulls: dict[int, PullState] = field(default_factory=dict)
    assemblies: dict[tuple[StreamId, int], Assembly] = field(default_factory=dict)
    pushed_bytes: int = 0
    gaps_told: dict[StreamId, tuple[int, int]] = field(default_factory=dict)
    resting: dict[StreamId, int] = field(default_factory=dict)
    heads_due: dict[StreamId, None] = field(default_factory=dict)
    statements_due: dict[tuple[str, StreamId], None] = field(default_factory=dict)
    hints_due: dict[tuple[str, StreamId], None] = field(default_factory=dict)
    announced_at_ms: int = -(10**9)
    news: dict[str, int] = field(default_factory=dict)
    news_due: dict[StreamId, None] = field(default_factory=dict)


class Core:
    """What the machine's parts work on.

    Args:
        node_id: Ours.
        rng: All randomness there is.
        first_number: Of reads, appends and requests; another one after each start, so that an answer to a question of before isn't
            taken for one of now.
    """

    def __init__(self, node_id: str, rng: Randomness) -> None:
        self.node_id = node_id
        self.rng = rng
        self.fleet = FleetView(node_id)
        self.held: dict[StreamId, Held] = {}
        self.passing: dict[str, int] = {}
        """Nodes whose streams are held for a peer that asks for them, and until when."""
        self.peers: dict[str, PeerState] = {}
        self.watermarks: dict[StreamId, Watermark] = {}
        self.unsent_bytes = 0
        self.out: list[Effect] = []
        self._number = rng.randrange(1, 2**30)

    def number(self) -> int:
        """The next number of a read, an append or a request; never 0."""
        self._number = self._number % (2**32 - 2) + 1
        return self._number

    def send(self, peer: str, message: Message, priority: Priority, size_bytes: int = 0) -> None:
        """Have a message sent to a connected peer."""
        state = self.peers.get(peer)
        if state is None:
            return
        state.unsent_bytes += size_bytes
        self.unsent_bytes += size_bytes
        self.out.append(Send(peer=peer, message=message, priority=priority, size_bytes=size_bytes))

    def alias(self, state: PeerState, stream: StreamId, branch: StreamId) -> None:
        """What a peer has under a stream's name is a branch of what is held here."""
        if stream not in state.aliases:
            state.aliases[stream] = branch
            state.pushes.pop(stream, None)
            # A peer may hold this history too, under a name that is a branch's there.
            is_of_another = stream in list(state.aliases.values())
            head = None if is_of_another else state.heads.pop(stream, None)
            if head is not None:
                state.heads.setdefault(branch, head)

    def is_wanted(self, stream: StreamId) -> bool:
        """Whether this node is to hold a stream, or to pass it on, or does already. Of its own ones, what another body of it has written."""
        is_others = stream.node_id == self.node_id and bool(stream.branch)
        is_to = self.fleet.is_holder(self.node_id, stream.node_id) or stream.node_id in self.passing
        return is_others or is_to or stream in self.held

    def take(self) -> list[Effect]:
        """What is to be done, in order."""
        out, self.out = self.out, []
        return out


def continues(held: Held, chunk: PackedChunk) -> bool:
    """Whether a chunk may be appended after what is held and waits: told by its words, proved when it is appended.

    One that claims to begin at our end with another hash is let through, alone: the copy says whether that is a fork.
    """
    end = held.end
    if end.epoch == 0:
        return True
    if chunk.epoch > end.epoch:
        return chunk.first_seq <= end.next_seq and (not held.waiting or chunk.first_seq == end.next_seq)
    if chunk.epoch < end.epoch or chunk.first_seq != end.next_seq:
        return False
    return chunk.prev_hash == end.hash or not held.waiting
