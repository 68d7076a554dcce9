"""The broker with non-blocking SSLSockets in its data plane in place of memory BIOs: the other side of `bench tls-transport`.

`python -m tests.bench.ssl_socket_broker` is `python -m appliance.run.broker_process` with another TLS transport and nothing else
changed. It is no product: what waits inside OpenSSL is read on only after a full record (see docs/decisions/0005-tls-transport.md).
"""

from __future__ import annotations

import socket
import ssl
import sys
from typing import Any, Final

import trio

from appliance.run.broker_process import main
from broker.arrival import Arrival, Door, Entrance
from broker.identity import Proof
from broker.transport import Closed

RECORD_BYTES: Final = 16 * 1024
"""TLS's largest: behind one of this size another may wait."""


class NeverBlocking(ssl.SSLSocket):
    """An SSLSocket whose errors are those of a plain one."""

    def send(self, data: Any, flags: int = 0) -> int:
        try:
            return super().send(data, flags)
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            raise BlockingIOError from None


class SslSocketTransport:
    """What TlsTransport is, through the socket itself."""

    name = "tls"

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self._recv, self._pending = sock.recv, sock.pending

    def receive(self, bytes_max: int) -> bytes:
        try:
            data = self._recv(bytes_max)
        except ssl.SSLWantReadError:
            raise BlockingIOError from None
        if len(data) < RECORD_BYTES and not self._pending():
            return data
        parts, left = [data], bytes_max - len(data)
        while left > 0 and (len(parts[-1]) >= RECORD_BYTES or self._pending()):
            try:
                parts.append(self._recv(left))
            except ssl.SSLWantReadError:
                break
            left -= len(parts[-1])
        return b"".join(parts)

    def seal(self, data: bytes) -> bytes:
        return data

    def farewell(self) -> bytes:
        return b""


MEMORY_BIO_ENTER: Final = Entrance.enter


async def enter(entrance: Entrance, sock: socket.socket, address: str, door: Door) -> Arrival:
    """As Entrance.enter, with another transport behind the TLS door."""
    if door.name != "tls" or door.context is None:
        return await MEMORY_BIO_ENTER(entrance, sock, address, door)
    context = door.context()
    context.sslsocket_class = NeverBlocking
    secured = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
    while True:
        try:
            secured.do_handshake()
            break
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(secured)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(secured)
        except OSError as error:
            secured.close()
            raise Closed(str(error)) from error
    return Arrival(sock=secured, transport=SslSocketTransport(secured), address=address, proof=Proof())


if __name__ == "__main__":
    Entrance.enter = enter  # type: ignore[method-assign, assignment]
    sys.exit(main())
