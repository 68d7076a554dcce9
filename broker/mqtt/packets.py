"""The fifteen control packets as values. They say what a packet holds; `rules` says what it may hold.

Fields have the specification's names. `properties` is always `Properties.EMPTY` in 3.1 and 3.1.1.
Source: MQTT 5.0 §3, MQTT 3.1.1 §3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from broker.mqtt.constants import PacketType, Sender, Version
from broker.mqtt.properties import Properties

__all__ = [
    "Auth",
    "Connack",
    "Connect",
    "Disconnect",
    "Packet",
    "PacketType",
    "Pingreq",
    "Pingresp",
    "Puback",
    "Pubcomp",
    "Publish",
    "Pubrec",
    "Pubrel",
    "Sender",
    "Suback",
    "Subscribe",
    "Subscription",
    "Unsuback",
    "Unsubscribe",
    "Version",
    "Will",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Will:
    """What the server publishes for a client that goes without DISCONNECT (MQTT 5.0 §3.1.3.2 … §3.1.3.4)."""

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    properties: Properties = Properties.EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Connect:
    """Client → server, first of all (§3.1).

    `clean_start` is Clean Session in 3.x. `keep_alive_s` is 0..65535, 0 for none. `is_bridge` is the top bit of
    the protocol level, which bridges set in 3.1 and 3.1.1.
    """

    client_id: str
    clean_start: bool = True
    keep_alive_s: int = 0
    username: str | None = None
    password: bytes | None = None
    will: Will | None = None
    version: Version = Version.MQTT_5
    is_bridge: bool = False
    properties: Properties = Properties.EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Connack:
    """Server → client (§3.2). In 3.x `reason_code` is the return code, 0..5."""

    session_present: bool = False
    reason_code: int = 0
    properties: Properties = Properties.EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """Both ways (§3.3). `packet_id` is 1..65535 for QoS 1 and 2, None for QoS 0."""

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int | None = None
    properties: Properties = Properties.EMPTY


class PublishedRequest(NamedTuple):
    """A PUBLISH of a client to a topic of requests, which is answered and not passed on.

    Attributes:
        first: The packet's first byte.
        packet_id: Its two bytes, b"" for QoS 0.
        properties: Encoded, without the topic alias.
    """

    first: int
    packet_id: bytes
    topic: bytes
    payload: bytes
    properties: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Puback:
    """Both ways, answers a QoS 1 PUBLISH (§3.4)."""

    packet_id: int
    reason_code: int = 0
    properties: Properties = Properties.EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Pubrec:
    """Both ways, answers a QoS 2 PUBLISH (§3.5)."""

    packet_id: int
    reason_code: int = 0
    properties: Properties = Properties.EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Pubrel:
    """Both ways, answers a PUBREC (§3.6)."""

    packet_id: int
    reason_code: int = 0
    properties: Properties = Properties.EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Pubcomp:
    """Both ways, answers a PUBREL (§3.7)."""

    packet_id: int
    reason_code: int = 0
    properties: Properties = Properties.EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One filter of a SUBSCRIBE with its options (§3.8.3.1); in 3.x only `qos`."""

    topic_filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe:
    """Client → server (§3.8); at least one subscription."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]
    properties: Properties = Properties.EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Suback:
    """Server → client (§3.9); one reason code per subscription, in order."""

    packet_id: int
    reason_codes: tuple[int, ...]
    properties: Properties = Properties.EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribe:
    """Client → server (§3.10); at least one filter."""

    packet_id: int
    topic_filters: tuple[str, ...]
    properties: Properties = Properties.EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsuback:
    """Server → client (§3.11); one reason code per filter, in order; in 3.x none."""

    packet_id: int
    reason_codes: tuple[int, ...] = ()
    properties: Properties = Properties.EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Pingreq:
    """Client → server (§3.12)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pingresp:
    """Server → client (§3.13)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disconnect:
    """The last packet of a connection (§3.14); in 3.x only client → server and without a reason code."""

    reason_code: int = 0
    properties: Properties = Properties.EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Auth:
    """Both ways, enhanced authentication (§3.15); MQTT 5 only."""

    reason_code: int = 0
    properties: Properties = Properties.EMPTY


Acknowledgement: TypeAlias = Puback | Pubrec | Pubrel | Pubcomp
Packet: TypeAlias = (
    Connect
    | Connack
    | Publish
    | Acknowledgement
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
    | Auth
)
