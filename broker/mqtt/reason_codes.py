"""Reason codes of MQTT 5, which packet may carry which, and how 3.x says the same.

Source: MQTT 5.0 §2.4 (Table 2-6) and the table in each packet's own section; MQTT 3.1.1 §3.2.2.3 (CONNACK
return codes) and §3.9.3 (SUBACK).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from broker.mqtt.constants import PacketType, Sender


class ReasonCode(IntEnum):
    """All reason codes of MQTT 5; 0x80 and above are failures.

    Three meanings share 0x00: success, normal disconnection (`SUCCESS` in DISCONNECT) and granted QoS 0.
    """

    SUCCESS = 0x00
    GRANTED_QOS_1 = 0x01
    GRANTED_QOS_2 = 0x02
    DISCONNECT_WITH_WILL_MESSAGE = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    CONTINUE_AUTHENTICATION = 0x18
    RE_AUTHENTICATE = 0x19
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_IDENTIFIER_IN_USE = 0x91
    PACKET_IDENTIFIER_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    USE_ANOTHER_SERVER = 0x9C
    SERVER_MOVED = 0x9D
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    MAXIMUM_CONNECT_TIME = 0xA0
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2

    @property
    def is_failure(self) -> bool:
        return self >= 0x80

    @property
    def text(self) -> str:
        """The name as people read it, such as `packet too large`."""
        return self.name.lower().replace("_", " ")


class ConnectReturnCode(IntEnum):
    """CONNACK of MQTT 3.1 and 3.1.1. Source: MQTT 3.1.1 §3.2.2.3, Table 3.1."""

    ACCEPTED = 0
    UNACCEPTABLE_PROTOCOL_VERSION = 1
    IDENTIFIER_REJECTED = 2
    SERVER_UNAVAILABLE = 3
    BAD_USER_NAME_OR_PASSWORD = 4
    NOT_AUTHORIZED = 5


SUBACK_FAILURE_3: Final = 0x80
"""The only failure a SUBACK of 3.1.1 knows. Source: MQTT 3.1.1 §3.9.3."""

_R = ReasonCode

_PUBLISH_RESPONSE: Final = frozenset(
    {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
)

ALLOWED: Final[dict[PacketType, frozenset[int]]] = {
    PacketType.CONNACK: frozenset(
        {0x00, *range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, *range(0x99, 0x9E), 0x9F}
    ),
    PacketType.PUBACK: _PUBLISH_RESPONSE,
    PacketType.PUBREC: _PUBLISH_RESPONSE,
    PacketType.PUBREL: frozenset({0x00, 0x92}),
    PacketType.PUBCOMP: frozenset({0x00, 0x92}),
    PacketType.SUBACK: frozenset(
        {0x00, 0x01, 0x02, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2},
    ),
    PacketType.UNSUBACK: frozenset({0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91}),
    PacketType.DISCONNECT: frozenset(
        {0x00, 0x04, *range(0x80, 0x84), 0x87, 0x89, *range(0x8B, 0x91), *range(0x93, 0xA3)},
    ),
    PacketType.AUTH: frozenset({0x00, 0x18, 0x19}),
}
"""Reason codes that each packet of MQTT 5 may carry (§3.2.2.2, §3.4.2.1 … §3.15.2.1)."""

_ONLY_SERVER_DISCONNECTS: Final = frozenset({0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, *range(0x9A, 0xA3)})

ONE_SIDED: Final[dict[tuple[PacketType, Sender], frozenset[int]]] = {
    (PacketType.PUBACK, Sender.CLIENT): frozenset({0x10}),
    (PacketType.PUBREC, Sender.CLIENT): frozenset({0x10}),
    (PacketType.DISCONNECT, Sender.CLIENT): _ONLY_SERVER_DISCONNECTS,
    (PacketType.DISCONNECT, Sender.SERVER): frozenset({0x04}),
    (PacketType.AUTH, Sender.CLIENT): frozenset({0x00}),
    (PacketType.AUTH, Sender.SERVER): frozenset({0x19}),
}
"""Reason codes that this sender must not use (§3.4.2.1, §3.5.2.1, §3.14.2.1, §3.15.2.1)."""

_RETURN_CODES: Final[dict[int, ConnectReturnCode]] = {
    _R.SUCCESS: ConnectReturnCode.ACCEPTED,
    _R.UNSUPPORTED_PROTOCOL_VERSION: ConnectReturnCode.UNACCEPTABLE_PROTOCOL_VERSION,
    _R.CLIENT_IDENTIFIER_NOT_VALID: ConnectReturnCode.IDENTIFIER_REJECTED,
    _R.SERVER_UNAVAILABLE: ConnectReturnCode.SERVER_UNAVAILABLE,
    _R.SERVER_BUSY: ConnectReturnCode.SERVER_UNAVAILABLE,
    _R.QUOTA_EXCEEDED: ConnectReturnCode.SERVER_UNAVAILABLE,
    _R.USE_ANOTHER_SERVER: ConnectReturnCode.SERVER_UNAVAILABLE,
    _R.SERVER_MOVED: ConnectReturnCode.SERVER_UNAVAILABLE,
    _R.CONNECTION_RATE_EXCEEDED: ConnectReturnCode.SERVER_UNAVAILABLE,
    _R.BAD_USER_NAME_OR_PASSWORD: ConnectReturnCode.BAD_USER_NAME_OR_PASSWORD,
    _R.BAD_AUTHENTICATION_METHOD: ConnectReturnCode.BAD_USER_NAME_OR_PASSWORD,
    _R.NOT_AUTHORIZED: ConnectReturnCode.NOT_AUTHORIZED,
    _R.BANNED: ConnectReturnCode.NOT_AUTHORIZED,
}


def connect_return_code(reason_code: int) -> ConnectReturnCode | None:
    """What a CONNACK of 3.x says instead of a reason code of MQTT 5.

    Args:
        reason_code: A reason code that a CONNACK of MQTT 5 may carry.
    Returns:
        The return code, or None where 3.x has no word for it and the server closes without a CONNACK.
    Source: MQTT 3.1.1 §3.2.2.3 [MQTT-3.2.2-6].
    """
    return _RETURN_CODES.get(reason_code)


def describe(reason_code: int) -> str:
    """For logs and pages: `0x95 packet too large`, or the bare number when MQTT 5 has no such code."""
    try:
        return f"0x{reason_code:02X} {ReasonCode(reason_code).text}"
    except ValueError:
        return f"0x{reason_code:02X}"
