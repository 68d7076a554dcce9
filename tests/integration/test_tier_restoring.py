"""A node whose disk is gone comes back out of a region of the tier: byte for byte, in an epoch that no other box gets."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pytest
import trio

from appliance.core.config import Config
from appliance.core.config_tier import TierConfig
from appliance.core.errors import HomeportError, LogDamaged, NotFound, Unavailable
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import RecoveryKit
from appliance.run import layout, tier_restoring
from appliance.run.peer_restoring import FromPeers
from appliance.run.tier_restoring import restore_from_tier
from appliance.run.tier_wiring import site_tier_keys
from replication.effects import Place
from replication.tier.envelope import open_piece
from replication.tier.local_pieces import LocalPieces
from replication.tier.pieces import PieceName
from replication.tier.region_calls import RegionCalls
from replication.tier.source import TierSource
from replication.tier.steps import EMPTY, Nothing, Ship, Shipped
from storage.catalog import Catalog
from storage.log import LogReader, new_epoch
from storage.log.disk import OsDisk
from storage.log.verify import verify
from storage.replicas.streams import Chunk, StreamId
from tests.fleet_kit import Box
from tests.integration.test_peer_restoring import (
    CLOCK,
    Site,
    devices_of,
    fork,
    logs_of,
    open_log,
    open_stream,
    site,
    site_records,
)
from tests.integration.test_peer_restoring import records_of as blocks_of
from tests.replica_kit import open_replica, segments_of
from tests.storage_log_kit import append_blocks
from tests.tier_kit import MemoryTier
from tests.unit.test_replication_tier_region_calls import end_of

__all__ = ["site"]  # the fixture
ADDRESS = "s3://bucket/site"


async def ship(tier: MemoryTier, box: Box, *names: str, generations: Sequence[int] = (1,)) -> None:
    """All of a box's streams, as its shipper would; with several generations of the key in turn, a piece each."""
    found = logs_of(box.config)
    streams = {StreamId(box.node_id, name): found[name] for name in found if name in names}
    await ship_streams(tier, box, streams, generations=generations)


async def ship_streams(
    tier: MemoryTier,
    box: Box,
    directories: Mapping[StreamId, Path],
    *,
    after: Place = EMPTY,
    generations: Sequence[int] = (1,),
) -> None:
    """Streams that a box holds, from a place on."""
    local = LocalPieces.in_files(lambda stream: directories[stream])
    async with tier.open() as engine:
        configs = [
            dataclasses.replace(box.config, tier=TierConfig(key_generation=each)) for each in generations
        ]
        turns = itertools.cycle(
            [
                RegionCalls(
                    engine,
                    local,
                    site_tier_keys(config, box.keys),
                    trio.CapacityLimiter(1),
                    lambda name: None,
                )
                for config in configs
            ]
        )
        for stream in directories:
            place = after
            while True:
                step = Ship(number=1, region="eu", stream=stream, place=place, bytes_max=30_000)
                outcome = await next(turns).ship(step)
                if isinstance(outcome, Nothing):
                    break
                assert isinstance(outcome, Shipped)
                place = end_of(outcome.name)
    local.close()


@pytest.fixture
def tier(site: Site, monkeypatch: pytest.MonkeyPatch) -> MemoryTier:
    """A region with the lost node's streams, and the peer's catalog."""
    made = MemoryTier()
    trio.run(ship, made, site.lost, "telemetry", "catalog")
    trio.run(ship, made, site.peer, "catalog")
    monkeypatch.setattr(tier_restoring, "opening", lambda address, credentials: made.open)
    return made


async def restored(config: Config, kit: RecoveryKit, **options: bool) -> FromPeers:
    work = partial(restore_from_tier, config, ADDRESS, None, kit, clock=CLOCK, **options)  # type: ignore[arg-type]
    return await trio.to_thread.run_sync(work)


async def test_a_box_comes_back_with_its_catalog_its_log_and_an_epoch_of_its_own(
    site: Site, tier: MemoryTier
) -> None:
    done = await restored(site.config, site.kit)
    assert (done.node_id, done.lacking, done.away) == (site.lost.node_id, (), ())
    lost = segments_of(layout.telemetry_log(site.lost.config))
    here = segments_of(layout.telemetry_log(site.config))
    assert {name: data for name, data in lost.items() if name.endswith(".seg")}.items() <= here.items()
    catalog = Catalog.open(layout.catalog(site.config), clock=CLOCK, node_id=site.lost.keys.node_id)
    assert {device.device_id for device in catalog.list_devices().devices} == {"pump", "valve", "fan"}
    catalog.close()
    writer = open_log(site.config, site.lost.keys)
    assert writer.head.epoch == 2
    writer.close()
    open_stream(site.config, site.lost.keys).close()
    assert verify(layout.telemetry_log(site.config)).ok
    assert [key for key in tier.kept_objects if key.startswith("claims/")] == [
        f"claims/{site.lost.node_id}/2"
    ]


async def test_a_box_comes_back_out_of_pieces_of_several_generations_of_the_key(
    site: Site, tier: MemoryTier, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = MemoryTier()
    await ship(made, site.lost, "telemetry", "catalog", generations=(1, 2, 7))
    await ship(made, site.peer, "catalog", generations=(2,))
    # magic of 4 bytes, flags, then the generation: the head is readable without a key
    sealed = {int.from_bytes(data[5:9]) for data in made.data.values()}
    assert sealed == {1, 2, 7}
    monkeypatch.setattr(tier_restoring, "opening", lambda address, credentials: made.open)
    done = await restored(site.config, site.kit)
    assert done.lacking == ()
    lost = segments_of(layout.telemetry_log(site.lost.config))
    here = segments_of(layout.telemetry_log(site.config))
    assert {name: data for name, data in lost.items() if name.endswith(".seg")}.items() <= here.items()


async def test_a_second_box_gets_another_epoch_and_the_same_one_its_own_again(
    site: Site, tier: MemoryTier
) -> None:
    async with tier.open() as engine:
        source = TierSource("eu", engine, site_tier_keys(site.lost.config, site.lost.keys))
        assert await source.claim(site.lost.node_id, "a" * 32, 1) == 2
        assert await source.claim(site.lost.node_id, "b" * 32, 1) == 3
        assert await source.claim(site.lost.node_id, "a" * 32, 1) == 2


async def test_another_sites_kit_is_told_what_is_there(site: Site, tier: MemoryTier, tmp_path: Path) -> None:
    stranger = dataclasses.replace(site.kit, site_key=b"x" * 32)
    with pytest.raises(NotFound, match="nothing that the kit's site sealed"):
        await restored(site.config, stranger)
    with pytest.raises(NotFound, match=site.lost.node_id):
        await restored(site.config, dataclasses.replace(site.kit, node_id=b"n" * 16))
    there = {path.name for path in site.config.node.data_dir.iterdir()}
    assert not there & {"identity", "log", "catalog.db", "restore.new"}, "nothing was changed"


def records_of(directory: Path) -> tuple[set[int], list[tuple[int, int]]]:
    """The sequences that a reader of a log gets, and the ranges that it has to pass over."""
    reader, seqs, gaps = LogReader(directory), set[int](), list[tuple[int, int]]()
    seq, end = reader.first_seq(), reader.head().next_seq
    while seq < end:
        try:
            blocks = reader.read(seq)
        except LogDamaged as error:
            gaps.append((error.first_seq, error.next_seq))
            seq = error.next_seq
            continue
        for block in blocks:
            seqs.update(range(block.first_seq, block.next_seq))
        seq = blocks[-1].next_seq
    reader.close()
    return seqs, gaps


@pytest.mark.parametrize("where", ["first", "middle", "last"])
@pytest.mark.parametrize("how", ["gone", "damaged"])
async def test_what_a_region_lost_is_named_and_what_comes_after_it_is_here(
    site: Site, tier: MemoryTier, where: str, how: str
) -> None:
    stream = StreamId(site.lost.node_id, "telemetry")
    names = list(tier.of_epoch[stream, 1])
    begins = [name.first_seq for name in names if opened(tier, site, name).header_page is not None]
    bad = {"first": names[0], "middle": names[2], "last": names[-1]}[where]
    if how == "gone":
        tier.lose(bad)
    else:
        tier.data[bad.stream, bad.epoch, bad.first_seq] = b"rot"
    done = await restored(site.config, site.kit)
    after = next((seq for seq in begins if seq > bad.first_seq), names[-1].next_seq)
    if (where, how) == ("last", "gone"):  # nothing there says that there was more
        assert done.lacking == ()
        return
    (lacking,) = done.lacking
    assert (lacking.what, lacking.first_seq, lacking.next_seq) == (str(stream), bad.first_seq, after)
    assert f"records {bad.first_seq} to {after - 1} can't be had" in lacking.why
    assert "another region or a peer may have them" in lacking.why
    seqs, gaps = records_of(layout.telemetry_log(site.config))
    wanted = set(range(1, names[-1].next_seq)) - set(range(bad.first_seq, after))
    assert seqs == wanted
    assert gaps == ([(bad.first_seq, after)] if where == "middle" else [])
    writer = open_log(site.config, site.lost.keys)
    assert writer.head.epoch == 2
    assert writer.head.next_seq == (names[-1].next_seq if where != "last" else bad.first_seq)
    append_blocks(writer, 3)
    end = writer.head.next_seq
    assert writer.wait_idle(10)
    writer.close()
    seqs, gaps = records_of(layout.telemetry_log(site.config))
    assert max(seqs) == end - 1
    found = verify(layout.telemetry_log(site.config))
    assert [
        (each.first_seq, each.next_seq) for each in found.damaged if each.next_seq > each.first_seq
    ] == gaps


async def test_without_hearing_of_gaps_a_copy_ends_at_the_first(
    site: Site, tier: MemoryTier, tmp_path: Path
) -> None:
    stream = StreamId(site.lost.node_id, "telemetry")
    gone = tier.of_epoch[stream, 1][2]
    tier.lose(gone)
    async with tier.open() as engine:
        source = TierSource("eu", engine, site_tier_keys(site.lost.config, site.lost.keys))
        log = open_replica(tmp_path / "copy", stream=stream, keys=None)
        with pytest.raises(Unavailable, match=f"up to record {gone.first_seq - 1}"):
            await source.copy(stream, log)
        assert log.head().next_seq == gone.first_seq
        log.close()


def opened(tier: MemoryTier, site: Site, name: PieceName) -> Chunk:
    keys = site_tier_keys(site.lost.config, site.lost.keys)
    return open_piece(tier.data[name.stream, name.epoch, name.first_seq], keys.opening(name.stream))


async def test_a_region_that_goes_away_for_a_moment_costs_nothing(
    site: Site, tier: MemoryTier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replication.tier.source.RETRY_S", 0.01)
    stream = StreamId(site.lost.node_id, "telemetry")
    async with tier.open() as engine:
        source = TierSource("eu", engine, site_tier_keys(site.lost.config, site.lost.keys))
        log = open_replica(tmp_path / "copy", stream=stream, keys=None)
        turns: list[int] = []

        def trouble(_: StreamId, done: int, total: int) -> None:
            turns.append(done)
            tier.is_away = len(turns) == 2

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_comes_back, tier)
            head = await source.copy(stream, log, progress=trouble)
            nursery.cancel_scope.cancel()
        assert head.next_seq == tier.of_epoch[stream, 1][-1].next_seq
        tier.is_away = True
        with pytest.raises((Unavailable, HomeportError)):
            await source.copy(stream, log)
        log.close()


async def _comes_back(tier: MemoryTier) -> None:
    while True:
        await trio.sleep(0.02)
        tier.is_away = False


async def forked(site: Site, tier: MemoryTier, tmp_path: Path) -> tuple[Box, dict[StreamId, Path]]:
    """Another body of the lost node, which has written too. The region has what the first one shipped; the peer holds the branches given here."""
    clone = fork(site, tmp_path)
    for name, directory in logs_of(site.lost.config).items():
        stream = StreamId(site.lost.node_id, name)
        last = tier.of_epoch[stream, 1][-1]
        await ship_streams(tier, site.lost, {stream: directory}, after=end_of(last))
    folder = site.peer.data_dir / "replicas" / site.lost.node_id
    held = {
        StreamId(site.lost.node_id, name, path.name.partition(".fork-")[2]): path
        for name in logs_of(clone.config)
        for path in folder.glob(f"{name}.fork-*")
    }
    return clone, held


async def test_after_a_fork_both_histories_come_back_and_each_record_once(
    site: Site, tier: MemoryTier, tmp_path: Path
) -> None:
    clone, held = await forked(site, tier, tmp_path)
    ours, theirs = (blocks_of(layout.telemetry_log(box.config)) for box in (site.lost, clone))
    await ship_streams(tier, site.peer, held)
    done = await restored(site.config, site.kit)
    assert done.lacking == ()
    keys = SiteKeys.load_existing(site.config.node.data_dir)
    assert devices_of(site.config, keys) == dict.fromkeys(("fan", "heater", "motor", "pump", "valve"), True)
    seen = site_records(site.config, keys)
    assert sorted(seen) == sorted([body for _, _, body in set(ours) | set(theirs)])
    writer = open_log(site.config, keys)
    assert writer.head.epoch == 2, "above all epochs of both"
    writer.close()


async def test_who_went_on_after_a_fork_is_had_behind_its_branch(
    site: Site, tier: MemoryTier, tmp_path: Path
) -> None:
    clone, held = await forked(site, tier, tmp_path)
    log = layout.telemetry_log(clone.config)
    new_epoch.ask(OsDisk(), log)
    writer = open_log(clone.config, clone.keys)
    append_blocks(writer, 10, seed=6)
    assert writer.wait_idle(10)
    writer.close()
    stream = StreamId(clone.node_id, "telemetry")
    # Its own shipper goes on behind what the first one shipped: with its next epoch.
    await ship_streams(tier, clone, {stream: log}, after=end_of(tier.of_epoch[stream, 1][-1]))
    assert tier.of_epoch[stream, 2]
    ours, theirs = (blocks_of(layout.telemetry_log(box.config)) for box in (site.lost, clone))
    assert {epoch for epoch, _, _ in theirs} == {1, 2}
    both = sorted([body for _, _, body in set(ours) | set(theirs)])
    done = await restored(site.config, site.kit)
    assert done.lacking == (), "what its epoch goes on from was put there before it"
    keys = SiteKeys.load_existing(site.config.node.data_dir)
    assert sorted(site_records(site.config, keys)) == both

    catalogs = {branch: folder for branch, folder in held.items() if branch.name == "catalog"}
    await ship_streams(tier, site.peer, catalogs)
    done = await restored(site.config, site.kit, replace_there=True)
    assert done.lacking == ()
    keys = SiteKeys.load_existing(site.config.node.data_dir)
    assert sorted(site_records(site.config, keys)) == both
    writer = open_log(site.config, keys)
    assert writer.head.epoch == 4, "above what the clone wrote, and what the restore before this one claimed"
    writer.close()


async def test_an_epoch_that_began_before_what_others_still_shipped_of_the_one_before_is_had_back(
    site: Site, tier: MemoryTier, tmp_path: Path
) -> None:
    """A box came back from an older state, and a peer that had more of its former self shipped that only then."""
    log, older = layout.telemetry_log(site.lost.config), tmp_path / "older"
    stream = StreamId(site.lost.node_id, "telemetry")
    shipped = end_of(tier.of_epoch[stream, 1][-1])
    shutil.copytree(log, older)
    writer = open_log(site.lost.config, site.lost.keys)
    append_blocks(writer, 10, seed=8)
    writer.close()
    await ship_streams(tier, site.lost, {stream: log}, after=shipped)
    ours = blocks_of(log)
    shutil.rmtree(log)
    shutil.move(older, log)
    new_epoch.ask(OsDisk(), log)
    writer = open_log(site.lost.config, site.lost.keys)
    append_blocks(writer, 10, seed=9)
    assert writer.wait_idle(10)
    writer.close()
    await ship_streams(tier, site.lost, {stream: log}, after=shipped)
    theirs = blocks_of(log)
    assert {epoch for epoch, _, _ in theirs} == {1, 2}
    done = await restored(site.config, site.kit)
    assert done.lacking == ()
    assert blocks_of(layout.telemetry_log(site.config)) == theirs
    keys = SiteKeys.load_existing(site.config.node.data_dir)
    assert sorted(site_records(site.config, keys)) == sorted([body for _, _, body in set(ours) | set(theirs)])
