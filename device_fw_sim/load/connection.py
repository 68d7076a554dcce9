"""One connection of a load run: a non-blocking socket, plain or TLS, connected and greeted, and what waits to be sent."""

from __future__ import annotations

import errno
import select
import socket
import ssl
import time
from collections.abc import Callable
from enum import Enum

from device_fw_sim.load import wire

RECEIVE_BYTES = 64 * 1024
READ = select.EPOLLIN
WRITE = select.EPOLLIN | select.EPOLLOUT


class Stage(Enum):
    """Where a connection is; each moves only onwards (a publisher past AWAITING_SUBACK), or to LOST from anywhere."""

    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    AWAITING_CONNACK = "awaiting_connack"
    AWAITING_SUBACK = "awaiting_suback"
    RUNNING = "running"
    LOST = "lost"


class LoadConnection:
    """A socket and its way to RUNNING; `Publisher` and `Subscriber` say what is done then.

    Args:
        index: Number in the run.
        name: What errors call it.
        greeting: Encoded CONNECT.
    """

    __slots__ = (
        "_greeting",
        "_name",
        "_out",
        "_pending",
        "_recv",
        "_version",
        "fd",
        "index",
        "interest",
        "opened_ns",
        "problem",
        "receive_maximum",
        "sock",
        "stage",
    )

    def __init__(self, index: int, *, name: str, version: int, greeting: bytes) -> None:
        self.index = index
        self.stage = Stage.CONNECTING
        self.problem: str | None = None
        self.interest = 0
        self.fd = -1
        self.opened_ns = 0
        """When it began to connect, monotonic."""
        self.receive_maximum: int | None = None
        """Of CONNACK."""
        self.sock: socket.socket | ssl.SSLSocket
        self._name = name
        self._recv: Callable[[int], bytes]
        self._pending: Callable[[], int] | None = None
        self._version = version
        self._greeting = greeting
        self._out = b""

    def open(self, address: tuple[str, int], family: socket.AddressFamily) -> None:
        """Begin to connect; the result shows as writable."""
        plain = socket.socket(family, socket.SOCK_STREAM)
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.fd, self._recv = plain, plain.fileno(), plain.recv
        self.opened_ns = time.perf_counter_ns()
        code = plain.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            self.lose(f"connect: {errno.errorcode.get(code, str(code))}")

    def advance(self, context: ssl.SSLContext | None, host: str) -> None:
        """Take the next step towards RUNNING, as far as it goes without waiting.

        Returns with `interest` set to what to wait for.
        """
        try:
            if self.stage is Stage.CONNECTING:
                code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    self.lose(f"connect: {errno.errorcode.get(code, str(code))}")
                    return
                if context is not None:
                    # Wrapping takes the descriptor over, and epoll keeps it.
                    secure = context.wrap_socket(
                        self.sock, server_hostname=host, do_handshake_on_connect=False
                    )
                    self.sock, self._recv, self._pending = secure, secure.recv, secure.pending
                self.stage = Stage.HANDSHAKE
            if self.stage is Stage.HANDSHAKE:
                if isinstance(self.sock, ssl.SSLSocket):
                    self.sock.do_handshake()
                self.stage = Stage.AWAITING_CONNACK
                self.write(self._greeting)
                return
            if self._out:
                self.flush()
            if self.stage is Stage.AWAITING_CONNACK:
                self._read_connack()
            elif self.stage is Stage.AWAITING_SUBACK:
                self._read_suback()
        except ssl.SSLWantReadError:
            self.interest = READ
        except ssl.SSLWantWriteError:
            self.interest = WRITE
        except OSError as error:
            self.lose(f"{self.stage.value}: {error}")

    def _read_connack(self) -> None:
        data = self.receive()
        if not data or self.stage is Stage.LOST:
            return
        bounds = wire.split_packet(data, 0)
        # A CONNACK is a few bytes in one segment; anything else here is not worth reassembling.
        if bounds is None or bounds[0] != wire.CONNACK_TYPE or bounds[2] != len(data):
            self.lose(f"the first packet was no CONNACK: {data[:16].hex()}")
            return
        reason_code, self.receive_maximum = wire.connack(data[bounds[1] : bounds[2]], self._version)
        if reason_code:
            self.lose(f"CONNACK refused with code 0x{reason_code:02x}")
            return
        self._accepted()

    def _accepted(self) -> None:
        """CONNACK said yes: go on to RUNNING, or to what is before it."""
        self.stage = Stage.RUNNING

    @property
    def room_in_socket(self) -> bool:
        """Whether all that was written has been taken by the socket."""
        return not self._out

    @property
    def is_quiet(self) -> bool:
        """Whether only a PINGREQ keeps the broker from missing this client."""
        return self.room_in_socket

    def _read_suback(self) -> None:
        """Only a subscriber waits for one."""
        raise NotImplementedError

    def on_readable(self) -> int:
        """Read and account for what came; the number of acknowledgements among it."""
        raise NotImplementedError

    @property
    def running(self) -> bool:
        """CONNACK has accepted it, and nothing went wrong since."""
        return self.stage is Stage.RUNNING

    def receive(self) -> bytes:
        """What the socket holds; b"" for nothing yet (or a lost connection: see `stage`)."""
        try:
            data = self._recv(RECEIVE_BYTES)
            if self._pending is not None:
                # What OpenSSL has already decrypted never makes the descriptor readable again.
                while data and self._pending():
                    data += self._recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return b""
        except OSError as error:
            self.lose(str(error))
            return b""
        if not data:
            self.lose("the broker closed the connection")
        return data

    def write(self, data: bytes) -> None:
        """Send, keeping what the socket doesn't take; `interest` says whether to wait for room."""
        if not self._out:
            try:
                if (taken := self.sock.send(data)) == len(data):
                    self.interest = READ
                    return
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                taken = 0
            except OSError as error:
                self.lose(str(error))
                return
            data = data[taken:]
        self._out += data
        self.flush()

    def flush(self) -> None:
        """Offer what is left over to the socket again: the same bytes, as TLS demands."""
        out, start = self._out, 0
        self.interest = READ
        try:
            while start < len(out):
                start += self.sock.send(out[start:] if start else out)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self.interest = WRITE
        except OSError as error:
            self.lose(str(error))
        self._out = out[start:]

    def lose(self, why: str) -> None:
        """Count the connection as lost; the descriptor is closed by `close`."""
        if self.stage is not Stage.LOST:
            self.problem = f"{self._name} {self.index}: {why}"
            self.stage = Stage.LOST

    def close(self) -> None:
        """Close the socket; sends DISCONNECT first when the connection still runs."""
        if self.stage is Stage.RUNNING and not self._out:
            self.write(wire.DISCONNECT)
        self.sock.close()
