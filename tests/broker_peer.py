"""The other end of a connection to a broker under test: raw packets out, raw packets in.

The packets come from tests/protocol/builder.py and are cut here by hand: nothing of our codec is used.
"""

from __future__ import annotations

import socket
import ssl
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from tests.protocol import builder
from tests.websocket_kit import WebSocketStream

DEADLINE_S = 60.0
"""No single step of a test takes longer; it is there to end a hanging one."""


@dataclass(frozen=True)
class Packet:
    """One packet as it came."""

    first: int
    body: bytes

    @property
    def kind(self) -> int:
        return self.first & 0xF0

    @property
    def packet_id(self) -> int:
        """Of a PUBACK or SUBACK."""
        return int.from_bytes(self.body[:2], "big")


@dataclass(frozen=True)
class Message:
    """A PUBLISH taken apart."""

    topic: str
    payload: bytes
    qos: int
    packet_id: int
    properties: bytes


class Peer:
    """The other end of a connection: sends bytes, cuts what comes into packets."""

    def __init__(self, stream: trio.abc.Stream, version: int) -> None:
        self.stream = stream
        self.version = version
        self._buffer = bytearray()

    @classmethod
    async def open(cls, port: int, *, version: int = 4, receive_buffer_bytes: int | None = None) -> Peer:
        """Connect by TCP.

        Args:
            receive_buffer_bytes: Makes the kernel hold less for a client that does not read.
        """
        with trio.fail_after(DEADLINE_S):
            sock = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            if receive_buffer_bytes is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            try:
                await sock.connect(("127.0.0.1", port))
            except OSError:
                sock.close()
                raise
        return cls(trio.SocketStream(sock), version)

    @classmethod
    async def open_unix(cls, path: Path, *, version: int = 4) -> Peer:
        """Connect by a Unix socket."""
        with trio.fail_after(DEADLINE_S):
            return cls(await trio.open_unix_socket(path), version)

    @classmethod
    async def open_tls(
        cls,
        port: int,
        certificate: Path,
        *,
        version: int = 4,
        client: Path | None = None,
        header: bytes = b"",
    ) -> Peer:
        context = ssl.create_default_context(cafile=str(certificate))
        if client is not None:
            context.load_cert_chain(client)
        plain = await cls.open(port, version=version)
        stream = trio.SSLStream(plain.stream, context, server_hostname="127.0.0.1")
        try:
            await plain.send(header)
            with trio.fail_after(DEADLINE_S):
                await stream.do_handshake()
        except BaseException:
            plain.drop()
            raise
        return cls(stream, version)

    async def send(self, *packets: bytes) -> None:
        with trio.fail_after(DEADLINE_S):
            await self.stream.send_all(b"".join(packets))

    async def packet(self, timeout_s: float = DEADLINE_S) -> Packet | None:
        """The next packet; None at the end of the stream."""
        with trio.fail_after(timeout_s):
            while (packet := self._cut()) is None:
                try:
                    data = await self.stream.receive_some(262_144)
                except trio.BrokenResourceError:
                    return None
                if not data:
                    return None
                self._buffer += data
        return packet

    def _cut(self) -> Packet | None:
        length = shift = 0
        for at in range(1, min(len(self._buffer), 5)):
            length |= (self._buffer[at] & 127) << shift
            shift += 7
            if self._buffer[at] < 128:
                end = at + 1 + length
                if len(self._buffer) < end:
                    return None
                packet = Packet(self._buffer[0], bytes(self._buffer[at + 1 : end]))
                del self._buffer[:end]
                return packet
        return None

    async def expect(self, kind: int) -> Packet:
        packet = await self.packet()
        assert packet is not None, f"the stream ended where 0x{kind:02x} was expected"
        assert packet.kind == kind & 0xF0, (
            f"0x{packet.first:02x} {packet.body!r} where 0x{kind:02x} was expected"
        )
        return packet

    async def connect(self, client_id: str, *, username: str | None = "site", **options: Any) -> Packet:
        """CONNECT and a CONNACK that says yes."""
        if username is not None:
            options.setdefault("password", b"token")
        await self.send(builder.connect(client_id, version=self.version, username=username, **options))
        connack = await self.expect(builder.CONNACK)
        assert connack.body[1] == 0, f"CONNACK says 0x{connack.body[1]:02x}"
        return connack

    async def refused(self, client_id: str, *, username: str | None = "site", **options: Any) -> int:
        """CONNECT, and the reason code of a CONNACK that says no; then the stream ends."""
        if username is not None:
            options.setdefault("password", b"token")
        await self.send(builder.connect(client_id, version=self.version, username=username, **options))
        connack = await self.expect(builder.CONNACK)
        assert connack.body[1] != 0
        assert await self.packet() is None
        return connack.body[1]

    async def subscribe(self, *filters: str, qos: int = 1, options: int = 0) -> Packet:
        """SUBSCRIBE and its SUBACK."""
        no_properties = b"" if self.version == 5 else None
        await self.send(
            builder.subscribe(7, *((f, qos | options) for f in filters), properties=no_properties)
        )
        return await self.expect(builder.SUBACK)

    def publish_packet(self, topic: str, payload: bytes, *, qos: int = 1, packet_id: int = 1) -> bytes:
        return builder.publish(
            topic,
            payload,
            qos=qos,
            packet_id=packet_id if qos else None,
            properties=b"" if self.version == 5 else None,
        )

    async def publish(self, topic: str, payload: bytes, *, packet_id: int = 1) -> Packet:
        """PUBLISH at QoS 1 and its PUBACK."""
        await self.send(self.publish_packet(topic, payload, packet_id=packet_id))
        puback = await self.expect(builder.PUBACK)
        assert puback.packet_id == packet_id
        return puback

    async def message(self, timeout_s: float = DEADLINE_S) -> Message:
        """The next PUBLISH, taken apart; a QoS 1 message is not acknowledged by this."""
        packet = await self.packet(timeout_s)
        assert packet is not None, "the stream ended where a PUBLISH was expected"
        assert packet.kind == builder.PUBLISH, f"0x{packet.first:02x} where a PUBLISH was expected"
        return self.take_apart(packet)

    def take_apart(self, packet: Packet) -> Message:
        body = packet.body
        (size,) = struct.unpack_from(">H", body)
        topic, at = body[2 : 2 + size].decode(), 2 + size
        qos = packet.first >> 1 & 3
        packet_id = 0
        if qos:
            packet_id, at = int.from_bytes(body[at : at + 2], "big"), at + 2
        properties = b""
        if self.version == 5:
            length = shift = 0
            while True:
                byte, at = body[at], at + 1
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            properties, at = body[at : at + length], at + length
        return Message(topic, body[at:], qos, packet_id, properties)

    async def ping(self) -> None:
        """PINGREQ and PINGRESP: everything before has been handled."""
        await self.send(builder.PINGREQ_PACKET)
        await self.expect(builder.PINGRESP)

    async def disconnected(self) -> int | None:
        """Wait for the end of the stream; the reason code of the DISCONNECT before it, if there was one."""
        reason: int | None = None
        while (packet := await self.packet()) is not None:
            if packet.kind == builder.DISCONNECT:
                reason = packet.body[0] if packet.body else 0
        return reason

    def drop(self) -> None:
        """Go away without DISCONNECT."""
        stream = self.stream
        if isinstance(stream, WebSocketStream):
            stream = stream.below
        if isinstance(stream, trio.SSLStream):
            stream = stream.transport_stream
        assert isinstance(stream, trio.SocketStream)
        stream.socket.close()
