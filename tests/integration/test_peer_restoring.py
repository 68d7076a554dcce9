"""A node whose disk is gone comes back out of a peer, with nothing but the recovery kit: its catalog, its log byte for byte, a new epoch."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio

from appliance.core.clock import ManualClock, SystemClock
from appliance.core.config import Config
from appliance.core.errors import Conflict, NotFound, Unavailable
from appliance.core.settings import Bind
from appliance.identity.ca import SiteCa
from appliance.identity.fleet import Fleet
from appliance.identity.instance import load_instance
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import RecoveryKit
from appliance.run import layout
from appliance.run.fleet_node import FleetNode
from appliance.run.peer_restoring import FromPeers, restore_from_peers
from replication.replicator import Replicator
from storage.catalog import Catalog
from storage.catalog_stream.record import decode_change
from storage.catalog_stream.stream_writer import CatalogStreamWriter
from storage.log import LogReader, LogWriter
from storage.log.verify import verify
from storage.replicas.chunk_source import ChunkSource
from storage.replicas.room import ReplicaRoom
from storage.replicas.streams import StreamHead, StreamId, StreamName
from storage.site.order import SiteOrder
from storage.site.reader import SiteReader
from tests.catalog_stream_kit import carry_over
from tests.fleet_kit import Box, make_fleet, open_node
from tests.replica_kit import carry, segments_of
from tests.storage_log_kit import QuickDisk, append_blocks

CLOCK = SystemClock()
HOUR_MS = 3_600_000


@dataclasses.dataclass
class Site:
    """A node that was lost, its peer that holds its copies, the kit, and the box that takes its place."""

    lost: Box
    peer: Box
    kit: RecoveryKit
    config: Config


def open_log(config: Config, keys: SiteKeys) -> LogWriter:
    return LogWriter.open(
        layout.telemetry_log(config),
        stream="telemetry",
        node_id=keys.node_id,
        signer=keys.signer,
        clock=CLOCK,
        disk=QuickDisk(),
        segment_bytes=64 * 1024,
    )


def open_stream(config: Config, keys: SiteKeys) -> CatalogStreamWriter:
    return CatalogStreamWriter.open(
        layout.catalog_log(config), node_id=keys.node_id, signer=keys.signer, clock=CLOCK, disk=QuickDisk()
    )


def write_catalog(box: Box, *devices: str) -> None:
    catalog = Catalog.open(layout.catalog(box.config), clock=CLOCK, node_id=box.keys.node_id)
    for device in devices:
        catalog.add_device(device, name=f"the {device}")
        catalog.set_token(device, box.keys.token_hash(f"hpd_{device}".encode()))
    stream = open_stream(box.config, box.keys)
    carry_over(catalog, stream)
    stream.close()
    catalog.close()


def copy_to(box: Box, holder: Box) -> None:
    """All streams of a box, as its replicator would have copied them."""
    room = ReplicaRoom(holder.data_dir / "replicas", clock=CLOCK, disk=QuickDisk())
    for name, directory in (
        ("telemetry", layout.telemetry_log(box.config)),
        ("catalog", layout.catalog_log(box.config)),
    ):
        stream = StreamId(box.node_id, "telemetry" if name == "telemetry" else "catalog")
        source = ChunkSource(directory, stream)
        carry(source, room.log(stream))
        source.close()
    room.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    lost, peer = make_fleet(tmp_path, "lost", "peer", clock=ManualClock(CLOCK.now_ms() - HOUR_MS))
    SiteCa.load_or_create(lost.data_dir, lost.keys, clock=CLOCK)
    kit = RecoveryKit.of(lost.data_dir)
    write_catalog(lost, "pump", "valve")
    write_catalog(peer, "fan")
    writer = open_log(lost.config, lost.keys)
    append_blocks(writer, 60)
    assert writer.wait_idle(10)
    writer.close()
    copy_to(lost, peer)
    new = tmp_path / "new"
    new.mkdir()
    config = dataclasses.replace(
        lost.config, node=dataclasses.replace(lost.config.node, data_dir=new, name="new")
    )
    return Site(lost, peer, kit, config)


@asynccontextmanager
async def running(box: Box) -> AsyncIterator[tuple[FleetNode, Replicator]]:
    """A node's links and copies, as its replicator process has them."""
    node = open_node(box, seed=7)
    room = ReplicaRoom(box.data_dir / "replicas", clock=CLOCK, disk=QuickDisk())
    replicator = Replicator(
        box.node_id,
        node.links,
        own={"telemetry": layout.telemetry_log(box.config), "catalog": layout.catalog_log(box.config)},
        room=room,
        clock=CLOCK,
        random=Random(3),
        data_dir=box.data_dir,
    )
    node.links.listener = replicator
    replicator.set_roster(node.keeper.roster)
    async with trio.open_nursery() as nursery:
        await nursery.start(replicator.run)
        await nursery.start(node.run)
        yield node, replicator
        nursery.cancel_scope.cancel()
    room.close()


async def restore(site: Site, node: FleetNode, **options: object) -> FromPeers:
    address = Bind(host="127.0.0.1", port=node.links.port)
    return await trio.to_thread.run_sync(
        partial(restore_from_peers, site.config, address, site.kit, clock=CLOCK, **options)  # type: ignore[arg-type]
    )


def devices_of(config: Config, keys: SiteKeys) -> dict[str, bool]:
    """Device → whether its token is good."""
    catalog = Catalog.open(layout.catalog(config), clock=CLOCK, node_id=keys.node_id)
    try:
        return {
            device.device_id: bool(
                catalog.row(
                    "SELECT 1 FROM device_tokens WHERE device_id = ? AND token_hash = ?",
                    (device.device_id, keys.token_hash(f"hpd_{device.device_id}".encode()).hex()),
                )
            )
            for device in catalog.list_devices().devices
        }
    finally:
        catalog.close()


def said_in(directory: Path, keys: SiteKeys) -> str:
    """All rows that a catalog's stream tells of, as text."""
    reader = LogReader(directory, stream="catalog")
    try:
        rows, seq = [], reader.first_seq()
        while blocks := reader.read(seq):
            payloads = [payload for block in blocks for payload in block.columns().payloads()]
            rows += [decode_change(payload, origin=keys.node_id.hex()).row for payload in payloads]
            seq = blocks[-1].next_seq
        return str(rows)
    finally:
        reader.close()


async def test_a_lost_node_comes_back_and_goes_on_in_a_new_epoch(site: Site) -> None:
    before = segments_of(layout.telemetry_log(site.lost.config))
    async with running(site.peer) as (node, _):
        done = await restore(site, node)
    keys = SiteKeys.load_existing(site.config.node.data_dir)
    assert keys.node_id == site.lost.keys.node_id
    assert done.asked == ("peer",)
    assert (done.away, done.lacking, done.replaced) == ((), (), None)
    assert segments_of(layout.telemetry_log(site.config)) == before
    assert devices_of(site.config, keys) == {"fan": True, "pump": True, "valve": True}
    instance = load_instance(site.config.node.data_dir)
    assert instance is not None
    assert instance.is_bound
    assert Fleet.load(site.config.node.data_dir, keys).identity.instance == instance.instance_id
    writer = open_log(site.config, keys)
    assert writer.head.epoch == 2
    append_blocks(writer, 5, seed=2)
    assert writer.wait_idle(10)
    writer.close()
    report = verify(layout.telemetry_log(site.config))
    assert report.ok, report.damaged
    write_catalog(Box(config=site.config, keys=keys), "motor")
    assert verify(layout.catalog_log(site.config)).ok
    told = said_in(layout.catalog_log(site.config), keys)
    assert "peer.restore" in told, "others hear that it was restored"
    assert "motor" in told
    copy_to(Box(config=site.config, keys=keys), site.peer)
    copies = site.peer.data_dir / "replicas" / keys.node_id.hex()
    assert not list(copies.glob("*.fork-*")), "it went on where it had ended"
    assert verify(copies / "telemetry").ok
    assert segments_of(copies / "telemetry") == segments_of(layout.telemetry_log(site.config))


def fork(site: Site, tmp_path: Path) -> Box:
    """Another body of the lost node, out of a copy of its disk; both have written since, and the peer has both histories."""
    folder = tmp_path / "clone"
    shutil.copytree(site.lost.data_dir, folder, symlinks=True)
    config = dataclasses.replace(
        site.lost.config, node=dataclasses.replace(site.lost.config.node, data_dir=folder)
    )
    clone = Box(config=config, keys=site.lost.keys)
    for box, seed, device in ((site.lost, 3, "motor"), (clone, 4, "heater")):
        writer = open_log(box.config, box.keys)
        append_blocks(writer, 20, seed=seed)
        assert writer.wait_idle(10)
        writer.close()
        write_catalog(box, device)
    copy_to(site.lost, site.peer)
    room = ReplicaRoom(site.peer.data_dir / "replicas", clock=CLOCK, disk=QuickDisk())
    for name, directory in logs_of(clone.config).items():
        branch = StreamId(clone.node_id, name, head_of(directory, name).hash.hex()[:8])
        source = ChunkSource(directory, branch)
        carry(source, room.log(branch))
        # A holder that is behind has a part of it under another name.
        part = StreamId(clone.node_id, name, "0" * 8)
        source = ChunkSource(directory, part)
        carry(source, room.log(part), bytes_max=4096, chunks_max=12)
    room.close()
    return clone


def logs_of(config: Config) -> dict[StreamName, Path]:
    return {"telemetry": layout.telemetry_log(config), "catalog": layout.catalog_log(config)}


def head_of(directory: Path, name: StreamName) -> StreamHead:
    source = ChunkSource(directory, StreamId("0" * 32, name))
    try:
        return source.head()
    finally:
        source.close()


def records_of(directory: Path) -> list[tuple[int, int, bytes]]:
    """(epoch, first sequence, content) of all blocks in a log."""
    reader = LogReader(directory)
    try:
        found: list[tuple[int, int, bytes]] = []
        seq = reader.first_seq()
        while blocks := reader.read(seq):
            found += [(block.epoch, block.first_seq, block.body) for block in blocks]
            seq = blocks[-1].next_seq
        return found
    finally:
        reader.close()


def site_records(config: Config, keys: SiteKeys) -> list[bytes]:
    """All that a box's readers see, as the store does."""
    order = SiteOrder(
        layout.site_order(config),
        own_log=layout.telemetry_log(config),
        own_id=keys.node_id.hex(),
        replicas=config.node.data_dir / "replicas",
        nodes=lambda: [keys.node_id.hex()],
        clock=ManualClock(),
    )
    reader = SiteReader(order)
    try:
        found: list[bytes] = []
        seq = 1
        for _ in range(100):
            order.take(seq)
            while blocks := reader.read(seq):
                found += [block.body for block in blocks]
                seq = blocks[-1].next_seq
        return found
    finally:
        reader.close()
        order.close()


async def test_after_a_fork_both_histories_come_back_and_each_record_once(site: Site, tmp_path: Path) -> None:
    clone = fork(site, tmp_path)
    ours, theirs = (records_of(layout.telemetry_log(box.config)) for box in (site.lost, clone))
    assert ours != theirs
    shared = set(ours) & set(theirs)
    assert shared
    async with running(site.peer) as (node, _):
        done = await restore(site, node)
    assert done.lacking == ()
    keys = SiteKeys.load_existing(site.config.node.data_dir)
    beside = site.config.node.data_dir / "replicas" / keys.node_id.hex()
    assert len(list(beside.glob("telemetry.fork-*"))) == 1, "a part of it under another name is not had twice"
    assert devices_of(site.config, keys) == dict.fromkeys(("fan", "heater", "motor", "pump", "valve"), True)
    seen = site_records(site.config, keys)
    assert sorted(seen) == sorted([body for _, _, body in set(ours) | set(theirs)])
    writer = open_log(site.config, keys)
    assert writer.head.epoch == 2, "above all epochs of both"
    append_blocks(writer, 5, seed=5)
    assert writer.wait_idle(10)
    writer.close()
    places = [(epoch, seq) for epoch, seq, _ in records_of(layout.telemetry_log(site.config))]
    assert len(set(places)) == len(places)
    after = [place for place in places if place[0] == 2]
    assert after
    assert not set(after) & {place[:2] for place in (*ours, *theirs)}
    copy_to(Box(config=site.config, keys=keys), site.peer)
    assert verify(site.peer.data_dir / "replicas" / keys.node_id.hex() / "telemetry").ok


async def test_a_branch_that_can_not_be_had_is_told(site: Site, tmp_path: Path) -> None:
    fork(site, tmp_path)
    for folder in (site.peer.data_dir / "replicas" / site.lost.node_id).glob("telemetry.fork-*"):
        path = min(folder.glob("*.seg"))
        data = bytearray(path.read_bytes())
        data[6_000] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)
    async with running(site.peer) as (node, _):
        done = await restore(site, node)
    assert {lacking.what.partition(".fork-")[0] for lacking in done.lacking} == {
        f"{site.lost.node_id}/telemetry"
    }
    keys = SiteKeys.load_existing(site.config.node.data_dir)
    assert devices_of(site.config, keys)["heater"], "the catalog's branch was had"


async def test_without_the_past_what_the_other_body_changed_is_there_at_once(
    site: Site, tmp_path: Path
) -> None:
    fork(site, tmp_path)
    async with running(site.peer) as (node, _):
        done = await restore(site, node, is_past_later=True)
    assert done.is_past_later
    keys = SiteKeys.load_existing(site.config.node.data_dir)
    assert devices_of(site.config, keys) == dict.fromkeys(("fan", "heater", "motor", "pump", "valve"), True)


async def test_without_the_past_devices_are_served_and_the_log_goes_on(site: Site) -> None:
    async with running(site.peer) as (node, _):
        done = await restore(site, node, is_past_later=True)
    assert done.is_past_later
    assert done.telemetry is not None
    keys = SiteKeys.load_existing(site.config.node.data_dir)
    assert devices_of(site.config, keys)["pump"]
    writer = open_log(site.config, keys)
    assert not writer.recovery.damaged
    assert (writer.head.epoch, writer.head.next_seq) == (2, done.telemetry.next_seq)
    append_blocks(writer, 5, seed=2)
    writer.close()
    report = verify(layout.telemetry_log(site.config))
    assert report.ok, report.damaged
    assert [each.rule for each in report.dropped] == ["to_come"]
    copy_to(Box(config=site.config, keys=keys), site.peer)
    assert verify(site.peer.data_dir / "replicas" / keys.node_id.hex() / "telemetry").ok


async def test_what_is_there_stays_unless_it_is_said_otherwise(site: Site) -> None:
    (site.config.node.data_dir / "catalog.db").write_bytes(b"mine")
    async with running(site.peer) as (node, _):
        with pytest.raises(Conflict, match="not empty"):
            await restore(site, node)
        done = await restore(site, node, replace_there=True)
    assert done.replaced is not None
    assert (done.replaced / "catalog.db").read_bytes() == b"mine"


async def test_a_node_of_which_nobody_has_anything_is_refused(site: Site) -> None:
    async with running(site.peer) as (node, _):
        with pytest.raises(NotFound, match="Nobody"):
            await restore(site, node, node_id="ab" * 16)
    assert list(site.config.node.data_dir.iterdir()) == [site.config.node.data_dir / "node.lock"]


async def test_a_kit_of_another_site_gets_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from appliance.run import peer_restoring

    monkeypatch.setattr(peer_restoring, "CONNECT_S", 2.0)
    stranger = dataclasses.replace(site.kit, site_key=bytes(32))
    async with running(site.peer) as (node, _):
        with pytest.raises(Unavailable, match="did not take this box"):
            await restore(dataclasses.replace(site, kit=stranger), node)
    assert list(site.config.node.data_dir.iterdir()) == [site.config.node.data_dir / "node.lock"]
