"""The replicator's copies: put together from the configuration and this box's place in its fleet, and told as one picture."""

from __future__ import annotations

from typing import Final, cast

import msgspec

from appliance.core.clock import Clock
from appliance.core.config import Config
from appliance.management.fleet import Domain
from appliance.management.replication_state import (
    BlobState,
    BlobTraffic,
    ForkState,
    HeldState,
    LostState,
    Member,
    MissingState,
    PeerState,
    ReplicationState,
)
from appliance.run import layout
from appliance.run.blob_wiring import SiteBlobs
from appliance.run.copies_needed import copies_needed
from appliance.run.fleet_node import FleetNode
from appliance.run.tier_wiring import tier_states
from replication.blob_work import KINDS, safety_of
from replication.gossip.statistics import GossipStatistics
from replication.randomness import Randomness
from replication.replicator import Replicator
from replication.tier.feeding import TierFeed
from storage.fleet.safe_file import read_safe
from storage.log.disk_level import DiskLevels
from storage.log.lost import LostRange
from storage.replicas.keeping import copy_bounds
from storage.replicas.room import FOLDER, ReplicaRoom
from storage.replicas.rotten import RottenFrames
from storage.replicas.streams import StreamId

HOUR_MS: Final = 3_600_000
MEMBERS: dict[str, Member] = {"alive": "alive", "suspect": "suspect", "dead": "dead"}


def make_replicator(
    config: Config, node: FleetNode, *, clock: Clock, random: Randomness, tier: TierFeed | None = None
) -> Replicator:
    """What copies on this box, as the listener of its links and of its roster. Before the links run.

    Args:
        tier: What ships to the cloud's regions; None for none.
    """
    data_dir = config.node.data_dir
    levels = DiskLevels(
        low_percent=config.log.disk_low_percent,
        hold_percent=config.log.disk_hold_percent,
        read_only_percent=config.log.disk_read_only_percent,
    )
    room = ReplicaRoom(
        data_dir / FOLDER,
        clock=clock,
        levels=levels,
        bounds=copy_bounds(config.replication),
        needed_seq=copies_needed(config),
    )
    replicator = Replicator(
        node.node_id,
        node.links,
        own={"telemetry": layout.telemetry_log(config), "catalog": layout.catalog_log(config)},
        room=room,
        data_dir=data_dir,
        blobs=SiteBlobs(config, node.node_id, lambda: node.keeper.roster, clock),
        clock=clock,
        random=random,
        safe_at=cast(Domain, config.replication.safe_at),
        scrub_interval_ms=config.log.scrub_hours * HOUR_MS,
        saved=read_safe(data_dir),
        tier=tier,
    )
    node.links.listener = replicator
    node.keeper.subscribe(lambda changed: replicator.set_roster(node.keeper.roster))
    replicator.set_roster(node.keeper.roster)
    return replicator


def with_copies(state: ReplicationState, replicator: Replicator, clock: Clock) -> ReplicationState:
    """The picture of roster and links, with what is copied and what nodes believe of each other."""
    now_ms = clock.mono_ms()
    numbers = replicator.gossip.statistics(now_ms)
    members = {
        view.node: MEMBERS.get(view.condition, "unknown") for view in replicator.membership.view(now_ms)
    }
    rpo = numbers.rpo[numbers.safe_at]
    is_somebody_apart = replicator.gossip.is_somebody_apart()
    unsafe_entries = sum(each.next_seq - each.safe_seq for each in numbers.own)
    return msgspec.structs.replace(
        state,
        safe_at=numbers.safe_at,
        rpo_ms=rpo.now_ms if is_somebody_apart else None,
        rpo_worst_ms=rpo.worst_24h_ms if is_somebody_apart else None,
        unsafe_entries=unsafe_entries,
        peers=tuple(
            _peer(peer, numbers, members.get(peer.node_id, "unknown"), replicator) for peer in state.peers
        ),
        held=_held(numbers, replicator),
        forks=tuple(
            ForkState(
                node_id=fork.stream.node_id,
                name=fork.stream.name,
                epoch=fork.epoch,
                seq=fork.next_seq,
                holders=tuple(sorted({fork.holder, fork.other_holder})),
                found_at_ms=found_at_ms,
            )
            for fork, found_at_ms in replicator.forks_found()
        ),
        tier=tier_states(replicator.tier.shipper, state.node_id, now_ms) if replicator.tier.shipper else (),
        missing=tuple(
            MissingState(
                node_id=stream.node_id,
                name=name_of(stream),
                epoch=part.epoch,
                first_seq=part.first_seq,
                next_seq=part.next_seq,
            )
            for stream, part in replicator.mender.rotten
            if isinstance(part, RottenFrames)
        ),
        blobs=_blobs(replicator, numbers.safe_at),
        blob_traffic=_blob_traffic(replicator),
        lost=tuple(lost_state(stream, lost) for stream, lost in replicator.mender.lost),
        problem=replicator.problem or replicator.tier.problem,
        unreadable=_unreadable(replicator),
    )


def _blobs(replicator: Replicator, safe_at: Domain) -> tuple[BlobState, ...]:
    """Images and archived days of this box; nothing where nobody of its site could have a copy."""
    work = replicator.blob_work
    if work is None:
        return ()
    look, fleet = work.newest, replicator.fleet

    def is_safe(blob: bytes) -> bool:
        return any(fleet.is_apart(fleet.node_id, each, safe_at) for each in replicator.blobs.holders(blob))

    found = []
    for kind in KINDS:
        safety = safety_of(kind, look.units, is_safe)
        is_day = kind == "day"
        found.append(
            BlobState(
                kind=kind,
                count=safety.count,
                safe_count=safety.safe_count,
                unsafe_bytes=safety.unsafe_bytes,
                oldest_unsafe_at_ms=safety.oldest_unsafe_ms,
                lacking_count=look.lacking[kind],
                copies_bytes=look.copies_bytes if is_day else 0,
                left_out_count=look.left_out_count if is_day else 0,
            )
        )
    return tuple(found)


def _blob_traffic(replicator: Replicator) -> BlobTraffic:
    numbers = replicator.blobs.statistics()
    return BlobTraffic(
        fetched_count=numbers.fetched_total,
        fetched_bytes=numbers.fetched_bytes_total,
        served_bytes=numbers.served_bytes_total,
        wrong_count=numbers.wrong_total,
    )


def name_of(stream: StreamId) -> str:
    """A stream's name with its branch, as its folder has it."""
    return stream.name + (f".fork-{stream.branch}" if stream.branch else "")


def lost_state(stream: StreamId, lost: LostRange) -> LostState:
    """A statement as it is shown."""
    return LostState(
        node_id=stream.node_id,
        name=name_of(stream),
        epoch=lost.epoch,
        first_seq=lost.first_seq,
        next_seq=lost.next_seq,
        by=lost.by,
        reason=lost.reason,
        at_ms=lost.at_ms,
        key_id=lost.key_id.hex(),
    )


def _unreadable(replicator: Replicator) -> str:
    rotten = replicator.mender.rotten
    if not rotten:
        return ""
    stream, part = rotten[0]
    return (
        f"{len(rotten)} {'parts' if len(rotten) > 1 else 'part'} of logs can't be read, and nobody who is reached has them whole: the first in segment"
        f" {part.segment_first_seq} of {stream}. Look at the disk; they are asked for again and again."
    )


def _peer(peer: PeerState, numbers: GossipStatistics, member: Member, replicator: Replicator) -> PeerState:
    node = numbers.nodes.get(peer.node_id)
    link = next((each for each in numbers.peers if each.node_id == peer.node_id), None)
    theirs = [] if link is None else [lag for lag in link.lacking if lag.stream.node_id == peer.node_id]
    return msgspec.structs.replace(
        peer,
        member=member,
        relay=replicator.gossip.reacher.reached_by(peer.node_id) if link is None else "",
        bytes_per_s=numbers.paces.get(peer.node_id),
        lag_ms=node.lag_ms if node is not None else 0,
        lag_entries=node.lag_count if node is not None else 0,
        behind_ms=max((lag.lag_ms for lag in theirs), default=0),
        behind_entries=sum(lag.lag_count for lag in theirs),
        backlog_bytes=peer.backlog_bytes if link is None else max(peer.backlog_bytes, link.pushed_bytes),
    )


def _held(numbers: GossipStatistics, replicator: Replicator) -> tuple[HeldState, ...]:
    behind: dict[StreamId, tuple[int, int]] = {}
    for peer in numbers.peers:
        for lag in peer.lacking:
            known = behind.get(lag.stream, (0, 0))
            behind[lag.stream] = (max(known[0], lag.lag_ms), max(known[1], lag.lag_count))
    return tuple(
        HeldState(
            node_id=stream.node_id,
            name=name_of(stream),
            epoch=head.epoch,
            first_seq=head.first_seq,
            next_seq=head.next_seq,
            bytes=replicator.house.sizes.get(stream, 0),
            behind_ms=behind.get(stream, (0, 0))[0],
            behind_entries=behind.get(stream, (0, 0))[1],
        )
        for stream, head in sorted(numbers.held.items())
    )
