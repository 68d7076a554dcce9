"""The contract of replication/tier/engine.py over every engine, with its real server, and over the one in memory that other tests use."""

from __future__ import annotations

import random
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from itertools import pairwise
from typing import Protocol

import msgspec
import pytest
import trio

from appliance.core.errors import NotFound
from appliance.core.limits_replication import TIER_CALL_S
from replication.simulation.region import Line, Region
from replication.tier.engine import OBJECT_BYTES_MAX, Engine, Fenced, Opening, TierAway
from replication.tier.engines.opening import opening
from replication.tier.envelope import name_of_piece, open_piece, seal_piece
from replication.tier.pieces import Piece, PieceName
from storage.replicas.streams import Chunk, StreamId
from tests.gateway_kit import behind_cloud_node
from tests.nats_kit import Cluster, credentials, nats_cluster
from tests.postgres_kit import PostgresServer, postgres_server
from tests.s3_stand_in import S3StandIn, s3_stand_in
from tests.seaweed_kit import SeaweedFs, seaweedfs
from tests.tier_kit import STREAM, MemoryTier, piece_after, pieces_after

FORK = StreamId("0f" * 16, "telemetry", "0123abcd")
CATALOG = StreamId("ee" * 16, "catalog")


class Subject(Protocol):
    """An engine's server with one tier of its own in it."""

    def opening(self) -> Opening:
        """What connects to the tier; the same one each time."""
        ...

    def kill(self) -> None:
        """End the server without a word."""
        ...

    def start(self) -> None:
        """Have it back, with what it had on its disk."""
        ...


class Seaweed:
    """A bucket's prefix in SeaweedFS."""

    def __init__(self, server: SeaweedFs) -> None:
        self._server = server
        self._prefix = f"sites/{secrets.token_hex(4)}"

    def opening(self) -> Opening:
        return opening(self._server.address(self._prefix), self._server.credentials)

    def kill(self) -> None:
        self._server.kill()

    def start(self) -> None:
        self._server.start()


class StandIn:
    """A store that lists in another order than SeaweedFS."""

    def __init__(self, store: S3StandIn) -> None:
        self._store = store
        self._prefix = f"sites/{secrets.token_hex(4)}"

    def opening(self) -> Opening:
        return opening(self._store.address(self._prefix), self._store.credentials)

    def kill(self) -> None:
        self._store.fault = lambda method, path: (503, "ServiceUnavailable")

    def start(self) -> None:
        self._store.fault = lambda method, path: None


class Postgres:
    """A schema in a PostgreSQL database."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self._schema = f"tier_{secrets.token_hex(4)}"

    def opening(self) -> Opening:
        return opening(self._server.address(self._schema), self._server.credentials)

    def kill(self) -> None:
        self._server.kill()

    def start(self) -> None:
        self._server.start()


class InMemory:
    def __init__(self) -> None:
        self.tier = MemoryTier()

    def opening(self) -> Opening:
        return self.tier.open

    def kill(self) -> None:
        self.tier.is_away = True

    def start(self) -> None:
        self.tier.is_away = False


class BehindCloudNode(InMemory):
    """The same one, reached over a link by a cloud node."""

    def opening(self) -> Opening:
        return behind_cloud_node({"eu": self.tier.open}, "eu")


class Simulated:
    """The region of `homeport simulate --tier`."""

    def __init__(self) -> None:
        self._region = Region("simulated")

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Engine]:
        line = Line(self._region, random.Random(1))
        await line.epochs()
        yield line

    def opening(self) -> Opening:
        return self._open

    def kill(self) -> None:
        self._region.state = "refuses"

    def start(self) -> None:
        self._region.state = "well"


class Nats:
    """A stream in a JetStream cluster of three servers."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stream = f"site-{secrets.token_hex(4)}"

    def opening(self) -> Opening:
        return opening(self._cluster.url(self._stream), credentials())

    def kill(self) -> None:
        self._cluster.kill()

    def start(self) -> None:
        self._cluster.start()


SUBJECTS: dict[str, Callable[[pytest.FixtureRequest], Subject]] = {
    "memory": lambda _: InMemory(),
    "cloud node": lambda _: BehindCloudNode(),
    "simulated": lambda _: Simulated(),
    "jetstream": lambda request: Nats(request.getfixturevalue("nats")),
    "object store": lambda request: Seaweed(request.getfixturevalue("seaweed")),
    "object store stand-in": lambda request: StandIn(request.getfixturevalue("stand_in")),
    "postgres": lambda request: Postgres(request.getfixturevalue("postgres")),
}
"""How each engine's subject is made, from fixtures of the session that hold its server."""


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFs]:
    with seaweedfs(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with nats_cluster(tmp_path_factory.mktemp("nats")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def stand_in() -> Iterator[S3StandIn]:
    with s3_stand_in() as store:
        yield store


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=list(SUBJECTS))
def subject(request: pytest.FixtureRequest) -> Subject:
    return SUBJECTS[request.param](request)


async def listed(
    engine: Engine, stream: StreamId = STREAM, epoch: int = 1, from_seq: int = 0
) -> list[PieceName]:
    return [name async for name in engine.pieces(stream, epoch, from_seq)]


async def test_pieces_that_follow_each_other_are_there_in_order_and_unchanged(subject: Subject) -> None:
    made = pieces_after(None, 12)
    async with subject.opening()() as engine:
        assert await engine.last(STREAM, 1) is None
        assert await listed(engine) == []
        for piece in made:
            await engine.put(piece)
            assert await engine.last(STREAM, 1) == piece.name
        assert await listed(engine) == [piece.name for piece in made]
        assert [await engine.get(piece.name) for piece in made] == [piece.data for piece in made]
    async with subject.opening()() as again:
        assert await again.last(STREAM, 1) == made[-1].name
        assert await listed(again) == [piece.name for piece in made]


async def test_the_same_piece_again_changes_nothing_and_is_no_error(subject: Subject) -> None:
    first, second, third = pieces_after(None, 3)
    async with subject.opening()() as engine:
        for piece in (first, first, second, first, third, second, third):
            await engine.put(piece)
        assert await listed(engine) == [first.name, second.name, third.name]
    async with subject.opening()() as another:
        for piece in (first, third, second):
            await another.put(piece)
        assert await listed(another) == [first.name, second.name, third.name]


async def test_the_same_frames_sealed_again_are_the_same_piece(subject: Subject) -> None:
    """Whoever ships after a crash seals anew, with another nonce: other bytes, the same name."""
    (piece,) = pieces_after(None, 1)
    again = Piece(name=piece.name, data=piece.data[:-1] + b"\x00")
    async with subject.opening()() as engine:
        await engine.put(piece)
        await engine.put(again)
        assert await engine.get(piece.name) == piece.data


async def test_two_that_take_turns_follow_each_other(subject: Subject) -> None:
    made = pieces_after(None, 9)
    async with subject.opening()() as one, subject.opening()() as other:
        for piece, engine in zip(made, [one, other, other, one, other] * 2, strict=False):
            await engine.put(piece)
        assert await listed(one) == [piece.name for piece in made]


@pytest.mark.parametrize("is_known", [True, False], ids=["knew the last one", "comes new"])
async def test_who_does_not_follow_the_last_piece_is_fenced_and_hears_which_it_is(
    subject: Subject, is_known: bool
) -> None:
    first, second, third = pieces_after(None, 3)
    refused = (
        piece_after(first.name, word="a clone's"),
        piece_after(first.name, records=3),
        piece_after(third.name, word="beyond a gap"),
        piece_after(piece_after(first.name, word="another history").name),
        piece_after(None, records=25),
        piece_after(None, word="from the beginning"),
    )
    async with subject.opening()() as engine:
        await engine.put(first)
        await engine.put(second)
        if is_known:
            for piece in refused:
                with pytest.raises(Fenced) as caught:
                    await engine.put(piece)
                assert caught.value.last == second.name
    if not is_known:
        for piece in refused:
            async with subject.opening()() as another:
                with pytest.raises(Fenced) as caught:
                    await another.put(piece)
                assert caught.value.last == second.name
    async with subject.opening()() as after:
        await after.put(third)
        assert await listed(after) == [first.name, second.name, third.name]
        assert await after.get(second.name) == second.data


async def test_a_piece_that_was_lost_is_put_in_its_place_again(subject: Subject) -> None:
    made = pieces_after(None, 5)
    async with subject.opening()() as engine, subject.opening()() as elsewhere:
        for piece in made:
            await engine.put(piece)
        for lost in (made[2], made[0], made[4]):
            await elsewhere.remove(lost.name)
        assert await listed(engine) == [made[1].name, made[3].name]
        assert await engine.last(STREAM, 1) == made[3].name
        with pytest.raises(NotFound) as caught:
            await engine.get(made[2].name)
        assert caught.value.code == "piece_gone"
        with pytest.raises(Fenced):
            await elsewhere.put(made[2])
        for lost in (made[2], made[0], made[4], made[2]):
            await engine.put(lost, is_mending=True)
        with pytest.raises(Fenced) as refused:
            await engine.put(piece_after(made[1].name, word="other"), is_mending=True)
        assert refused.value.last == made[4].name
        assert await listed(engine) == [piece.name for piece in made]
        assert await engine.get(made[2].name) == made[2].data


async def test_what_is_removed_is_gone_and_the_rest_goes_on(subject: Subject) -> None:
    first, second, third = pieces_after(None, 3)
    async with subject.opening()() as engine:
        await engine.put(first)
        await engine.put(second)
        await engine.remove(first.name)
        await engine.remove(first.name)
        await engine.put(third)
        assert await listed(engine) == [second.name, third.name]
        assert await engine.last(STREAM, 1) == third.name


async def test_an_epoch_begins_anywhere_and_streams_and_epochs_are_apart(subject: Subject) -> None:
    async with subject.opening()() as engine:
        assert await engine.epochs() == {}
        old = pieces_after(None, 2)
        new = piece_after(old[1].name, epoch=4_000_000_000)
        new_again = piece_after(new.name, epoch=4_000_000_000)
        fork = piece_after(old[0].name, stream=FORK)
        catalog = piece_after(None, stream=CATALOG, epoch=2)
        for piece in (*old, new, new_again, fork, catalog):
            await engine.put(piece)
        assert await engine.epochs() == {STREAM: [1, 4_000_000_000], FORK: [1], CATALOG: [2]}
        assert await listed(engine) == [piece.name for piece in old]
        assert await listed(engine, epoch=4_000_000_000) == [new.name, new_again.name]
        assert await listed(engine, FORK) == [fork.name]
        assert await engine.last(CATALOG, 2) == catalog.name
        assert await engine.last(CATALOG, 1) is None
        assert await engine.last(STREAM, 2) is None
        assert open_piece(await engine.get(fork.name), _no_key, wanted=fork.name).stream == FORK


async def test_pieces_from_a_sequence_on_are_those_that_end_after_it(subject: Subject) -> None:
    made = pieces_after(None, 4)  # 1..10, 11..20, 21..30, 31..40
    async with subject.opening()() as engine:
        for piece in made:
            await engine.put(piece)
        names = [piece.name for piece in made]
        for from_seq, at in (
            (0, 0),
            (1, 0),
            (10, 0),
            (11, 1),
            (20, 1),
            (21, 2),
            (31, 3),
            (40, 3),
            (41, 4),
            (2**63 - 1, 4),
        ):
            assert await listed(engine, from_seq=from_seq) == names[at:], from_seq
        await engine.remove(names[1])
        assert await listed(engine, from_seq=15) == names[2:]


async def test_more_pieces_than_an_engine_lists_at_once(subject: Subject) -> None:
    made = pieces_after(None, 1_345)
    async with subject.opening()() as engine:
        await _put_all(engine, made)
        assert await listed(engine) == [piece.name for piece in made]
        assert [name.first_seq for name in await listed(engine, from_seq=12_002)] == [
            piece.name.first_seq for piece in made[1_200:]
        ]
    async with subject.opening()() as another:
        assert await another.last(STREAM, 1) == made[-1].name
        with pytest.raises(Fenced):
            await another.put(piece_after(made[1_100].name, word="clone"))
        await another.put(piece_after(made[-1].name))


async def test_the_largest_piece_and_the_largest_object(subject: Subject) -> None:
    piece = piece_after(None, frames=secrets.token_bytes(16 << 20))
    data = secrets.token_bytes(OBJECT_BYTES_MAX)
    async with subject.opening()() as engine:
        await engine.put(piece)
        assert await engine.last(STREAM, 1) == piece.name
        assert name_of_piece(await engine.get(piece.name)) == piece.name
        assert await engine.put_object("blobs/large/0", data)
        assert await engine.get_object("blobs/large/0") == data
        assert engine.piece_bytes_max >= 64 * 1024


async def test_of_two_writers_one_has_each_place(subject: Subject) -> None:
    """Two boxes ship one stream, cut into pieces in different ways; who is fenced goes on from the last piece that is there."""
    end = 200

    async def ship(opening: Opening, records: int) -> None:
        async with opening() as engine:
            last = await engine.last(STREAM, 1)
            while last is None or last.next_seq < end:
                piece = _cut(last, records)
                try:
                    await engine.put(piece)
                    last = piece.name
                except Fenced as fenced:
                    last = fenced.last

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ship, subject.opening(), 3)
        nursery.start_soon(ship, subject.opening(), 5)
        nursery.start_soon(ship, subject.opening(), 5)
    async with subject.opening()() as engine:
        names = await listed(engine)
        assert names[0].first_seq == 1
        assert all(name.follows(before) for before, name in pairwise(names))
        assert names[-1].next_seq >= end


async def test_objects_are_put_once_and_listed_in_order(subject: Subject) -> None:
    keys = [
        "claims/0f/1",
        "claims/0f/10",
        "claims/0f/2",
        "claims/0f-/2",
        "claims/0f.x/2",
        "claims/0f0",
        "nodes/0f",
        "A",
        "z",
    ]
    async with subject.opening()() as engine:
        assert await engine.get_object("claims/0f/1") is None
        for key in keys:
            assert await engine.put_object(key, key.encode())
            assert not await engine.put_object(key, b"another")
        assert [await engine.get_object(key) for key in keys] == [key.encode() for key in keys]
        assert [key async for key in engine.objects()] == sorted(keys)
        for prefix in ("claims/", "claims/0f", "claims/0f/", "claims/0f/1", "nodes/0f", "none", "c", "z"):
            assert [key async for key in engine.objects(prefix)] == sorted(
                key for key in keys if key.startswith(prefix)
            ), prefix
        await engine.remove_object("nodes/0f")
        await engine.remove_object("nodes/0f")
        assert await engine.get_object("nodes/0f") is None
        assert await engine.put_object("nodes/0f", b"")
        assert await engine.get_object("nodes/0f") == b""


async def test_of_many_who_claim_one_object_one_has_it(subject: Subject) -> None:
    won: list[int] = []

    async def claim(engine: Engine, number: int) -> None:
        if await engine.put_object("claims/0f/1", b"%d" % number):
            won.append(number)

    async with subject.opening()() as one, subject.opening()() as other, trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(claim, (one, other)[number % 2], number)
    async with subject.opening()() as engine:
        assert [b"%d" % number for number in won] == [await engine.get_object("claims/0f/1")]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/a",
        "a/",
        "a//b",
        "../a",
        "a/../b",
        "a/.",
        "ä",
        "a b",
        "a\x00",
        "a?b",
        "a%2fb",
        "x" * 201,
        "a*",
        "a.>",
    ],
)
async def test_a_key_that_is_none_is_a_mistake_of_the_caller(subject: Subject, key: str) -> None:
    async with subject.opening()() as engine:
        with pytest.raises(AssertionError):
            await engine.put_object(key, b"x")
        with pytest.raises(AssertionError):
            await engine.get_object(key)
        with pytest.raises(AssertionError):
            await engine.remove_object(key)


async def test_a_call_that_is_given_up_leaves_the_engine_usable(subject: Subject) -> None:
    made = pieces_after(None, 6)
    async with subject.opening()() as engine:
        for piece in made:
            with trio.move_on_after(0.001):
                await engine.put(piece)
            await engine.put(piece)
        with trio.CancelScope() as scope:
            scope.cancel()
            await engine.last(STREAM, 1)
        assert scope.cancelled_caught
        assert await listed(engine) == [piece.name for piece in made]
        begun = engine.pieces(STREAM, 1)
        assert isinstance(begun, AsyncGenerator)
        async with aclosing(begun) as names:  # somebody who stops in the middle
            assert await anext(names) == made[0].name
        assert await engine.last(STREAM, 1) == made[-1].name


async def test_a_server_that_is_gone_is_away_and_right_when_it_is_back(subject: Subject) -> None:
    made = pieces_after(None, 4)
    async with subject.opening()() as engine:
        await engine.put(made[0])
        await engine.put_object("nodes/0f", b"node")
        await trio.to_thread.run_sync(subject.kill)
        try:
            with trio.fail_after(2 * TIER_CALL_S):
                with pytest.raises(TierAway):
                    await engine.put(made[1])
                with pytest.raises(TierAway):
                    await engine.last(STREAM, 1)
                with pytest.raises(TierAway):
                    await engine.put_object("nodes/0e", b"node")
                with pytest.raises(TierAway):
                    await listed(engine)
                with pytest.raises(TierAway):
                    async with subject.opening()():
                        pass
        finally:
            await trio.to_thread.run_sync(subject.start)
        with trio.fail_after(60):
            while True:
                try:
                    last = await engine.last(STREAM, 1)
                    break
                except TierAway:
                    await trio.sleep(0.1)
        assert last == made[0].name
        for piece in made[1:]:
            await engine.put(piece)
        assert await listed(engine) == [piece.name for piece in made]
        assert await engine.get_object("nodes/0f") == b"node"


async def _put_all(engine: Engine, made: list[Piece]) -> None:
    """All pieces; but for the first and the last one as somebody who mends does, so that many can be under way at once."""
    await engine.put(made[0])
    limit = trio.CapacityLimiter(16)

    async def put(piece: Piece) -> None:
        async with limit:
            await engine.put(piece, is_mending=True)

    async with trio.open_nursery() as nursery:
        for piece in made[1:-1]:
            nursery.start_soon(put, piece)
    await engine.put(made[-1])


def _cut(last: PieceName | None, records: int) -> Piece:
    """A piece of one history, wherever it is cut: its hashes are those of the sequences at its ends."""
    first_seq = 1 if last is None else last.next_seq
    prev_hash = piece_hash(first_seq)
    return _sealed(
        Chunk(
            STREAM,
            1,
            1,
            None,
            first_seq,
            prev_hash,
            first_seq + records,
            piece_hash(first_seq + records),
            1,
            b"f",
        )
    )


def _sealed(chunk: Chunk) -> Piece:
    return seal_piece(chunk, None, 0)


def piece_hash(seq: int) -> bytes:
    return msgspec.msgpack.encode(seq).ljust(32, b"\x01")


def _no_key(generation: int) -> bytes:
    raise AssertionError(generation)
