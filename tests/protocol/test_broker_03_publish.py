"""03-publish: PUBLISH from a client, on a live broker (MQTT 5.0 §3.3, §3.4, §4.3; MQTT 3.1.1 §3.3, §3.4)."""

from __future__ import annotations

import pytest

from . import builder as b
from .raw_client import Address, RawClient

VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])


@VERSIONS
def test_03_publish_qos_0(broker: Address, version: int) -> None:
    """No answer (table 3-3). [MQTT5-2.2.1-2, 3.3.4-1] [MQTT3-2.3.1-5, 3.3.4-1]"""
    with RawClient(broker, version) as client:
        client.connect("03-qos0")
        client.send(b.publish("03/qos0", properties=client.no_properties))
        client.ping()


@VERSIONS
@pytest.mark.parametrize("packet_id", [1, 0x1234, 0xFFFF])
def test_03_publish_qos_1(broker: Address, version: int, packet_id: int) -> None:
    """PUBACK with the same packet identifier.

    [MQTT5-2.2.1-5, 3.3.4-1, 3.4.2-1, 4.3.2-4] [MQTT3-2.3.1-6, 3.3.4-1, 4.3.2-2]
    """
    with RawClient(broker, version) as client:
        client.connect("03-qos1")
        client.publish("03/qos1", packet_id=packet_id)


@VERSIONS
def test_03_publish_dup(broker: Address, version: int) -> None:
    """A message that comes again is a message; its DUP isn't passed on.

    [MQTT5-3.3.1-3, 4.3.2-5] [MQTT3-3.3.1-3, 4.3.2-2]
    """
    with RawClient(broker, version) as client:
        client.connect("03-dup")
        client.subscribe(("03/dup", 1))
        no_properties = client.no_properties
        client.send(b.publish("03/dup", b"x", qos=1, dup=True, packet_id=5, properties=no_properties))
        packets = [client.receive(), client.receive()]
        assert {p.kind for p in packets if p} == {b.PUBACK, b.PUBLISH}
        assert all(not p.first & 8 for p in packets if p and p.kind == b.PUBLISH)


@VERSIONS
def test_03_publish_many_at_once(broker: Address, version: int) -> None:
    """PUBACKs come in the order of their PUBLISHes; none is missing. [MQTT5-4.6.0-2] [MQTT3-4.6.0-2]"""
    count = 300
    with RawClient(broker, version) as client:
        client.connect("03-many")
        packets = [
            b.publish(
                f"03/many/{at % 7}", bytes(at), qos=1, packet_id=at + 1, properties=client.no_properties
            )
            for at in range(count)
        ]
        client.send(*packets, b.PINGREQ_PACKET)
        answers = [client.receive() for _ in range(count + 1)]
        acknowledged = [int.from_bytes(p.body[:2], "big") for p in answers if p and p.kind == b.PUBACK]
        assert acknowledged == list(range(1, count + 1))


@VERSIONS
def test_03_publish_byte_by_byte(broker: Address, version: int) -> None:
    """§2.1: a packet cut anywhere."""
    with RawClient(broker, version) as client:
        client.connect("03-bytes")
        for packet_id in (1, 2):
            data = b.publish("03/bytes", b"xyz", qos=1, packet_id=packet_id, properties=client.no_properties)
            for byte in data:
                client.send(bytes((byte,)))
            client.expect_puback(packet_id)


@VERSIONS
def test_03_publish_large(broker: Address, version: int) -> None:
    """§2.1.4: remaining lengths of two, three and four bytes."""
    with RawClient(broker, version) as client:
        client.connect("03-large")
        for packet_id, size in enumerate((127, 128, 16_384, 500_000), start=1):
            client.publish("03/large", bytes(size), packet_id)


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1])
def test_03_publish_retain(broker: Address, bystander: RawClient, version: int, qos: int) -> None:
    """Kept for subscribers to come, with its QoS; a subscription is sent it again each time it is made.

    [MQTT5-3.3.1-5, -6, -7, -8, -9, 3.8.4-4] [MQTT3-3.3.1-5, -6, -7, -8, -10, -11, -12, 3.8.4-3]
    """
    with RawClient(broker, version) as client:
        client.connect("03-retain")
        topic, ident = f"03/retain/{version}/{qos}", 1 if qos else None

        def retain(payload: bytes) -> None:
            client.send(
                b.publish(
                    topic, payload, qos=qos, retain=True, packet_id=ident, properties=client.no_properties
                )
            )
            if qos:
                client.expect_puback(1)
            client.publish("03/barrier", b"")

        retain(b"first")
        retain(b"last")
        client.publish(topic, b"passing by")
        for _ in range(2):
            client.subscribe((topic, 1))
            message = client.message()
            assert (message.topic, message.payload, message.qos, message.retain) == (
                topic,
                b"last",
                qos,
                True,
            )
            if message.qos:
                client.send(b.ack(b.PUBACK, message.packet_id or 0))
        client.send(b.unsubscribe(9, topic, properties=client.no_properties))
        client.expect_kind(b.UNSUBACK)
        retain(b"")
        client.subscribe((topic, 1))
        client.ping()


NOT_A_TOPIC = [0x90, 0x81, 0x82]


@VERSIONS
@pytest.mark.parametrize(
    ("case", "topic", "codes"),
    [
        ("plus", "03/+", NOT_A_TOPIC),
        ("hash", "#", NOT_A_TOPIC),
        ("empty", "", [0x82, 0x90, 0x94]),
        ("nul", "03/\0", [0x81]),
        ("not-utf8", b"03/\xff", [0x81]),
        ("surrogate", b"03/\xed\xa0\x80", [0x81]),
        ("too-many-levels", "/".join("x" * 40), NOT_A_TOPIC),
    ],
)
@pytest.mark.parametrize("qos", [0, 1])
def test_03_publish_topic(
    broker: Address,
    bystander: RawClient,
    version: int,
    case: str,
    topic: str | bytes,
    codes: list[int],
    qos: int,
) -> None:
    """[MQTT5-1.5.4-1, -2, 3.3.2-1, -2, 4.7.0-1, 4.7.3-1, -2, 4.13.1-1] [MQTT3-1.5.3-1, -2, 3.3.2-1, -2,
    4.7.1-1, 4.7.3-1, -2, 4.8.0-1]
    """
    with RawClient(broker, version) as client:
        client.connect("03-topic")
        client.send(b.publish(topic, qos=qos, packet_id=1 if qos else None, properties=client.no_properties))
        client.expect_disconnect(*codes)


@VERSIONS
@pytest.mark.parametrize(
    ("case", "first", "head", "codes"),
    [
        ("qos-3", 0x36, b"\x00\x01a\x00\x01", [0x81]),
        ("dup-qos-0", 0x38, b"\x00\x01a", [0x81, 0x82]),
        ("packet-id-0", 0x32, b"\x00\x01a\x00\x00", [0x82, 0x81]),
        ("topic-beyond-end", 0x30, b"\x00\x7fa", [0x81]),
        ("no-topic-length", 0x30, b"\x00", [0x81]),
        ("no-packet-id", 0x32, b"\x00\x01a\x00", [0x81]),
        ("nothing", 0x30, b"", [0x81]),
        ("no-property-length", 0x30, b"\x00\x01a", [0x81]),
    ],
)
def test_03_publish_malformed(
    broker: Address, bystander: RawClient, version: int, case: str, first: int, head: bytes, codes: list[int]
) -> None:
    """[MQTT5-2.2.1-3, 2.2.2-1, 3.3.1-2, -4, 4.13.1-1] [MQTT3-2.3.1-1, 3.3.1-2, -4, 4.8.0-1]"""
    if case == "no-property-length" and version != 5:
        return  # There it is a message without payload.
    cut_short = case in (
        "topic-beyond-end",
        "no-topic-length",
        "no-packet-id",
        "nothing",
        "no-property-length",
    )
    with RawClient(broker, version) as client:
        client.connect("03-malformed")
        client.send(b.packet(first, head, b"\0" if version == 5 and not cut_short else b""))
        client.expect_disconnect(*codes)


@pytest.mark.parametrize(
    ("case", "properties", "codes"),
    [
        ("topic-alias-above-maximum", b.p16(0x23, 0xFFFF), [0x94]),
        ("topic-alias-0", b.p16(0x23, 0), [0x94, 0x82]),
        ("subscription-identifier", b.pvar(0x0B, 1), [0x82]),
        ("response-topic-wildcard", b.ptext(0x08, "a/#"), [0x82, 0x90]),
        ("payload-format-2", b.p8(0x01, 2), [0x82, 0x81]),
        ("content-type-twice", b.ptext(0x03, "a") * 2, [0x82]),
        ("foreign", b.p16(0x21, 1), [0x81, 0x82]),
        ("unknown", b"\x7f\x00", [0x81]),
        ("cut-short", b"\x02\x00", [0x81]),
        ("text-not-utf8", b.ptext(0x03, b"\xff"), [0x81]),
        ("response-topic-not-utf8", b.ptext(0x08, b"\xff"), [0x81]),
        ("user-not-utf8", b.puser("k", b"\xff"), [0x81]),
        ("too-many-user-properties", b.puser("k", "v") * 100, [0x97]),
    ],
)
def test_03_publish_properties_refused(
    broker: Address, bystander: RawClient, case: str, properties: bytes, codes: list[int]
) -> None:
    """What properties of a PUBLISH may not be (§3.3.2.3).

    [MQTT5-1.5.4-1, 1.5.7-1, 3.3.2-8, -9, -13, -14, -19, 3.3.4-6, 3.2.2-17]
    """
    with RawClient(broker, 5) as client:
        client.connect("03-properties")
        client.send(b.publish("03/p", properties=properties))
        client.expect_disconnect(*codes)


def test_03_publish_topic_alias_alone(broker: Address) -> None:
    """§3.3.2.3.4: an alias instead of a topic, never set up."""
    with RawClient(broker, 5) as client:
        client.connect("03-alias")
        client.send(b.publish("", properties=b.p16(0x23, 1)))
        client.expect_disconnect(0x94, 0x82)


@pytest.mark.parametrize("version", [4, 5])
def test_03_publish_too_large(broker: Address, bystander: RawClient, version: int) -> None:
    """Refused at the header; the rest isn't waited for. [MQTT5-3.2.2-15]"""
    with RawClient(broker, version) as client:
        client.connect("03-size")
        client.send(b"\x30\xff\xff\xff\x7f\x00\x01a")
        client.expect_disconnect(0x95)


@pytest.mark.parametrize("version", [4, 5])
def test_03_publish_length_of_five_bytes(broker: Address, bystander: RawClient, version: int) -> None:
    """§1.5.5."""
    with RawClient(broker, version) as client:
        client.connect("03-length")
        client.send(b"\x30\xff\xff\xff\xff\x01")
        client.expect_disconnect(0x81)


def test_03_publish_not_authorized(broker: Address) -> None:
    """Said in MQTT 5 (§3.4.2.1); 3.1.1 has no word for it, and must acknowledge or close.

    [MQTT5-3.4.2-1] [MQTT3-3.3.5-2]
    """
    with RawClient(broker, 5) as client:
        client.connect("03-device", username="press-4")
        client.send(b.publish("dm/press-5/telemetry", qos=1, packet_id=8, properties=b""))
        answer = client.expect_kind(b.PUBACK)
        assert answer.body[:3] == b"\x00\x08\x87"
        client.publish("dm/press-4/telemetry", packet_id=9)
    with RawClient(broker, 4) as client:
        client.connect("03-device", username="press-4")
        client.send(b.publish("dm/press-5/telemetry", qos=1, packet_id=8))
        client.expect_closed()


def test_03_publish_sys(broker: Address) -> None:
    """§4.7.2: a server decides about topics that begin with $; nobody publishes below $SYS."""
    with RawClient(broker, 5) as client:
        client.connect("03-sys")
        client.send(b.publish("$SYS/broker/uptime", qos=1, packet_id=8, properties=b""))
        assert client.expect_kind(b.PUBACK).body[:3] == b"\x00\x08\x87"
