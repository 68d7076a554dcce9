"""01-connect: CONNECT and CONNACK, on a live broker (MQTT 5.0 §3.1, §3.2; MQTT 3.1.1 §3.1, §3.2)."""

from __future__ import annotations

import pytest

from . import builder as b
from .raw_client import Address, RawClient, connect_packet

VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])


def properties_of(connack: bytes) -> dict[int, bytes]:
    """The properties of a CONNACK's body: identifier to raw value."""
    sizes = {0x11: 4, 0x13: 2, 0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1}
    assert connack[2] == len(connack) - 3
    found: dict[int, bytes] = {}
    at = 3
    while at < len(connack):
        identifier, at = connack[at], at + 1
        size = sizes.get(identifier) or 2 + int.from_bytes(connack[at : at + 2], "big")
        assert identifier not in found
        found[identifier], at = connack[at : at + size], at + size
    return found


@VERSIONS
def test_01_connect_success(broker: Address, version: int) -> None:
    """A CONNACK that says yes, without flags and session present, and nothing else.

    [MQTT5-3.1.4-5, 3.2.0-2, 3.2.2-1, -2, -8, 4.2.0-1] [MQTT3-3.1.4-4, 3.2.2-1, 7.1.1-1]
    """
    with RawClient(broker, version) as client:
        connack = client.connect("01-success")
        assert version == 5 or connack.body == b"\0\0"
        client.ping()


@VERSIONS
def test_01_connect_byte_by_byte(broker: Address, version: int) -> None:
    """A packet is what its length says, however it arrives (§2)."""
    with RawClient(broker, version) as client:
        for byte in connect_packet("01-bytes", version) + b.PINGREQ_PACKET:
            client.send(bytes((byte,)))
        assert client.expect_kind(b.CONNACK).body[:2] == b"\0\0"
        client.expect(b.PINGRESP_PACKET)


@VERSIONS
def test_01_connect_followed_at_once(broker: Address, version: int) -> None:
    """Clients may send before CONNACK; nothing of it may be lost, come out of order or be answered before.

    [MQTT5-3.2.0-1, -2] [MQTT3-3.2.0-1]
    """
    no_properties = b"" if version == 5 else None
    with RawClient(broker, version) as client:
        client.send(
            connect_packet("01-eager", version),
            b.subscribe(9, ("01/eager", 1), properties=no_properties),
            b.publish("01/eager", b"x", qos=1, packet_id=3, properties=no_properties),
            b.PINGREQ_PACKET,
        )
        assert client.expect_kind(b.CONNACK).body[:2] == b"\0\0"
        assert client.expect_kind(b.SUBACK).body[-1] == 1
        kinds = sorted(client.expect_kind(kind).kind for kind in received_kinds(client, 3))
        assert kinds == [b.PUBLISH, b.PUBACK, b.PINGRESP]


def received_kinds(client: RawClient, count: int) -> list[int]:
    """Put the next packets back in front and tell what they are."""
    packets = [client.receive() for _ in range(count)]
    assert None not in packets
    client._buffer = b"".join(b.packet(p.first, p.body) for p in packets if p) + client._buffer
    return [p.kind for p in packets if p]


def test_01_connect_announces_its_limits(broker: Address) -> None:
    """Nothing of MQTT 5 is unavailable; what is bounded is said (§3.2.2.3)."""
    with RawClient(broker, 5) as client:
        properties = properties_of(client.connect("01-limits").body)
    assert 0x24 not in properties  # Maximum QoS 2
    for available in (
        0x25,
        0x28,
        0x29,
        0x2A,
    ):  # retain, wildcards, subscription identifiers, shared subscriptions
        assert properties.get(available, b"\x01") == b"\x01"
    assert int.from_bytes(properties[0x22], "big") >= 1  # topic aliases
    assert int.from_bytes(properties[0x21], "big") >= 1
    assert int.from_bytes(properties[0x27], "big") >= 1024


def test_01_connect_assigned_client_id(broker: Address) -> None:
    """A client id that is unique, and told. [MQTT5-3.1.3-6, -7, 3.2.2-16]"""
    with RawClient(broker, 5) as one, RawClient(broker, 5) as two:
        ids = {properties_of(client.connect("").body)[0x12] for client in (one, two)}
        assert len(ids) == 2
        assert all(len(each) > 2 for each in ids)
        one.ping()
        two.ping()


def test_01_connect_empty_client_id_3_1_1(broker: Address) -> None:
    """With a clean session, and without. [MQTT3-3.1.3-6, -7, -8]"""
    with RawClient(broker, 4) as client:
        client.connect("")
        client.ping()
    with RawClient(broker, 4) as client:
        client.send(connect_packet("", 4, clean=False))
        packet = client.receive()
        assert packet is None or packet.body[1] in (2, 3)
        assert packet is None or client.receive() is None


@pytest.mark.parametrize("version", [4, 5])
def test_01_connect_bad_password(broker: Address, version: int) -> None:
    """Refused with a reason, without a session, and closed (§3.1.4).

    [MQTT5-3.1.4-2, 3.2.2-6, -7, -8, 3.14.0-1, 4.13.2-1] [MQTT3-3.2.2-4, -5]
    """
    with RawClient(broker, version) as client:
        client.send(connect_packet("01-wrong", version, password=b"wrong"))
        assert client.expect_kind(b.CONNACK).body[:2] == (b"\0\x86" if version == 5 else b"\0\x04")
        client.expect_closed()


@pytest.mark.parametrize(("name", "level"), [("MQTT", 6), ("MQTT", 3), ("MQTT", 0)])
def test_01_connect_unsupported_version(broker: Address, name: str, level: int) -> None:
    """CONNACK 0x84 or, in the words of 3.1.1, 0x01; then closed. [MQTT5-3.1.2-2] [MQTT3-3.1.2-2]"""
    with RawClient(broker, 4) as client:
        client.send(b.packet(b.CONNECT, b.text(name), b.u8(level), b.u8(2), b.u16(0), b.text("01-level")))
        assert client.expect_kind(b.CONNACK).body[1] in (0x01, 0x84)
        client.expect_closed()


@pytest.mark.parametrize("name", ["MQTTX", "mqtt", ""])
def test_01_connect_wrong_name(broker: Address, name: str) -> None:
    """[MQTT5-3.1.2-1] [MQTT3-3.1.2-1]"""
    with RawClient(broker, 4) as client:
        client.send(b.connect("01-name", name=name))
        packet = client.receive()
        assert packet is None or packet.body[1] in (0x01, 0x84)
        assert packet is None or client.receive() is None


W = b.will_fields("w", b"", properties=b"")


@pytest.mark.parametrize(
    ("case", "data", "codes"),
    [
        ("reserved-flag", b.connect(version=5, flags=0x03), [0x81]),
        ("will-qos-without-will", b.connect(version=5, flags=0x0A), [0x81]),
        ("will-retain-without-will", b.connect(version=5, flags=0x22), [0x81]),
        ("will-qos-3", b.connect(version=5, will=W, will_flags=0x1C), [0x81]),
        ("flags-without-fields", b.connect(version=5, flags=0xC2), [0x81]),
        ("fields-without-flags", b.connect(version=5, will=W), [0x81]),
        ("will-flag-without-will", b.connect(version=5, flags=0x06), [0x81]),
        ("user-name-without-its-flag", b.connect(version=5, flags=2, username="site"), [0x81]),
        ("password-without-its-flag", b.connect(version=5, flags=0x82, username="s", password=b"t"), [0x81]),
        ("user-name-not-utf8", b.connect(version=5, username=b"\xff"), [0x81]),
        (
            "will-topic-not-utf8",
            b.connect(version=5, will=b.will_fields(b"\xff", b"", properties=b""), will_flags=4),
            [0x81],
        ),
        ("client-id-missing", b.packet(b.CONNECT, b.text("MQTT"), b"\x05\x02\0\0\0"), [0x81]),
        (
            "client-id-not-first",
            b.packet(b.CONNECT, b.text("MQTT"), b"\x05\x82\0\0\0", b.text(b"\xff"), b.text("c")),
            [0x81],
        ),
        ("client-id-not-utf8", b.connect(b"\xff", version=5), [0x81]),
        ("client-id-with-nul", b.connect(b"a\0b", version=5), [0x81]),
        ("duplicate-property", b.connect(version=5, properties=b.p16(0x21, 1) * 2), [0x82]),
        ("foreign-property", b.connect(version=5, properties=b.p16(0x23, 1)), [0x81]),
        ("receive-maximum-0", b.connect(version=5, properties=b.p16(0x21, 0)), [0x82]),
        ("maximum-packet-size-0", b.connect(version=5, properties=b.p32(0x27, 0)), [0x82]),
        ("auth-data-without-method", b.connect(version=5, properties=b.ptext(0x16, b"x")), [0x82]),
        (
            "will-topic-wildcard",
            b.connect(version=5, will=b.will_fields("#", b"", properties=b""), will_flags=4),
            [0x90],
        ),
        ("client-id-too-long", b.connect("x" * 300, version=5), [0x85]),
        ("cut-short", b.packet(b.CONNECT, b.text("MQTT"), b"\x05"), [0x81]),
        ("property-length-too-long", b.packet(b.CONNECT, b.text("MQTT"), b"\x05\x02\0\0\x7f\0\x01c"), [0x81]),
    ],
)
def test_01_connect_malformed(
    broker: Address, bystander: RawClient, case: str, data: bytes, codes: list[int]
) -> None:
    """Closed before anything is done; a CONNACK with the reason may come first (§4.13).

    [MQTT5-1.5.4-1, -2, 3.1.2-3, -9, -11, -12, -13, -16, -17, -18, -19, 3.1.3-1, -3, -4, -8, -11, -12,
    3.1.4-1, 3.2.2-8, 3.14.0-1, 4.13.1-1]
    """
    with RawClient(broker, 5) as client:
        client.send(data)
        packet = client.receive()
        assert packet is None or (
            packet.kind == b.CONNACK and packet.body[0] == 0 and packet.body[1] in codes
        ), case
        assert packet is None or client.receive() is None
    bystander.ping()


def test_01_connect_duplicate(broker: Address) -> None:
    """[MQTT5-3.1.0-2] [MQTT3-3.1.0-2, 4.8.0-1]"""
    for version in (4, 5):
        with RawClient(broker, version) as client:
            client.connect("01-twice")
            client.send(connect_packet("01-twice", version))
            client.expect_disconnect(0x82)


@pytest.mark.parametrize(
    "first",
    [b.publish("a"), b.PINGREQ_PACKET, b.subscribe(1, ("#", 0)), b.disconnect(), b"GET / HTTP/1.1\r\n\r\n"],
)
def test_01_connect_not_first(broker: Address, first: bytes) -> None:
    """[MQTT5-3.1.0-1, 3.14.0-1] [MQTT3-3.1.0-1]"""
    with RawClient(broker, 4) as client:
        client.send(first)
        client.expect_closed()


def test_01_connect_authentication_method(broker: Address) -> None:
    """A method that is not offered (§4.12). [MQTT5-4.12.0-1]"""
    with RawClient(broker, 5) as client:
        client.send(connect_packet("01-auth", 5, properties=b.ptext(0x15, "SCRAM-SHA-256")))
        assert client.expect_kind(b.CONNACK).body[1] == 0x8C
        client.expect_closed()


@VERSIONS
def test_01_connect_takeover(broker: Address, version: int) -> None:
    """The older connection ends, in MQTT 5 with session taken over.

    [MQTT5-3.1.3-2, 3.1.4-3, 4.13.2-1] [MQTT3-3.1.3-2, 3.1.4-2]
    """
    with RawClient(broker, version) as older, RawClient(broker, version) as newer:
        older.connect("01-takeover")
        newer.connect("01-takeover")
        older.expect_disconnect(0x8E)
        newer.ping()
