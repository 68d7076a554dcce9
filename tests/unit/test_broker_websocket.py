"""The carrier alone: bytes between a WebSocket and what the data plane reads, whatever the client sends and however it ends."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio_websocket import WebSocketRequest

import broker.websocket
from broker.origins import OriginPolicy
from broker.transport import Closed, Refused
from broker.websocket import Carried, WebSockets

DEADLINE_S = 60.0
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x11\x22\x33\x44"


def request(
    *,
    path: str = "/mqtt",
    host: str = "box:8083",
    protocol: str | None = "mqtt",
    origin: str | None = None,
    more: bytes = b"",
) -> bytes:
    lines = [f"GET {path} HTTP/1.1", f"Host: {host}", "Connection: keep-alive, Upgrade", "Upgrade: websocket"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    if protocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    if origin is not None:
        lines.append(f"Origin: {origin}")
    return "\r\n".join(lines).encode() + b"\r\n" + more + b"\r\n"


def frame(opcode: int, data: bytes, *, fin: bool = True, length: int | None = None) -> bytes:
    """A client's frame (RFC 6455 §5.2), built here by hand."""
    size = len(data) if length is None else length
    first = opcode | (0x80 if fin else 0)
    if size < 126:
        head = struct.pack(">BB", first, 0x80 | size)
    elif size < 65_536:
        head = struct.pack(">BBH", first, 0x80 | 126, size)
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, size)
    return head + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(data))


class Client:
    """The browser's end: a raw socket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = bytearray()

    async def send(self, data: bytes) -> None:
        with trio.fail_after(DEADLINE_S):
            await self.stream.send_all(data)

    async def _fill(self) -> bool:
        with trio.fail_after(DEADLINE_S):
            try:
                data = await self.stream.receive_some(65_536)
            except trio.BrokenResourceError:
                return False
        self.buffer += data
        return bool(data)

    async def status(self) -> tuple[int, str]:
        while b"\r\n\r\n" not in self.buffer:
            assert await self._fill()
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer[:] = rest
        return int(head.split()[1]), head.decode()

    async def frame(self) -> tuple[int, bytes] | None:
        """The next frame of the server, None at the end of the stream."""
        while True:
            if len(self.buffer) >= 2:
                size, at = self.buffer[1], 2
                if size == 126 and len(self.buffer) >= 4:
                    size, at = struct.unpack_from(">H", self.buffer, 2)[0], 4
                elif size == 127 and len(self.buffer) >= 10:
                    size, at = struct.unpack_from(">Q", self.buffer, 2)[0], 10
                if (at > 2 or size < 126) and len(self.buffer) >= at + size:
                    found = self.buffer[0] & 15, bytes(self.buffer[at : at + size])
                    del self.buffer[: at + size]
                    return found
            if not await self._fill():
                return None


class Rig:
    def __init__(self, websockets: WebSockets) -> None:
        self.websockets = websockets
        self.carried: Carried | None = None
        self.error: Exception | None = None
        self.settled = trio.Event()

    @property
    def plane(self) -> trio.SocketStream:
        assert self.carried is not None
        return trio.SocketStream(trio.socket.from_stdlib_socket(self.carried.sock))


@asynccontextmanager
async def rig(policy: OriginPolicy | None = None) -> AsyncIterator[tuple[Rig, Client]]:
    """A server's socket that is being upgraded, and the client's end."""
    theirs, ours = socket.socketpair()
    theirs.setblocking(False)
    ours.setblocking(False)
    websockets = WebSockets(policy or OriginPolicy(["box"], []))
    made = Rig(websockets)

    async def upgrade() -> None:
        try:
            made.carried = await websockets.upgrade(ours, None)
        except (Refused, Closed) as error:
            made.error = error
        made.settled.set()

    client = Client(trio.SocketStream(trio.socket.from_stdlib_socket(theirs)))
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(websockets.run)
            nursery.start_soon(upgrade)
            yield made, client
            nursery.cancel_scope.cancel()
    finally:
        client.stream.socket.close()
        if made.carried is not None:
            made.carried.sock.close()


async def upgraded(made: Rig, client: Client) -> trio.SocketStream:
    await client.send(request())
    assert (await client.status())[0] == 101
    with trio.fail_after(DEADLINE_S):
        await made.settled.wait()
    return made.plane


async def gone(made: Rig) -> None:
    with trio.fail_after(DEADLINE_S):
        await made.settled.wait()
        while made.websockets.count:  # noqa: ASYNC110 - a count is no event
            await trio.sleep(0.002)


async def read_all(plane: trio.SocketStream) -> bytes:
    got = b""
    with trio.fail_after(DEADLINE_S):
        while data := await plane.receive_some(65_536):
            got += data
    return got


class TestUpgrade:
    async def test_the_answer(self) -> None:
        """[MQTT5-6.0.0-4] [MQTT3-6.0.0-4]"""
        async with rig() as (_, client):
            await client.send(request(protocol="other, mqtt", path="/mqtt?x=1", origin="https://box:8443"))
            status, head = await client.status()
            assert status == 101
            assert "Sec-WebSocket-Protocol: mqtt" in head
            assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head, "RFC 6455 §1.3"

    @pytest.mark.parametrize(
        ("data", "status", "code"),
        [
            (request(path="/"), 404, "websocket_path"),
            (request(path="/mqttx"), 404, "websocket_path"),
            (request(protocol=None), 400, "websocket_subprotocol"),
            (request(protocol="mqttv3.1"), 400, "websocket_subprotocol"),
            (request(origin="https://evil.example"), 403, "websocket_origin"),
            (request(origin="https://evil.example", host="evil.example"), 403, "websocket_origin"),
            (request(origin="null"), 403, "websocket_origin"),
            (request(origin="https://box", more=b"Origin: https://box\r\n"), 403, "websocket_origin"),
            (request(origin="https://b\u00f6x"), 403, "websocket_origin"),
        ],
    )
    async def test_refused_with_a_status(self, data: bytes, status: int, code: str) -> None:
        """[MQTT5-6.0.0-3] [MQTT3-6.0.0-3]"""
        async with rig() as (made, client):
            await client.send(data)
            assert (await client.status())[0] == status
            await gone(made)
            assert isinstance(made.error, Refused)
            assert made.error.code == code

    async def test_as_many_as_may_be(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(broker.websocket, "WEBSOCKET_CONNECTION_COUNT_MAX", 0)
        async with rig() as (_, client):
            await client.send(request())
            assert (await client.status())[0] == 503

    @pytest.mark.parametrize(
        "data",
        [
            b"\x10\x0c\0\4MQTT\4\2\0\x3c\0\0",
            b"GET /mqtt HTTP/1.1\r\nHost: box\r\n\r\n",
            b"POST /mqtt HTTP/1.1\r\nHost: box\r\nContent-Length: 0\r\n\r\n",
            request(host="\xff.example").replace(b"\xc3\xbf", b"\xff"),
            request(protocol="mqtt\xff"),
            request(more=b"X: " + b"x" * 100_000 + b"\r\n"),
            b"\0" * 100,
        ],
        ids=[
            "MQTT",
            "no upgrade",
            "POST",
            "host not text",
            "protocol not text",
            "100 KB",
            "zeros",
        ],
    )
    async def test_what_is_no_request(self, data: bytes) -> None:
        async with rig() as (made, client):
            try:
                await client.send(data)
            except trio.BrokenResourceError:
                pass
            await gone(made)
            assert isinstance(made.error, Closed)

    async def test_gone_before_the_request(self) -> None:
        async with rig() as (made, client):
            await client.send(request()[:40])
            client.stream.socket.close()
            await gone(made)
            assert isinstance(made.error, Closed)


class TestBytes:
    async def test_packets_in_one_message_across_messages_and_in_frames(self) -> None:
        """[MQTT5-6.0.0-2] [MQTT3-6.0.0-2]"""
        async with rig() as (made, client):
            plane = await upgraded(made, client)
            await client.send(frame(BINARY, b"one two"))
            await client.send(frame(BINARY, b" thr", fin=False) + frame(CONTINUATION, b"", fin=False))
            await client.send(frame(PING, b"?") + frame(CONTINUATION, b"ee"))
            got = b""
            with trio.fail_after(DEADLINE_S):
                while len(got) < 13:
                    got += await plane.receive_some(100)
            assert got == b"one two three"
            assert await client.frame() == (PONG, b"?")
            await plane.send_all(b"answer")
            assert await client.frame() == (BINARY, b"answer")

    async def test_a_piece_is_there_before_its_message_is_whole(self) -> None:
        async with rig() as (made, client):
            plane = await upgraded(made, client)
            await client.send(frame(BINARY, b"beginning", length=100_000_000))
            with trio.fail_after(DEADLINE_S):
                assert await plane.receive_some(100) == b"beginning"

    async def test_what_is_not_read_is_not_taken(self) -> None:
        """The plane doesn't read: the client is held up after the buffers on the way, and nothing is lost."""
        async with rig() as (made, client):
            plane = await upgraded(made, client)
            data = frame(BINARY, bytes(range(256)) * 40)
            sent = 0
            with trio.move_on_after(1.0):
                while True:
                    await client.stream.send_all(data)
                    sent += 1
            assert 0 < sent * len(data) < 4_000_000
            got = 0
            with trio.fail_after(DEADLINE_S):
                while got < sent * 10_240:
                    got += len(await plane.receive_some(65_536))

    async def test_endless_empty_frames_and_pings_leave_nothing_behind(self) -> None:
        async with rig() as (made, client):
            plane = await upgraded(made, client)
            await client.send(frame(BINARY, b"a", fin=False))
            async with trio.open_nursery() as nursery:

                async def read() -> None:
                    while await client.frame() != (PONG, b"last"):
                        pass

                nursery.start_soon(read)
                for _ in range(20):
                    await client.send(frame(CONTINUATION, b"", fin=False) * 1000 + frame(PING, b"x"))
                await client.send(frame(PING, b"last") + frame(CONTINUATION, b"b"))
            got = b""
            with trio.fail_after(DEADLINE_S):
                while len(got) < 2:
                    got += await plane.receive_some(100)
            assert got == b"ab"


class TestEnd:
    async def test_the_client_says_goodbye(self) -> None:
        async with rig() as (made, client):
            plane = await upgraded(made, client)
            await client.send(frame(BINARY, b"last words") + frame(CLOSE, struct.pack(">H", 1001)))
            assert await read_all(plane) == b"last words"
            assert await client.frame() == (CLOSE, struct.pack(">H", 1001))
            await plane.aclose()
            await gone(made)

    async def test_the_network_goes(self) -> None:
        async with rig() as (made, client):
            plane = await upgraded(made, client)
            await client.send(frame(BINARY, b"last words"))
            client.stream.socket.close()
            assert await read_all(plane) == b"last words"
            await plane.aclose()
            await gone(made)

    async def test_the_plane_says_goodbye(self) -> None:
        async with rig() as (made, client):
            plane = await upgraded(made, client)
            await plane.send_all(b"last words")
            await plane.aclose()
            assert await client.frame() == (BINARY, b"last words")
            assert await client.frame() == (CLOSE, struct.pack(">H", 1000))
            await client.send(frame(CLOSE, struct.pack(">H", 1000)))
            await gone(made)

    async def test_a_goodbye_that_is_not_answered(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(broker.websocket, "CLOSE_TIMEOUT_MS", 50)
        async with rig() as (made, client):
            plane = await upgraded(made, client)
            await plane.aclose()
            await gone(made)

    async def test_the_plane_closes_with_something_unread(self) -> None:
        async with rig() as (made, client):
            plane = await upgraded(made, client)
            await client.send(frame(BINARY, b"unread"))
            with trio.fail_after(DEADLINE_S):
                await trio.lowlevel.wait_readable(plane.socket)
            await plane.send_all(b"last words")
            await plane.aclose()
            assert await client.frame() == (BINARY, b"last words")

    async def test_text_ends_it(self) -> None:
        """[MQTT5-6.0.0-1] [MQTT3-6.0.0-1]"""
        async with rig() as (made, client):
            plane = await upgraded(made, client)
            await client.send(frame(BINARY, b"good") + frame(TEXT, b"bad") + frame(BINARY, b"never"))
            assert await read_all(plane) == b"good"
            assert await client.frame() == (CLOSE, struct.pack(">H", 1003))

    @pytest.mark.parametrize(
        "bad",
        [
            frame(BINARY, b"x")[:1] + b"\x01x",
            frame(3, b""),
            b"\xff" * 20,
            frame(CONTINUATION, b"x"),
            frame(CLOSE, b"x"),
        ],
        ids=["not masked", "opcode 3", "ones", "a continuation of nothing", "half a code"],
    )
    async def test_frames_against_the_rules(self, bad: bytes) -> None:
        async with rig() as (made, client):
            plane = await upgraded(made, client)
            await client.send(frame(BINARY, b"good") + bad)
            assert await read_all(plane) == b"good"
            await plane.aclose()
            await gone(made)

    async def test_a_client_that_takes_nothing_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(broker.websocket, "SEND_TIMEOUT_MS", 50)
        async with rig() as (made, client):
            plane = await upgraded(made, client)
            with trio.fail_after(DEADLINE_S):
                try:
                    while True:
                        await plane.send_all(bytes(65_536))
                except trio.BrokenResourceError:
                    pass
            await gone(made)

    async def test_the_end_of_the_broker_waits_for_last_words(self) -> None:
        async with rig() as (made, client):
            plane = await upgraded(made, client)
            await plane.send_all(b"last words")
            await plane.aclose()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(made.websockets.finish)
                assert await client.frame() == (BINARY, b"last words")
                assert await client.frame() == (CLOSE, struct.pack(">H", 1000))
                await client.send(frame(CLOSE, struct.pack(">H", 1000)))
            assert made.websockets.count == 0


FRAMES = st.lists(
    st.one_of(
        st.builds(
            frame,
            st.integers(0, 15),
            st.binary(max_size=130),
            fin=st.booleans(),
            length=st.sampled_from([None] * 9 + [2**40]),
        ),
        st.binary(max_size=20),
    ),
    max_size=8,
).map(b"".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=FRAMES)
def test_any_bytes_after_the_upgrade_end_one_websocket_at_most(data: bytes) -> None:
    async def main() -> None:
        async with rig() as (made, client):
            plane = await upgraded(made, client)
            await client.send(data)
            client.stream.socket.shutdown(socket.SHUT_WR)
            await read_all(plane)
            await plane.aclose()
            await gone(made)

    trio.run(main)


@settings(max_examples=150, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.tuples(st.integers(0, 200), st.binary(min_size=1, max_size=8)).map(
            lambda change: request()[: change[0]] + change[1] + request()[change[0] :]
        ),
    )
)
def test_any_bytes_instead_of_a_request_end_one_websocket_at_most(data: bytes) -> None:
    async def main() -> None:
        async with rig() as (made, client):
            try:
                await client.send(data)
                client.stream.socket.shutdown(socket.SHUT_WR)
            except (trio.BrokenResourceError, OSError):
                pass
            with trio.fail_after(DEADLINE_S):
                await made.settled.wait()
            if made.carried is not None:
                await made.plane.aclose()
            await gone(made)

    trio.run(main)


async def test_nobody_waits_any_more_when_the_upgrade_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handshake's deadline passes between the answer and its being taken: nothing stays open."""
    pairs: list[socket.socket] = []
    real_pair, real_answer = broker.websocket._pair, broker.websocket._answer

    def pair() -> tuple[socket.socket, trio.SocketStream]:
        made = real_pair()
        pairs.append(made[0])
        return made

    async def answer(asked: WebSocketRequest, status: int, refused: Refused | None) -> None:
        await real_answer(asked, status, refused)
        scope.cancel()

    monkeypatch.setattr(broker.websocket, "_pair", pair)
    monkeypatch.setattr(broker.websocket, "_answer", answer)
    theirs, ours = socket.socketpair()
    ours.setblocking(False)
    websockets = WebSockets(OriginPolicy(["box"], []))
    with theirs, trio.fail_after(DEADLINE_S):
        theirs.sendall(request())
        async with trio.open_nursery() as nursery:
            await nursery.start(websockets.run)
            with trio.CancelScope() as scope:
                await websockets.upgrade(ours, None)
            assert scope.cancelled_caught
            assert websockets.count == 0
            assert [each.fileno() for each in pairs] == [-1]
            nursery.cancel_scope.cancel()
