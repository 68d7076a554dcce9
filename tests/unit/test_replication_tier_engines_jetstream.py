"""What the contract (tests/contracts/test_tier_engine.py) doesn't reach: what others do to the stream meanwhile, and what is only remembered."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from appliance.core.errors import NotFound
from replication.tier.engine import Fenced, TierAway, TierUnfit
from replication.tier.engines import jetstream as module
from replication.tier.engines import jetstream_places
from replication.tier.engines.jetstream import JetStream
from replication.tier.engines.opening import opening
from replication.tier.pieces import PieceName
from tests.nats_kit import Cluster, credentials, nats_cluster
from tests.tier_kit import STREAM, piece_after, pieces_after


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with nats_cluster(tmp_path_factory.mktemp("nats"), count=1) as cluster:
        yield cluster


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return "".join(letter for letter in request.node.name if letter.isalnum() or letter in "_-")[:60]


@asynccontextmanager
async def engine_of(server: Cluster, prefix: str) -> AsyncIterator[JetStream]:
    async with opening(server.url(prefix, replicas="1"), credentials())() as engine:
        assert isinstance(engine, JetStream)
        yield engine


async def names(engine: JetStream, from_seq: int = 0) -> list[PieceName]:
    return [name async for name in engine.pieces(STREAM, 1, from_seq)]


async def test_what_is_no_piece_is_named_and_not_passed_over(server: Cluster, prefix: str) -> None:
    async with engine_of(server, prefix) as engine:
        first = piece_after(None)
        await engine.put(first)
        about = engine._of(STREAM, 1)
        await engine._calls.publish(about.subject, b"x", await engine._calls.last_seq(about.subject), {})
        for work in (engine.last(STREAM, 1), names(engine), engine.put(piece_after(first.name))):
            with pytest.raises(TierUnfit, match="is a message that is no piece"):
                await work


async def test_a_piece_is_found_though_its_place_was_forgotten(
    server: Cluster, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream_places, "NATS_KNOWN_PLACE_COUNT_MAX", 8)
    made = pieces_after(None, 60)
    other = pieces_after(None, 60, epoch=2)
    async with engine_of(server, prefix) as engine:
        for piece, between in zip(made, other, strict=True):
            await engine.put(piece)
            await engine.put(between)
    async with engine_of(server, prefix) as engine:
        assert [await engine.get(piece.name) for piece in reversed(made)] == [
            piece.data for piece in reversed(made)
        ]
        assert await names(engine, made[40].name.first_seq) == [piece.name for piece in made[40:]]
        for nowhere in (
            replace(made[7].name, first_seq=made[7].name.first_seq + 1),
            replace(made[7].name, hash=b"z" * 32),
            replace(made[59].name, first_seq=10**9),
            piece_after(None, epoch=3).name,
        ):
            with pytest.raises(NotFound):
                await engine.get(nowhere)
            await engine.remove(nowhere)
        assert await names(engine) == [piece.name for piece in made]
        with pytest.raises(Fenced) as fenced:
            await engine.put(piece_after(made[8].name, word="clone"))
        assert fenced.value.last == made[59].name


async def test_what_another_one_removed_is_not_there_for_who_remembers_it(
    server: Cluster, prefix: str
) -> None:
    made = pieces_after(None, 6)
    async with engine_of(server, prefix) as engine, engine_of(server, prefix) as other:
        for piece in made[:3]:
            await engine.put(piece)
        await engine.put(made[5], is_mending=True)
        await engine.put(made[4], is_mending=True)
        assert await engine.last(STREAM, 1) == made[5].name
        for gone, last in ((made[5], made[4]), (made[4], made[2]), (made[1], made[2])):
            await other.remove(gone.name)
            assert await engine.last(STREAM, 1) == last.name
            with pytest.raises(NotFound):
                await engine.get(gone.name)
        await engine.put(made[1], is_mending=True)
        await engine.put(made[1], is_mending=True)
        await other.remove(made[1].name)
        await engine.put(made[1], is_mending=True)
        await other.remove(made[2].name)
        await engine.put(made[2])
        await engine.put(made[3])
        assert await names(engine) == [piece.name for piece in made[:4]]
        assert await names(engine, made[1].name.next_seq) == [piece.name for piece in made[2:4]]


async def test_a_piece_put_in_a_lost_ones_place_counts_once(server: Cluster, prefix: str) -> None:
    """Two may mend at the same time, one of them thinking that the epoch ends there."""
    made = pieces_after(None, 3)
    async with engine_of(server, prefix) as engine, engine_of(server, prefix) as other:
        await engine.put(made[0])
        await engine.put(made[1])
        about = other._of(STREAM, 1)
        await other._mended(about)
        await other._mend(about, made[1])
        await engine.put(made[2], is_mending=True)
        assert await names(engine) == [piece.name for piece in made]
        assert await engine.epochs() == {STREAM: [1]}


async def test_only_so_many_epochs_are_remembered(
    server: Cluster, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NATS_KNOWN_EPOCH_COUNT_MAX", 2)
    made = [piece_after(None, epoch=epoch) for epoch in range(5)]
    async with engine_of(server, prefix) as engine:
        for piece in made:
            await engine.put(piece)
        assert len(engine._epochs) == 2
        for piece in made:
            assert await engine.get(piece.name) == piece.data


async def test_others_who_never_stop_end_the_call_and_not_the_box(
    server: Cluster, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pieces_after(None, 2)
    async with engine_of(server, prefix) as engine:
        monkeypatch.setattr(module, "_RACE_COUNT_MAX", 0)
        with pytest.raises(TierAway, match="write to the same epoch without an end"):
            await engine.put(made[0])
        with pytest.raises(TierAway, match="remove from the same epoch without an end"):
            await engine.last(STREAM, 1)


async def test_the_servers_are_looked_at_again_now_and_then(
    server: Cluster, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine_of(server, prefix) as engine:
        await engine.put(piece_after(None))

        async def unfit() -> None:
            raise TierUnfit("It does not sync any more.")

        engine._look = unfit
        await engine.put(piece_after(None))
        monkeypatch.setattr(module, "NATS_LOOK_S", -1)
        for work in (engine.put(piece_after(None)), engine.put_object("a", b"")):
            with pytest.raises(TierUnfit, match="not sync"):
                await work
