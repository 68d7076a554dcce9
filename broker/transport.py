"""A client's bytes, plain or through TLS, without ever waiting.

The data plane calls `receive` when the socket is readable and `send` when there is something to say. TLS runs
through memory BIOs: ciphertext goes in as it arrives and comes out as it is made, so no byte can wait inside the
TLS layer unseen and nothing has to be offered twice, the two traps of a non-blocking SSLSocket.
"""

from __future__ import annotations

import socket
import ssl
from typing import Final, Protocol

RECEIVE_BYTES: Final = 65_536
"""Most that is taken from one connection in one turn."""


class Closed(Exception):  # noqa: N818 - trio's word
    """The peer has closed the connection, or the network has."""


class Transport(Protocol):
    name: str

    def receive(self) -> bytes:
        """Bytes that have arrived; b"" where there are none for now. Raises Closed."""

    def seal(self, data: bytes) -> bytes:
        """What must go over the wire so that the peer reads `data`. Raises Closed."""

    def farewell(self) -> bytes:
        """What says goodbye below MQTT (TLS close_notify)."""


class PlainTransport:
    """TCP or a Unix socket."""

    __slots__ = ("_recv",)
    name = "tcp"

    def __init__(self, sock: socket.socket) -> None:
        self._recv = sock.recv

    def receive(self) -> bytes:
        try:
            data = self._recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError as error:
            raise Closed(str(error)) from error
        if not data:
            raise Closed("end of stream")
        return data

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

    def receive(self) -> bytes:
        try:
            data = self._recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            data = None
        except OSError as error:
            raise Closed(str(error)) from error
        if data:
            self._incoming.write(data)
        elif data is not None:
            self._incoming.write_eof()
        return self.drain(at_end=data == b"")

    def drain(self, *, at_end: bool = False) -> bytes:
        """Decrypt all that has arrived."""
        parts: list[bytes] = []
        read = self._tls.read
        try:
            while True:
                part = read(RECEIVE_BYTES)
                if not part:
                    at_end = True
                    break
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            if not parts:
                raise Closed(str(error)) from error
            at_end = False  # the next call raises again, after what was good has been read
        if at_end and not parts:
            raise Closed("end of stream")
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
