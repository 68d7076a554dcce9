"""Shipping at work, over tiers in memory and a real log: what grows is there soon, regions come and go, audits are remembered."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from appliance.core.clock import SystemClock
from replication.tier.engine import Engine, TierAway, TierUnfit
from replication.tier.keys import SiteTierKeys
from replication.tier.shipper import Shipper
from replication.tier.shipping import ShippingOptions
from replication.tier.steps import Tell
from storage.log.writer import LogWriter
from storage.replicas.chunk_source import ChunkSource
from tests.broker_kit import wait_until
from tests.replica_kit import ORIGIN, make_log
from tests.storage_log_kit import append_blocks
from tests.tier_kit import MemoryTier

KEYS = SiteTierKeys(lambda label: label.encode().ljust(32, b"."), 1)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogWriter]:
    writer = make_log(tmp_path / "own", 10)
    yield writer
    writer.close()


class Rig:
    """A shipper with two regions."""

    def __init__(self, folder: Path, *, audit_ms: int = 86_400_000) -> None:
        self.folder = folder
        self.tiers = {"eu": MemoryTier(), "us": MemoryTier()}
        self.told: list[Tell] = []
        self.shipper = Shipper(
            {name: tier.open for name, tier in self.tiers.items()},
            directory=lambda stream: folder / "own",
            folder=folder / "tier",
            keys=KEYS,
            options=ShippingOptions(pace_ms=10, audit_ms=audit_ms),
            on_tell=self.told.append,
            clock=SystemClock(),
            random=random.Random(1),
        )

    def grow(self) -> int:
        """Tells the shipper how far the log is."""
        source = ChunkSource(self.folder / "own", ORIGIN)
        head = source.head()
        source.close()
        self.shipper.holds(ORIGIN, head, is_own=True)
        return head.next_seq

    def has(self, region: str) -> int:
        """How far a region was told to be."""
        return max((tell.head.next_seq for tell in self.told if tell.region == region), default=0)


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(rig.shipper.run)
        yield
        nursery.cancel_scope.cancel()


async def test_what_grows_is_there_soon_and_told(tmp_path: Path, log: LogWriter) -> None:
    rig = Rig(tmp_path)
    async with running(rig):
        for seed in range(3):
            append_blocks(log, 3, seed=seed + 10)
            next_seq = rig.grow()
            await wait_until(lambda next_seq=next_seq: rig.has("eu") == next_seq)  # type: ignore[misc]
    names = rig.tiers["eu"].of_epoch[ORIGIN, 1]
    assert all(two.follows(one) for one, two in pairwise(names))
    assert rig.shipper.machine.counts["eu"].pieces == len(names)


async def test_a_region_that_can_not_be_connected_holds_up_no_other_and_gets_all_when_it_can(
    tmp_path: Path, log: LogWriter
) -> None:
    rig = Rig(tmp_path)
    rig.tiers["eu"].is_away = True
    async with running(rig):
        next_seq = rig.grow()
        await wait_until(lambda: rig.has("us") == next_seq)
        assert rig.shipper.machine.regions["eu"].reason
        rig.tiers["eu"].is_away = False
        await wait_until(lambda: rig.has("eu") == next_seq)
        assert rig.shipper.machine.regions["eu"].reason == ""


async def test_an_engine_that_ends_fails_what_was_under_way_and_is_connected_again(
    tmp_path: Path, log: LogWriter
) -> None:
    rig = Rig(tmp_path)
    ends = trio.Event()
    opened: list[int] = []
    tier = rig.tiers["eu"]

    @asynccontextmanager
    async def open_once() -> AsyncIterator[Engine]:
        opened.append(1)
        async with trio.open_nursery() as nursery, tier.open() as engine:

            async def end() -> None:
                await ends.wait()
                raise TierAway("The connection was lost.")

            if len(opened) == 1:
                tier.hold = trio.Event()
                nursery.start_soon(end)
            yield engine
            nursery.cancel_scope.cancel()

    rig.shipper._openings = {**rig.shipper._openings, "eu": open_once}
    async with running(rig):
        next_seq = rig.grow()
        await wait_until(lambda: tier.hold is not None)
        ends.set()
        await wait_until(lambda: bool(rig.shipper.machine.regions["eu"].reason))
        assert tier.hold is not None
        tier.hold.set()
        tier.hold = None
        await wait_until(lambda: rig.has("eu") == next_seq)
    assert len(opened) == 2


async def test_an_unfit_engine_is_said_to_be_so(tmp_path: Path, log: LogWriter) -> None:
    rig = Rig(tmp_path)

    @asynccontextmanager
    async def unfit() -> AsyncIterator[Engine]:
        raise TierUnfit("It overwrites.", hint="Use another.", code="tier_unfit")
        yield rig.tiers["eu"]  # type: ignore[unreachable]

    rig.shipper._openings = {**rig.shipper._openings, "eu": unfit}
    async with running(rig):
        rig.grow()
        await wait_until(lambda: rig.shipper.machine.regions["eu"].is_unfit)
    assert rig.shipper.machine.regions["eu"].reason == "It overwrites."


async def test_audits_run_by_themselves_and_are_remembered(tmp_path: Path, log: LogWriter) -> None:
    rig = Rig(tmp_path, audit_ms=50)
    async with running(rig):
        next_seq = rig.grow()
        await wait_until(lambda: rig.has("eu") == next_seq)
        tier = rig.tiers["eu"]
        tier.lose(tier.of_epoch[ORIGIN, 1][0])
        append_blocks(log, 3, seed=77)
        rig.grow()
        await wait_until(lambda: rig.shipper.machine.counts["eu"].audits > 1)
    assert (tmp_path / "tier" / "eu.audit").exists()


async def test_a_stream_that_is_dropped_is_opened_anew(tmp_path: Path, log: LogWriter) -> None:
    rig = Rig(tmp_path)
    async with running(rig):
        next_seq = rig.grow()
        await wait_until(lambda: rig.has("eu") == next_seq)
        rig.shipper.dropped(ORIGIN)
        assert list(rig.shipper.machine.views(0)) == []
        rig.grow()
        rig.shipper.told("us", ORIGIN, rig.told[-1].head)
        assert len(list(rig.shipper.machine.views(0))) == 2


async def test_frames_are_had_from_a_region_that_is_connected(tmp_path: Path, log: LogWriter) -> None:
    rig = Rig(tmp_path)
    source = ChunkSource(tmp_path / "own", ORIGIN)
    first = source.begin(bytes_max=1)
    assert first is not None
    place = (first.epoch, first.next_seq, first.hash)
    wanted = source.after(*place, bytes_max=1)
    source.close()
    assert wanted is not None
    assert await rig.shipper.frames(ORIGIN, *place, wanted.next_seq) is None, "none is connected"
    async with running(rig):
        end = rig.grow()
        await wait_until(lambda: rig.has("eu") == end)
        found = await rig.shipper.frames(ORIGIN, *place, wanted.next_seq)
        assert found is not None
        assert (found.frames, found.segment_first_seq) == (wanted.frames, wanted.segment_first_seq)
        assert await rig.shipper.frames(ORIGIN, 1, end, b"x" * 32, end + 1) is None
        rig.tiers["eu"].is_away = rig.tiers["us"].is_away = True
        assert await rig.shipper.frames(ORIGIN, *place, wanted.next_seq) is None
