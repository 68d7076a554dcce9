"""CONNECT and CONNACK (MQTT 5.0 §3.1, §3.2; MQTT 3.1.1 §3.1, §3.2; MQTT 3.1 §3.1, §3.2), from raw bytes."""

from __future__ import annotations

import pytest

from broker.mqtt.codec import PacketReader
from broker.mqtt.packets import Connack, Connect, Version, Will
from broker.mqtt.properties import Properties, PropertyId

from . import builder as b
from .codec_driver import accept, from_server, refuse, refuse_server

MALFORMED, PROTOCOL_ERROR, VERSION, CLIENT_ID, PASSWORD, TOPIC = 0x81, 0x82, 0x84, 0x85, 0x86, 0x90


def test_02_connect_3_1_1_everything() -> None:
    """3.1.1 §3.1, every field there is."""
    data = b.connect(
        "me",
        keep_alive=0xFFFF,
        will=b.will_fields("w/t", b"gone"),
        will_flags=0x04 | 0x08 | 0x20,
        username="u",
        password=b"\0\xff",
    )
    assert accept(data) == Connect(
        client_id="me",
        keep_alive_s=65_535,
        username="u",
        password=b"\0\xff",
        will=Will(topic="w/t", payload=b"gone", qos=1, retain=True),
        version=Version.MQTT_3_1_1,
    )


def test_02_connect_5_everything() -> None:
    """§3.1, every property of CONNECT and of the will."""
    properties = b"".join(
        (
            b.p32(0x11, 0xFFFF_FFFF),
            b.p16(0x21, 1),
            b.p32(0x27, 1),
            b.p16(0x22, 0),
            b.p8(0x19, 1),
            b.p8(0x17, 0),
            b.puser("k", "1"),
            b.puser("k", "2"),
            b.ptext(0x15, "SCRAM"),
            b.ptext(0x16, b"\x00\x01"),
        )
    )
    will_properties = b"".join(
        (
            b.p32(0x18, 5),
            b.p8(0x01, 1),
            b.p32(0x02, 6),
            b.ptext(0x03, "text/plain"),
            b.ptext(0x08, "answer/here"),
            b.ptext(0x09, b"\xff"),
            b.puser("", ""),
        )
    )
    data = b.connect(
        "",
        version=5,
        clean=False,
        properties=properties,
        will=b.will_fields("w", b"", properties=will_properties),
        will_flags=0x04 | 0x10,
        password=b"p",
    )
    packet = accept(data)
    assert isinstance(packet, Connect)
    assert (packet.client_id, packet.clean_start, packet.username, packet.password) == ("", False, None, b"p")
    p = packet.properties
    assert p.integer(PropertyId.SESSION_EXPIRY_INTERVAL, 0) == 0xFFFF_FFFF
    assert p.integer(PropertyId.RECEIVE_MAXIMUM, 65_535) == 1
    assert p.integer(PropertyId.MAXIMUM_PACKET_SIZE, 0) == 1
    assert p["topic_alias_maximum"] == 0
    assert p["request_response_information"] == 1
    assert p["request_problem_information"] == 0
    assert p.user_properties == (("k", "1"), ("k", "2"))
    assert p.text(PropertyId.AUTHENTICATION_METHOD) == "SCRAM"
    assert p.binary(PropertyId.AUTHENTICATION_DATA) == b"\x00\x01"
    will = packet.will
    assert will is not None
    assert will == Will(topic="w", qos=2, properties=will.properties)
    assert dict(will.properties.items()) == {
        PropertyId.WILL_DELAY_INTERVAL: 5,
        PropertyId.PAYLOAD_FORMAT_INDICATOR: 1,
        PropertyId.MESSAGE_EXPIRY_INTERVAL: 6,
        PropertyId.CONTENT_TYPE: "text/plain",
        PropertyId.RESPONSE_TOPIC: "answer/here",
        PropertyId.CORRELATION_DATA: b"\xff",
    }
    assert will.properties.user_properties == (("", ""),)


def test_02_connect_3_1() -> None:
    """MQTT 3.1 §3.1: protocol name MQIsdp, level 3."""
    packet = accept(b.connect("x", name="MQIsdp", version=3))
    assert isinstance(packet, Connect)
    assert packet.version is Version.MQTT_3_1
    assert not packet.is_bridge


@pytest.mark.parametrize(("name", "level"), [("MQIsdp", 3), ("MQTT", 4)])
def test_02_connect_bridge_bit(name: str, level: int) -> None:
    """mosquitto's bridges set the top bit of the level in 3.1 and 3.1.1."""
    packet = accept(b.connect("x", name=name, version=level | 0x80))
    assert isinstance(packet, Connect)
    assert packet.is_bridge
    assert packet.version == level


@pytest.mark.parametrize(
    ("name", "level", "answered_in"),
    [
        ("MQTT", 0, Version.MQTT_3_1_1),
        ("MQTT", 3, Version.MQTT_3_1_1),
        ("MQTT", 6, Version.MQTT_5),
        ("MQTT", 0x7F, Version.MQTT_5),
        ("MQTT", 0x83, Version.MQTT_3_1_1),
        ("MQTT", 0x85, Version.MQTT_3_1_1),
        ("MQIsdp", 4, Version.MQTT_3_1_1),
        ("MQIsdp", 5, Version.MQTT_3_1_1),
        ("MQIsdp", 0x84, Version.MQTT_3_1_1),
        ("mqtt", 4, Version.MQTT_3_1_1),
        ("", 4, Version.MQTT_3_1_1),
        ("MQTTT", 5, Version.MQTT_3_1_1),
        ("HTTP/1.1", 5, Version.MQTT_3_1_1),
    ],
)
def test_02_connect_unsupported_version(name: str, level: int, answered_in: Version) -> None:
    """0x84; the reader says in which version a CONNACK would be understood. [MQTT5-3.1.2-1, -2] [MQTT3-3.1.2-1, -2]"""
    data = b.packet(b.CONNECT, b.text(name), b.u8(level), b.u8(2), b.u16(0), b.text("x"))
    assert refuse(data) == VERSION
    reader = PacketReader(packet_bytes_max=1000)
    with pytest.raises(Exception, match="Protocol level"):
        reader.receive_bytes(data)
    assert reader.version is answered_in


def test_02_connect_version_known_when_refused() -> None:
    """A CONNECT that is broken after its level is still answered in its own version."""
    reader = PacketReader(packet_bytes_max=1000)
    with pytest.raises(Exception, match="reserved connect flag"):
        reader.receive_bytes(b.connect(version=5, flags=0x03))
    assert reader.version is Version.MQTT_5


@pytest.mark.parametrize("version", [4, 5])
def test_02_connect_reserved_flag(version: int) -> None:
    """[MQTT5-3.1.2-3] [MQTT3-3.1.2-3]"""
    assert refuse(b.connect(version=version, flags=0x03)) == MALFORMED


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("flags", [0x08, 0x10, 0x18, 0x20, 0x28, 0x38])
def test_02_connect_will_flags_without_will(version: int, flags: int) -> None:
    """[MQTT5-3.1.2-11, -13] [MQTT3-3.1.2-11, -13, -15]"""
    assert refuse(b.connect(version=version, flags=0x02 | flags)) == MALFORMED


@pytest.mark.parametrize("version", [4, 5])
def test_02_connect_will_qos_3(version: int) -> None:
    """[MQTT5-3.1.2-12] [MQTT3-3.1.2-14]"""
    will = b.will_fields("w", b"", properties=b"" if version == 5 else None)
    assert refuse(b.connect(version=version, will=will, will_flags=0x04 | 0x18)) == MALFORMED


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("topic", ["", "a/+", "#", "a/#/b", "/".join("x" * 33)])
def test_02_connect_will_topic(version: int, topic: str) -> None:
    """§4.7.1, §4.7.3: a will topic is a topic name."""
    will = b.will_fields(topic, b"", properties=b"" if version == 5 else None)
    assert refuse(b.connect(version=version, will=will, will_flags=0x04)) == TOPIC


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("flags", [0x04, 0x80, 0xC0, 0x84])
def test_02_connect_announced_field_missing(version: int, flags: int) -> None:
    """What a flag announces must be there. [MQTT5-3.1.2-9, -17, -19] [MQTT3-3.1.2-9, -19, -21]"""
    assert refuse(b.connect(version=version, flags=0x02 | flags)) == MALFORMED


@pytest.mark.parametrize("version", [4, 5])
def test_02_connect_trailing_bytes(version: int) -> None:
    """What no flag announces must not be there. [MQTT5-3.1.2-16, -18] [MQTT3-3.1.2-11, -18, -20]"""
    will = b.will_fields("w", b"m", properties=b"" if version == 5 else None)
    assert refuse(b.connect(version=version, will=will)) == MALFORMED
    assert refuse(b.connect(version=version, flags=0x02, username="u")) == MALFORMED


def test_02_connect_password_without_user_name() -> None:
    """3.1.1 forbids it; MQTT 5 allows it (§3.1.2.9, non-normative comment). [MQTT3-3.1.2-22]"""
    assert refuse(b.connect(version=4, password=b"p")) == MALFORMED
    assert refuse(b.connect(name="MQIsdp", version=3, password=b"p")) == MALFORMED
    packet = accept(b.connect(version=5, password=b"p"))
    assert isinstance(packet, Connect)
    assert packet.password == b"p"


def test_02_connect_empty_client_id() -> None:
    """3.1 (§3.1) wants one to 23 characters; MQTT 5 allows it. [MQTT5-3.1.3-6] [MQTT3-3.1.3-7, -8]"""
    assert refuse(b.connect("", version=4, clean=False)) == CLIENT_ID
    assert refuse(b.connect("", name="MQIsdp", version=3)) == CLIENT_ID
    accept(b.connect("", version=4))
    accept(b.connect("", version=5, clean=False))


def test_02_connect_limits() -> None:
    """limits.py: client id and user name 256 bytes, password 4 KiB."""
    accept(b.connect("é" * 128, version=5, username="é" * 128, password=bytes(4096)))
    assert refuse(b.connect("é" * 128 + "x", version=5)) == CLIENT_ID
    assert refuse(b.connect("x" * 257, version=4)) == CLIENT_ID
    assert refuse(b.connect(version=4, username="x" * 257)) == PASSWORD
    assert refuse(b.connect(version=5, password=bytes(4097))) == PASSWORD


def test_02_connect_authentication_data_without_method() -> None:
    """§3.1.2.11.10: protocol error."""
    assert refuse(b.connect(version=5, properties=b.ptext(0x16, b"x"))) == PROTOCOL_ERROR


@pytest.mark.parametrize("code", [0x00, *range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, *range(0x99, 0x9E), 0x9F])
def test_02_connack_reason_codes(code: int) -> None:
    """Table 3-1."""
    assert from_server(b.connack(0, code, b""), 5) == Connack(reason_code=code)


@pytest.mark.parametrize("code", [1, 2, 5, 0x10, 0x8B, 0x8D, 0x8E, 0x8F, 0x93, 0x96, 0x98, 0x9E, 0xA0, 0xFF])
def test_02_connack_other_reason_codes(code: int) -> None:
    """[MQTT5-3.2.2-8]"""
    assert refuse_server(b.connack(0, code, b""), 5) == PROTOCOL_ERROR


@pytest.mark.parametrize("code", range(6))
def test_02_connack_return_codes(code: int) -> None:
    """3.1.1 Table 3.1."""
    assert from_server(b.connack(0, code), 4) == Connack(reason_code=code)
    assert refuse_server(b.connack(0, code + 6), 4) == PROTOCOL_ERROR


@pytest.mark.parametrize("version", [4, 5])
def test_02_connack_flags(version: int) -> None:
    """Reserved bits; session present only when accepted. [MQTT5-3.2.2-1, -6] [MQTT3-3.2.2-4]"""
    properties = b"" if version == 5 else None
    assert from_server(b.connack(1, 0, properties), version) == Connack(session_present=True)
    for flags in (0x02, 0x80, 0xFF):
        assert refuse_server(b.connack(flags, 0, properties), version) == MALFORMED
    code = 0x87 if version == 5 else 5
    assert refuse_server(b.connack(1, code, properties), version) == PROTOCOL_ERROR


def test_02_connack_3_1_reserved_byte() -> None:
    """3.1 §3.2: the first byte is "reserved, not used"."""
    assert from_server(b.connack(0xFF, 0), 3) == Connack()


def test_02_connack_trailing_bytes() -> None:
    assert refuse_server(b.packet(b.CONNACK, b"\0\0\0"), 4) == MALFORMED
    assert refuse_server(b.packet(b.CONNACK, b"\0\0\0\0"), 5) == MALFORMED


def test_02_connack_everything() -> None:
    """§3.2.2.3, every property of CONNACK."""
    data = b.connack(
        1,
        0,
        b"".join(
            (
                b.p32(0x11, 1),
                b.p16(0x21, 2),
                b.p8(0x24, 1),
                b.p8(0x25, 0),
                b.p32(0x27, 3),
                b.ptext(0x12, "assigned"),
                b.p16(0x22, 4),
                b.ptext(0x1F, "because"),
                b.puser("a", "b"),
                b.p8(0x28, 1),
                b.p8(0x29, 0),
                b.p8(0x2A, 0),
                b.p16(0x13, 5),
                b.ptext(0x1A, "info"),
                b.ptext(0x1C, "other:1883"),
                b.ptext(0x15, "m"),
                b.ptext(0x16, b"d"),
            )
        ),
    )
    packet = from_server(data, 5)
    assert isinstance(packet, Connack)
    assert len(packet.properties) == 17
    assert packet.properties == Properties(
        {
            PropertyId.SESSION_EXPIRY_INTERVAL: 1,
            PropertyId.RECEIVE_MAXIMUM: 2,
            PropertyId.MAXIMUM_QOS: 1,
            PropertyId.RETAIN_AVAILABLE: 0,
            PropertyId.MAXIMUM_PACKET_SIZE: 3,
            PropertyId.ASSIGNED_CLIENT_IDENTIFIER: "assigned",
            PropertyId.TOPIC_ALIAS_MAXIMUM: 4,
            PropertyId.REASON_STRING: "because",
            PropertyId.WILDCARD_SUBSCRIPTION_AVAILABLE: 1,
            PropertyId.SUBSCRIPTION_IDENTIFIER_AVAILABLE: 0,
            PropertyId.SHARED_SUBSCRIPTION_AVAILABLE: 0,
            PropertyId.SERVER_KEEP_ALIVE: 5,
            PropertyId.RESPONSE_INFORMATION: "info",
            PropertyId.SERVER_REFERENCE: "other:1883",
            PropertyId.AUTHENTICATION_METHOD: "m",
            PropertyId.AUTHENTICATION_DATA: b"d",
        },
        (("a", "b"),),
    )
