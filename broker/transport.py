"""A client's bytes, plain or through TLS, without ever waiting.

The data plane calls `receive` when the socket is readable and `send` when there is something to say. TLS runs
through memory BIOs: ciphertext goes in as it arrives and comes out as it is made, so no byte can wait inside the
TLS layer unseen and nothing has to be offered twice, the two traps of a non-blocking SSLSocket.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Final, Protocol

RECEIVE_BYTES: Final = 65_536
"""Most that is taken from one connection in one turn."""


class Closed(OSError):  # noqa: N818 - trio's word
    """The peer has closed the connection, or the network has."""


class Refused(Exception):  # noqa: N818 - what happened
    """The connection was refused; the client has been told as far as its protocol has words for it."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class Transport(Protocol):
    name: str

    def receive(self, bytes_max: int, /) -> bytes:
        """Bytes that have arrived, of at most so many on the wire, as `socket.recv` gives them.

        Returns:
            b"" at the end of the stream.
        Raises:
            BlockingIOError: there are none for now.
            OSError: the connection is broken.
        """

    def seal(self, data: bytes) -> bytes:
        """What must go over the wire so that the peer reads `data`. Raises Closed."""

    def farewell(self) -> bytes:
        """What says goodbye below MQTT (TLS close_notify)."""


class PlainTransport:
    """TCP or a Unix socket.

    Args:
        name: Of the way in, for the statistics.
    """

    __slots__ = ("name", "receive")

    def __init__(self, sock: socket.socket, name: str = "tcp") -> None:
        self.name = name
        self.receive: Callable[[int], bytes] = sock.recv

    def seal(self, data: bytes) -> bytes:
        return data

    def farewell(self) -> bytes:
        return b""


class TlsTransport:
    """TLS after its handshake."""

    __slots__ = ("_incoming", "_outgoing", "_recv", "_tls")
    name = "tls"

    def __init__(
        self, sock: socket.socket, tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
    ) -> None:
        self._recv = sock.recv
        self._tls = tls
        self._incoming = incoming
        self._outgoing = outgoing

    def peer_certificate(self) -> bytes | None:
        """The client's certificate, DER, if it showed one and it was verified."""
        return self._tls.getpeercert(binary_form=True)

    def receive(self, bytes_max: int) -> bytes:
        """As `socket.recv`; of plaintext all that has come whole."""
        try:
            data = self._recv(bytes_max)
        except (BlockingIOError, InterruptedError):
            pass  # What was found bad behind a good record is told now.
        else:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()
        return self.drain()

    def drain(self) -> bytes:
        """Decrypt all that has arrived; raises as `receive` does.

        OpenSSL takes one record at a time from the BIO, so an empty one says that all has been read, at a tenth of what
        the SSLWantReadError of another read costs.
        """
        parts: list[bytes] = []
        read, incoming = self._tls.read, self._incoming
        try:
            while part := read(RECEIVE_BYTES):
                parts.append(part)
                if not incoming.pending:
                    break
        except ssl.SSLWantReadError:
            if not parts:
                raise BlockingIOError from None
        except ssl.SSLError as error:
            if not parts:
                raise Closed(str(error)) from error
            # The next call raises again, after what was good has been read.
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def seal(self, data: bytes) -> bytes:
        if data:
            try:
                self._tls.write(data)
            except (
                ssl.SSLError
            ) as error:  # After a fatal alert from either side nothing can be said any more.
                raise Closed(str(error)) from error
        return self._outgoing.read()

    def farewell(self) -> bytes:
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # Wants the peer's answer, which nobody waits for.
        return self._outgoing.read()
