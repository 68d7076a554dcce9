"""What a region is asked and what comes of it, over a tier in memory: whole logs, other epochs, a copy from another region."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from appliance.core.errors import NotFound
from replication.effects import Place
from replication.tier.envelope import open_piece
from replication.tier.keys import SiteTierKeys
from replication.tier.local_pieces import LocalPieces
from replication.tier.pieces import PieceName
from replication.tier.region_calls import RegionCalls
from replication.tier.steps import EMPTY, Failed, FindEnd, Gone, Nothing, Refused, Ship, Shipped
from storage.log.writer import LogWriter
from storage.replicas.replica_log import ReplicaLog
from tests.replica_kit import ORIGIN, make_log, open_replica, segments_of
from tests.tier_kit import MemoryTier, piece_after

KEYS = SiteTierKeys(lambda label: label.encode().ljust(32, b"."), 1)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogWriter]:
    writer = make_log(tmp_path / "own", 30)
    yield writer
    writer.close()


@pytest.fixture
def local(tmp_path: Path, log: LogWriter) -> Iterator[LocalPieces]:
    pieces = LocalPieces.in_files(lambda stream: tmp_path / "own")
    yield pieces
    pieces.close()


def ship(place: Place, *, bytes_max: int = 65_536, from_region: str = "", skips_gap: bool = False) -> Ship:
    return Ship(
        number=1,
        region="eu",
        stream=ORIGIN,
        place=place,
        bytes_max=bytes_max,
        from_region=from_region,
        skips_gap=skips_gap,
    )


def end_of(name: PieceName) -> Place:
    return Place(epoch=name.epoch, next_seq=name.next_seq, hash=name.hash)


FIND = FindEnd(number=1, region="eu", stream=ORIGIN)


async def ship_all(calls: RegionCalls, place: Place = EMPTY) -> list[PieceName]:
    names: list[PieceName] = []
    while True:
        outcome = await calls.ship(ship(place))
        if isinstance(outcome, Nothing):
            return names
        assert isinstance(outcome, Shipped)
        names.append(outcome.name)
        place = end_of(outcome.name)


async def test_a_whole_log_goes_there_and_comes_back_byte_for_byte(
    tmp_path: Path, log: LogWriter, local: LocalPieces
) -> None:
    tier = MemoryTier()
    async with tier.open() as engine:
        calls = RegionCalls(engine, local, KEYS, trio.CapacityLimiter(1), lambda name: None)
        assert await calls.find(FIND) is None
        names = await ship_all(calls)
        assert len(names) > 3
        found = await calls.find(FIND)
        assert found == names[-1]
        copy = open_replica(tmp_path / "copy")
        for name in names:
            _take(copy, await engine.get(name), name)
        copy.close()
    own = {name: data for name, data in segments_of(tmp_path / "own").items() if name.endswith(".seg")}
    copied = segments_of(tmp_path / "copy")
    assert own
    assert {name: copied[name] for name in own} == own


def _take(copy: ReplicaLog, data: bytes, name: PieceName) -> None:
    copy.append(open_piece(data, KEYS.opening(ORIGIN), wanted=name))


async def test_the_end_says_whether_there_is_more_and_a_place_beyond_it_is_nothing(
    local: LocalPieces, log: LogWriter
) -> None:
    async with MemoryTier().open() as engine:
        calls = RegionCalls(engine, local, KEYS, trio.CapacityLimiter(1), lambda name: None)
        first = await calls.ship(ship(EMPTY, bytes_max=1))
        assert isinstance(first, Shipped)
        assert first.is_cut
        names = await ship_all(calls, end_of(first.name))
        last = await calls.ship(ship(end_of(names[-1])))
        assert isinstance(last, Nothing)


async def test_who_comes_second_hears_who_was_first(local: LocalPieces, log: LogWriter) -> None:
    tier = MemoryTier()
    async with tier.open() as engine, tier.open() as other:
        calls = RegionCalls(engine, local, KEYS, trio.CapacityLimiter(1), lambda name: None)
        stranger = piece_after(None, stream=ORIGIN, word="another history")
        await other.put(stranger)
        outcome = await calls.ship(ship(EMPTY))
        assert outcome == Refused(last=stranger.name)


async def test_a_region_that_is_away_is_no_answer_and_there_being_nothing_is_never_said_from_memory(
    local: LocalPieces, log: LogWriter
) -> None:
    tier = MemoryTier()
    async with tier.open() as engine:
        calls = RegionCalls(engine, local, KEYS, trio.CapacityLimiter(1), lambda name: None)
        assert await calls.find(FIND) is None
        tier.is_away = True
        assert isinstance(await calls.find(FIND), Failed)
        assert isinstance(await calls.ship(ship(EMPTY)), Failed)


async def test_what_is_not_kept_here_is_copied_from_another_region(
    tmp_path: Path, local: LocalPieces, log: LogWriter
) -> None:
    here, there = MemoryTier(), MemoryTier()
    one = trio.CapacityLimiter(1)
    async with here.open() as engine, there.open() as other:
        source = RegionCalls(other, local, KEYS, one, lambda name: None)
        names = await ship_all(source)
        regions = {"us": source}
        nowhere = LocalPieces.in_files(lambda stream: tmp_path / "nothing")
        calls = RegionCalls(engine, nowhere, KEYS, one, regions.get)
        assert isinstance(await calls.ship(ship(EMPTY, from_region="ap")), Gone)
        first = await calls.ship(ship(EMPTY, from_region="us"))
        assert isinstance(first, Shipped)
        assert first.name == names[0]
        second = await calls.ship(ship(end_of(names[0]), from_region="us"))
        assert isinstance(second, Shipped)
        assert second.name == names[1]
        beyond = Place(epoch=1, next_seq=names[-1].next_seq, hash=names[-1].hash)
        assert isinstance(await calls.ship(ship(beyond, from_region="us")), Gone)
        there.is_away = True
        assert isinstance(await calls.ship(ship(end_of(names[1]), from_region="us")), Gone)


async def test_a_log_that_can_not_be_read_is_no_fault_of_the_region(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "head").write_bytes(b"rubbish")
    local = LocalPieces.in_files(lambda stream: tmp_path / "own")
    async with MemoryTier().open() as engine:
        calls = RegionCalls(engine, local, KEYS, trio.CapacityLimiter(1), lambda name: None)
        outcome = await calls.ship(ship(EMPTY))
    assert isinstance(outcome, Nothing) or (isinstance(outcome, Failed) and outcome.is_here)


def test_a_generation_that_can_not_be_has_no_key() -> None:
    for generation in (0, -1, 2_000_000):
        with pytest.raises(NotFound):
            KEYS.opening(ORIGIN)(generation)
    assert SiteTierKeys(lambda label: b"", 0).sealing(ORIGIN) == (None, 0)
    assert KEYS.sealing(ORIGIN)[1] == 1
