"""A socket's bytes for code that waits: reading and sending whole, a TLS handshake, and a transport as a trio stream.

TLS is the same here as in the data plane (memory BIOs, transport.py), so a client that is refused is sent the alert that says
why, whichever way it came.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Final

import trio

from .transport import Closed, TlsTransport, Transport
from .turnstile import HANDSHAKE_STEPS_MAX, Turnstile

TLS_READ_BYTES: Final = 16 * 1024
HANDSHAKE_STEPS: Final = Turnstile(HANDSHAKE_STEPS_MAX)
"""Of all doors together: it is one event loop."""
CLOSED_HERE: Final = "this stream was closed"


async def secure(sock: socket.socket, context: ssl.SSLContext) -> TlsTransport:
    """Do the server's side of a TLS handshake.

    Raises:
        Closed: the peer went away, or TLS failed.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    while True:
        wants_read = False
        try:
            async with HANDSHAKE_STEPS:
                tls.do_handshake()
        except ssl.SSLWantReadError:
            wants_read = True
        except ssl.SSLError as error:
            await send_all(sock, outgoing.read())  # the alert that says why
            raise Closed(f"TLS handshake failed: {error.reason or error}") from error
        if outgoing.pending:
            await send_all(sock, outgoing.read())
        if not wants_read:
            return TlsTransport(sock, tls, incoming, outgoing)
        incoming.write(await receive_some(sock, sock.recv, TLS_READ_BYTES))


async def receive_some(sock: socket.socket, receive: Callable[[int], bytes], bytes_max: int) -> bytes:
    """Wait for bytes. Raises Closed, at the end of the stream too."""
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            data = receive(bytes_max)
        except (BlockingIOError, InterruptedError):
            continue
        except OSError as error:
            raise Closed(str(error)) from error
        if not data:
            raise Closed("end of stream")
        return data


async def send_all(sock: socket.socket, data: bytes) -> None:
    """Send everything. Raises Closed."""
    while data:
        try:
            data = data[sock.send(data) :]
        except (BlockingIOError, InterruptedError):
            await trio.lowlevel.wait_writable(sock)
        except OSError as error:
            raise Closed(str(error)) from error


class TransportStream(trio.abc.Stream):
    """A transport as trio's stream; it owns the socket.

    One task may receive while another sends; two must not do the same at once.
    """

    def __init__(self, sock: socket.socket, transport: Transport) -> None:
        self._sock = sock
        self._transport = transport
        self._is_first = True

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """As trio's; gives all of a TLS record, which may be more than asked for."""
        bytes_max = max_bytes or TLS_READ_BYTES
        await trio.lowlevel.checkpoint()
        if self._is_first:
            # What came together with the end of the TLS handshake lies in its buffers, and the socket may stay silent.
            self._is_first = False
            try:
                return self._transport.receive(bytes_max)
            except BlockingIOError:
                pass
            except OSError as error:
                raise self._broken(error) from error
        while True:
            self._check_open()
            await trio.lowlevel.wait_readable(self._sock)
            try:
                return self._transport.receive(bytes_max)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                raise self._broken(error) from error

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """As trio's."""
        await trio.lowlevel.checkpoint()
        self._check_open()
        try:
            await send_all(self._sock, self._transport.seal(bytes(data)))
        except Closed as error:
            raise self._broken(error) from error

    async def wait_send_all_might_not_block(self) -> None:
        """As trio's."""
        self._check_open()
        await trio.lowlevel.wait_writable(self._sock)

    async def aclose(self) -> None:
        """Say goodbye as far as the socket takes it, and close."""
        if self._sock.fileno() >= 0:
            try:
                self._sock.send(self._transport.farewell())
            except OSError:
                pass  # The peer is gone already, or takes nothing: goodbye was all there was left to say.
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
        await trio.lowlevel.checkpoint()

    def _check_open(self) -> None:
        if self._sock.fileno() < 0:
            raise trio.ClosedResourceError(CLOSED_HERE)

    def _broken(self, error: OSError) -> trio.BrokenResourceError | trio.ClosedResourceError:
        if self._sock.fileno() < 0:
            return trio.ClosedResourceError(CLOSED_HERE)
        return trio.BrokenResourceError(str(error))
