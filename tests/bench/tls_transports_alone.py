"""The two TLS transports alone, in the data plane's form: one epoll set, receive, seal, send. CPU time of that and nothing else.

Client and server share a thread; what the client does is not counted. The two take turns, round by round, so that what else
the machine does falls on both; CPU time and medians leave most of it out.
"""

from __future__ import annotations

import select
import socket
import ssl
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from broker.tls import TlsFiles, server_context
from broker.transport import TlsTransport
from tests.bench.ssl_socket_broker import NeverBlocking, SslSocketTransport

MESSAGE: Final = b"\x32\x80\x01" + bytes(128)
"""A PUBLISH of 100 bytes of payload, as long as the generator's."""
ANSWER: Final = b"\x40\x02\x00\x01"
RECEIVE_BYTES: Final = 65_536


class _Transport(Protocol):
    def receive(self, bytes_max: int, /) -> bytes: ...

    def seal(self, data: bytes) -> bytes: ...


@dataclass
class _Pair:
    """A connection: what the server has, and the client's end."""

    server: socket.socket
    transport: _Transport
    client: socket.socket
    sealing: ssl.SSLObject
    outgoing: ssl.MemoryBIO
    answered_bytes: int = 0


def _connect(context: ssl.SSLContext, listener: socket.socket, ca: Path, *, is_bio: bool) -> _Pair:
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    for end in (client, server):
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end.setblocking(False)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    sealing = ssl.create_default_context(cafile=str(ca)).wrap_bio(
        incoming, outgoing, server_hostname="localhost"
    )
    tls_in, tls_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(tls_in, tls_out, server_side=True)
    context.sslsocket_class = NeverBlocking
    wrapped = None if is_bio else context.wrap_socket(server, server_side=True, do_handshake_on_connect=False)
    ours = [wrapped if wrapped is not None else tls, sealing]
    while ours:
        for side in list(ours):
            try:
                side.do_handshake()
                ours.remove(side)
            except ssl.SSLWantReadError:
                pass
            if is_bio:
                tls_in.write(outgoing.read())
                incoming.write(tls_out.read())
            else:
                client.send(outgoing.read())
                try:
                    incoming.write(client.recv(RECEIVE_BYTES))
                except BlockingIOError:
                    pass
    if wrapped is not None:
        return _Pair(wrapped, SslSocketTransport(wrapped), client, sealing, outgoing)
    return _Pair(server, TlsTransport(server, tls, tls_in, tls_out), client, sealing, outgoing)


class Alone:
    """Connections of one transport.

    Args:
        count: How many.
        window: Messages that each client sends at once.
    """

    def __init__(self, certificate: Path, ca: Path, *, is_bio: bool, count: int, window: int) -> None:
        context = server_context(TlsFiles(certificate=certificate))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._pairs = [_connect(context, listener, ca, is_bio=is_bio) for _ in range(count)]
        self._window = window
        self._epoll = select.epoll()
        self._by_fd = {pair.server.fileno(): pair for pair in self._pairs}
        for descriptor in self._by_fd:
            self._epoll.register(descriptor, select.EPOLLIN)

    def round(self) -> float:
        """Every client sends its window and is answered.

        Returns:
            The server's CPU time for a message, µs.
        """
        for pair in self._pairs:
            pair.sealing.write(MESSAGE * self._window)
            data = pair.outgoing.read()
            assert pair.client.send(data) == len(data)
            pair.answered_bytes = 0
        wanted = len(MESSAGE) * self._window * len(self._pairs)
        received = 0
        began = time.thread_time()
        while received < wanted:
            for descriptor, _ in self._epoll.poll(0, len(self._pairs)):
                pair = self._by_fd[descriptor]
                try:
                    data = pair.transport.receive(RECEIVE_BYTES)
                except BlockingIOError:
                    continue
                received += len(data)
                # In bytes that were taken, so that a message in two pieces is answered once.
                pair.answered_bytes += len(data)
                whole, pair.answered_bytes = divmod(pair.answered_bytes, len(MESSAGE))
                if whole:
                    pair.server.send(pair.transport.seal(ANSWER * whole))
        took_s = time.thread_time() - began
        for pair in self._pairs:
            try:
                while pair.client.recv(RECEIVE_BYTES):
                    pass
            except BlockingIOError:
                pass
        return took_s * 1e6 / (self._window * len(self._pairs))

    def close(self) -> None:
        """Close everything."""
        self._epoll.close()
        for pair in self._pairs:
            pair.client.close()
            pair.server.close()


def compare(
    certificate: Path, ca: Path, *, count: int, window: int, rounds: int
) -> tuple[float, float, float]:
    """Both transports in turns.

    Returns:
        Medians: µs for a message with memory BIOs, with SSLSockets, and how many times the second is the first.
    """
    sides = [Alone(certificate, ca, is_bio=is_bio, count=count, window=window) for is_bio in (True, False)]
    try:
        for side in sides:
            side.round()
        taken = []
        for number in range(rounds):
            order = sides if number % 2 == 0 else sides[::-1]
            took = {id(side): side.round() for side in order}
            taken.append((took[id(sides[0])], took[id(sides[1])]))
    finally:
        for side in sides:
            side.close()
    bio, sock = zip(*taken, strict=True)
    return (
        statistics.median(bio),
        statistics.median(sock),
        statistics.median(b / a for a, b in taken),
    )
