"""What goes to one subscriber: deliveries, bounded, never lost to slowness.

Deliveries go out at once while the subscriber keeps up. When its window (Receive Maximum) is full they wait in a
queue bounded by count and bytes. When that is full too the subscription becomes a cursor: it remembers the log
sequence it has come to, drops nothing, and is fed from the log again once the queue has drained
(`lag_seq`; the data plane reads the blocks). So a slow subscriber costs bounded memory and holds up nobody.

Sans-IO: bytes come out of `offer` and `complete`, the caller sends them.
Source: MQTT 5.0 §4.3 (QoS), §4.9 (flow control); MQTT 3.1.1 §4.3.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from .mqtt.packet_ids import PACKET_ID_MAX

IN_FLIGHT_COUNT_MAX: Final = 16_384
"""Whatever the client allows. A quarter of the identifiers: looking for a free one takes at most so many steps once in
49,151 packets, even where a client never acknowledges the others."""
RESUME_RATIO: Final = 0.5
"""A subscription that became a cursor is fed again when its queue has drained to this share of its bounds."""


class Step(Enum):
    """Which answer of the subscriber is waited for."""

    PUBACK = auto()
    PUBREC = auto()
    PUBCOMP = auto()


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One message for subscribers, shared between them; its QoS 0 packet is made once for all."""

    topic: bytes
    payload: bytes
    properties: bytes
    qos: int
    is_retained: bool = False
    """The publisher asked for it to be kept; whether a subscriber is told so depends on its subscription."""
    _qos0_packets: list[bytes] = field(default_factory=lambda: [b"", b"", b"", b""])

    def qos0_packet(self, *, has_properties: bool, retain: bool) -> bytes:
        place = has_properties + 2 * retain
        packet = self._qos0_packets[place]
        if not packet:
            packet = publish_packet(self, qos=0, packet_id=0, has_properties=has_properties, retain=retain)
            self._qos0_packets[place] = packet
        return packet


def publish_packet(
    delivery: Delivery, *, qos: int, packet_id: int, has_properties: bool, retain: bool = False
) -> bytes:
    """Encode a PUBLISH to a subscriber.

    Args:
        qos: Already the lower of the publisher's and the subscription's.
        packet_id: 1..65535 for QoS 1 and 2, ignored for QoS 0.
        has_properties: True for MQTT 5.
        retain: The RETAIN flag that the subscriber sees.
    Source: MQTT 5.0 §3.3.
    """
    parts = [len(delivery.topic).to_bytes(2, "big"), delivery.topic]
    if qos:
        parts.append(packet_id.to_bytes(2, "big"))
    if has_properties:
        parts += (variable_byte_integer(len(delivery.properties)), delivery.properties)
    parts.append(delivery.payload)
    body = b"".join(parts)
    return bytes((0x30 | qos << 1 | retain,)) + variable_byte_integer(len(body)) + body


def variable_byte_integer(value: int) -> bytes:
    """Encode 0..268,435,455 (MQTT 5.0 §1.5.5)."""
    if value < 128:
        return bytes((value,))
    out = bytearray()
    while True:
        value, low = value >> 7, value & 127
        if not value:
            out.append(low)
            return bytes(out)
        out.append(low | 128)


class Outbound:
    """The sending half of one session.

    Args:
        has_properties: True for MQTT 5.
        receive_maximum: Deliveries of QoS 1 and 2 that may be unacknowledged, 1..65535; no more than IN_FLIGHT_COUNT_MAX are.
        packet_bytes_max: Largest packet the client accepts, or None.
        queue_messages_max, queue_bytes_max: Bounds of what waits in memory.
    """

    __slots__ = (
        "_has_properties",
        "_next_packet_id",
        "_packet_bytes_max",
        "_queue_bytes_max",
        "_queue_messages_max",
        "_receive_maximum",
        "delivered_count",
        "in_flight",
        "lag_count",
        "lag_seq",
        "oversize_count",
        "queue",
        "queue_bytes",
        "unsent_bytes",
    )

    def __init__(
        self,
        *,
        has_properties: bool,
        receive_maximum: int,
        packet_bytes_max: int | None,
        queue_messages_max: int,
        queue_bytes_max: int,
    ) -> None:
        self._has_properties = has_properties
        self._receive_maximum = min(receive_maximum, IN_FLIGHT_COUNT_MAX)
        self._packet_bytes_max = packet_bytes_max
        self._queue_messages_max = queue_messages_max
        self._queue_bytes_max = queue_bytes_max
        self._next_packet_id = 0
        self.queue: deque[tuple[Delivery, int, bool]] = deque()
        """Messages, their QoS (1 or 2), and whether RETAIN is to be set."""
        self.queue_bytes = 0
        self.in_flight: dict[int, Step] = {}
        self.unsent_bytes = 0
        """Bytes the socket has not taken yet; kept up to date by the connection."""
        self.lag_seq: int | None = None
        self.lag_count = 0
        self.delivered_count = 0
        self.oversize_count = 0

    def has_room_for(self, packet_bytes: int) -> bool:
        """Whether the client takes a packet as large as this."""
        return self._packet_bytes_max is None or packet_bytes <= self._packet_bytes_max

    def offer(self, delivery: Delivery, qos: int, seq: int, *, retain: bool = False) -> bytes:
        """Deliver, queue, or fall back to the log.

        Args:
            qos: The lower of the publisher's and the subscription's.
            seq: The record's sequence number in the log.
            retain: The RETAIN flag that the subscriber sees.
        Returns:
            Bytes to send now, b"" where nothing is.
        """
        if self.lag_seq is not None:
            return b""
        if self.is_full:
            self.fall_behind(seq)
            return b""
        return self._deliver(delivery, qos, retain)

    def fall_behind(self, seq: int) -> None:
        """Become a cursor: everything from this sequence on comes out of the log."""
        self.lag_seq = seq
        self.lag_count += 1

    def hold_back(self, seq: int) -> None:
        """The same because something else goes first, not because the subscriber is slow."""
        if self.lag_seq is None:
            self.lag_seq = seq

    def refill(self, delivery: Delivery, qos: int, *, retain: bool = False) -> bytes:
        """Deliver or queue a message of the log or a retained one; the caller has seen that there is room."""
        return self._deliver(delivery, qos, retain)

    @property
    def receive_maximum(self) -> int:
        """Deliveries of QoS 1 and 2 that may be unacknowledged."""
        return self._receive_maximum

    @property
    def is_full(self) -> bool:
        return (
            len(self.queue) >= self._queue_messages_max
            or self.queue_bytes + self.unsent_bytes >= self._queue_bytes_max
        )

    @property
    def wants_refill(self) -> bool:
        """Whether the log should be read for this subscriber now."""
        return (
            self.lag_seq is not None
            and len(self.queue) <= self._queue_messages_max * RESUME_RATIO
            and self.queue_bytes + self.unsent_bytes <= self._queue_bytes_max * RESUME_RATIO
        )

    def receive(self, packet_id: int) -> bool:
        """Take a PUBREC: the subscriber has the message, PUBREL is to follow.

        Returns:
            False if no message of QoS 2 with this identifier was sent; one that was received before is no error.
        """
        step = self.in_flight.get(packet_id)
        if step is Step.PUBREC:
            self.in_flight[packet_id] = Step.PUBCOMP
        return step in (Step.PUBREC, Step.PUBCOMP)

    def complete(self, packet_id: int, step: Step) -> bytes | None:
        """Take the last answer to a delivery: PUBACK, PUBCOMP, or a PUBREC that refuses.

        Returns:
            Bytes to send now (the next of the queue), or None if no delivery with this identifier waits for this answer: the
            client may acknowledge what a connection before this one sent, which is not an error.
        """
        if self.in_flight.get(packet_id) is not step:
            return None
        del self.in_flight[packet_id]
        packet = b""
        while self.queue and not packet and len(self.in_flight) < self._receive_maximum:
            delivery, qos, retain = self.queue.popleft()
            self.queue_bytes -= len(delivery.payload) + len(delivery.topic)
            # b"" for one too large for the client: the next takes its place.
            packet = self._packet(delivery, qos, retain)
        return packet

    def _deliver(self, delivery: Delivery, qos: int, retain: bool) -> bytes:
        if qos and (self.queue or len(self.in_flight) >= self._receive_maximum):
            self.queue.append((delivery, qos, retain))
            self.queue_bytes += len(delivery.payload) + len(delivery.topic)
            return b""
        return self._packet(delivery, qos, retain)

    def _packet(self, delivery: Delivery, qos: int, retain: bool) -> bytes:
        packet_id = 0
        if qos:
            packet_id = self._free_packet_id()
            packet = publish_packet(
                delivery, qos=qos, packet_id=packet_id, has_properties=self._has_properties, retain=retain
            )
        else:
            packet = delivery.qos0_packet(has_properties=self._has_properties, retain=retain)
        if not self.has_room_for(len(packet)):
            # Dropped as if it had been delivered (MQTT 5.0 §3.1.2.11.4).
            self.oversize_count += 1
            return b""
        if qos:
            self.in_flight[packet_id] = Step.PUBACK if qos == 1 else Step.PUBREC
        self.delivered_count += 1
        return packet

    def _free_packet_id(self) -> int:
        # The window is at most 65,535 wide and not full here, so a free identifier is found.
        while True:
            self._next_packet_id = self._next_packet_id % PACKET_ID_MAX + 1
            if self._next_packet_id not in self.in_flight:
                return self._next_packet_id
