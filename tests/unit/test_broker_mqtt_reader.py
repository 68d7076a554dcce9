"""The reader of a stream: cuts, limits, what it holds, and what it does after an error."""

from __future__ import annotations

import pytest

from appliance.core.errors import RemoteProtocolError
from broker.mqtt.codec import PacketReader, encode
from broker.mqtt.packets import Connect, Pingreq, Publish, Sender, Version

CONNECT = encode(Connect(client_id="c"), Version.MQTT_5)
PUBLISH = encode(Publish(topic="a", payload=b"x"), Version.MQTT_5)
BROKEN = b"\x00\x00"


def test_server_learns_the_version() -> None:
    reader = PacketReader(packet_bytes_max=100)
    assert reader.version is None
    assert reader.sender is Sender.CLIENT
    assert reader.receive_bytes(CONNECT[:5]) == []
    assert reader.version is None
    assert reader.receive_bytes(CONNECT[5:] + PUBLISH) == [
        Connect(client_id="c"),
        Publish(topic="a", payload=b"x"),
    ]
    assert reader.version is Version.MQTT_5


def test_client_is_given_the_version() -> None:
    reader = PacketReader(Version.MQTT_3_1_1, packet_bytes_max=100)
    assert reader.sender is Sender.SERVER
    assert reader.receive_bytes(memoryview(b"\x30\x04\x00\x01ax")) == [Publish(topic="a", payload=b"x")]
    assert PacketReader(Version.MQTT_5, packet_bytes_max=100, sender=Sender.CLIENT).sender is Sender.CLIENT


def test_good_packets_come_before_the_error() -> None:
    reader = PacketReader(packet_bytes_max=100)
    assert reader.receive_bytes(CONNECT + PUBLISH + BROKEN + PUBLISH) == [
        Connect(client_id="c"),
        Publish(topic="a", payload=b"x"),
    ]
    assert reader.error is not None
    assert reader.error.reason_code == 0x81
    assert reader.buffered_bytes == 0
    for data in (b"", PUBLISH):
        with pytest.raises(RemoteProtocolError) as caught:
            reader.receive_bytes(data)
        assert caught.value is reader.error
    assert reader.buffered_bytes == 0


def test_an_error_alone_is_raised_at_once() -> None:
    reader = PacketReader(packet_bytes_max=100)
    reader.receive_bytes(CONNECT)
    with pytest.raises(RemoteProtocolError):
        reader.receive_bytes(BROKEN)


def test_one_packet_at_a_time_and_the_rest_for_someone_else() -> None:
    reader = PacketReader(packet_bytes_max=100)
    reader.feed(CONNECT + PUBLISH + b"\xc0")
    assert isinstance(reader.next_packet(), Connect)
    assert reader.take_unread() == PUBLISH + b"\xc0"
    assert reader.next_packet() is None
    reader.feed(b"\xc0\x00")
    assert reader.next_packet() == Pingreq()
    assert reader.take_unread() == b""


def test_too_large_is_refused_at_its_header() -> None:
    reader = PacketReader(Version.MQTT_5, packet_bytes_max=100)
    with pytest.raises(RemoteProtocolError, match="100 are allowed") as caught:
        reader.receive_bytes(b"\x30\x63")
    assert caught.value.reason_code == 0x95


def test_holds_no_more_than_one_packet() -> None:
    reader = PacketReader(Version.MQTT_5, packet_bytes_max=2000)
    packet = encode(Publish(topic="a", payload=bytes(1900)), Version.MQTT_5)
    data = packet * 50
    held = 0
    count = 0
    for at in range(0, len(data), 700):
        count += len(reader.receive_bytes(data[at : at + 700]))
        held = max(held, reader.buffered_bytes)
    assert count == 50
    assert held < 2000


@pytest.mark.parametrize("length", [b"\x80\x00", b"\x80\x80\x80\x00", b"\x81\x00"])
def test_length_in_its_shortest_form_only_in_5(length: bytes) -> None:
    value = length[0] & 0x7F
    body = b"\x00" * value
    reader = PacketReader(Version.MQTT_5, packet_bytes_max=100)
    with pytest.raises(RemoteProtocolError) as caught:
        reader.receive_bytes(b"\xd0" + length + body)
    assert caught.value.reason_code == 0x81
    lenient = PacketReader(Version.MQTT_3_1_1, packet_bytes_max=100)
    if not value:
        assert len(lenient.receive_bytes(b"\xd0" + length)) == 1


def test_connect_must_be_first() -> None:
    with pytest.raises(RemoteProtocolError, match="first packet is not a CONNECT"):
        PacketReader(packet_bytes_max=100).receive_bytes(b"\x30")
