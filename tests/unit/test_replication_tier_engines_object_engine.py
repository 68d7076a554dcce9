"""What the engine of object stores does beyond the contract: few requests, rotten objects, stores that overwrite."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from replication.tier.engine import Fenced, TierAway, TierUnfit
from replication.tier.engines.names import piece_path
from replication.tier.engines.object_engine import ObjectStoreEngine
from replication.tier.engines.opening import opening
from replication.tier.pieces import Piece, PieceName
from tests.s3_stand_in import S3StandIn, s3_stand_in
from tests.tier_kit import STREAM, piece_after, pieces_after


@pytest.fixture
def store() -> Iterator[S3StandIn]:
    with s3_stand_in() as running:
        yield running


@asynccontextmanager
async def engine_of(store: S3StandIn) -> AsyncIterator[ObjectStoreEngine]:
    async with opening(store.address("site"), store.credentials)() as engine:
        assert isinstance(engine, ObjectStoreEngine)
        yield engine


def key_of(name: PieceName) -> str:
    return f"site/{piece_path(name.stream, name.epoch, name.first_seq)}"


def fill(store: S3StandIn, made: list[Piece]) -> None:
    store.objects.update({key_of(piece.name): piece.data for piece in made})


async def test_a_store_that_overwrites_is_refused(store: S3StandIn) -> None:
    store.overwrites = True
    with pytest.raises(TierUnfit, match="overwrites"):
        async with engine_of(store):
            pass
    store.overwrites = False
    async with engine_of(store), engine_of(store):
        assert list(store.objects) == ["site/probe"]


async def test_who_knows_the_last_piece_puts_and_compares_with_one_request_each(store: S3StandIn) -> None:
    made = pieces_after(None, 5)
    async with engine_of(store) as engine:
        await engine.put(made[0])
        before = len(store.asked)
        for piece in made[1:]:
            await engine.put(piece)
            assert await engine.last(STREAM, 1) == piece.name
        assert [method for method, _ in store.asked[before:]] == ["PUT", "GET"] * 4


async def test_the_end_of_many_pieces_is_found_without_listing_them(store: S3StandIn) -> None:
    made = pieces_after(None, 6_000)
    fill(store, made)
    store.page_max = 1_000
    async with engine_of(store) as engine:
        before = len(store.asked)
        assert await engine.last(STREAM, 1) == made[-1].name
        assert len(store.asked) - before <= 12
        before = len(store.asked)
        assert [name async for name in engine.pieces(STREAM, 1, made[5_990].name.first_seq + 1)] == [
            piece.name for piece in made[5_990:]
        ]
        assert len(store.asked) - before <= 30


async def test_a_last_piece_that_the_store_lost_is_seen_to_be_gone(store: S3StandIn) -> None:
    made = pieces_after(None, 3)
    async with engine_of(store) as engine:
        for piece in made:
            await engine.put(piece)
        del store.objects[key_of(made[2].name)]
        assert await engine.last(STREAM, 1) == made[1].name
        del store.objects[key_of(made[1].name)], store.objects[key_of(made[0].name)]
        assert await engine.last(STREAM, 1) is None
        await engine.put(made[0])
        assert await engine.last(STREAM, 1) == made[0].name


async def test_what_is_no_piece_is_not_listed_and_is_replaced_when_its_place_is_mended(
    store: S3StandIn,
) -> None:
    made = pieces_after(None, 4)
    async with engine_of(store) as engine:
        fill(store, made)
        store.objects[key_of(made[1].name)] = b"rotten"
        store.objects[key_of(made[3].name)] = bytes(300)
        store.objects[f"site/streams/{STREAM}/0000000001/README"] = b"x"
        store.objects[f"site/streams/{STREAM}/old/0"] = b"x"
        store.objects["site/streams/README/x/y"] = b"x"
        assert [name async for name in engine.pieces(STREAM, 1)] == [made[0].name, made[2].name]
        assert await engine.last(STREAM, 1) == made[2].name
        assert await engine.epochs() == {STREAM: [1]}
        with pytest.raises(Fenced):
            await engine.put(made[3])
        for at in (1, 3):
            await engine.put(made[at], is_mending=True)
        assert [name async for name in engine.pieces(STREAM, 1)] == [piece.name for piece in made]


async def test_a_piece_of_a_later_release_or_of_another_place_is_left_alone(store: S3StandIn) -> None:
    (piece,) = pieces_after(None, 1)
    later = b"HPT2" + bytes(300)
    moved = piece_after(piece.name).data
    async with engine_of(store) as engine:
        for data in (later, moved):
            store.objects[key_of(piece.name)] = data
            with pytest.raises(Fenced):
                await engine.put(piece, is_mending=True)
            assert store.objects[key_of(piece.name)] == data


async def test_a_store_that_goes_away_while_pieces_are_named(store: S3StandIn) -> None:
    fill(store, pieces_after(None, 40))
    async with engine_of(store) as engine:
        store.fault = lambda method, path: (503, "SlowDown") if path.endswith("1") else None
        with pytest.raises(TierAway):
            _ = [name async for name in engine.pieces(STREAM, 1)]


async def test_last_pieces_are_remembered_of_so_many_epochs(
    store: S3StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("replication.tier.engines.object_engine.TIER_LASTS_COUNT_MAX", 2)
    async with engine_of(store) as engine:
        firsts = [piece_after(None, epoch=epoch) for epoch in range(4)]
        for piece in firsts:
            await engine.put(piece)
        for piece in firsts:
            await engine.put(piece_after(piece.name, epoch=piece.name.epoch))
        assert len(engine._lasts) == 2
