"""A NATS server that says what a test wants: for what no real one does on demand (silence, garbage, an election, a refusal)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from replication.tier.engines.jetstream_connection import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A message that a client sent."""

    subject: str
    reply: str
    headers: dict[str, str]
    data: bytes


Answer = Callable[[Asked], bytes | None]
"""The bytes that go back; `to` makes them. None ends the connection; b"" is silence."""


def to(
    asked: Asked,
    data: bytes | dict[str, Any] = b"",
    *,
    status: str = "",
    subscription: int = 1,
    headers: str = "",
) -> bytes:
    """A message in answer to one."""
    body = json.dumps(data).encode() if isinstance(data, dict) else data
    head = f"NATS/1.0{' ' + status if status else ''}\r\n{headers}\r\n".encode() if status or headers else b""
    if head:
        return b"HMSG %s %d %d %d\r\n%s%s\r\n" % (
            asked.reply.encode(), subscription, len(head), len(head) + len(body), head, body,
        )  # fmt: skip
    return b"MSG %s %d %d\r\n%s\r\n" % (asked.reply.encode(), subscription, len(body), body)


@dataclass(slots=True)
class StandIn:
    """One server.

    Attributes:
        greeting: What it says first; INFO by default.
        on_connect: What it says to CONNECT and PING.
        asked: All that was asked, in order.
        connection_count: Connections that it had.
    """

    answer: Answer
    info: dict[str, Any] = field(default_factory=lambda: {"version": "2.15.1", "max_payload": 32 << 20})
    greeting: bytes | None = None
    on_connect: bytes = b"PONG\r\n"
    asked: list[Asked] = field(default_factory=list)
    said: list[bytes] = field(default_factory=list)
    connection_count: int = 0
    address: Address = field(default_factory=lambda: Address(host="127.0.0.1", port=1))

    async def serve(self, stream: trio.SocketStream) -> None:
        self.connection_count += 1
        greeting = self.greeting
        buffer = bytearray()
        try:
            await stream.send_all(
                b"INFO " + json.dumps(self.info).encode() + b"\r\n" if greeting is None else greeting
            )
            while True:
                line = await _until(stream, buffer)
                word, *words = line.split()
                self.said.append(line)
                if word == b"PING":
                    await stream.send_all(self.on_connect)
                elif word in (b"PUB", b"HPUB"):
                    total = int(words[-1])
                    head_bytes = int(words[-2]) if word == b"HPUB" else 0
                    body = await _exactly(stream, buffer, total + 2)
                    head = dict(
                        line.split(": ", 1) for line in body[:head_bytes].decode().split("\r\n")[1:] if line
                    )
                    asked = Asked(
                        subject=words[0].decode(),
                        reply=words[1].decode(),
                        headers=head,
                        data=body[head_bytes:-2],
                    )
                    self.asked.append(asked)
                    back = self.answer(asked)
                    if back is None:
                        break
                    await stream.send_all(back)
        except (trio.BrokenResourceError, EOFError):
            pass
        finally:
            await trio.aclose_forcefully(stream)


@asynccontextmanager
async def stand_in(answer: Answer, **values: Any) -> AsyncIterator[StandIn]:
    """Run one until the end of the `async with`."""
    server = StandIn(answer, **values)
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.address = Address(host="127.0.0.1", port=listener.socket.getsockname()[1])
        nursery.start_soon(trio.serve_listeners, server.serve, [listener])
        yield server
        nursery.cancel_scope.cancel()


async def _until(stream: trio.SocketStream, buffer: bytearray) -> bytes:
    while (at := buffer.find(b"\r\n")) < 0:
        await _more(stream, buffer)
    line = bytes(buffer[:at])
    del buffer[: at + 2]
    return line


async def _exactly(stream: trio.SocketStream, buffer: bytearray, count: int) -> bytes:
    while len(buffer) < count:
        await _more(stream, buffer)
    data = bytes(buffer[:count])
    del buffer[:count]
    return data


async def _more(stream: trio.SocketStream, buffer: bytearray) -> None:
    data = await stream.receive_some(65_536)
    if not data:
        raise EOFError
    buffer += data
