"""A client of bytes: sends what it is given, and says exactly what came back.

It cuts packets by hand, so that nothing of our codec is used. Every wait has a deadline, which no passing test reaches.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from . import builder as b

DEADLINE_S = 60.0
UNAVAILABLE, UNAVAILABLE_V5 = 3, 0x88
"""Server unavailable (MQTT 3.1.1 table 3.1, MQTT 5 §3.2.2.2)."""
Address = tuple[str, int]


@dataclass(frozen=True)
class Received:
    """One packet as it came."""

    first: int
    body: bytes

    @property
    def kind(self) -> int:
        return self.first & 0xF0


@dataclass(frozen=True)
class Message:
    """A PUBLISH taken apart; `properties` is None before MQTT 5."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    packet_id: int | None
    properties: bytes | None


class RawClient:
    """One connection. As a context manager it closes its socket at the end, without DISCONNECT."""

    def __init__(self, broker: Address, version: int = 4) -> None:
        self.version = version
        self._broker = broker
        self.socket = self._open()

    def _open(self) -> socket.socket:
        self._buffer = b""
        opened = socket.create_connection(self._broker, timeout=DEADLINE_S)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return opened

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    @property
    def no_properties(self) -> bytes | None:
        """What a builder function wants where there are no properties in this version."""
        return b"" if self.version == 5 else None

    def send(self, *data: bytes) -> None:
        """Send, even to a server that has already closed: what it said is read afterwards."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(b"".join(data))

    def receive(self) -> Received | None:
        """The next packet, or None when the server closed."""
        while (packet := self._cut()) is None:
            try:
                data = self.socket.recv(65_536)
            except ConnectionError:
                data = b""
            if not data:
                assert not self._buffer, f"the server closed inside a packet: {self._buffer!r}"
                return None
            self._buffer += data
        return packet

    def _cut(self) -> Received | None:
        length = 0
        for at in range(1, min(5, len(self._buffer))):
            byte = self._buffer[at]
            length |= (byte & 0x7F) << 7 * (at - 1)
            if byte < 0x80:
                start, end = at + 1, at + 1 + length
                if len(self._buffer) < end:
                    return None
                packet = Received(self._buffer[0], self._buffer[start:end])
                self._buffer = self._buffer[end:]
                return packet
        return None

    def expect(self, data: bytes) -> None:
        """The next packet is exactly this one."""
        packet = self.receive()
        assert packet is not None, f"the server closed instead of sending {data!r}"
        assert b.packet(packet.first, packet.body) == data

    def expect_kind(self, kind: int) -> Received:
        packet = self.receive()
        assert packet is not None, f"the server closed instead of sending 0x{kind:02X}"
        assert packet.kind == kind & 0xF0, f"0x{packet.first:02X} {packet.body!r} instead of 0x{kind:02X}"
        return packet

    def expect_closed(self) -> None:
        """The server closes and says nothing."""
        packet = self.receive()
        assert packet is None, f"the server sent {packet} before it closed"

    def expect_disconnect(self, *reason_codes: int) -> None:
        """MQTT 5: DISCONNECT with one of these reason codes, then closed. 3.x: just closed."""
        if self.version == 5:
            packet = self.expect_kind(b.DISCONNECT)
            code = packet.body[0] if packet.body else 0
            assert code in reason_codes, f"DISCONNECT 0x{code:02X}"
        self.expect_closed()

    def message(self) -> Message:
        """The next packet is a PUBLISH."""
        packet = self.expect_kind(b.PUBLISH)
        (size,) = struct.unpack_from(">H", packet.body)
        at = 2 + size
        topic, qos, packet_id, properties = packet.body[2:at].decode(), packet.first >> 1 & 3, None, None
        if qos:
            (packet_id,) = struct.unpack_from(">H", packet.body, at)
            assert packet_id != 0
            at += 2
        if self.version == 5:
            length, at = self._length(packet.body, at)
            properties, at = packet.body[at : at + length], at + length
        return Message(
            topic,
            packet.body[at:],
            qos,
            bool(packet.first & 1),
            bool(packet.first & 8),
            packet_id,
            properties,
        )

    @staticmethod
    def _length(body: bytes, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = body[at]
            value |= (byte & 0x7F) << shift
            shift, at = shift + 7, at + 1
            if byte < 0x80:
                return value, at

    def connect(self, client_id: str, **options: Any) -> Received:
        """CONNECT, accepted without a session of before; gives the CONNACK."""
        return self._connect(0, client_id, **options)

    def resume(self, client_id: str, **options: Any) -> Received:
        """CONNECT, accepted with the session of before; gives the CONNACK."""
        return self._connect(1, client_id, clean=False, **options)

    def _connect(self, session_present: int, client_id: str, **options: Any) -> Received:
        self.send(connect_packet(client_id, self.version, **options))
        connack = self.expect_kind(b.CONNACK)
        assert connack.body[:2] == bytes((session_present, 0)), f"CONNACK {connack.body!r}"
        return connack

    def connect_in_time(self, client_id: str, **options: Any) -> Received:
        """As `connect`, and as often as the broker is too busy to look somebody up: a device comes back then, too."""
        end = time.monotonic() + DEADLINE_S
        while True:
            self.send(connect_packet(client_id, self.version, **options))
            connack = self.expect_kind(b.CONNACK)
            if connack.body[1] != (UNAVAILABLE_V5 if self.version == 5 else UNAVAILABLE):
                assert connack.body[:2] == b"\0\0", f"CONNACK {connack.body!r}"
                return connack
            assert time.monotonic() < end, "the broker stays busy"
            self.close()
            time.sleep(1)
            self.socket = self._open()

    def close(self) -> None:
        """Go without a word."""
        self.socket.close()

    def subscribe(self, *filters: tuple[str, int]) -> bytes:
        """SUBSCRIBE; gives the reason codes."""
        self.send(b.subscribe(0x5B5B, *filters, properties=self.no_properties))
        body = self.expect_kind(b.SUBACK).body
        assert body[:2] == b"\x5b\x5b"
        return body[3:] if self.version == 5 else body[2:]

    def publish(self, topic: str, payload: bytes = b"m", packet_id: int = 1, **options: Any) -> None:
        """PUBLISH at QoS 1, acknowledged with success."""
        options.setdefault("properties", self.no_properties)
        self.send(b.publish(topic, payload, qos=1, packet_id=packet_id, **options))
        self.expect_puback(packet_id)

    def expect_puback(self, packet_id: int) -> None:
        """PUBACK with success, which in MQTT 5 may also say that nobody subscribes (§3.4.2.1)."""
        packet = self.expect_kind(b.PUBACK)
        assert packet.body[:2] == b.u16(packet_id)
        assert packet.body[2:3] in ((b"", b"\x00", b"\x10") if self.version == 5 else (b"",))

    def ping(self) -> None:
        """PINGREQ; the next packet is its answer, so nothing else was on the way."""
        self.send(b.PINGREQ_PACKET)
        self.expect(b.PINGRESP_PACKET)


def connect_packet(client_id: str | bytes, version: int, **options: Any) -> bytes:
    """A CONNECT with the credentials of somebody who may do anything on this site."""
    options.setdefault("username", "site")
    if options["username"] is not None:
        options.setdefault("password", b"token")
    options.setdefault("name", "MQIsdp" if version == 3 else "MQTT")
    return b.connect(client_id, version=version, **options)
