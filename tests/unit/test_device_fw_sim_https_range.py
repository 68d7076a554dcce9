"""GET with Range: whatever way the answer is cut, the pieces are the rest of the file; a login goes to its own host only."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from device_fw_sim.https_range import RangeGet

FILE = bytes(range(256)) * 8


def answer(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def get(url: str = "/dl/abc", offset: int = 100) -> RangeGet:
    return RangeGet(url, offset, host="box", port=8444, login=("pump-1", "secret"))


def test_what_is_asked() -> None:
    sent = get("/dl/abc?e=1&s=x").request()
    assert sent.startswith(b"GET /dl/abc?e=1&s=x HTTP/1.1\r\n")
    assert b"Range: bytes=100-\r\n" in sent
    assert b"Host: box:8444\r\n" in sent
    assert base64.b64encode(b"pump-1:secret") in sent


def test_a_token_is_not_told_to_another_host() -> None:
    exchange = get("https://elsewhere/dl/abc")
    assert (exchange.host, exchange.port) == ("elsewhere", 443)
    assert b"Authorization" not in exchange.request()


@given(st.integers(1, 400), st.booleans())
def test_any_way_of_cutting(step: int, is_whole: bool) -> None:
    exchange = get()
    exchange.request()
    data = answer("200 OK", FILE) if is_whole else answer("206 Partial Content", FILE[100:])
    pieces: list[bytes] = []
    for start in range(0, len(data), step):
        pieces += exchange.receive_bytes(data[start : start + step])
    assert b"".join(pieces) == FILE[100:]
    assert exchange.is_over
    assert exchange.problem is None


def test_refusals_and_nonsense_end_it_with_a_reason() -> None:
    exchange = get()
    exchange.request()
    assert exchange.receive_bytes(answer("403 Forbidden", b"no")) == []
    assert (exchange.is_over, exchange.problem) == (True, "the server answered 403")
    exchange = get()
    exchange.request()
    exchange.receive_bytes(b"SSH-2.0-what\r\n\r\n")
    assert exchange.is_over
    assert exchange.problem


def test_a_connection_that_ends_early_ends_it() -> None:
    exchange = get()
    exchange.request()
    pieces = exchange.receive_bytes(answer("206 Partial Content", FILE[100:])[:200])
    pieces += exchange.receive_bytes(b"")
    assert FILE[100:].startswith(b"".join(pieces))
    assert exchange.is_over
