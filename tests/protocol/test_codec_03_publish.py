"""PUBLISH and its acknowledgements (MQTT 5.0 §3.3 to §3.7; MQTT 3.1.1 §3.3 to §3.7), from raw bytes."""

from __future__ import annotations

import pytest

from broker.mqtt.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel
from broker.mqtt.properties import Properties, PropertyId

from . import builder as b
from .codec_driver import from_client, from_server, refuse_client

MALFORMED, PROTOCOL_ERROR, TOPIC, ALIAS, QUOTA = 0x81, 0x82, 0x90, 0x94, 0x97
VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])


def no_properties(version: int) -> bytes | None:
    return b"" if version == 5 else None


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_03_publish_plain(version: int, qos: int, retain: bool) -> None:
    """§3.3."""
    packet_id = 0xFFFF if qos else None
    data = b.publish(
        "a/b", b"x", qos=qos, retain=retain, packet_id=packet_id, properties=no_properties(version)
    )
    assert from_client(data, version) == Publish(
        topic="a/b", payload=b"x", qos=qos, retain=retain, packet_id=packet_id
    )


@VERSIONS
def test_03_publish_empty_payload(version: int) -> None:
    """§3.3.3: a payload of no bytes is valid."""
    assert from_client(b.publish("a", b"", properties=no_properties(version)), version) == Publish(topic="a")


@VERSIONS
def test_03_publish_dup(version: int) -> None:
    """DUP is 0 at QoS 0. [MQTT5-3.3.1-2] [MQTT3-3.3.1-2]"""
    properties = no_properties(version)
    packet = from_client(b.publish(qos=1, dup=True, packet_id=1, properties=properties), version)
    assert isinstance(packet, Publish)
    assert packet.dup
    assert refuse_client(b.publish(dup=True, properties=properties), version) == MALFORMED


@VERSIONS
def test_03_publish_qos_3(version: int) -> None:
    """[MQTT5-3.3.1-4] [MQTT3-3.3.1-4]"""
    assert (
        refuse_client(b.publish(qos=3, packet_id=1, properties=no_properties(version)), version) == MALFORMED
    )


@VERSIONS
@pytest.mark.parametrize("qos", [1, 2])
def test_03_publish_packet_id_0(version: int, qos: int) -> None:
    """[MQTT5-2.2.1-3] [MQTT3-2.3.1-1]"""
    assert (
        refuse_client(b.publish(qos=qos, packet_id=0, properties=no_properties(version)), version)
        == PROTOCOL_ERROR
    )


@VERSIONS
@pytest.mark.parametrize("topic", ["+", "#", "a/+/b", "a/#", "a+", "b#c", "/".join("x" * 33)])
def test_03_publish_topic_refused(version: int, topic: str) -> None:
    """No topic name, and TOPIC_LEVEL_COUNT_MAX. [MQTT5-3.3.2-2, 4.7.0-1] [MQTT3-3.3.2-2, 4.7.1-1]"""
    assert refuse_client(b.publish(topic, properties=no_properties(version)), version) == TOPIC


@VERSIONS
@pytest.mark.parametrize(
    "topic", ["/", " ", "//", "a/", "/a", "$SYS/x", "$", "A b", "/".join("x" * 32), "ö/ß"]
)
def test_03_publish_topic_accepted(version: int, topic: str) -> None:
    """§4.7.3."""
    packet = from_client(b.publish(topic, properties=no_properties(version)), version)
    assert isinstance(packet, Publish)
    assert packet.topic == topic


def test_03_publish_topic_longest() -> None:
    """§1.5.4: 65,535 bytes."""
    packet = from_client(b.publish("é" * 32_767 + "x"), 4)
    assert isinstance(packet, Publish)
    assert len(packet.topic) == 32_768


def test_03_publish_empty_topic() -> None:
    """Protocol error without a topic alias (§3.3.2.1). [MQTT3-4.7.3-1]"""
    assert refuse_client(b.publish("", properties=b""), 5) == PROTOCOL_ERROR
    assert refuse_client(b.publish(""), 4) == TOPIC
    assert refuse_client(b.publish(""), 3) == TOPIC
    assert from_client(b.publish("", b"", properties=b.p16(0x23, 7)), 5) == Publish(
        topic="", properties=Properties({PropertyId.TOPIC_ALIAS: 7})
    )


def test_03_publish_topic_alias_0() -> None:
    """[MQTT5-3.3.2-8]"""
    assert refuse_client(b.publish("a", properties=b.p16(0x23, 0)), 5) == ALIAS


def test_03_publish_everything() -> None:
    """§3.3.2.3, every property of PUBLISH, as a server sends them."""
    properties = b"".join(
        (
            b.p8(0x01, 1),
            b.p32(0x02, 60),
            b.p16(0x23, 1),
            b.ptext(0x08, "reply/to"),
            b.ptext(0x09, b"\0\1"),
            b.puser("traceparent", "00-1-2-3"),
            b.pvar(0x0B, 1),
            b.pvar(0x0B, 268_435_455),
            b.ptext(0x03, "application/json"),
        )
    )
    packet = from_server(b.publish("a", b"{}", qos=2, packet_id=9, properties=properties), 5)
    assert isinstance(packet, Publish)
    assert packet.properties.subscription_identifiers == (1, 268_435_455)
    assert packet.properties.user_properties == (("traceparent", "00-1-2-3"),)
    assert packet.properties["response_topic"] == "reply/to"
    assert packet.payload == b"{}"


def test_03_publish_subscription_identifier_from_client() -> None:
    """[MQTT5-3.3.4-6]"""
    data = b.publish("a", properties=b.pvar(0x0B, 1))
    assert refuse_client(data, 5) == PROTOCOL_ERROR
    from_server(data, 5)


@pytest.mark.parametrize("topic", ["", "a/+", "#"])
def test_03_publish_response_topic(topic: str) -> None:
    """[MQTT5-3.3.2-14]"""
    assert refuse_client(b.publish("a", properties=b.ptext(0x08, topic)), 5) == PROTOCOL_ERROR


def test_03_publish_user_property_limit() -> None:
    """limits.py: 64 in one packet, seen before the 65th is kept."""
    from_client(b.publish("a", properties=b.puser("k", "v") * 64), 5)
    assert refuse_client(b.publish("a", properties=b.puser("k", "v") * 65), 5) == QUOTA


def test_03_publish_subscription_identifier_limit() -> None:
    """limits.py: no more of them than one session can have subscriptions."""
    from_server(b.publish("a", properties=b.pvar(0x0B, 1) * 1024), 5)
    assert refuse_client(b.publish("a", properties=b.pvar(0x0B, 1) * 1025), 5) == QUOTA


def test_03_publish_property_length_beyond_packet() -> None:
    assert refuse_client(b.packet(b.PUBLISH, b.text("a"), b.varint(5), b"\x01\x01"), 5) == MALFORMED
    assert refuse_client(b.packet(b.PUBLISH, b.text("a")), 5) == MALFORMED


def test_03_publish_property_length_not_shortest() -> None:
    """[MQTT5-1.5.5-1]"""
    assert refuse_client(b.packet(b.PUBLISH, b.text("a"), b"\x80\x00"), 5) == MALFORMED


ACKS = pytest.mark.parametrize(
    ("first", "make"), [(b.PUBACK, Puback), (b.PUBREC, Pubrec), (b.PUBREL, Pubrel), (b.PUBCOMP, Pubcomp)]
)
Ack = type[Puback] | type[Pubrec] | type[Pubrel] | type[Pubcomp]


@ACKS
@VERSIONS
def test_03_ack_short(first: int, make: Ack, version: int) -> None:
    """§3.4.2.1: two bytes mean success."""
    assert from_client(b.ack(first, 0xABCD), version) == make(packet_id=0xABCD)


@ACKS
def test_03_ack_forms(first: int, make: Ack) -> None:
    """§3.4.2: reason code alone, with an empty property length, with properties."""
    code = 0x92 if make in (Pubrel, Pubcomp) else 0x80
    assert from_client(b.ack(first, 1, code), 5) == make(packet_id=1, reason_code=code)
    assert from_client(b.ack(first, 1, 0), 5) == make(packet_id=1)
    assert from_client(b.ack(first, 1, code, b""), 5) == make(packet_id=1, reason_code=code)
    properties = Properties({PropertyId.REASON_STRING: "no"}, (("k", "v"),))
    assert from_client(b.ack(first, 1, code, b.ptext(0x1F, "no") + b.puser("k", "v")), 5) == make(
        packet_id=1, reason_code=code, properties=properties
    )


@ACKS
@VERSIONS
def test_03_ack_packet_id_0(first: int, make: Ack, version: int) -> None:
    """§2.2.1."""
    assert refuse_client(b.ack(first, 0), version) == PROTOCOL_ERROR


@ACKS
def test_03_ack_sizes(first: int, make: Ack) -> None:
    """Too short, and left-over bytes."""
    for version in (3, 4, 5):
        assert refuse_client(b.packet(first), version) == MALFORMED
        assert refuse_client(b.packet(first, b"\1"), version) == MALFORMED
    for version in (3, 4):
        assert refuse_client(b.ack(first, 1, 0), version) == MALFORMED
    assert refuse_client(b.packet(first, b.u16(1), b"\0", b"\0", b"x"), 5) == MALFORMED


@pytest.mark.parametrize("first", [b.PUBACK, b.PUBREC])
def test_03_ack_reason_codes(first: int) -> None:
    """Tables 3-4, 3-5; 0x10 is "sent only by the Server"."""
    allowed = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}
    for code in range(256):
        if code in allowed:
            from_server(b.ack(first, 1, code), 5)
        else:
            assert refuse_client(b.ack(first, 1, code), 5) == PROTOCOL_ERROR
    assert refuse_client(b.ack(first, 1, 0x10), 5) == PROTOCOL_ERROR


@pytest.mark.parametrize("first", [b.PUBREL, b.PUBCOMP])
def test_03_release_reason_codes(first: int) -> None:
    """Tables 3-6, 3-7."""
    for code in range(256):
        if code in (0x00, 0x92):
            from_client(b.ack(first, 1, code), 5)
        else:
            assert refuse_client(b.ack(first, 1, code), 5) == PROTOCOL_ERROR
