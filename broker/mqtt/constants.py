"""The three small enumerations that every module of this room shares.

They stand alone so that packets, properties and rules can import them without importing each other.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Version(IntEnum):
    """Protocol level as it stands in CONNECT (3.1 also has the protocol name `MQIsdp`)."""

    MQTT_3_1 = 3
    MQTT_3_1_1 = 4
    MQTT_5 = 5


class PacketType(IntEnum):
    """Upper four bits of the first byte. Source: MQTT 5.0 §2.1.2."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


class Sender(IntEnum):
    """Who sent a packet. Some packets, properties and reason codes belong to one side only.

    All enumerations of this room are IntEnum: a plain Enum is hashed in Python, which costs more than a lookup.
    """

    CLIENT = 1
    SERVER = 2

    @property
    def text(self) -> str:
        return self.name.lower()


REMAINING_LENGTH_MAX: Final = 268_435_455
"""Four bytes of seven bits: 128⁴ - 1. Source: MQTT 5.0 §1.5.5."""
PACKET_ID_MAX: Final = 0xFFFF
BRIDGE_BIT: Final = 0x80
"""Set in the protocol level by bridges that speak 3.1 or 3.1.1 (mosquitto's try_private)."""
