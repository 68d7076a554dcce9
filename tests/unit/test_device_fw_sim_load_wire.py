"""The generator's packets, checked by our codec, which it doesn't use."""

from __future__ import annotations

import pytest

from broker.mqtt.codec import PacketReader, encode
from broker.mqtt.packets import Connack, Connect, Publish, Sender, Version
from broker.mqtt.properties import Properties
from broker.mqtt.property_table import PropertyId
from device_fw_sim.load import wire


def read(data: bytes, version: Version) -> list[object]:
    reader = PacketReader(version, packet_bytes_max=100_000, sender=Sender.CLIENT)
    return list(reader.receive_bytes(data))


@pytest.mark.parametrize("version", [4, 5])
def test_connect(version: int) -> None:
    data = wire.connect("client", "user", "token", version, 60)
    assert read(data, Version(version)) == [
        Connect(
            client_id="client", username="user", password=b"token", keep_alive_s=60, version=Version(version)
        )
    ]
    assert read(wire.connect("c", None, None, version, 0), Version(version)) == [
        Connect(client_id="c", version=Version(version))
    ]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1])
def test_publish_ring(version: int, qos: int) -> None:
    payloads = [b"%0200d" % number for number in range(300)]
    ring, size = wire.publish_ring("dm/a/telemetry", payloads, qos, version)
    assert len(ring) == size * len(payloads)
    assert read(ring, Version(version)) == [
        Publish(topic="dm/a/telemetry", payload=payload, qos=qos, packet_id=number + 1 if qos else None)
        for number, payload in enumerate(payloads)
    ]


def test_a_ring_has_packets_of_one_size() -> None:
    with pytest.raises(AssertionError):
        wire.publish_ring("t", [b"1", b"22"], 1, 4)


@pytest.mark.parametrize(
    ("length", "wanted"), [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (16_384, b"\x80\x80\x01")]
)
def test_remaining_length(length: int, wanted: bytes) -> None:
    assert wire.remaining_length(length) == wanted


def test_packets_are_split() -> None:
    assert wire.split_packet(b"\x40\x02\x00\x01", 0) == (0x40, 2, 4)
    assert wire.split_packet(b"??\x40\x02\x00\x01", 2) == (0x40, 4, 6)
    for incomplete in (b"", b"\x40", b"\x40\x02\x00", b"\x40\x80"):
        assert wire.split_packet(incomplete, 0) is None
    with pytest.raises(ValueError, match="four digits"):
        wire.split_packet(b"\x40\x80\x80\x80\x80", 0)


def test_receive_maximum_is_found_among_other_properties() -> None:
    properties = Properties(
        {
            PropertyId.SESSION_EXPIRY_INTERVAL: 5,
            PropertyId.REASON_STRING: "welcome",
            PropertyId.SERVER_KEEP_ALIVE: 10,
            PropertyId.MAXIMUM_QOS: 1,
            PropertyId.RECEIVE_MAXIMUM: 77,
        },
        (("a", "b"),),
    )
    data = encode(Connack(properties=properties), Version.MQTT_5)
    bounds = wire.split_packet(data, 0)
    assert bounds is not None
    assert wire.connack(data[bounds[1] : bounds[2]], 5) == (0, 77)


def test_connack_without_it() -> None:
    assert wire.connack(b"\x00\x05", 4) == (5, None)
    assert wire.connack(b"\x00\x00\x00", 5) == (0, None)
