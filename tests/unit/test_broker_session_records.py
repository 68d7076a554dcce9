"""What the log says of sessions."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from broker import session_records
from broker.mqtt.packets import Version, Will
from broker.mqtt.properties import Properties
from broker.mqtt.property_table import PropertyId
from broker.session_records import CloseReason
from tests.broker_kit import connection_pair
from tests.protocol import builder


def unpacked(raw: bytes) -> Any:
    return msgpack.unpackb(raw)


def test_opened() -> None:
    connection, theirs = connection_pair(version=Version.MQTT_5, keep_alive_s=77)
    with theirs, connection.sock:
        assert unpacked(session_records.opened(connection)) == {
            "address": "203.0.113.9",
            "transport": "tcp",
            "version": 5,
            "keep_alive_s": 77,
            "clean": True,
        }


def test_closed() -> None:
    connection, theirs = connection_pair()
    with theirs, connection.sock:
        connection.last_packet_at_ms = 1234
        assert unpacked(session_records.closed(connection, CloseReason.KEEP_ALIVE, 0x8D)) == {
            "reason": "keep_alive",
            "code": 0x8D,
            "last_packet_at_ms": 1234,
        }


@pytest.mark.parametrize(
    ("version", "reason", "words"),
    [
        (Version.MQTT_5, CloseReason.KICKED, builder.disconnect(0x98, b"")),
        (Version.MQTT_5, CloseReason.CONNECTION_LOST, b""),
        (Version.MQTT_5, CloseReason.CLIENT_DISCONNECT, b""),
        (Version.MQTT_3_1_1, CloseReason.KICKED, b""),
    ],
)
def test_last_words(version: Version, reason: CloseReason, words: bytes) -> None:
    connection, theirs = connection_pair(version=version)
    with theirs, connection.sock:
        said = session_records.last_words(connection, reason, 0x98)
        assert said in (words, builder.disconnect(0x98)), "an empty property length may be left out"
        assert bool(said) == bool(words)


def test_no_disconnect_before_connack() -> None:
    """MQTT 5.0 §3.14: a server does not send DISCONNECT until it has sent CONNACK with success."""
    connection, theirs = connection_pair(version=Version.MQTT_5)
    with theirs, connection.sock:
        connection.accepted = object()  # type: ignore[assignment]
        assert session_records.last_words(connection, CloseReason.TAKEOVER, 0x8E) == b""


@pytest.mark.parametrize(
    ("reason", "code", "expected"),
    [
        (CloseReason.CLIENT_DISCONNECT, 0x00, False),
        (CloseReason.CLIENT_DISCONNECT, 0x04, True),
        (CloseReason.CONNECTION_LOST, 0x80, True),
        (CloseReason.KEEP_ALIVE, 0x8D, True),
        (CloseReason.PROTOCOL_ERROR, 0x81, True),
        (CloseReason.TAKEOVER, 0x8E, True),
    ],
)
def test_when_a_will_is_published(reason: CloseReason, code: int, expected: bool) -> None:
    assert session_records.publishes_will(reason, code) is expected


def test_a_will_as_a_record() -> None:
    properties = Properties({PropertyId.WILL_DELAY_INTERVAL: 5, PropertyId.CONTENT_TYPE: "x"}, (("k", "v"),))
    will = Will(topic="t/é", payload=b"gone", qos=1, retain=False, properties=properties)
    topic, payload, flags, raw = session_records.will_fields(will)
    assert (topic, payload, flags) == ("t/é".encode(), b"gone", 2)
    assert raw == builder.ptext(0x03, "x") + builder.puser("k", "v"), "without the delay, without a length"
