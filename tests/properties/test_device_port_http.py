"""Any bytes at all get an answer or a closed connection from the devices' port, and nothing else."""

from __future__ import annotations

import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from appliance.core.clock import ManualClock
from appliance.device_port.http import HttpConnection
from appliance.device_port.messages import Request, Response, Route, Routes
from appliance.device_port.statistics import Tally
from appliance.identity.device_rate_limit import DeviceRateLimit
from tests.sampling import examples


async def echo(request: Request) -> Response:
    return Response(body=request.body)


ROUTES = Routes(
    [
        Route(name="get", method="GET", path="/", handler=echo),
        Route(name="post", method="POST", path="/{label}/post", handler=echo, body_bytes_max=50),
    ]
)
PIECES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n", b"POST /x/post HTTP/1.1\r\n", b"HEAD * HTTP/1.0\r\n", b"OPTIONS * HTTP/1.1\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n", b"Host: a\r\n", b"Content-Length: 3\r\n", b"Content-Length: 99999999999999999999\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n",
        b"Upgrade: h2c\r\n", b"Connection: upgrade\r\n", b"\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"FFFFFFFFFFFFFFFFFFFF\r\n",
        b"abc", b"\x00", b"\xff\xfe", b" ", b"\n", b"Authorization: Basic \xff\r\n",
    ]
)  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=12))
@example([b"GET / HTTP/1.1\r\n", b"Host: a\r\n", b"Content-Length: " + b"9" * 5000 + b"\r\n", b"\r\n"])
@example([b"CONNECT a:1 HTTP/1.1\r\n", b"Host: a\r\n", b"\r\n", b"abc"])
def test_any_bytes(pieces: list[bytes]) -> None:
    trio.run(send, b"".join(pieces), clock=trio.testing.MockClock(autojump_threshold=0))


async def send(data: bytes) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    rate = DeviceRateLimit(clock=ManualClock())
    connection = HttpConnection(theirs, ROUTES, Tally(), rate, address="192.0.2.1", certificate=None)
    answer = bytearray()

    async def serve() -> None:
        await connection.serve()
        await theirs.aclose()

    async def read() -> None:
        while part := await ours.receive_some():
            answer.extend(part)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        nursery.start_soon(read)
        await ours.send_all(data)
        await ours.send_eof()
    assert not answer or answer.startswith(b"HTTP/1.1 ")
