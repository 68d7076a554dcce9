"""Calls: tried again as long as that may help and no longer, on another server where this one is of no use, and answered by the leader."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
import trio

from appliance.core.limits_jetstream import NATS_UNREACHABLE_COUNT_MAX
from replication.tier.engine import TierAway, TierUnfit
from replication.tier.engines import jetstream_calls as module
from replication.tier.engines import jetstream_connection
from replication.tier.engines.jetstream_access import Access
from replication.tier.engines.jetstream_calls import NEVER, Calls, WrongLast
from replication.tier.engines.jetstream_connection import Address, Connection
from tests.nats_kit import free_ports
from tests.nats_stand_in import Answer, Asked, StandIn, stand_in, to

GONE = {"error": {"code": 404, "err_code": 10037, "description": "no message found"}}
ELECTION = {
    "error": {"code": 503, "err_code": 10008, "description": "JetStream system temporarily unavailable"}
}


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NATS_RETRY_S", 0.001)
    monkeypatch.setattr(module, "NATS_RETRY_S_MAX", 0.01)
    monkeypatch.setattr(module, "NATS_CALL_S", 1.0)
    monkeypatch.setattr(jetstream_connection, "NATS_ANSWER_S", 0.1)


def wrong_last(words: str = "wrong last sequence: 7", code: int = 10071) -> dict[str, Any]:
    return {"error": {"code": 400, "err_code": code, "description": words}}


def in_turn(*answers: dict[str, Any] | bytes | Callable[[Asked], bytes] | None) -> Answer:
    """One answer after the other; the last one again and again."""
    left = list(answers)

    def answer(asked: Asked) -> bytes | None:
        back = left.pop(0) if len(left) > 1 else left[0]
        if callable(back):
            return back(asked)
        return to(asked, back) if isinstance(back, dict) else back

    return answer


def calls_to(*servers: StandIn | Address, look: Callable[[Connection], None] = lambda _: None) -> Calls:
    return Calls(
        "tier", [each if isinstance(each, Address) else each.address for each in servers], Access(), look
    )


def no_responders(asked: Asked) -> bytes:
    return to(asked, status="503 No Responders")


@pytest.mark.parametrize(
    "trouble",
    [ELECTION, no_responders, b"", None, wrong_last("wrong last sequence", 10164), wrong_last("wrong last sequence"), b"-ERR 'Slow Consumer'\r\n"],
)  # fmt: skip
async def test_what_passes_is_tried_again(
    trouble: dict[str, Any] | bytes | Callable[[Asked], bytes] | None,
) -> None:
    async with stand_in(in_turn(trouble, trouble, {"stream": "tier", "seq": 9})) as server:
        calls = calls_to(server)
        assert await calls.publish("tier.a", b"x", 4, {"H": "v"}) == 9
        assert [asked.headers for asked in server.asked] == [
            {"H": "v", "Nats-Expected-Last-Subject-Sequence": "4"}
        ] * 3
        assert calls.lost_count == calls.requests.failed_count == 2
        await calls.aclose()


@pytest.mark.parametrize("answer", [b'{"a": 1', b"[]"])
async def test_what_is_no_answer_of_jetstream_is_away(answer: bytes) -> None:
    async with stand_in(lambda asked: to(asked, answer)) as server:
        calls = calls_to(server)
        with pytest.raises(TierAway, match="JetStream's answer is no") as caught:
            await calls.api("INFO")
        assert "majority" in caught.value.hint
        await calls.aclose()


async def test_the_next_server_does_it_when_one_is_gone() -> None:
    async with (
        stand_in(in_turn({"seq": 1, "stream": "tier"}, None)) as first,
        stand_in(in_turn({"seq": 2, "stream": "tier"})) as second,
    ):
        (port,) = free_ports(1)
        calls = calls_to(Address(host="127.0.0.1", port=port), first, second)
        assert await calls.publish("tier.a", b"", 0, {}) == 1
        assert await calls.publish("tier.a", b"", 0, {}) == 2
        assert (first.connection_count, second.connection_count) == (1, 1)
        await calls.aclose()


async def test_nobody_there_is_said_soon_and_an_election_that_does_not_end_after_a_while() -> None:
    one, other = free_ports(2)
    calls = calls_to(Address(host="127.0.0.1", port=one), Address(host="127.0.0.1", port=other))
    with trio.fail_after(60), pytest.raises(TierAway, match="can't be reached"):
        await calls.api("INFO")
    assert calls.lost_count == NATS_UNREACHABLE_COUNT_MAX
    async with stand_in(in_turn(ELECTION)) as server:
        calls = calls_to(server)
        with trio.fail_after(60), pytest.raises(TierAway, match="temporarily unavailable"):
            await calls.api("INFO")
        await calls.aclose()


async def test_a_connection_is_used_again_but_not_after_trouble_or_a_long_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stand_in(in_turn({"ok": 1}, wrong_last(), {"ok": 1}, None, {"ok": 1})) as server:
        calls = calls_to(server)
        await calls.api("INFO")
        with pytest.raises(WrongLast) as caught:
            await calls.publish("tier.a", b"", 1, {})
        assert caught.value.seq == 7
        await calls.api("INFO")
        assert server.connection_count == 1
        await calls.api("INFO")
        assert server.connection_count == 2
        monkeypatch.setattr(module, "NATS_IDLE_S", -1)
        await calls.api("INFO")
        assert server.connection_count == 3
        await calls.aclose()


async def test_who_is_cancelled_leaves_nothing_to_the_next() -> None:
    async with stand_in(in_turn(b"", {"value": "right"})) as server:
        calls = calls_to(server)
        with trio.move_on_after(0.02):
            await calls.api("INFO")
        assert await calls.api("INFO") == {"value": "right"}
        assert server.connection_count == 2
        await calls.aclose()


async def test_a_server_that_is_unfit_ends_it_at_once() -> None:
    def look(connection: Connection) -> None:
        raise TierUnfit(f"version {connection.info['version']}")

    async with stand_in(in_turn({"ok": 1})) as server:
        calls = calls_to(server, look=look)
        with pytest.raises(TierUnfit, match="version 2"):
            await calls.api("INFO")


@pytest.mark.parametrize(
    ("answer", "error", "word"),
    [
        (
            {"error": {"code": 503, "err_code": 10077, "description": "maximum bytes exceeded"}},
            TierAway,
            "takes nothing: maximum bytes",
        ),
        (
            {"error": {"code": 400, "err_code": 10054, "description": "message size exceeds maximum"}},
            TierUnfit,
            "refuses: message size",
        ),
        ({"error": {"code": 503, "err_code": 10076, "description": "not enabled"}}, TierUnfit, "not enabled"),
        ({"stream": "another", "seq": 1}, TierUnfit, "Another stream"),
        ({"stream": "tier"}, TierUnfit, "Another stream"),
    ],
)
async def test_what_does_not_pass_is_said(answer: dict[str, Any], error: type[Exception], word: str) -> None:
    async with stand_in(in_turn(answer)) as server:
        calls = calls_to(server)
        with pytest.raises(error, match=word):
            await calls.publish("tier.a", b"x", 0, {})
        await calls.aclose()


async def test_the_leader_says_where_a_subject_ends() -> None:
    async with stand_in(
        in_turn(wrong_last(), wrong_last("wrong last sequence: 0"), {"stream": "tier", "seq": 1})
    ) as server:
        calls = calls_to(server)
        assert await calls.last_seq("tier.a") == 7
        assert await calls.last_seq("tier.a") == 0
        assert server.asked[0].headers["Nats-Expected-Last-Subject-Sequence"] == str(NEVER)
        with pytest.raises(TierUnfit, match="should have refused"):
            await calls.last_seq("tier.a")
        await calls.aclose()


async def test_what_a_server_lacks_the_leader_is_asked_for() -> None:
    def answer(asked: Asked) -> bytes:
        if "DIRECT" in asked.subject:
            return to(asked, status="404 Message Not Found")
        head = base64.b64encode(b"NATS/1.0\r\nHomeport-Piece: p\r\n\r\n").decode()
        data = base64.b64encode(b"bytes").decode()
        return to(asked, {"message": {"subject": "tier.a", "seq": 5, "hdrs": head, "data": data}})

    async with stand_in(answer) as server:
        calls = calls_to(server)
        found = await calls.message(5)
        assert found is not None
        assert (found.subject, found.seq, found.data, dict(found.headers)) == (
            "tier.a",
            5,
            b"bytes",
            {"homeport-piece": "p"},
        )
        await calls.aclose()
    async with stand_in(
        lambda asked: to(asked, GONE) if "MSG.GET" in asked.subject else to(asked, status="404")
    ) as server:
        calls = calls_to(server)
        assert await calls.message(5) is None
        await calls.aclose()


async def test_a_direct_answer_that_makes_no_sense_is_away() -> None:
    for answer in (lambda asked: to(asked, b"x"), lambda asked: to(asked, status="408 Bad Request")):
        async with stand_in(answer) as server:
            calls = calls_to(server)
            with pytest.raises(TierAway):
                await calls.message(5)
            await calls.aclose()


async def test_what_is_gone_already_is_removed() -> None:
    gone = {"error": {"code": 400, "err_code": 10057, "description": "message delete failed"}}
    refused = {"error": {"code": 500, "err_code": 10110, "description": "purge not permitted"}}
    async with stand_in(in_turn({"success": True}, gone, {"success": True}, refused)) as server:
        calls = calls_to(server)
        await calls.delete(5)
        await calls.delete(5)
        await calls.purge("tier.o.a")
        with pytest.raises(TierUnfit, match="purge not permitted"):
            await calls.purge("tier.o.a")
        assert calls.requests.statistics(None).requests["remove"] == 4
        await calls.aclose()


async def test_subjects_come_in_pages_and_not_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[dict[str, Any]] = [
        {"total": 3, "state": {"subjects": {"tier.o.a": 1, "tier.o.b": 1}}},
        {"total": 3, "state": {"subjects": {"tier.o.c": 1}}},
        {"total": 0, "state": {}},
        {"total": 9, "state": {"subjects": {"tier.o.c": 1}}},
    ]
    async with stand_in(in_turn(*pages)) as server:
        calls = calls_to(server)
        assert await calls.subjects("tier.o.>") == ["tier.o.a", "tier.o.b", "tier.o.c"]
        assert b'"offset": 2' in server.asked[1].data
        assert await calls.subjects("tier.o.>") == []
        monkeypatch.setattr(module, "NATS_SUBJECT_COUNT_MAX", 3)
        with pytest.raises(TierUnfit, match="more than 3"):
            await calls.subjects("tier.o.>")
        await calls.aclose()
