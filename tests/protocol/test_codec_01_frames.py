"""Fixed header and data types (MQTT 5.0 §1.5, §2.1, MQTT 3.1.1 §1.5, §2.2), from raw bytes."""

from __future__ import annotations

import pytest

from appliance.core.errors import RemoteProtocolError
from broker.mqtt.codec import PacketReader, decode
from broker.mqtt.packets import Connect, Pingreq, Pingresp, Publish, Version

from . import builder as b
from .codec_driver import (
    PACKET_BYTES_MAX,
    accept,
    from_client,
    from_server,
    refuse,
    refuse_client,
    refuse_server,
)

MALFORMED, PROTOCOL_ERROR, TOO_LARGE = 0x81, 0x82, 0x95


@pytest.mark.parametrize("version", [3, 4, 5])
def test_01_type_0_reserved(version: int) -> None:
    """§2.1.2: packet type 0 is forbidden."""
    assert refuse_client(b.packet(0x00), version) == MALFORMED


@pytest.mark.parametrize("version", [3, 4])
def test_01_type_15_before_5(version: int) -> None:
    """MQTT 3.1.1 §2.2.1: type 15 is forbidden."""
    assert refuse_client(b.packet(b.AUTH), version) == PROTOCOL_ERROR


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("flags", range(16))
@pytest.mark.parametrize(
    ("first", "body"),
    [
        (b.PUBACK, b.u16(1)),
        (b.PUBREC, b.u16(1)),
        (b.PUBREL, b.u16(1)),
        (b.PUBCOMP, b.u16(1)),
        (b.SUBSCRIBE, b.u16(1) + b.props() + b.text("a") + b.u8(0)),
        (b.UNSUBSCRIBE, b.u16(1) + b.props() + b.text("a")),
        (b.PINGREQ, b""),
        (b.DISCONNECT, b""),
    ],
)
def test_01_flags_client(version: int, flags: int, first: int, body: bytes) -> None:
    """Reserved flags have the value listed, or the connection ends. [MQTT5-2.1.3-1] [MQTT3-2.2.2-1, -2]"""
    if version == 4:
        body = body.replace(b"\0\x01\0", b"\0\x01", 1)
    data = b.packet(first & 0xF0 | flags, body)
    if flags == first & 0x0F:
        from_client(data, version)
    else:
        assert refuse_client(data, version) == MALFORMED


@pytest.mark.parametrize("flags", range(1, 16))
@pytest.mark.parametrize(
    ("first", "body"),
    [
        (b.CONNACK, b"\0\0\0"),
        (b.SUBACK, b.u16(1) + b"\0\0"),
        (b.UNSUBACK, b.u16(1) + b"\0\0"),
        (b.PINGRESP, b""),
        (b.AUTH, b""),
    ],
)
def test_01_flags_server(flags: int, first: int, body: bytes) -> None:
    """[MQTT5-2.1.3-1]"""
    from_server(b.packet(first, body), 5)
    assert refuse_server(b.packet(first | flags, body), 5) == MALFORMED


def test_01_flags_connect() -> None:
    """Reserved flags of CONNECT; the reader doesn't even take it for one. [MQTT5-2.1.3-1]"""
    data = bytearray(b.connect())
    data[0] |= 1
    assert refuse(bytes(data)) == PROTOCOL_ERROR
    assert refuse(bytes(data), 4) == MALFORMED


def test_01_flags_ignored_3_1() -> None:
    """MQTT 3.1 §2.1: DUP, QoS and RETAIN "are not used" outside PUBLISH; its clients set DUP on PUBREL."""
    from_client(b.packet(b.PUBREL | 0x08, b.u16(1)), 3)
    from_client(b.packet(b.PINGREQ | 0x01), 3)


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 2_097_151])
def test_01_length_bounds(length: int) -> None:
    """§2.1.4, Table 2-4: each size of the remaining length."""
    payload = bytes(max(0, length - 3))
    data = b.publish("t", payload)
    reader = PacketReader(Version.MQTT_3_1_1, packet_bytes_max=3_000_000)
    assert reader.receive_bytes(data) == [Publish(topic="t", payload=payload)]


def test_01_length_largest() -> None:
    """§2.1.4: 268,435,455 is a length like any other; the limit refuses it, before its bytes come."""
    head = b"\x30\xff\xff\xff\x7f"
    reader = PacketReader(Version.MQTT_5, packet_bytes_max=PACKET_BYTES_MAX)
    with pytest.raises(RemoteProtocolError) as caught:
        reader.receive_bytes(head)
    assert caught.value.reason_code == TOO_LARGE


def test_01_length_five_bytes() -> None:
    """§1.5.5: a fifth byte is malformed, and seen at the fourth."""
    assert refuse_client(b"\x30\xff\xff\xff\xff", 5) == MALFORMED
    assert refuse_client(b"\x30\x80\x80\x80\x80\x01", 4) == MALFORMED


def test_01_length_not_shortest() -> None:
    """5 wants the shortest form; 3.1.1 does not, and there are clients that pad. [MQTT5-1.5.5-1]"""
    padded = b.packet(b.PINGREQ, length_bytes=2)
    assert padded == b"\xc0\x80\x00"
    assert refuse_client(padded, 5) == MALFORMED
    assert from_client(padded, 4) == Pingreq()
    assert refuse(b.packet(b.CONNECT, b.connect(version=5)[2:], length_bytes=4)) == MALFORMED
    assert isinstance(accept(b.packet(b.CONNECT, b.connect(version=4)[2:], length_bytes=4)), Connect)


def test_01_length_not_shortest_long() -> None:
    """Lengths that are not zero in their last group. [MQTT5-1.5.5-1]"""
    assert refuse_client(b.packet(b.PUBLISH, b.text("t"), b"\0", bytes(126), length_bytes=3), 5) == MALFORMED


def test_01_too_large_by_one() -> None:
    """§3.1.2.11.4: the whole packet counts, fixed header included."""
    data = b.publish("t", bytes(95))  # 2 + 3 + 95
    reader = PacketReader(Version.MQTT_3_1_1, packet_bytes_max=100)
    assert len(reader.receive_bytes(data)) == 1
    reader = PacketReader(Version.MQTT_3_1_1, packet_bytes_max=99)
    with pytest.raises(RemoteProtocolError) as caught:
        reader.receive_bytes(data[:2])
    assert caught.value.reason_code == TOO_LARGE


@pytest.mark.parametrize("version", [3, 4, 5])
def test_01_ping_with_body(version: int) -> None:
    """§3.12, §3.13: no payload."""
    assert from_client(b.PINGREQ_PACKET, version) == Pingreq()
    assert from_server(b.PINGRESP_PACKET, version) == Pingresp()
    assert refuse_client(b.packet(b.PINGREQ, b"\0"), version) == MALFORMED
    assert refuse_server(b.packet(b.PINGRESP, b"\0"), version) == MALFORMED


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize(
    "bad",
    [
        b"\xff",
        b"\xc0\xaf",  # overlong /
        b"\xe0\x80\xaf",
        b"\xed\xa0\x80",  # U+D800
        b"\xed\xbf\xbf",  # U+DFFF
        b"\xf4\x90\x80\x80",  # above U+10FFFF
        b"a\xe2\x82",  # cut off
        b"a\0b",  # U+0000
    ],
)
def test_01_utf8_refused(version: int, bad: bytes) -> None:
    """[MQTT5-1.5.4-1, -2] [MQTT3-1.5.3-1, -2]"""
    no_properties = b"" if version == 5 else None
    assert refuse_client(b.publish(bad, properties=no_properties), version) == MALFORMED
    assert refuse_client(b.subscribe(1, (bad, 0), properties=no_properties), version) == MALFORMED
    assert refuse_client(b.unsubscribe(1, bad, properties=no_properties), version) == MALFORMED
    name = "MQIsdp" if version == 3 else "MQTT"
    assert refuse(b.connect(bad, name=name, version=version)) == MALFORMED
    assert refuse(b.connect(name=name, version=version, username=bad)) == MALFORMED
    properties = b"" if version == 5 else None
    will = b.will_fields(bad, b"", properties=properties)
    assert refuse(b.connect(name=name, version=version, will=will, will_flags=4)) == MALFORMED


@pytest.mark.parametrize("good", ["\ufeffa", "a\ufeff", "a\uffffb", "a\x01b", "\U0010ffff", "日本/語", "A𪛔"])
def test_01_utf8_accepted(good: str) -> None:
    """U+FEFF stays; control and non-characters SHOULD NOT be sent but may be. [MQTT5-1.5.4-3] [MQTT3-1.5.3-3]"""
    packet = from_client(b.publish(good), 4)
    assert isinstance(packet, Publish)
    assert packet.topic == good


def test_01_first_packet_not_connect() -> None:
    """Seen at the first byte. [MQTT5-3.1.0-1] [MQTT3-3.1.0-1]"""
    for first in (b.PUBLISH, b.PINGREQ, b.SUBSCRIBE, b.AUTH, b.CONNACK):
        assert refuse(bytes((first,))) == PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("sender_is_client", "data"),
    [
        (True, b.connack(0, 0, b"")),
        (True, b.suback(1, 0, properties=b"")),
        (True, b.unsuback(1, 0, properties=b"")),
        (True, b.PINGRESP_PACKET),
        (False, b.connect(version=5)),
        (False, b.subscribe(1, ("a", 0), properties=b"")),
        (False, b.unsubscribe(1, "a", properties=b"")),
        (False, b.PINGREQ_PACKET),
    ],
)
def test_01_wrong_direction(sender_is_client: bool, data: bytes) -> None:
    """Table 2-1: direction of flow."""
    assert (refuse_client if sender_is_client else refuse_server)(data, 5) == PROTOCOL_ERROR
    (from_server if sender_is_client else from_client)(data, 5)


@pytest.mark.parametrize(
    "data",
    [
        b.connect(version=5, username="u", password=b"p"),
        b.publish(qos=1, packet_id=1, properties=b.p32(0x02, 60)),
        b.ack(b.PUBACK, 1, 0x10, b.ptext(0x1F, "r")),
        b.ack(b.PUBREL, 1, 0x92, b""),
        b.subscribe(1, ("a", 0), properties=b.pvar(0x0B, 200)),
        b.unsubscribe(1, "abc", properties=b.puser("k", "v")),
        b.suback(1, 0, properties=b.puser("k", "v")),
        b.unsuback(1, 0, properties=b.puser("k", "v")),
        b.connack(0, 0, b.p16(0x21, 5)),
        b.disconnect(0x82, b.ptext(0x1F, "r")),
        b.packet(b.AUTH, b.u8(0x18), b.props(b.ptext(0x15, "SCRAM"))),
    ],
)
def test_01_cut_short(data: bytes) -> None:
    """Every packet that ends early inside a field is malformed, wherever it ends; it never reads on."""
    body = data[2:]
    for size in range(len(body)):
        try:
            packet = decode(data[0], body[:size], Version.MQTT_5)
        except RemoteProtocolError as error:
            assert error.reason_code in (MALFORMED, PROTOCOL_ERROR)
        else:
            # What may be left out by the specification: payload, reason code and properties, further filters.
            assert type(packet).__name__ in {"Publish", "Puback", "Pubrel", "Disconnect", "Auth"}
