"""What a cloud node does for boxes: their own site's streams only, within bounds, and acknowledged when the region has done it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from appliance.core.errors import NotFound, RemoteProtocolError
from appliance.core.limits_replication import GATEWAY_CALLS_PER_PEER_MAX, PART_BYTES_MAX, PART_BYTES_MIN
from replication.messages import AskHeads, encode_message
from replication.tier import gateway
from replication.tier.engine import OBJECT_KEY_LENGTH_MAX, Engine, TierAway, TierUnfit
from replication.tier.gateway import Visitor
from replication.tier.gateway_messages import (
    GetObject,
    Last,
    Open,
    Put,
    Question,
    SiteReport,
    TierPart,
    decode,
    decode_answer,
    decode_question,
    encode,
    encode_call,
    is_gateway_message,
)
from replication.tier.gateway_parts import Assembler, next_part_bytes
from tests.broker_kit import wait_until
from tests.gateway_kit import BOX, CLOUD, SITE, VISITOR, Pair
from tests.tier_kit import STREAM, MemoryTier, piece_after, pieces_after

REPORT = SiteReport(2_000, 61_000, 7, 900, 3, "a problem")


def part_of(request: int, question: Question) -> bytes:
    """A question that is one part, as a link brings it."""
    data = encode_call(question)
    return encode(TierPart(request, False, len(data), 0, data))


async def test_a_piece_is_acknowledged_only_when_the_region_has_it() -> None:
    tier = MemoryTier()
    (piece,) = pieces_after(None, 1)
    pair = Pair({"eu": tier.open})
    async with pair.run(), pair.opening()() as engine, trio.open_nursery() as nursery:
        tier.hold = trio.Event()
        done = trio.Event()

        async def put() -> None:
            await engine.put(piece)
            done.set()

        nursery.start_soon(put)
        await wait_until(lambda: tier.put_count == 1)
        assert not done.is_set()
        assert pair.gateway.waiting_bytes > len(piece.data)
        assert pair.stored == []
        tier.hold.set()
        await done.wait()
        assert pair.stored == [("eu", piece.name)]
        await wait_until(lambda: pair.gateway.waiting_bytes == 0)
        assert (pair.gateway.counts.pieces, pair.gateway.counts.bytes) == (1, len(piece.data))


async def test_another_sites_streams_are_out_of_reach() -> None:
    tier = MemoryTier()
    (piece,) = pieces_after(None, 1)
    async with tier.open() as direct:
        await direct.put(piece)
    pair = Pair({"eu": tier.open}, visitor=Visitor(site_id=SITE, nodes=frozenset({"99" * 16})))
    async with pair.run(), pair.opening()() as engine:
        assert await engine.epochs() == {}
        for refused in (
            lambda: engine.put(piece_after(piece.name)),
            lambda: engine.last(STREAM, 1),
            lambda: engine.get(piece.name),
            lambda: engine.remove(piece.name),
            lambda: anext(aiter(engine.pieces(STREAM, 1))),
        ):
            with pytest.raises(TierUnfit, match="not of the site"):
                await refused()
    assert tier.of_epoch[STREAM, 1] == [piece.name]


async def test_objects_of_two_sites_are_apart() -> None:
    tier = MemoryTier()
    one = Pair({"eu": tier.open})
    other = Pair({"eu": tier.open}, visitor=Visitor(site_id="52" * 16, nodes=VISITOR.nodes))
    async with one.run(), other.run(), one.opening()() as ours, other.opening()() as theirs:
        assert await ours.put_object("a", b"ours")
        assert await theirs.put_object("a", b"theirs")
        assert (await ours.get_object("a"), await theirs.get_object("a")) == (b"ours", b"theirs")
        assert [key async for key in theirs.objects()] == ["a"]
        await theirs.remove_object("a")
        assert await ours.get_object("a") == b"ours"
        with pytest.raises(TierUnfit, match="more than 161 characters"):
            await ours.put_object("x" * OBJECT_KEY_LENGTH_MAX, b"")
        with pytest.raises(TierUnfit, match="leads elsewhere"):
            await one.client.ask(CLOUD, GetObject("eu", "../52/a"))


async def test_a_region_that_is_not_there_and_a_box_that_is_not_known() -> None:
    tier = MemoryTier()
    pair = Pair({"eu": tier.open})
    async with pair.run():
        with pytest.raises(TierUnfit, match="no region us: eu"):
            await pair.client.ask(CLOUD, Open("us"))
    stranger = Pair({"eu": tier.open}, visitor=None)
    async with stranger.run():
        with pytest.raises(TierUnfit, match="doesn't know this box"):
            await stranger.client.ask(CLOUD, Open("eu"))


async def test_what_is_no_piece_is_refused_and_never_put() -> None:
    tier = MemoryTier()
    pair = Pair({"eu": tier.open})
    async with pair.run():
        with pytest.raises(TierUnfit, match="can't be used"):
            await pair.client.ask(CLOUD, Put("eu", b"no piece", False))
    assert tier.put_count == 0


async def test_a_region_that_is_away_is_away_here_and_comes_back() -> None:
    tier = MemoryTier()
    tier.is_away = True
    pair = Pair({"eu": tier.open})
    async with pair.run():
        with pytest.raises(TierAway, match="switched off"):
            await pair.client.ask(CLOUD, Open("eu"))
        tier.is_away = False
        assert (await pair.client.ask(CLOUD, Open("eu"))).number > 0


async def test_an_engine_that_ends_ends_what_is_under_way() -> None:
    tier, lost = MemoryTier(), trio.Event()

    @asynccontextmanager
    async def opening() -> AsyncIterator[Engine]:
        async with tier.open() as engine, trio.open_nursery() as nursery:

            async def lose() -> None:
                await lost.wait()
                raise TierAway("The connection was lost.")

            nursery.start_soon(lose)
            yield engine

    (piece,) = pieces_after(None, 1)
    pair = Pair({"eu": opening})
    async with pair.run(), pair.opening()() as engine:
        tier.hold = trio.Event()
        async with trio.open_nursery() as nursery:

            async def put() -> None:
                with pytest.raises(TierAway):
                    await engine.put(piece)

            nursery.start_soon(put)
            await wait_until(lambda: tier.put_count == 1)
            lost.set()
        tier.hold.set()
        lost = trio.Event()
        await engine.put(piece)
        assert await engine.get(piece.name) == piece.data


async def test_a_piece_that_is_gone_is_not_found() -> None:
    tier = MemoryTier()
    (piece,) = pieces_after(None, 1)
    pair = Pair({"eu": tier.open})
    async with pair.run(), pair.opening()() as engine:
        with pytest.raises(NotFound) as caught:
            await engine.get(piece.name)
        assert caught.value.code == "piece_gone"


async def test_a_link_that_is_lost_ends_calls_and_another_one_goes_on() -> None:
    tier = MemoryTier()
    (piece,) = pieces_after(None, 1)
    pair = Pair({"eu": tier.open})
    async with pair.run(), pair.opening()() as engine:
        tier.hold = trio.Event()
        async with trio.open_nursery() as nursery:

            async def put() -> None:
                with pytest.raises(TierAway, match="not linked"):
                    await engine.put(piece)

            nursery.start_soon(put)
            await wait_until(lambda: tier.put_count == 1)
            pair.cut()
        with pytest.raises(TierAway, match="not linked"):
            await engine.last(STREAM, 1)
        with pytest.raises(TierAway, match="not linked"):
            async with pair.opening()():
                pass
        pair.join()
        tier.hold.set()
        # What was under way is finished; nobody was told, and the box asks how far it is.
        await wait_until(lambda: tier.of_epoch.get((STREAM, 1)) == [piece.name])
        assert await engine.last(STREAM, 1) == piece.name


async def test_an_answer_for_a_link_that_is_gone_answers_no_question_of_the_next() -> None:
    tier = MemoryTier()
    (piece,) = pieces_after(None, 1)
    pair = Pair({"eu": tier.open})
    async with pair.run():
        await pair.client.ask(CLOUD, Open("eu"))
        tier.hold = trio.Event()
        pair.cloud.message(BOX, part_of(7, Last("eu", STREAM, 1)))
        await wait_until(lambda: pair.gateway.waiting_bytes > 0)
        pair.cut()
        pair.join()
        # The box begins anew, with the same number for another question, while the first is still being done.
        pair.cloud.message(BOX, part_of(7, Put("eu", piece.data, False)))
        await wait_until(lambda: tier.put_count == 1)
        sent = len(pair.cloud_end.sent)
        tier.hold.set()
        await wait_until(lambda: pair.gateway.waiting_bytes == 0)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(pair.cloud_end.sent) == sent + 1
        assert pair.gateway.counts.pieces == 1


async def test_what_is_no_question_ends_the_link_and_takes_no_room() -> None:
    pair = Pair({"eu": MemoryTier().open})
    async with pair.run():
        with pytest.raises(RemoteProtocolError):
            pair.cloud.message(BOX, encode(TierPart(1, False, 1, 0, b"x")))
        assert pair.gateway.waiting_bytes == 0


async def test_all_who_wait_for_a_region_hear_at_once_that_it_is_away() -> None:
    tier, attempts = MemoryTier(), []

    @asynccontextmanager
    async def opening() -> AsyncIterator[Engine]:
        attempts.append(1)
        async with tier.open() as engine:
            yield engine

    tier.is_away, tier.hold = True, trio.Event()
    pair = Pair({"eu": opening})
    async with pair.run(), trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(TierAway):
                await pair.client.ask(CLOUD, Open("eu"))

        for _ in range(5):
            nursery.start_soon(ask)
        await wait_until(lambda: len(attempts) == 1 and len(pair.box_end.sent) == 5)
        await trio.testing.wait_all_tasks_blocked()
        tier.hold.set()
    assert len(attempts) == 1


async def test_one_box_has_so_many_questions_under_way_and_no_more() -> None:
    tier = MemoryTier()
    pair = Pair({"eu": tier.open})
    async with pair.run(), pair.opening()() as engine:
        tier.hold = trio.Event()
        refused: list[str] = []
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                try:
                    await engine.last(STREAM, 1)
                except TierAway as error:
                    refused.append(error.message)

            for _ in range(GATEWAY_CALLS_PER_PEER_MAX + 3):
                nursery.start_soon(ask)
            await wait_until(lambda: len(refused) == 3)
            tier.hold.set()
        assert len(refused) == pair.gateway.counts.refused == 3
        assert "as much to do as it takes" in refused[0]
        assert await engine.last(STREAM, 1) is None


async def test_all_that_waits_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    tier = MemoryTier()
    monkeypatch.setattr(gateway, "GATEWAY_WAITING_BYTES_MAX", 50_000)
    large = piece_after(None, frames=bytes(range(256)) * 1_000, word="x")
    data = large.data + bytes(60_000)
    pair = Pair({"eu": tier.open})
    async with pair.run(), pair.opening()() as engine:
        with pytest.raises(TierAway, match="as much to do"):
            await pair.client.ask(CLOUD, Put("eu", data, False))
        assert tier.put_count == 0
        await engine.put(large)  # packed, it is small
    assert tier.put_count == 1


async def test_reports_and_what_is_others_reach_who_they_are_for() -> None:
    pair = Pair({})
    async with pair.run():
        pair.box.report(CLOUD, REPORT)
        await wait_until(lambda: pair.reports == [(BOX, REPORT)])
    word = encode_message(AskHeads(STREAM.node_id))
    pair.box.message(CLOUD, word)
    pair.box.message(CLOUD, encode(TierPart(1, False, 1, 0, b"x")))  # this box is no cloud node
    pair.box.message(CLOUD, encode(REPORT))
    assert pair.behind.heard == [word]


def test_a_part_grows_where_the_link_is_quick_and_shrinks_where_it_is_slow() -> None:
    assert next_part_bytes(8_192, 0.1) == 16_384
    assert next_part_bytes(PART_BYTES_MAX, 0.1) == PART_BYTES_MAX
    assert next_part_bytes(8_192, 0.7) == 8_192
    assert next_part_bytes(8_192, 1.5) == PART_BYTES_MIN
    assert next_part_bytes(PART_BYTES_MIN, 9.0) == PART_BYTES_MIN


def test_parts_are_put_together_and_anything_else_is_an_error() -> None:
    assembler = Assembler(lambda peer, request, total_bytes: request != 9)
    assert assembler.take(BOX, TierPart(1, False, 5, 0, b"abc")) is None
    assert (assembler.waiting_bytes, assembler.count_of(BOX), assembler.count_of(CLOUD)) == (5, 1, 0)
    assert assembler.take(BOX, TierPart(1, False, 5, 3, b"de")) == b"abcde"
    assert assembler.waiting_bytes == 0
    assert assembler.take(BOX, TierPart(9, False, 5, 0, b"abc")) is None
    assert assembler.take(BOX, TierPart(9, False, 5, 3, b"de")) is None
    for bad in (
        TierPart(2, False, 5, 4, b"e"),
        TierPart(2, False, 6, 3, b"e"),
        TierPart(2, False, 5, 3, b"def"),
        TierPart(2, False, 5, 3, b""),
    ):
        assembler.take(BOX, TierPart(2, False, 5, 0, b"abc"))
        with pytest.raises(RemoteProtocolError):
            assembler.take(BOX, bad)
        assert assembler.waiting_bytes == 0
    assembler.take(BOX, TierPart(3, False, 5, 0, b"abc"))
    assert assembler.take(BOX, TierPart(3, False, 5, 0, b"abc")) is None  # again from the beginning
    assembler.take(BOX, TierPart(4, False, 5, 0, b"abc"))
    assembler.left(CLOUD)
    assert assembler.waiting_bytes == 5
    assembler.left(BOX)
    assert assembler.waiting_bytes == 0


def test_what_is_not_understood_is_the_peers_mistake() -> None:
    assert is_gateway_message(encode(REPORT))
    assert not is_gateway_message(encode_message(AskHeads(STREAM.node_id)))
    assert not is_gateway_message(b"\x91")
    for call in (decode, decode_question, decode_answer):
        with pytest.raises(RemoteProtocolError):
            call(b"\x92\x3c\x01")
    with pytest.raises(RemoteProtocolError):
        decode(bytes(70_000))
    question = Put("eu", b"data", True)
    assert decode_question(encode_call(question)) == question
    with pytest.raises(RemoteProtocolError):
        decode_question(encode_call(GetObject("eu", "a//b")))
