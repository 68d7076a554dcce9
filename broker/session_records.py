"""What the log says of sessions, and what a client hears when its connection is closed.

Payloads are msgpack maps; docs/LOG_FORMAT.md, "Session records", lists their keys.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import msgpack

from .mqtt.codec import encode
from .mqtt.constants import PacketType
from .mqtt.packets import Disconnect, Version, Will
from .mqtt.properties import encode_properties
from .mqtt.property_table import PropertyId

if TYPE_CHECKING:
    from .connection import Connection


class CloseReason(StrEnum):
    """Why a session ended."""

    CLIENT_DISCONNECT = "client_disconnect"
    KEEP_ALIVE = "keep_alive"
    CONNECTION_LOST = "connection_lost"
    TAKEOVER = "takeover"
    KICKED = "kicked"
    PROTOCOL_ERROR = "protocol_error"
    DRAINING = "draining"


SILENT = frozenset({CloseReason.CLIENT_DISCONNECT, CloseReason.CONNECTION_LOST})
"""Closings in which the server has nothing to say: the client went by itself."""


def _packed(fields: dict[str, object]) -> bytes:
    packed: bytes = msgpack.packb(fields)
    return packed


def opened(connection: Connection) -> bytes:
    return _packed(
        {
            "address": connection.address,
            "transport": connection.transport.name,
            "version": int(connection.version),
            "keep_alive_s": int(connection.keep_alive_ms / 1500),
            "clean": True,
        }
    )


def closed(connection: Connection, reason: CloseReason, code: int) -> bytes:
    return _packed({"reason": reason.value, "code": code, "last_packet_at_ms": connection.last_packet_at_ms})


def qos2_step(packet_id: int, *, is_released: bool) -> bytes:
    """PUBREL has come for a message of QoS 2, or the message itself once more."""
    return _packed({"packet_id": packet_id, "step": "released" if is_released else "repeated"})


def last_words(connection: Connection, reason: CloseReason, code: int) -> bytes:
    """DISCONNECT with the reason for MQTT 5 clients; older ones only see the connection close."""
    if connection.version != Version.MQTT_5 or reason in SILENT or connection.accepted is not None:
        return b""
    return encode(Disconnect(reason_code=code), connection.version)


def publishes_will(reason: CloseReason, code: int) -> bool:
    """MQTT 5.0 §3.1.2.5: always, but after a DISCONNECT with reason code 0."""
    return reason is not CloseReason.CLIENT_DISCONNECT or code != 0


def will_fields(will: Will) -> tuple[bytes, bytes, int, bytes]:
    """A will as a record: topic, payload, flags, property bytes.

    The will delay ends with the session (MQTT 5.0 §3.1.3.2.2), which ends with the connection: it is not kept.
    """
    kept = will.properties.without(PropertyId.WILL_DELAY_INTERVAL)
    return (
        will.topic.encode(),
        will.payload,
        will.qos << 1 | will.retain,
        encode_properties(kept, PacketType.PUBLISH),
    )
