"""Two nodes of a fleet over real links: a log is copied while it is written, and both say how it stands."""

from __future__ import annotations

import random
from pathlib import Path

import trio

from appliance.core.clock import SystemClock
from appliance.management.replication_state import PeerState, ReplicationState
from appliance.run import layout
from appliance.run.copying_wiring import make_replicator, with_copies
from appliance.run.fleet_node import FleetNode
from replication.messages import ClaimEpoch, encode_message
from replication.replicator import Replicator
from replication.scheduling import Priority
from storage.fleet.votes_file import Vote, read_votes
from storage.log import LogWriter
from storage.log.verify import verify
from storage.replicas.streams import StreamId
from tests.fleet_kit import Box, make_fleet, open_node, until
from tests.replica_kit import segments_of
from tests.storage_log_kit import KitSigner, QuickDisk, append_blocks

INSTANCE = "0d" * 16


def open_log(box: Box) -> LogWriter:
    return LogWriter.open(
        layout.telemetry_log(box.config),
        stream="telemetry",
        node_id=box.keys.node_id,
        signer=KitSigner(),
        clock=SystemClock(),
        disk=QuickDisk(),
        segment_bytes=256 * 1024,
    )


def empty_state(box: Box, *others: Box) -> ReplicationState:
    peers = tuple(
        PeerState(
            node_id=other.node_id,
            name=other.config.node.name,
            site_id="",
            region="",
            is_of_this_site=False,
            state="admitted",
            link="up",
            since_ms=0,
            certificate_ends_at_ms=0,
        )
        for other in others
    )
    return ReplicationState(
        at_ms=0,
        node_id=box.node_id,
        name="",
        site_id="",
        region="",
        authority="",
        safe_at="node",
        rpo_ms=None,
        rpo_worst_ms=None,
        peers=peers,
    )


async def test_a_log_is_copied_over_links_and_both_ends_say_so(tmp_path: Path) -> None:
    clock = SystemClock()
    boxes = make_fleet(tmp_path, "one", "two", is_one_site=False)
    one, two = boxes
    writer = open_log(one)
    append_blocks(writer, 200, body_bytes_max=20_000)
    async with trio.open_nursery() as nursery:
        nodes: list[FleetNode] = []
        replicators: list[Replicator] = []
        for n, box in enumerate(boxes):
            node = open_node(box, seed=n, peers=tuple(nodes))
            replicator = make_replicator(box.config, node, clock=clock, random=random.Random(n))
            await nursery.start(replicator.run)
            await nursery.start(node.run)
            nodes.append(node)
            replicators.append(replicator)
        stream = StreamId(one.node_id, "telemetry")
        first, second = (replicator.gossip for replicator in replicators)
        for _ in range(20):
            append_blocks(writer, 5, seed=writer.head.next_seq)
            await trio.sleep(0.01)
        assert await trio.to_thread.run_sync(writer.wait_idle, 20)
        writer.close()
        await until(lambda: second.head(stream).next_seq == writer.head.next_seq)
        await until(lambda: first.safe_seq(stream, "site") == writer.head.next_seq)
        segments = sorted(layout.telemetry_log(one.config).glob("*.open"))
        first_open_seq = int(segments[0].stem.partition("-")[2])
        await until(lambda: second.head(stream).sealed_seq == first_open_seq, within_s=40)

        ours = with_copies(empty_state(one, two), replicators[0], clock)
        theirs = with_copies(empty_state(two, one), replicators[1], clock)
        assert (ours.rpo_ms, ours.unsafe_entries, ours.problem, ours.forks) == (0, 0, "", ())
        assert (ours.peers[0].lag_entries, ours.peers[0].member) == (0, "alive")
        assert [(held.node_id, held.next_seq) for held in theirs.held] == [
            (one.node_id, writer.head.next_seq)
        ]

        # A voice for an epoch is on the disk before it is given.
        claim = ClaimEpoch(1, one.node_id, 2, INSTANCE)
        nodes[0].links.send(two.node_id, encode_message(claim), Priority.CONTROL)
        await until(lambda: read_votes(two.data_dir) == {one.node_id: Vote(2, INSTANCE)})
        nursery.cancel_scope.cancel()
    copy = two.data_dir / "replicas" / one.node_id / "telemetry"
    assert segments_of(copy) == segments_of(layout.telemetry_log(one.config))
    assert verify(copy).ok
