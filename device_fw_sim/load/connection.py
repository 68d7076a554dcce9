"""One connection of a load run: a non-blocking socket, plain or TLS, with a ring of packets and an acknowledgement tracker."""

from __future__ import annotations

import errno
import select
import socket
import ssl
import time
from collections.abc import Callable
from enum import Enum

from device_fw_sim.load import wire
from device_fw_sim.load.acks import AckRings, AckTracker
from device_fw_sim.load.histogram import LatencyHistogram
from device_fw_sim.load.payloads import stamp

RECEIVE_BYTES = 64 * 1024
READ = select.EPOLLIN
WRITE = select.EPOLLIN | select.EPOLLOUT


class Stage(Enum):
    """Where a connection is; each moves only to the next one, or to LOST from anywhere."""

    CONNECTING = "connecting"
    HANDSHAKE = "handshake"
    AWAITING_CONNACK = "awaiting_connack"
    RUNNING = "running"
    LOST = "lost"


class LoadConnection:
    """Sends slices of its ring and checks what comes back.

    Args:
        index: Number in the run.
        ring: Encoded PUBLISH packets, one after the other.
        packet_bytes: Size of each of them.
        stamped: Packets carry marks to be filled in when sent.
        window: PUBLISHes in flight.
        sent_max: `refill` stops after so many messages.
        qos: 0 or 1; with 0 nothing is waited for but room in the socket.
        rings: Bytes of the acknowledgements.
        latencies: Where samples go.
    """

    __slots__ = (
        "_greeting",
        "_latencies",
        "_out",
        "_packet_bytes",
        "_pending",
        "_recv",
        "_ring",
        "_sample_ns",
        "_sample_number",
        "_stamped",
        "_version",
        "acks",
        "backlog",
        "due_ns",
        "due_step_ns",
        "fd",
        "index",
        "interest",
        "problem",
        "qos",
        "sent_max",
        "sock",
        "stage",
        "window",
    )

    def __init__(
        self,
        index: int,
        *,
        ring: bytes,
        packet_bytes: int,
        stamped: bool,
        window: int,
        sent_max: int,
        qos: int,
        version: int,
        greeting: bytes,
        rings: AckRings,
        latencies: LatencyHistogram,
    ) -> None:
        self.index = index
        self.window = window
        self.qos = qos
        self.acks = AckTracker(len(ring) // packet_bytes, rings)
        self.stage = Stage.CONNECTING
        self.problem: str | None = None
        self.interest = 0
        self.backlog = 0
        self.due_ns = 0
        self.due_step_ns = 0.0
        self.sent_max = sent_max
        self.fd = -1
        self.sock: socket.socket | ssl.SSLSocket
        self._recv: Callable[[int], bytes]
        self._pending: Callable[[], int] | None = None
        self._ring = ring * 2
        self._packet_bytes = packet_bytes
        self._stamped = stamped
        self._version = version
        self._greeting = greeting
        self._latencies = latencies
        self._out = b""
        self._sample_ns = 0
        self._sample_number = 0

    def open(self, address: tuple[str, int], family: socket.AddressFamily) -> None:
        """Begin to connect; the result shows as writable."""
        plain = socket.socket(family, socket.SOCK_STREAM)
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock, self.fd, self._recv = plain, plain.fileno(), plain.recv
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
            self._read_connack()
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
        reason_code, receive_maximum = wire.connack(data[bounds[1] : bounds[2]], self._version)
        if reason_code:
            self.lose(f"CONNACK refused with code 0x{reason_code:02x}")
            return
        if receive_maximum is not None:
            self.window = min(self.window, receive_maximum)
        self.stage = Stage.RUNNING

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

    def on_readable(self) -> int:
        """Read and account for acknowledgements; the number of new ones."""
        data = self.receive()
        if not data:
            return 0
        acks = self.acks
        count = acks.receive_bytes(data)
        if acks.problem is not None:
            self.lose(acks.problem)
        if self._sample_ns and acks.acknowledged > self._sample_number:
            self._latencies.add_ns(time.perf_counter_ns() - self._sample_ns)
            self._sample_ns = 0
        return count

    def room(self) -> int:
        """Messages that may be sent now."""
        if self._out:
            return 0
        acks = self.acks
        return self.window - (acks.sent - acks.acknowledged) if self.qos else self.window

    def refill(self) -> int:
        """Fill the window when at least a quarter of it is free; the number of messages sent.

        A quarter at a time makes one send for many acknowledgements and never leaves the pipe empty.
        """
        room = self.room()
        if not room or room * 4 < self.window or self.stage is not Stage.RUNNING:
            return 0
        room = min(room, self.sent_max - self.acks.sent)
        if room > 0:
            self.publish(room)
        return max(room, 0)

    def publish(self, count: int) -> None:
        """Send the next messages of the ring.

        Args:
            count: 1..room().
        """
        acks = self.acks
        number = acks.sent
        turn, position = divmod(number, acks.ring_count)
        size = self._packet_bytes
        if self._stamped:
            now_ms = time.time_ns() // 1_000_000
            first = min(count, acks.ring_count - position)
            data = stamp(self._ring[position * size : (position + first) * size], now_ms, turn)
            if first < count:
                data += stamp(self._ring[: (count - first) * size], now_ms, turn + 1)
        else:
            data = self._ring[position * size : (position + count) * size]
        # Each burst of a window, but with tiny windows not each message: two clock readings cost a tenth of a round trip.
        if self.qos and not self._sample_ns and (number & 7 == 0 or self.window > 8):
            self._sample_ns = self.due_ns or time.perf_counter_ns()
            self._sample_number = number
        acks.sent = number + count
        self.write(data)

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
            self.problem = f"connection {self.index}: {why}"
            self.stage = Stage.LOST

    def close(self) -> None:
        """Close the socket; sends DISCONNECT first when the connection still runs."""
        if self.stage is Stage.RUNNING and not self._out:
            self.write(wire.DISCONNECT)
        self.sock.close()
