"""A stream of bytes into packets, however the bytes were cut.

It holds at most one unfinished packet besides what the last call brought, and refuses a packet that is too large
as soon as its length is known. Consumed bytes are dropped once per call, so the work is linear in the bytes.

After a broken packet there is no way to find the next one: the error stays and is raised again.
"""

from __future__ import annotations

from appliance.core.errors import RemoteProtocolError
from broker.mqtt.constants import PacketType, Sender, Version
from broker.mqtt.decoding import connect_version, decode
from broker.mqtt.packets import Packet
from broker.mqtt.reason_codes import ReasonCode
from broker.mqtt.violations import remote

_CONNECT_FIRST_BYTE = PacketType.CONNECT << 4


class PacketReader:
    """One direction of one connection.

    Args:
        version: What the connection speaks. None on a server, which learns it from CONNECT, the first packet.
        packet_bytes_max: Largest packet taken, fixed header included (MQTT 5.0 §3.1.2.11.4).
        sender: Whose packets they are; the server's for a reader that was given a version, else the client's.

    `version` is also known when a CONNECT is refused, so that the refusal can be said in the client's own terms: for
    a level that nobody here speaks, the nearest.
    """

    __slots__ = ("_buffer", "_error", "_position", "packet_bytes_max", "sender", "version")

    def __init__(
        self, version: Version | None = None, *, packet_bytes_max: int, sender: Sender | None = None
    ) -> None:
        self.version = version
        self.packet_bytes_max = packet_bytes_max
        self.sender = sender or (Sender.CLIENT if version is None else Sender.SERVER)
        self._buffer = bytearray()
        self._position = 0
        self._error: RemoteProtocolError | None = None

    @property
    def error(self) -> RemoteProtocolError | None:
        """What is wrong with the bytes behind the packets already returned, if anything."""
        return self._error

    @property
    def buffered_bytes(self) -> int:
        return len(self._buffer) - self._position

    def receive_bytes(self, data: bytes | bytearray | memoryview) -> list[Packet]:
        """All packets that are complete now.

        Where a broken packet follows good ones the good ones are returned, `error` is set, and the next call
        raises: so the packets are the same however the bytes were cut. A caller looks at `error` after it has
        handled the packets, or calls again with b"".

        Raises:
            RemoteProtocolError: the first packet of `data`, or of what waited for it, is broken.
        """
        self.feed(data)
        packets: list[Packet] = []
        try:
            while (packet := self.next_packet()) is not None:
                packets.append(packet)
        except RemoteProtocolError:
            if not packets:
                raise
        return packets

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes in; `next_packet` gives the packets one by one."""
        del self._buffer[: self._position]
        self._position = 0
        if self._error is None:
            self._buffer += data

    def next_packet(self) -> Packet | None:
        """The next packet, or None until more bytes come.

        Raises:
            RemoteProtocolError: it is broken or too large, and from then on always.
        """
        if self._error is not None:
            raise self._error
        try:
            return self._cut()
        except RemoteProtocolError as error:
            self._error = error
            self._buffer.clear()
            self._position = 0
            raise

    def take_unread(self) -> bytes:
        """Hand the bytes not yet decoded to someone else (the data plane, after CONNECT)."""
        unread = bytes(self._buffer[self._position :])
        self._buffer.clear()
        self._position = 0
        return unread

    def _cut(self) -> Packet | None:
        buffer, start = self._buffer, self._position
        available = len(buffer) - start
        if available and self.version is None and buffer[start] != _CONNECT_FIRST_BYTE:
            raise remote("The first packet is not a CONNECT.", ReasonCode.PROTOCOL_ERROR)
        length, at, byte = 0, start + 1, 0x80
        while byte & 0x80:
            if at - start > 4:
                raise remote("The remaining length is longer than four bytes.", ReasonCode.MALFORMED_PACKET)
            if at >= start + available:
                return None
            byte = buffer[at]
            length |= (byte & 0x7F) << 7 * (at - start - 1)
            at += 1
        is_shortest = byte != 0 or at == start + 2
        end = at + length
        if end - start > self.packet_bytes_max:
            raise remote(
                f"A packet of {end - start} bytes; {self.packet_bytes_max} are allowed.",
                ReasonCode.PACKET_TOO_LARGE,
            )
        if end - start > available:
            return None
        body = bytes(memoryview(buffer)[at:end])
        self._position = end
        if self.version is None:
            self._learn(body)
        packet = decode(buffer[start], body, self.version, self.sender)
        if not is_shortest and self.version is Version.MQTT_5:
            raise remote("The remaining length is not in its shortest form.", ReasonCode.MALFORMED_PACKET)
        return packet

    def _learn(self, body: bytes) -> None:
        try:
            self.version, _ = connect_version(body)
        except RemoteProtocolError:
            level = body[6] if body[:6] == b"\x00\x04MQTT" and len(body) > 6 else 0
            self.version = Version.MQTT_5 if Version.MQTT_5 <= level < 0x80 else Version.MQTT_3_1_1
            raise
