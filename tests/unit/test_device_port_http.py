"""HTTP on one connection: what is answered, what is refused before it is read, what ends in time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from appliance.core.clock import ManualClock
from appliance.core.errors import NotAuthorized, StorageError
from appliance.core.limits import (
    DEVICE_PORT_ANSWER_TIMEOUT_MS,
    DEVICE_PORT_BODY_TIMEOUT_MS,
    DEVICE_PORT_HEADER_BYTES_MAX,
    DEVICE_PORT_HEADER_TIMEOUT_MS,
    DEVICE_PORT_REQUEST_COUNT_MAX,
    DEVICE_PORT_REQUESTS_PER_ADDRESS_MAX,
)
from appliance.device_port.http import HttpConnection
from appliance.device_port.messages import Request, Response, Route, Routes
from appliance.device_port.statistics import DevicePortStatistics, Tally
from appliance.identity.device_rate_limit import DeviceRateLimit


async def echo(request: Request) -> Response:
    return Response(body=request.body + request.headers.get("x-said", "").encode())


async def refuse(request: Request) -> Response:
    raise NotAuthorized("No.", hint="Go away.", code="bad_credentials")


async def sleep(request: Request) -> Response:
    await trio.sleep_forever()
    raise AssertionError("it slept for ever")


async def stream(request: Request) -> Response:
    """As many pieces as the query says, of as many as it promises."""
    there, promised = (int(each) for each in request.query.split("-"))

    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            for _ in range(there):
                yield b"x" * 1000
            if there < promised:
                raise StorageError("The disk failed.", hint="Look at it.", code="artifact_disk_failed")
        finally:
            CLOSED.append(request.method)

    return Response(pieces=pieces(), length_bytes=promised * 1000)


CLOSED: list[str] = []
ROUTES = Routes(
    [
        Route(name="stream", method="GET", path="/stream", handler=stream),
        Route(name="get", method="GET", path="/get", handler=echo),
        Route(name="post", method="POST", path="/post", handler=echo, body_bytes_max=1000),
        Route(name="refuse", method="POST", path="/refuse", handler=refuse, body_bytes_max=10),
        Route(name="sleep", method="GET", path="/sleep", handler=sleep),
    ]
)


class Client:
    def __init__(self, stream: trio.abc.Stream, tally: Tally) -> None:
        self.stream = stream
        self.tally = tally
        self.rest = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer, whole."""
        while b"\r\n\r\n" not in self.rest:
            data = await self.stream.receive_some()
            assert data, "closed"
            self.rest += data
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self.rest) < length:
            self.rest += await self.stream.receive_some()
        body, self.rest = self.rest[:length], self.rest[length:]
        return int(first.split()[1]), headers, body

    async def is_closed(self) -> bool:
        return await self.stream.receive_some() == b""


def statistics_of(peer: Client) -> DevicePortStatistics:
    return peer.tally.statistics(DeviceRateLimit(clock=ManualClock()).statistics())


@asynccontextmanager
async def client(certificate: None = None) -> AsyncIterator[Client]:
    ours, theirs = trio.testing.memory_stream_pair()
    tally, rate = Tally(), DeviceRateLimit(clock=ManualClock())
    connection = HttpConnection(theirs, ROUTES, tally, rate, address="192.0.2.1", certificate=certificate)

    async def serve() -> None:
        try:
            await connection.serve()
        except (trio.BrokenResourceError, trio.TooSlowError):
            tally.refused("broken")
        finally:
            await theirs.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        yield Client(ours, tally)
        await ours.aclose()


async def test_requests_one_after_another() -> None:
    async with client() as peer:
        for number in range(3):
            await peer.send(b"GET /get?x=1 HTTP/1.1\r\nHost: a\r\nX-Said: %d\r\n\r\n" % number)
            status, headers, body = await peer.answer()
            assert (status, body) == (200, b"%d" % number)
            assert headers["x-content-type-options"] == "nosniff"
    assert statistics_of(peer).answers == {("get", 200): 3}


async def test_a_body_and_its_forms() -> None:
    async with client() as peer:
        await peer.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        assert (await peer.answer())[2] == b"hello"
        await peer.send(
            b"POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
        )
        assert (await peer.answer())[2] == b"hello"
        await peer.send(
            b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
        )
        assert (await peer.answer())[0] == 100
        await peer.send(b"hello")
        assert (await peer.answer())[2] == b"hello"


async def test_head_has_no_body() -> None:
    async with client() as peer:
        await peer.send(
            b"HEAD /get HTTP/1.1\r\nHost: a\r\nX-Said: abc\r\n\r\nGET /get HTTP/1.1\r\nHost: a\r\n\r\n"
        )
        data = b""
        while data.count(b"\r\n\r\n") < 2:
            data += await peer.stream.receive_some()
        assert b"content-length: 3\r\n" in data.lower()
        assert b"abc" not in data


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413, "body_too_large"),
        (b"GET /get HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 413, "body_too_large"),
        (b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404, "no_such_address"),
        (b"PUT /get HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx", 405, "method_not_allowed"),
        (b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx", 401, "bad_credentials"),
        (b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", 400, ""),
        (b"GET /get HTTP/1.1\r\n\r\n", 400, ""),
        (b"hello\r\n\r\n", 400, ""),
        (b"GET /get HTTP/1.1\r\nHost: a\r\nX: " + b"x" * DEVICE_PORT_HEADER_BYTES_MAX, 431, ""),
    ],
)
async def test_what_is_refused(request_bytes: bytes, status: int, code: str) -> None:
    async with client() as peer:
        await peer.send(request_bytes)
        got, headers, _ = await peer.answer()
        assert got == status
        assert headers.get("homeport-code", "") == code


async def test_a_chunked_body_that_grows_too_large_is_cut_off() -> None:
    async with client() as peer:
        await peer.send(b"POST /post HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        await peer.send(b"1F4\r\n" + b"x" * 500 + b"\r\n" + b"1F5\r\n" + b"x" * 501 + b"\r\n")
        status, headers, _ = await peer.answer()
        assert (status, headers["connection"]) == (413, "close")


async def test_who_says_nothing_is_disconnected(autojump_clock: trio.testing.MockClock) -> None:
    async with client() as peer:
        began = trio.current_time()
        assert await peer.is_closed()
        assert trio.current_time() - began == pytest.approx(DEVICE_PORT_HEADER_TIMEOUT_MS / 1000)
        assert statistics_of(peer).refused_by_code == {"idle": 1}


async def test_a_header_that_trickles_in_ends_with_its_time(autojump_clock: trio.testing.MockClock) -> None:
    async with client() as peer, trio.open_nursery() as nursery:

        async def trickle() -> None:
            for byte in b"GET /get HTTP/1.1\r\nHost: slow":
                try:
                    await peer.send(bytes([byte]))
                except trio.BrokenResourceError:
                    return
                await trio.sleep(1)

        nursery.start_soon(trickle)
        assert await peer.is_closed()
        nursery.cancel_scope.cancel()


async def test_a_body_that_does_not_come(autojump_clock: trio.testing.MockClock) -> None:
    async with client() as peer:
        began = trio.current_time()
        await peer.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
        status, headers, _ = await peer.answer()
        assert (status, headers["homeport-code"]) == (408, "body_too_slow")
        assert trio.current_time() - began == pytest.approx(DEVICE_PORT_BODY_TIMEOUT_MS / 1000)
        assert await peer.is_closed()


async def test_an_answer_that_takes_too_long(autojump_clock: trio.testing.MockClock) -> None:
    async with client() as peer:
        began = trio.current_time()
        await peer.send(b"GET /sleep HTTP/1.1\r\nHost: a\r\n\r\n")
        status, headers, _ = await peer.answer()
        assert (status, headers["homeport-code"]) == (503, "answer_too_slow")
        assert trio.current_time() - began == pytest.approx(DEVICE_PORT_ANSWER_TIMEOUT_MS / 1000)


async def test_a_connection_has_so_many_requests() -> None:
    async with client() as peer:
        for _ in range(DEVICE_PORT_REQUEST_COUNT_MAX):
            await peer.send(b"GET /get HTTP/1.1\r\nHost: a\r\n\r\n")
            await peer.answer()
        assert await peer.is_closed()


async def test_connection_close_is_respected() -> None:
    async with client() as peer:
        await peer.send(b"GET /get HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert (await peer.answer())[0] == 200
        assert await peer.is_closed()


async def test_an_address_has_so_many_requests_in_a_minute() -> None:
    rate = DeviceRateLimit(clock=ManualClock())
    for _ in range(DEVICE_PORT_REQUESTS_PER_ADDRESS_MAX):
        assert rate.take_address("192.0.2.1") == 0
    ours, theirs = trio.testing.memory_stream_pair()
    tally = Tally()
    connection = HttpConnection(theirs, ROUTES, tally, rate, address="192.0.2.1", certificate=None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.serve)
        peer = Client(ours, tally)
        await peer.send(b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
        status, headers, _ = await peer.answer()
        assert (status, headers["homeport-code"]) == (429, "rate_limited")
        assert int(headers["retry-after"]) >= 1
        await ours.aclose()


async def test_a_body_that_comes_in_pieces() -> None:
    CLOSED.clear()
    async with client() as peer:
        await peer.send(b"GET /stream?3-3 HTTP/1.1\r\nHost: a\r\n\r\n")
        status, headers, body = await peer.answer()
        assert (status, headers["content-length"], body) == (200, "3000", b"x" * 3000)
        await peer.send(b"HEAD /stream?3-3 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"content-length: 3000" in await head_of(peer)
        await peer.send(b"GET /get HTTP/1.1\r\nHost: a\r\nX-Said: on\r\n\r\n")
        assert (await peer.answer())[2] == b"on"
    assert CLOSED == ["GET"]


async def test_a_body_that_ends_too_early_ends_the_connection() -> None:
    async with client() as peer:
        await peer.send(b"GET /stream?1-3 HTTP/1.1\r\nHost: a\r\n\r\n")
        received = b""
        while data := await peer.stream.receive_some():
            received += data
        assert received.endswith(b"\r\n\r\n" + b"x" * 1000)
        assert statistics_of(peer).refused_by_code == {"body_failed": 1}


async def head_of(peer: Client) -> bytes:
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        received += await peer.stream.receive_some()
    return received
