"""Carries connections over a Unix socket out of a network namespace, or into one: `relay.py HOST:PORT PATH` takes them at the address.

A store that tests look into stays on loopback then, while a box reaches it by a wire that can be cut and slowed.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import trio

CHUNK_BYTES = 65_536


async def carry(connect: Callable[[], Awaitable[trio.SocketStream]], near: trio.SocketStream) -> None:
    """Both ways, until both have ended or one is broken."""

    async def one_way(source: trio.SocketStream, sink: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for chunk in source:
                await sink.send_all(chunk)
            await sink.send_eof()

    with suppress(OSError):
        async with near, await connect() as far, trio.open_nursery() as nursery:
            nursery.start_soon(one_way, near, far)
            nursery.start_soon(one_way, far, near)


async def into(path: Path, host: str, port: int) -> None:
    """Takes connections at an address, and hands them on to a Unix socket."""
    await trio.serve_tcp(partial(carry, partial(trio.open_unix_socket, path)), port, host=host)


async def out_of(path: Path, host: str, port: int) -> None:
    """Takes connections at a Unix socket, and hands them on to an address."""
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(path))
    listener.listen(64)
    handler = partial(carry, partial(trio.open_tcp_stream, host, port))
    await trio.serve_listeners(handler, [trio.SocketListener(listener)])


if __name__ == "__main__":
    at_host, _, at_port = sys.argv[1].rpartition(":")
    trio.run(into, Path(sys.argv[2]), at_host, int(at_port))
