"""A box that others have more of than itself writes nothing, has its past back, and goes on in an epoch that was promised or granted."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import trio

from appliance.core.clock import SystemClock
from appliance.identity.epoch_grants import make_grant, used_grants
from appliance.identity.instance import make_instance
from appliance.run import epoch_claiming, layout
from appliance.run.copying_wiring import make_replicator
from appliance.run.epoch_claiming import EpochClaiming
from appliance.run.epoch_doubts import held_logs, is_moved
from appliance.run.fleet_node import FleetNode
from storage.fleet.epoch_files import read_doubt
from storage.log import LogReader, LogWriter
from storage.log.disk import OsDisk
from storage.log.new_epoch import wanted_epoch
from storage.replicas.streams import StreamId
from tests.fleet_kit import Box, entry_at, make_fleet
from tests.integration.test_tier_restoring import ship_streams
from tests.storage_log_kit import KitSigner, QuickDisk, append_blocks
from tests.tier_kit import MemoryTier
from tests.unit.test_run_tier_claims import claimed, claims_of

CLOCK = SystemClock()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WATCH_S", "RETRY_S", "RETRY_TIER_S", "LOOK_TIER_S"):
        monkeypatch.setattr(epoch_claiming, name, 0.05)


def write(box: Box, count: int, *, seed: int = 1) -> None:
    writer = LogWriter.open(
        layout.telemetry_log(box.config),
        stream="telemetry",
        node_id=box.keys.node_id,
        signer=KitSigner(),
        clock=CLOCK,
        disk=QuickDisk(),
    )
    append_blocks(writer, count, seed=seed)
    writer.close()


def give_copy(owner: Box, holder: Box) -> None:
    """What the owner has is at the holder, byte for byte."""
    target = layout.replica(holder.config, owner.node_id, "telemetry")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(layout.telemetry_log(owner.config), target)


def put_back(box: Box, snapshot: Path) -> None:
    log = layout.telemetry_log(box.config)
    shutil.rmtree(log)
    shutil.copytree(snapshot, log)


@asynccontextmanager
async def claiming(
    box: Box,
    *,
    peers: tuple[FleetNode, ...] = (),
    moved: Callable[[], None] = lambda: None,
    tier: MemoryTier | None = None,
) -> AsyncIterator[EpochClaiming]:
    node = FleetNode.open(box.config, box.keys, clock=CLOCK, random=Random(1), may_be_moved=True)
    node.keeper.merge([entry_at(peer) for peer in peers])
    replicator = make_replicator(box.config, node, clock=CLOCK, random=random.Random(2))
    made = node.links.listener = EpochClaiming(
        box.config,
        box.keys,
        node,
        replicator,
        clock=CLOCK,
        random=Random(3),
        on_moved=moved,
        tier=None if tier is None else claims_of(box, [tier], box.node_id),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(replicator.run)
        await nursery.start(node.run)
        nursery.start_soon(made.run)
        yield made
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def holder(box: Box) -> AsyncIterator[FleetNode]:
    """A peer that runs."""
    node = FleetNode.open(box.config, box.keys, clock=CLOCK, random=Random(5))
    replicator = make_replicator(box.config, node, clock=CLOCK, random=random.Random(6))
    async with trio.open_nursery() as nursery:
        await nursery.start(replicator.run)
        await nursery.start(node.run)
        yield node
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - what is waited for is in files and numbers
            await trio.sleep(0.01)


async def test_an_ordinary_start_waits_for_nobody(tmp_path: Path) -> None:
    one, _ = make_fleet(tmp_path, "one", "two")
    write(one, 3)
    async with claiming(one) as made:
        await until(lambda: made.state == "yes")
        assert made.answer() == {"state": "yes", "problem": ""}


async def test_its_past_is_fetched_and_an_epoch_promised(tmp_path: Path) -> None:
    one, two = make_fleet(tmp_path, "one", "two")
    log = layout.telemetry_log(one.config)
    write(one, 5)
    shutil.copytree(log, tmp_path / "snapshot")
    write(one, 20)
    give_copy(one, two)
    newest = LogReader(log).head()
    put_back(one, tmp_path / "snapshot")
    assert LogReader(log).head().next_seq < newest.next_seq
    async with holder(two) as peer, claiming(one, peers=(peer,)) as made:
        with held_logs(one.config):
            await until(lambda: made.state == "no")
            assert "have more of what this box wrote" in made.problem
            assert read_doubt(one.data_dir) is not None
            await trio.sleep(0.3)
            assert made.answer()["state"] == "no", "somebody still writes in the epoch of before"
        await until(lambda: made.answer()["state"] == "yes")
        assert wanted_epoch(OsDisk(), log)[0] == 2
        assert LogReader(log).head() == newest
        assert read_doubt(one.data_dir) is None
        write(one, 1)
        assert LogReader(log).head().epoch == 2
        await trio.sleep(0.3)
        assert made.answer() == {"state": "yes", "problem": ""}


async def test_a_copy_without_peers_waits_for_a_grant(tmp_path: Path) -> None:
    one, _ = make_fleet(tmp_path, "one", "two")
    write(one, 3)
    make_instance(one.data_dir)
    ended = trio.Event()
    async with claiming(one, moved=ended.set) as made:
        await until(lambda: made.state == "no")
        assert "This is a copy of the node" in made.problem
        await trio.sleep(0.3)
        assert made.state == "no"
        grant = make_grant(one.data_dir, one.keys, by="anna", reason="burnt", now_ms=CLOCK.now_ms())
        await until(ended.is_set)
        assert not is_moved(one.data_dir)
        assert wanted_epoch(OsDisk(), layout.telemetry_log(one.config)) == (2, bytes.fromhex(grant.branch))
        assert [each.epoch for each in used_grants(one.data_dir)] == [2]


async def test_a_second_body_is_refused_and_waits(tmp_path: Path) -> None:
    one, two = make_fleet(tmp_path, "one", "two")
    write(one, 3)
    give_copy(one, two)
    async with holder(two) as peer, claiming(one, peers=(peer,)) as first:
        await until(lambda: first.state == "yes")
        async with claiming(one, peers=(peer,)) as second:
            await until(lambda: second.state == "no")
            assert "Another box runs as this node" in second.problem
            assert first.state == "yes"


async def test_who_has_another_history_keeps_it_and_goes_on_in_an_epoch_of_its_own(tmp_path: Path) -> None:
    one, two = make_fleet(tmp_path, "one", "two")
    log = layout.telemetry_log(one.config)
    write(one, 5)
    shutil.copytree(log, tmp_path / "snapshot")
    write(one, 20)
    give_copy(one, two)
    put_back(one, tmp_path / "snapshot")
    write(one, 2, seed=99)
    own = LogReader(log).head()
    async with holder(two) as peer, claiming(one, peers=(peer,)) as made:
        await until(lambda: made.state == "no")
        await until(lambda: made.state == "yes")
        assert LogReader(log).head() == own
        assert wanted_epoch(OsDisk(), log)[0] == 2


async def test_a_box_alone_claims_its_epoch_in_the_tier_and_its_copy_the_next(tmp_path: Path) -> None:
    (one,) = make_fleet(tmp_path, "one")
    tier = MemoryTier()
    write(one, 3)
    async with claiming(one, tier=tier) as made:
        await until(lambda: bool(claimed(tier, one.node_id)))
        await until(lambda: made.state == "yes")
        assert list(claimed(tier, one.node_id)) == [1]
    data_dir = tmp_path / "elsewhere"
    shutil.copytree(one.data_dir, data_dir)
    config = replace(one.config, node=replace(one.config.node, data_dir=data_dir))
    copy = Box(config=config, keys=one.keys)
    ended = trio.Event()
    async with claiming(copy, moved=ended.set, tier=tier) as made:
        await until(ended.is_set)
        assert wanted_epoch(OsDisk(), layout.telemetry_log(copy.config)) == (2, bytes(16))
        assert sorted(claimed(tier, one.node_id)) == [1, 2]
    # The first one, when it is back, sees at once that it isn't the newest body any more, and goes on by a person's word alone.
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patched:
        patched.setattr(epoch_claiming, "LOOK_TIER_S", 30.0)
        async with claiming(one, tier=tier) as made:
            await until(lambda: made.state == "no")
            assert "has taken its place" in made.problem
            await trio.sleep(0.3)
            assert sorted(claimed(tier, one.node_id)) == [1, 2]
            assert made.state == "no"
            make_grant(one.data_dir, one.keys, by="anna", reason="mine", now_ms=CLOCK.now_ms())
            await until(lambda: made.state == "yes")
            assert wanted_epoch(OsDisk(), layout.telemetry_log(one.config))[0] == 3


async def test_a_copy_of_a_box_alone_waits_while_its_tier_is_away_and_a_box_that_is_well_does_not(
    tmp_path: Path,
) -> None:
    (one,) = make_fleet(tmp_path, "one")
    tier = MemoryTier()
    tier.is_away = True
    write(one, 3)
    async with claiming(one, tier=tier) as made:
        await until(lambda: made.state == "yes")
    make_instance(one.data_dir)
    async with claiming(one, tier=tier) as made:
        await until(lambda: made.state == "no")
        await trio.sleep(0.3)
        assert "0 of the 1" in made.problem
        assert claimed(tier, one.node_id) == {}


async def test_an_old_disk_of_a_box_alone_has_its_records_back_from_the_tier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_claiming, "LOOK_TIER_S", 30.0)
    (one,) = make_fleet(tmp_path, "one")
    tier = MemoryTier()
    log = layout.telemetry_log(one.config)
    write(one, 5)
    shutil.copytree(log, tmp_path / "snapshot")
    write(one, 20)
    await ship_streams(tier, one, {StreamId(one.node_id, "telemetry"): log})
    newest = LogReader(log).head()
    put_back(one, tmp_path / "snapshot")
    async with claiming(one, tier=tier) as made:
        await until(lambda: made.state == "no")
        await until(lambda: made.state == "yes")
    head = LogReader(log).head()
    assert (head.epoch, head.next_seq, head.hash) == (newest.epoch, newest.next_seq, newest.hash)
    assert wanted_epoch(OsDisk(), log)[0] == 2
