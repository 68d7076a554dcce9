"""What the machine shows of itself: each peer's lag, what is safe, what is under way. Frozen; times in ms, sizes in bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from replication.effects import Place
from replication.gossip.fleet_view import Domain
from replication.gossip.forks import Forks
from replication.gossip.pulling import Puller
from replication.gossip.serving import Server
from replication.gossip.state import NOTHING, Core, PeerState
from replication.gossip.watermark import Rpo, RpoHistory, Watermark
from storage.replicas.streams import StreamHead, StreamId


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLag:
    """Of one stream between us and a peer.

    Args:
        lag_count: Records that one of the two has and the other lacks: theirs of ours, ours of theirs.
        lag_ms: Age of the oldest of them; 0 where there is none.
    """

    stream: StreamId
    lag_count: int
    lag_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLag:
    """A connected peer.

    Args:
        behind: What it lacks of our own streams.
        lacking: What we lack of streams that it has.
        pushed_bytes: Sent to it and not acknowledged.
        pulled_bytes: Asked of it and not appended yet.
    """

    node_id: str
    behind: tuple[StreamLag, ...]
    lacking: tuple[StreamLag, ...]
    pushed_bytes: int
    pulled_bytes: int
    unsent_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLag:
    """Of our own streams what a node that is to hold them hasn't got, connected or not: records, and the age of the oldest."""

    lag_count: int
    lag_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeStream:
    """An own stream: the first sequence that isn't in the log yet, and the first that isn't safe."""

    stream: StreamId
    next_seq: int
    safe_seq: int
    holders: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class GossipStatistics:
    """Everything at once.

    Args:
        passing: Nodes whose streams are held for others only.
        paces: What a peer's link carried lately when it was full, bytes a second; only where that is known.
    """

    safe_at: Domain
    rpo: Mapping[Domain, Rpo]
    own: tuple[SafeStream, ...]
    peers: tuple[PeerLag, ...]
    nodes: Mapping[str, NodeLag]
    held: Mapping[StreamId, StreamHead]
    passing: tuple[str, ...]
    paces: Mapping[str, int]
    lagging_count: int
    under_way_bytes: int
    unsent_bytes: int
    served_bytes_total: int
    duplicates_total: int
    dropped_total: int
    refused_totals: Mapping[str, int]
    forks: tuple[tuple[StreamId, int, int], ...]
    ahead: Mapping[StreamId, tuple[str, Place]]


def collect(
    core: Core,
    puller: Puller,
    server: Server,
    history: RpoHistory,
    rpo_ms: Mapping[Domain, int],
    *,
    forks: Forks,
    safe_at: Domain,
    refused_counts: Mapping[str, int],
    ahead: Mapping[StreamId, tuple[str, Place]],
    now_ms: int,
) -> GossipStatistics:
    """The machine's numbers at this moment."""
    return GossipStatistics(
        safe_at=safe_at,
        rpo={
            domain: Rpo(now_ms=now, worst_24h_ms=history.worst_ms(domain)) for domain, now in rpo_ms.items()
        },
        own=tuple(
            SafeStream(
                stream=stream,
                next_seq=core.held[stream].head.next_seq,
                safe_seq=mark.safe_seq(core.fleet, safe_at),
                holders=dict(mark.stored),
            )
            for stream, mark in _own(core)
        ),
        peers=tuple(_peer(core, puller, state, now_ms) for state in core.peers.values()),
        nodes={node_id: _node(core, node_id, now_ms) for node_id in core.fleet.holders},
        held={stream: held.head for stream, held in core.held.items() if held.head.epoch},
        passing=tuple(core.passing),
        paces={
            name: state.pace.bytes_per_s
            for name, state in core.peers.items()
            if state.pace.bytes_per_s is not None
        },
        lagging_count=len(puller.lags.peers),
        under_way_bytes=puller.under_way_bytes,
        unsent_bytes=core.unsent_bytes,
        served_bytes_total=server.served_bytes,
        duplicates_total=puller.pushed.duplicate_count,
        dropped_total=puller.dropped_count + puller.pushed.dropped_count,
        refused_totals=dict(refused_counts),
        forks=tuple((proof.stream, proof.epoch, proof.next_seq) for proof in forks.proofs),
        ahead=dict(ahead),
    )


def _own(core: Core) -> list[tuple[StreamId, Watermark]]:
    """Own streams; what was known of one before this process may be there before its log was looked at."""
    return [(stream, mark) for stream, mark in core.watermarks.items() if stream in core.held]


def _node(core: Core, node_id: str, now_ms: int) -> NodeLag:
    state = core.peers.get(node_id)
    count = lag_ms = 0
    for stream, mark in _own(core):
        stored_seq = mark.stored.get(node_id, 1)
        if state is not None and stream in state.heads:
            stored_seq = max(stored_seq, state.heads[stream].next_seq)
        count += max(0, core.held[stream].head.next_seq - stored_seq)
        lag_ms = max(lag_ms, mark.age_ms(stored_seq, now_ms))
    return NodeLag(lag_count=count, lag_ms=lag_ms)


def _peer(core: Core, puller: Puller, state: PeerState, now_ms: int) -> PeerLag:
    behind = []
    for stream, mark in _own(core):
        theirs = state.heads.get(stream, NOTHING).next_seq
        count = max(0, core.held[stream].head.next_seq - theirs)
        behind.append(StreamLag(stream=stream, lag_count=count, lag_ms=mark.age_ms(theirs, now_ms)))
    lacking = []
    for stream, peers in puller.lags.peers.items():
        if state.node_id in peers:
            held = core.held.get(stream)
            mine, theirs_head = held.head if held is not None else NOTHING, state.heads[stream]
            count = max(0, theirs_head.next_seq - mine.next_seq)
            lag_ms = max(0, theirs_head.last_at_ms - mine.last_at_ms) if mine.epoch else 0
            lacking.append(StreamLag(stream=stream, lag_count=count, lag_ms=lag_ms))
    return PeerLag(
        node_id=state.node_id,
        behind=tuple(behind),
        lacking=tuple(lacking),
        pushed_bytes=state.push_window.under_way_bytes,
        pulled_bytes=state.pull_window.under_way_bytes,
        unsent_bytes=state.unsent_bytes,
    )
