"""A store loses objects that it had acknowledged, the first, one in the middle and the last: audits find and put them again, with a real SeaweedFS."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from appliance.core.clock import SystemClock
from replication.tier import shipping
from replication.tier.engine import Engine
from replication.tier.keys import SiteTierKeys
from replication.tier.pieces import PieceName
from replication.tier.shipper import Shipper
from replication.tier.shipping import ShippingOptions
from replication.tier.steps import Tell
from storage.replicas.chunk_source import ChunkSource
from tests.replica_kit import ORIGIN, make_log
from tests.storage_log_kit import append_blocks
from tests.tier_servers import object_store_region

KEYS = SiteTierKeys(lambda label: label.encode().ljust(32, b"."), 1)


async def listed(engine: Engine) -> list[PieceName]:
    return [name async for name in engine.pieces(ORIGIN, 1)]


async def test_what_a_store_lost_is_there_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipping, "LOOK_MS", 2_000)
    log = make_log(tmp_path / "own", 10)
    told: list[Tell] = []
    with object_store_region(tmp_path, "store") as region:
        shipper = Shipper(
            {"store": region.opening()},
            directory=lambda _: tmp_path / "own",
            folder=tmp_path / "tier",
            keys=KEYS,
            options=ShippingOptions(pace_ms=10, audit_ms=500),
            on_tell=told.append,
            clock=SystemClock(),
            random=random.Random(1),
        )
        counts = shipper.machine.counts["store"]
        async with region.opening()() as engine, trio.open_nursery() as nursery:
            await nursery.start(shipper.run)
            for seed in range(6):
                append_blocks(log, 3, seed=seed + 10)
                source = ChunkSource(tmp_path / "own", ORIGIN)
                head = source.head()
                source.close()
                shipper.holds(ORIGIN, head, is_own=True)
                await _until(partial(_is_told, told, head.next_seq))
            audits = counts.audits
            await _until(lambda: counts.audits > audits)
            before = await listed(engine)
            assert len(before) >= 6
            for name in (before[0], before[2], before[-1]):
                await engine.remove(name)
            with trio.fail_after(120):
                while not _is_whole(await listed(engine), before):  # noqa: ASYNC110 - what a server has
                    await trio.sleep(0.2)
            await _until(lambda: counts.mended >= 2)
            print(f"mended {counts.mended}, ends lost {counts.lost_ends}, audits {counts.audits}")
            nursery.cancel_scope.cancel()
    log.close()


def _is_whole(there: list[PieceName], before: list[PieceName]) -> bool:
    """Whether all that was there is, cut as it may be, and nothing is missing in between."""
    return bool(there) and (
        there[0].first_seq == before[0].first_seq
        and there[-1].next_seq == before[-1].next_seq
        and all(two.follows(one) for one, two in pairwise(there))
    )


def _is_told(told: list[Tell], next_seq: int) -> bool:
    return bool(told) and max(tell.head.next_seq for tell in told) == next_seq


async def _until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(120):
        while not condition():  # noqa: ASYNC110 - counts of another task
            await trio.sleep(0.02)
