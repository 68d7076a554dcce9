"""The table of MQTT 5's properties: of each its type, the packets that may carry it, the values it may have.

Source: MQTT 5.0 §2.2.2.2 (Table 2-4) and the property sections of each packet.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from broker.mqtt.constants import REMAINING_LENGTH_MAX, PacketType
from broker.mqtt.reason_codes import ReasonCode


class PropertyId(IntEnum):
    PAYLOAD_FORMAT_INDICATOR = 0x01
    MESSAGE_EXPIRY_INTERVAL = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_IDENTIFIER = 0x0B
    SESSION_EXPIRY_INTERVAL = 0x11
    ASSIGNED_CLIENT_IDENTIFIER = 0x12
    SERVER_KEEP_ALIVE = 0x13
    AUTHENTICATION_METHOD = 0x15
    AUTHENTICATION_DATA = 0x16
    REQUEST_PROBLEM_INFORMATION = 0x17
    WILL_DELAY_INTERVAL = 0x18
    REQUEST_RESPONSE_INFORMATION = 0x19
    RESPONSE_INFORMATION = 0x1A
    SERVER_REFERENCE = 0x1C
    REASON_STRING = 0x1F
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS_MAXIMUM = 0x22
    TOPIC_ALIAS = 0x23
    MAXIMUM_QOS = 0x24
    RETAIN_AVAILABLE = 0x25
    USER_PROPERTY = 0x26
    MAXIMUM_PACKET_SIZE = 0x27
    WILDCARD_SUBSCRIPTION_AVAILABLE = 0x28
    SUBSCRIPTION_IDENTIFIER_AVAILABLE = 0x29
    SHARED_SUBSCRIPTION_AVAILABLE = 0x2A


class WillCarrier(IntEnum):
    """The will inside a CONNECT has properties of its own (MQTT 5.0 §3.1.3.2)."""

    WILL = 0


Carrier: TypeAlias = PacketType | WillCarrier
WILL: Final = WillCarrier.WILL


class Kind(IntEnum):
    U8 = 1
    U16 = 2
    U32 = 4
    VARINT = 5
    TEXT = 6
    BINARY = 7
    PAIR = 8


class PropertyRule(NamedTuple):
    """One row of the table. `refusal` is the reason code for a value below `least` or above `most`."""

    kind: Kind
    carriers: frozenset[Carrier]
    least: int = 0
    most: int = 0xFFFF_FFFF
    refusal: ReasonCode = ReasonCode.PROTOCOL_ERROR


_T = PacketType
_P = PropertyId
_MESSAGE: Final[frozenset[Carrier]] = frozenset({_T.PUBLISH, WILL})
_SESSION: Final[frozenset[Carrier]] = frozenset({_T.CONNECT, _T.CONNACK, _T.DISCONNECT})
_HANDSHAKE: Final[frozenset[Carrier]] = frozenset({_T.CONNECT, _T.CONNACK})
_AUTH: Final[frozenset[Carrier]] = frozenset({_T.CONNECT, _T.CONNACK, _T.AUTH})
_CONNECT: Final[frozenset[Carrier]] = frozenset({_T.CONNECT})
_CONNACK: Final[frozenset[Carrier]] = frozenset({_T.CONNACK})
_ANSWERS: Final[frozenset[Carrier]] = frozenset(
    {_T.CONNACK, _T.PUBACK, _T.PUBREC, _T.PUBREL, _T.PUBCOMP, _T.SUBACK, _T.UNSUBACK, _T.DISCONNECT, _T.AUTH}
)
_ALL: Final[frozenset[Carrier]] = frozenset({*_T, WILL} - {_T.PINGREQ, _T.PINGRESP})

PROPERTY_RULES: Final[dict[int, PropertyRule]] = {
    _P.PAYLOAD_FORMAT_INDICATOR: PropertyRule(Kind.U8, _MESSAGE, most=1),
    _P.MESSAGE_EXPIRY_INTERVAL: PropertyRule(Kind.U32, _MESSAGE),
    _P.CONTENT_TYPE: PropertyRule(Kind.TEXT, _MESSAGE),
    _P.RESPONSE_TOPIC: PropertyRule(Kind.TEXT, _MESSAGE),
    _P.CORRELATION_DATA: PropertyRule(Kind.BINARY, _MESSAGE),
    _P.SUBSCRIPTION_IDENTIFIER: PropertyRule(
        Kind.VARINT, frozenset({_T.PUBLISH, _T.SUBSCRIBE}), least=1, most=REMAINING_LENGTH_MAX
    ),
    _P.SESSION_EXPIRY_INTERVAL: PropertyRule(Kind.U32, _SESSION),
    _P.ASSIGNED_CLIENT_IDENTIFIER: PropertyRule(Kind.TEXT, _CONNACK),
    _P.SERVER_KEEP_ALIVE: PropertyRule(Kind.U16, _CONNACK, most=0xFFFF),
    _P.AUTHENTICATION_METHOD: PropertyRule(Kind.TEXT, _AUTH),
    _P.AUTHENTICATION_DATA: PropertyRule(Kind.BINARY, _AUTH),
    _P.REQUEST_PROBLEM_INFORMATION: PropertyRule(Kind.U8, _CONNECT, most=1),
    _P.WILL_DELAY_INTERVAL: PropertyRule(Kind.U32, frozenset({WILL})),
    _P.REQUEST_RESPONSE_INFORMATION: PropertyRule(Kind.U8, _CONNECT, most=1),
    _P.RESPONSE_INFORMATION: PropertyRule(Kind.TEXT, _CONNACK),
    _P.SERVER_REFERENCE: PropertyRule(Kind.TEXT, frozenset({_T.CONNACK, _T.DISCONNECT})),
    _P.REASON_STRING: PropertyRule(Kind.TEXT, _ANSWERS),
    _P.RECEIVE_MAXIMUM: PropertyRule(Kind.U16, _HANDSHAKE, least=1, most=0xFFFF),
    _P.TOPIC_ALIAS_MAXIMUM: PropertyRule(Kind.U16, _HANDSHAKE, most=0xFFFF),
    _P.TOPIC_ALIAS: PropertyRule(
        Kind.U16, frozenset({_T.PUBLISH}), least=1, most=0xFFFF, refusal=ReasonCode.TOPIC_ALIAS_INVALID
    ),
    _P.MAXIMUM_QOS: PropertyRule(Kind.U8, _CONNACK, most=1),
    _P.RETAIN_AVAILABLE: PropertyRule(Kind.U8, _CONNACK, most=1),
    _P.USER_PROPERTY: PropertyRule(Kind.PAIR, _ALL),
    _P.MAXIMUM_PACKET_SIZE: PropertyRule(Kind.U32, _HANDSHAKE, least=1),
    _P.WILDCARD_SUBSCRIPTION_AVAILABLE: PropertyRule(Kind.U8, _CONNACK, most=1),
    _P.SUBSCRIPTION_IDENTIFIER_AVAILABLE: PropertyRule(Kind.U8, _CONNACK, most=1),
    _P.SHARED_SUBSCRIPTION_AVAILABLE: PropertyRule(Kind.U8, _CONNACK, most=1),
}
LABELS: Final[dict[int, str]] = {p: p.name.lower().replace("_", " ") for p in PropertyId}
