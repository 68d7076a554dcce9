"""What the log says of sessions."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from broker import session_records
from broker.mqtt.packets import Version, Will
from broker.mqtt.properties import Properties
from broker.mqtt.property_table import PropertyId
from broker.progress import Progress
from broker.router import Grant
from broker.session_records import CloseReason
from broker.shared import SharedGroup
from broker.state.session import LastWill
from tests.broker_kit import connection_pair
from tests.protocol import builder


def unpacked(raw: bytes) -> Any:
    return msgpack.unpackb(raw)


def test_opened() -> None:
    connection, theirs = connection_pair(version=Version.MQTT_5, keep_alive_s=77, session_expiry_s=5)
    with theirs, connection.sock:
        assert unpacked(session_records.opened(connection, connection.session, is_present=True)) == {
            "address": "203.0.113.9",
            "transport": "tcp",
            "version": 5,
            "keep_alive_s": 77,
            "present": True,
            "expiry_s": 5,
        }
        connection.session.will = LastWill(topic=b"t", payload=b"p", flags=3, properties=b"", delay_s=9)
        with_will = unpacked(session_records.opened(connection, connection.session, is_present=False))
        assert with_will["will"] == {
            "topic": b"t",
            "payload": b"p",
            "flags": 3,
            "properties": b"",
            "delay_s": 9,
        }


def test_closed() -> None:
    connection, theirs = connection_pair(session_expiry_s=5)
    with theirs, connection.sock:
        assert unpacked(session_records.closed(connection.session, CloseReason.KEEP_ALIVE, 0x8D, 1234)) == {
            "reason": "keep_alive",
            "code": 0x8D,
            "last_packet_at_ms": 1234,
            "expiry_s": 5,
            "will": False,
        }


def test_changes() -> None:
    grant = Grant(qos=2, no_local=True, retain_as_published=True, identifiers=(7,), since_seq=1)
    assert unpacked(session_records.subscribed([("a/#", grant, True)])) == {
        "op": "subscribed",
        "filters": [["a/#", 14, [7], True]],
    }
    assert unpacked(session_records.unsubscribed(["a"])) == {"op": "unsubscribed", "filters": ["a"]}
    assert unpacked(session_records.ended("expired")) == {"op": "ended", "why": "expired"}
    assert unpacked(session_records.progress(Progress(9, [(1, 65)], [4]), ["r"])) == {
        "op": "progress",
        "through": 9,
        "unacknowledged": [[1, 65]],
        "completed": [4],
        "retained_due": ["r"],
    }
    assert unpacked(session_records.group_progress(SharedGroup("g", "a/#"), 8)) == {
        "op": "group",
        "name": "g",
        "filter": "a/#",
        "through": 8,
    }


def test_steps_of_qos_2() -> None:
    assert unpacked(session_records.released(5)) == {"step": "released", "packet_id": 5}
    assert unpacked(session_records.repeated(5)) == {"step": "repeated", "packet_id": 5}
    assert unpacked(session_records.received(5)) == {"step": "received", "packet_id": 5}
    assert unpacked(session_records.sent([(5, 82, "")])) == {"step": "sent", "messages": [[5, 82, ""]]}


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
        said = session_records.last_words(connection, reason, 0x98, "", "")
        assert said in (words, builder.disconnect(0x98)), "an empty property length may be left out"
        assert bool(said) == bool(words)


def test_no_disconnect_before_connack() -> None:
    """MQTT 5.0 §3.14: a server does not send DISCONNECT until it has sent CONNACK with success."""
    connection, theirs = connection_pair(version=Version.MQTT_5)
    with theirs, connection.sock:
        connection.accepted = object()  # type: ignore[assignment]
        assert session_records.last_words(connection, CloseReason.TAKEOVER, 0x8E, "", "") == b""


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
    found = session_records.last_will(will)
    assert (found.topic, found.payload, found.flags, found.delay_s) == ("t/é".encode(), b"gone", 2, 5)
    assert found.properties == builder.ptext(0x03, "x") + builder.puser("k", "v"), "no delay, no length"


@pytest.mark.parametrize("room", [None, 6])
def test_words_are_left_out_where_they_have_no_room(room: int | None) -> None:
    connection, theirs = connection_pair(version=Version.MQTT_5)
    with theirs, connection.sock:
        connection.packet_bytes_max = room
        said = session_records.last_words(connection, CloseReason.DRAINING, 0x8B, "why", "other:1883")
        properties = b"" if room else builder.ptext(0x1F, "why") + builder.ptext(0x1C, "other:1883")
        assert said in (builder.disconnect(0x9C, properties), builder.disconnect(0x9C, properties or None))
