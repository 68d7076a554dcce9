"""What the log says of sessions, and what a client hears when its connection is closed.

Payloads are msgpack maps; docs/LOG_FORMAT.md, "Session records", lists their keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import msgpack

from .mqtt.codec import encode
from .mqtt.constants import PacketType
from .mqtt.packets import Disconnect, Version, Will
from .mqtt.properties import Properties, Value, encode_properties
from .mqtt.property_table import PropertyId
from .mqtt.reason_codes import ReasonCode
from .refusals import reason_string
from .router import packed_options
from .state.session import LastWill

if TYPE_CHECKING:
    from .connection import Connection
    from .progress import Progress
    from .router import Grant
    from .shared import SharedGroup
    from .state.session import Session


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


def opened(connection: Connection, session: Session, *, is_present: bool) -> bytes:
    """A connection was accepted; what the client had before goes on where `is_present`."""
    fields: dict[str, object] = {
        "address": connection.address,
        "transport": connection.transport.name,
        "version": int(connection.version),
        "keep_alive_s": int(connection.keep_alive_ms / 1500),
        "present": is_present,
        "expiry_s": session.expiry_s,
    }
    if session.will is not None:
        fields["will"] = _will_fields(session.will)
    return _packed(fields)


def closed(session: Session, reason: CloseReason, code: int, last_packet_at_ms: int) -> bytes:
    """A connection ended; the will goes out unless the session has none any more."""
    return _packed(
        {
            "reason": reason.value,
            "code": code,
            "last_packet_at_ms": last_packet_at_ms,
            "expiry_s": session.expiry_s,
            "will": session.will is not None,
        }
    )


def ended(why: str) -> bytes:
    """A session that outlived its connection is no more."""
    return _packed({"op": "ended", "why": why})


def subscribed(grants: Sequence[tuple[str, Grant, bool]]) -> bytes:
    """Filters, how they were granted, and whether their retained messages were asked for."""
    return _packed(
        {
            "op": "subscribed",
            "filters": [
                (topic_filter, packed_options(grant), grant.identifiers, wants_retained)
                for topic_filter, grant, wants_retained in grants
            ],
        }
    )


def unsubscribed(topic_filters: Sequence[str]) -> bytes:
    return _packed({"op": "unsubscribed", "filters": topic_filters})


def progress(made: Progress, retained_due: Sequence[str]) -> bytes:
    """What of the deliveries is done (progress.py), and which filters' retained messages are not."""
    return _packed(
        {
            "op": "progress",
            "through": made.through,
            "unacknowledged": made.unacknowledged,
            "completed": made.completed,
            "retained_due": retained_due,
        }
    )


def group_progress(group: SharedGroup, through: int) -> bytes:
    """The same of a shared subscription."""
    return _packed({"op": "group", "name": group.name, "filter": group.topic_filter, "through": through})


def checkpointed() -> bytes:
    """The broker's checkpoint is about to be written: it waits for what stands before."""
    return _packed({"op": "checkpoint"})


def released(packet_id: int) -> bytes:
    """PUBREL has come for a message of QoS 2."""
    return _packed({"step": "released", "packet_id": packet_id})


def repeated(packet_id: int) -> bytes:
    """A message of QoS 2 has come once more."""
    return _packed({"step": "repeated", "packet_id": packet_id})


def sent(messages: Sequence[tuple[int, int, str]]) -> bytes:
    """QoS 2 messages are about to go out: packet identifier, entry of `Outbound.in_flight`, and the shared subscription that
    they are of, or "".
    """
    return _packed({"step": "sent", "messages": messages})


def received(packet_id: int) -> bytes:
    """The client has a message of QoS 2, PUBREL is to follow."""
    return _packed({"step": "received", "packet_id": packet_id})


def _will_fields(will: LastWill) -> dict[str, object]:
    return {
        "topic": will.topic,
        "payload": will.payload,
        "flags": will.flags,
        "properties": will.properties,
        "delay_s": will.delay_s,
    }


def last_will(will: Will) -> LastWill:
    """A client's will as it will be published."""
    properties = will.properties
    return LastWill(
        topic=will.topic.encode(),
        payload=will.payload,
        flags=will.qos << 1 | will.retain,
        properties=encode_properties(properties.without(PropertyId.WILL_DELAY_INTERVAL), PacketType.PUBLISH),
        delay_s=properties.integer(PropertyId.WILL_DELAY_INTERVAL, 0),
    )


def last_words(
    connection: Connection, reason: CloseReason, code: int, text: str, server_reference: str
) -> bytes:
    """DISCONNECT with the reason for MQTT 5 clients; older ones only see the connection close.

    Args:
        text: Said as reason string where the client wants to know (MQTT 5.0 §3.1.2.11.7).
        server_reference: Where a draining server sends its clients (§3.14.2.2.5), "" for nowhere.
    """
    if connection.version != Version.MQTT_5 or reason in SILENT or connection.accepted is not None:
        return b""
    properties: dict[PropertyId, Value] = {}
    if text and connection.wants_reasons:
        properties[PropertyId.REASON_STRING] = reason_string(text)
    if reason is CloseReason.DRAINING and server_reference:
        code = ReasonCode.USE_ANOTHER_SERVER
        properties[PropertyId.SERVER_REFERENCE] = server_reference
    words = encode(Disconnect(reason_code=code, properties=Properties(properties)), connection.version)
    if connection.packet_bytes_max is not None and len(words) > connection.packet_bytes_max:
        words = encode(Disconnect(reason_code=code), connection.version)
    return words


def publishes_will(reason: CloseReason, code: int) -> bool:
    """MQTT 5.0 §3.1.2.5: always, but after a DISCONNECT with reason code 0."""
    return reason is not CloseReason.CLIENT_DISCONNECT or code != 0
