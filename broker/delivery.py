"""One message on its way to subscribers, and its bytes on the wire.

A message is encoded once for each (version, QoS, RETAIN, subscription identifiers) that its subscribers have, not once for
each subscriber: two packets of one kind differ only in their packet identifier, which stands between a head and a tail that
all of them share.

Source: MQTT 5.0 §3.3; MQTT 3.1.1 §3.3.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from .mqtt.properties import decode_properties, encode_properties
from .mqtt.property_table import PropertyId
from .mqtt.wire import put_varint

NEVER: Final = 0
"""Of a time after which something is gone: it stays."""
DUP: Final = 8
INTERVALS_REMEMBERED: Final = 1024
RECIPES_REMEMBERED: Final = 4096


class Recipe:
    """How one subscription has its messages. There is one object for each combination (`recipe`), so that it is a cheap key.

    Attributes:
        qos: 0, 1 or 2: the lower of the publisher's and the subscription's.
        retain: The RETAIN flag that the subscriber sees.
        identifiers: Subscription identifiers, MQTT 5 only.
    """

    __slots__ = ("identifiers", "qos", "retain")

    def __init__(self, qos: int, retain: bool, identifiers: tuple[int, ...]) -> None:
        self.qos = qos
        self.retain = retain
        self.identifiers = identifiers


@lru_cache(maxsize=RECIPES_REMEMBERED)
def recipe(qos: int, retain: bool = False, identifiers: tuple[int, ...] = ()) -> Recipe:
    """The recipe with these fields. One that was forgotten and made anew only costs encoding a message twice."""
    return Recipe(qos, retain, identifiers)


class Delivery:
    """One message, shared by its subscribers.

    Args:
        seq: Of its record in the log.
        client: Client id and principal of who published it.
        properties: MQTT 5 property bytes as published.
        qos: The publisher's.
        is_retained: Its RETAIN flag as published.
        is_kept: It is sent because a subscription asked for what is retained, not because it was published since.
        received_at_ms: Wall time.
    """

    __slots__ = (
        "_packets",
        "_packets_5",
        "client",
        "expires_at_ms",
        "is_kept",
        "is_retained",
        "payload",
        "properties",
        "qos",
        "seq",
        "topic",
    )

    def __init__(
        self,
        *,
        seq: int,
        client: tuple[str, str],
        topic: bytes,
        payload: bytes,
        properties: bytes = b"",
        qos: int,
        is_retained: bool = False,
        is_kept: bool = False,
        received_at_ms: int = 0,
    ) -> None:
        self.seq = seq
        self.client = client
        self.topic = topic
        self.payload = payload
        self.properties = properties
        self.qos = qos
        self.is_retained = is_retained
        self.is_kept = is_kept
        self.expires_at_ms = expiry_ms(properties, received_at_ms) if properties else NEVER
        self._packets: dict[Recipe, tuple[bytes, bytes]] = {}
        self._packets_5: dict[Recipe, tuple[bytes, bytes]] = {}

    @property
    def size_bytes(self) -> int:
        """What counts against a queue's bound."""
        return len(self.topic) + len(self.payload) + len(self.properties)

    def packet(self, recipe: Recipe, packet_id: int, *, has_properties: bool) -> bytes:
        """The PUBLISH for a subscriber.

        Args:
            packet_id: 1..65535 for QoS 1 and 2, ignored for QoS 0.
            has_properties: True for MQTT 5.
        """
        packets = self._packets_5 if has_properties else self._packets
        parts = packets.get(recipe)
        if parts is None:
            parts = packets[recipe] = self._encode(recipe, has_properties)
        head, tail = parts
        if recipe.qos:
            return b"%b%b%b" % (head, packet_id.to_bytes(2, "big"), tail)
        return head

    def aliased(self, recipe: Recipe, packet_id: int, alias: int, *, is_known: bool) -> bytes:
        """The same with a topic alias (MQTT 5.0 §3.3.2.3.4); the topic itself only where the client doesn't know it yet."""
        properties = self._properties(recipe) + b"\x23" + alias.to_bytes(2, "big")
        topic = b"" if is_known else self.topic
        identifier = packet_id.to_bytes(2, "big") if recipe.qos else b""
        body = b"".join(
            (
                len(topic).to_bytes(2, "big"),
                topic,
                identifier,
                put_varint(len(properties), "length"),
                properties,
                self.payload,
            )
        )
        return bytes((0x30 | recipe.qos << 1 | recipe.retain,)) + put_varint(len(body), "length") + body

    def aged(self, now_ms: int) -> Delivery | None:
        """The message as it is to be sent after it has waited: with what is left of its message expiry interval.

        Returns:
            None if nothing is left (MQTT 5.0 §3.3.2.3.3: it must not be sent).
        """
        if self.expires_at_ms == NEVER:
            return self
        left_ms = self.expires_at_ms - now_ms
        if left_ms <= 0:
            return None
        properties = decode_properties(self.properties)
        kept = properties.with_values({PropertyId.MESSAGE_EXPIRY_INTERVAL: max(left_ms // 1000, 1)})
        copy = Delivery(
            seq=self.seq,
            client=self.client,
            topic=self.topic,
            payload=self.payload,
            qos=self.qos,
            is_retained=self.is_retained,
            is_kept=self.is_kept,
        )
        copy.properties = encode_properties(kept)
        copy.expires_at_ms = self.expires_at_ms
        return copy

    def _properties(self, recipe: Recipe) -> bytes:
        if not recipe.identifiers:
            return self.properties
        return self.properties + b"".join(
            [b"\x0b" + put_varint(identifier, "length") for identifier in recipe.identifiers]
        )

    def _encode(self, recipe: Recipe, has_properties: bool) -> tuple[bytes, bytes]:
        topic = len(self.topic).to_bytes(2, "big") + self.topic
        tail = self.payload
        if has_properties:
            properties = self._properties(recipe)
            tail = put_varint(len(properties), "length") + properties + tail
        length = len(topic) + (2 if recipe.qos else 0) + len(tail)
        first = bytes((0x30 | recipe.qos << 1 | recipe.retain,)) + put_varint(length, "length")
        return (first + topic, tail) if recipe.qos else (first + topic + tail, b"")


def as_duplicate(packet: bytes) -> bytes:
    """A PUBLISH of QoS 1 or 2 with its DUP flag set."""
    return bytes((packet[0] | DUP,)) + packet[1:]


def expiry_ms(properties: bytes, received_at_ms: int) -> int:
    """When a message is gone, wall time; NEVER where it says nothing (MQTT 5.0 §3.3.2.3.3)."""
    interval_s = _interval_s(properties)
    return NEVER if interval_s is None else received_at_ms + interval_s * 1000


@lru_cache(maxsize=INTERVALS_REMEMBERED)
def _interval_s(properties: bytes) -> int | None:
    # The property's identifier is 2: without such a byte there is none, and most have none.
    if b"\x02" not in properties:
        return None
    value = decode_properties(properties).get(PropertyId.MESSAGE_EXPIRY_INTERVAL)
    return value if isinstance(value, int) else None
