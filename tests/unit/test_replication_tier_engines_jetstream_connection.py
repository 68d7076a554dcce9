"""One connection: the answer that belongs to the question, an end to every wait, and in words why something is of no use."""

from __future__ import annotations

import json
import ssl

import pytest
import trio

from replication.tier.engine import TierUnfit
from replication.tier.engines import jetstream_connection as module
from replication.tier.engines.jetstream_access import Access
from replication.tier.engines.jetstream_connection import Address, Connection, ConnectionLost, connect
from tests.nats_stand_in import Asked, StandIn, stand_in, to

NOBODY = Access()


def nothing() -> None:
    """Progress that nobody waits for."""


async def connected(server: StandIn, access: Access = NOBODY) -> Connection:
    return await connect(server.address, access, "test", nothing)


async def test_who_connects_says_who_it_is_and_hears_who_the_server_is() -> None:
    async with stand_in(
        lambda asked: to(asked), info={"version": "2.15.1", "nonce": "n"}, on_connect=b"PING\r\nPONG\r\n"
    ) as server:
        connection = await connected(server, Access(user="box", password="hidden"))
        assert connection.info["version"] == "2.15.1"
        hello = json.loads(server.said[0].removeprefix(b"CONNECT "))
        assert (hello["user"], hello["pass"], hello["headers"], hello["no_responders"]) == (
            "box",
            "hidden",
            True,
            True,
        )
        await connection.ask("a")
        assert b"PONG" in server.said
        await connection.aclose()


async def test_the_answer_is_that_to_the_question() -> None:
    """Others pass by: what came too late to a question before, another subscription's, and news of the server."""

    def answer(asked: Asked) -> bytes:
        late = asked.reply[:-1] + "0"
        return (
            b"MSG %s 1 4\r\nlate\r\n" % late.encode()
            + b'INFO {"lame": true}\r\n'
            + to(asked, b"another's", subscription=9)
            + to(asked, asked.data, headers="X: y\r\n")
        )

    async with stand_in(answer) as server:
        connection = await connected(server)
        for word in (b"one", b"x" * 300_000):
            got = await connection.ask("a.b", word, {"H": "v"})
            assert (got.data, got.headers) == (word, {"x": "y"})
        assert connection.info["lame"] is True
        assert [(each.subject, each.headers) for each in server.asked] == [("a.b", {"H": "v"})] * 2
        await connection.aclose()


async def test_many_answers_until_the_last_one_the_most_or_silence() -> None:
    def answer(asked: Asked) -> bytes:
        number = int(asked.reply.rpartition("-")[2]) + 1
        return b"".join(to(asked, b"%d" % each, subscription=number) for each in range(3))

    async with stand_in(answer) as server:
        connection = await connected(server)
        for is_last, most, wanted in ((b"1", 9, 2), (b"", 2, 2), (b"", 9, 3)):
            got = await connection.ask_many(
                "a",
                b"",
                lambda message, last=is_last: message.data == last,  # type: ignore[misc]
                count_max=most,
                answer_s=0.05,
            )
            assert [message.data for message in got] == [b"%d" % each for each in range(wanted)]
        assert sum(line.startswith(b"UNSUB") for line in server.said) >= 2
        await connection.aclose()


@pytest.mark.parametrize(
    ("back", "error", "word"),
    [
        (None, ConnectionLost, "ended"),
        (b"nonsense\r\n", ConnectionLost, "No NATS server"),
        (b"-ERR 'Stale Connection'\r\n", ConnectionLost, "Stale"),
        (b"-ERR 'Permissions Violation for Publish to \"a\"'\r\n", TierUnfit, "right is missing"),
        (b"-ERR 'Maximum Payload Violation'\r\n", TierUnfit, "takes no message of this size"),
        (b"-ERR 'User Authentication Expired'\r\n", TierUnfit, "does not let"),
    ],
)
async def test_what_ends_a_question_is_said(back: bytes | None, error: type[Exception], word: str) -> None:
    async with stand_in(lambda _: back) as server:
        connection = await connected(server)
        with pytest.raises(error, match=word):
            await connection.ask("a")
        await connection.aclose()


async def test_a_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NATS_ANSWER_S", 0.05)
    monkeypatch.setattr(module, "NATS_CONNECT_S", 0.05)
    async with stand_in(lambda _: b"") as server:
        monkeypatch.setattr(module, "NATS_CONNECT_S", 5)
        connection = await connected(server)
        with pytest.raises(ConnectionLost, match="does not answer"):
            await connection.ask("a")
        await connection.aclose()
    monkeypatch.setattr(module, "NATS_CONNECT_S", 0.05)
    async with stand_in(lambda _: b"", greeting=b"") as server:
        with pytest.raises(ConnectionLost, match="does not answer"):
            await connected(server)
    with pytest.raises(ConnectionLost, match="can't be reached"):
        await connect(server.address, NOBODY, "test", nothing)


@pytest.mark.parametrize(
    ("values", "error", "word"),
    [
        ({"greeting": b"PING\r\nPONG\r\n"}, ConnectionLost, "No NATS server"),
        ({"info": {"tls_required": True}}, TierUnfit, "wants TLS"),
        ({"on_connect": b"-ERR 'Authorization Violation'\r\n"}, TierUnfit, "does not let this user in"),
    ],
)
async def test_a_greeting_that_leads_nowhere(
    values: dict[str, object], error: type[Exception], word: str
) -> None:
    async with stand_in(lambda _: b"", **values) as server:
        with pytest.raises(error, match=word):
            await connected(server)


async def test_tls_with_something_that_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NATS_CONNECT_S", 0.3)
    async with stand_in(lambda _: b"") as server:
        address = Address(host="127.0.0.1", port=server.address.port, tls=ssl.create_default_context())
        with pytest.raises(ConnectionLost, match=r"TLS with|does not answer"):
            await connect(address, NOBODY, "test", nothing)


async def test_why_a_large_message_was_not_taken_is_heard() -> None:
    """A server that closes while one sends has said why before."""

    async def refuse(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b'INFO {"version": "2.15.1"}\r\n')
            await stream.receive_some(65_536)
            await stream.send_all(b"PONG\r\n")
            await stream.receive_some(65_536)
            await stream.send_all(b"-ERR 'Maximum Payload Violation'\r\n")
            await stream.receive_some(65_536)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, refuse, [listener])
        address = Address(host="127.0.0.1", port=listener.socket.getsockname()[1])
        connection = await connect(address, NOBODY, "test", nothing)
        with pytest.raises((TierUnfit, ConnectionLost)):
            await connection.ask("a", bytes(30 << 20))
        await connection.aclose()
        nursery.cancel_scope.cancel()
