"""A region has another body's records where a later epoch of ours begins: what that goes on from is put before it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
import trio

from replication.effects import Place
from replication.tier.keys import SiteTierKeys
from replication.tier.local_pieces import LocalPieces
from replication.tier.pieces import Piece, PieceName
from replication.tier.region_calls import RegionCalls
from replication.tier.source import TierSource
from replication.tier.steps import EMPTY, Failed, Nothing, Ship, Shipped
from storage.log import new_epoch
from storage.log.disk import OsDisk
from storage.log.writer import LogWriter
from storage.replicas.streams import StreamHead, StreamId
from tests.replica_kit import ORIGIN, make_log, open_replica
from tests.storage_log_kit import append_blocks, open_writer
from tests.tier_kit import MemoryEngine, MemoryTier, piece_after

KEYS = SiteTierKeys(lambda label: label.encode().ljust(32, b"."), 1)


class Bodies:
    """Two bodies of a node: `other` shipped all it has, `own` came back as it was.

    Attributes:
        base: Where the second epoch of `own` begins; None before it did.
    """

    def __init__(self, folder: Path, engine: MemoryEngine) -> None:
        self.engine = engine
        self.own, self.other = folder / "own", folder / "other"
        make_log(self.own, 20).close()
        shutil.copytree(self.own, self.other)
        writer = open_writer(self.other)
        append_blocks(writer, 12, seed=2)
        writer.close()
        self.base: StreamHead | None = None

    def calls(self, directory: Path) -> RegionCalls:
        local = LocalPieces.in_files(lambda stream: directory)
        return RegionCalls(self.engine, local, KEYS, trio.CapacityLimiter(1), lambda name: None)

    def write(self, count: int) -> None:
        """`own` writes, and begins its next epoch behind that."""
        writer = open_writer(self.own)
        append_blocks(writer, count, seed=3)
        self.base = self._head(writer)
        writer.close()
        new_epoch.ask(OsDisk(), self.own, at_least=3)
        writer = open_writer(self.own)
        append_blocks(writer, 5, seed=4)
        writer.close()

    @staticmethod
    def _head(writer: LogWriter) -> StreamHead:
        return StreamHead(writer.head.epoch, writer.head.next_seq, writer.head.hash)


@pytest.fixture
async def bodies(tmp_path: Path) -> AsyncIterator[Bodies]:
    async with MemoryTier().open() as engine:
        yield Bodies(tmp_path, engine)


async def ship_all(calls: RegionCalls, place: Place = EMPTY) -> tuple[list[PieceName], object]:
    """What was put, and what the last answer was."""
    names: list[PieceName] = []
    while True:
        step = Ship(number=1, region="eu", stream=ORIGIN, place=place, bytes_max=20_000)
        outcome = await calls.ship(step)
        if not isinstance(outcome, Shipped):
            return names, outcome
        names.append(outcome.name)
        place = Place(epoch=outcome.name.epoch, next_seq=outcome.name.next_seq, hash=outcome.name.hash)


def end_of(name: PieceName) -> Place:
    return Place(epoch=name.epoch, next_seq=name.next_seq, hash=name.hash)


async def names_of(engine: MemoryEngine, stream: StreamId, epoch: int) -> list[PieceName]:
    return [name async for name in engine.pieces(stream, epoch)]


def branch_of(base: StreamHead) -> StreamId:
    return StreamId(ORIGIN.node_id, ORIGIN.name, base.hash.hex()[:8])


@pytest.mark.parametrize("count", [3, 12, 30])
async def test_what_the_epoch_goes_on_from_is_there_before_it_and_comes_back(
    tmp_path: Path, bodies: Bodies, count: int
) -> None:
    theirs, _ = await ship_all(bodies.calls(bodies.other))
    bodies.write(count)
    assert bodies.base is not None
    ours, outcome = await ship_all(bodies.calls(bodies.own), end_of(theirs[-1]))
    assert isinstance(outcome, Nothing)
    assert {name.epoch for name in ours} == {3}
    branch = branch_of(bodies.base)
    kept = await names_of(bodies.engine, branch, 1)
    assert end_of(kept[-1]) == Place(epoch=1, next_seq=bodies.base.next_seq, hash=bodies.base.hash)
    assert all(name.follows(before) for before, name in pairwise(kept))
    assert kept[0].first_seq > 1 or len(kept) < len(theirs), "and not the whole log again"
    copy = open_replica(tmp_path / "copy", stream=branch)
    source = TierSource("eu", bodies.engine, KEYS)
    head = await source.copy(branch, copy)
    copy.close()
    assert (head.epoch, head.next_seq, head.hash) == (3, ours[-1].next_seq, ours[-1].hash)
    assert await names_of(bodies.engine, ORIGIN, 1) == theirs


async def test_a_body_that_wrote_nothing_meanwhile_goes_on_from_what_is_there(bodies: Bodies) -> None:
    theirs, _ = await ship_all(bodies.calls(bodies.other))
    bodies.write(0)
    ours, _ = await ship_all(bodies.calls(bodies.own), end_of(theirs[-1]))
    assert {name.epoch for name in ours} == {3}
    assert {stream.branch for stream in await bodies.engine.epochs()} == {""}


async def test_one_that_was_not_finished_is_gone_on_with(bodies: Bodies) -> None:
    theirs, _ = await ship_all(bodies.calls(bodies.other))
    bodies.write(12)
    assert bodies.base is not None
    await ship_all(bodies.calls(bodies.own), end_of(theirs[-1]))
    branch = branch_of(bodies.base)
    kept = await names_of(bodies.engine, branch, 1)
    assert len(kept) > 1
    await bodies.engine.remove(kept[-1])
    for name in await names_of(bodies.engine, ORIGIN, 3):
        await bodies.engine.remove(name)
    ours, _ = await ship_all(bodies.calls(bodies.own), end_of(theirs[-1]))
    assert ours
    assert await names_of(bodies.engine, branch, 1) == kept


async def test_where_it_can_not_be_kept_the_epoch_is_not_put(bodies: Bodies) -> None:
    theirs, _ = await ship_all(bodies.calls(bodies.other))
    bodies.write(12)
    assert bodies.base is not None
    stranger: Piece = piece_after(None, stream=branch_of(bodies.base), word="another history")
    await bodies.engine.put(stranger)
    ours, outcome = await ship_all(bodies.calls(bodies.own), end_of(theirs[-1]))
    assert not ours
    assert isinstance(outcome, Failed)
    assert outcome.is_here
    assert "Another history" in outcome.reason
