"""decode() by itself; tests/protocol/test_codec_*.py show its rules, clause by clause, on raw packets."""

from __future__ import annotations

import pytest

from appliance.core.errors import RemoteProtocolError
from broker.mqtt.codec import connect_version, decode
from broker.mqtt.packets import Connect, Pingreq, Puback, Publish, Sender, Version

BODY = b"\x00\x01ax"


@pytest.mark.parametrize("body", [BODY, bytearray(BODY), memoryview(BODY)])
def test_body_may_be_any_bytes(body: bytes | bytearray | memoryview) -> None:
    packet = decode(0x30, body, Version.MQTT_3_1_1)
    assert packet == Publish(topic="a", payload=b"x")
    assert isinstance(packet, Publish)
    assert type(packet.payload) is bytes


def test_only_connect_may_come_without_a_version() -> None:
    body = b"\x00\x04MQTT\x04\x02\x00\x00\x00\x01c"
    assert decode(0x10, body, None) == Connect(client_id="c", version=Version.MQTT_3_1_1)
    with pytest.raises(RemoteProtocolError, match="PINGREQ came before CONNECT") as caught:
        decode(0xC0, b"", None)
    assert caught.value.reason_code == 0x82


def test_sender_is_checked_where_given() -> None:
    assert decode(0xC0, b"", Version.MQTT_5) == decode(0xC0, b"", Version.MQTT_5, Sender.CLIENT) == Pingreq()
    with pytest.raises(RemoteProtocolError, match="A server does not send PINGREQ"):
        decode(0xC0, b"", Version.MQTT_5, Sender.SERVER)


def test_short_acknowledgement() -> None:
    assert decode(0x40, b"\x01\x02", Version.MQTT_5) == Puback(packet_id=0x0102)
    with pytest.raises(RemoteProtocolError):
        decode(0x40, b"\x00\x00", Version.MQTT_5)


def test_connect_flags_with_a_first_byte() -> None:
    with pytest.raises(RemoteProtocolError, match="reserved flags"):
        decode(0x11, b"", None)


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x04MQT", b"\x00\x04MQTT"])
def test_connect_version_of_a_torso(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        connect_version(body)
    assert caught.value.reason_code == 0x81


def test_connect_version() -> None:
    assert connect_version(b"\x00\x04MQTT\x05") == (Version.MQTT_5, False)
    assert connect_version(b"\x00\x06MQIsdp\x83") == (Version.MQTT_3_1, True)
