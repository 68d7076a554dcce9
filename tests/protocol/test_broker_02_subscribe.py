"""02-subscribe: SUBSCRIBE and UNSUBSCRIBE on a live broker (MQTT 5.0 §3.8 to §3.11, §4.7, §4.8)."""

from __future__ import annotations

import pytest

from . import builder as b
from .raw_client import Address, RawClient

VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_02_subscribe_qos(broker: Address, version: int, qos: int) -> None:
    """Granted as asked for.

    [MQTT5-2.2.1-6, 3.8.4-1, -2, -7, 3.9.3-2] [MQTT3-2.3.1-7, 3.8.4-1, -2, -5, 3.9.3-2]
    """
    with RawClient(broker, version) as client:
        client.connect("02-qos")
        assert client.subscribe(("02/qos", qos)) == bytes((qos,))


@VERSIONS
def test_02_subscribe_many(broker: Address, version: int) -> None:
    """One reason code for each filter, in their order.

    [MQTT5-3.8.4-5, -6, 3.9.3-1] [MQTT3-3.8.4-4, -5, 3.9.3-1]
    """
    with RawClient(broker, version) as client:
        client.connect("02-many")
        assert client.subscribe(("02/a", 0), ("02/b", 1), ("02/+/c", 0), ("02/#", 1)) == b"\0\1\0\1"


@pytest.mark.parametrize("version", [4, 5])
def test_02_subscribe_not_authorized(broker: Address, version: int) -> None:
    """A device sees its own topics, not the others' (§3.9.3).

    [MQTT5-3.8.4-7, 3.9.3-1, -2] [MQTT3-3.8.4-5, 3.9.3-1, -2]
    """
    with RawClient(broker, version) as client:
        client.connect("02-device", username="press-4")
        codes = client.subscribe(("dm/press-4/#", 1), ("dm/press-5/#", 1), ("#", 1), ("dm/+/x", 1))
        assert codes == (b"\1\x87\x87\x87" if version == 5 else b"\1\x80\x80\x80")


@VERSIONS
@pytest.mark.parametrize(
    ("case", "options", "filters", "codes"),
    [
        ("none", 0, [], [0x82]),
        ("empty-filter", 0, [""], [0x8F, 0x81, 0x82]),
        ("hash-inside", 0, ["a/#/b"], [0x8F, 0x81]),
        ("hash-with-text", 0, ["a#"], [0x8F, 0x81]),
        ("plus-with-text", 0, ["a+/b"], [0x8F, 0x81]),
        ("qos-3", 3, ["a"], [0x82, 0x81]),
        ("reserved-bits", 0xC0, ["a"], [0x81]),
        ("not-utf8", 0, [b"\xff"], [0x81]),
        ("nul", 0, ["a\0"], [0x81]),
    ],
)
def test_02_subscribe_malformed(
    broker: Address,
    bystander: RawClient,
    version: int,
    case: str,
    options: int,
    filters: list[str | bytes],
    codes: list[int],
) -> None:
    """[MQTT5-1.5.4-1, -2, 3.8.3-1, -2, -5, 4.7.1-1, -2, 4.7.3-1, -2, 4.13.1-1] [MQTT3-1.5.3-1, -2, 3.8.3-1,
    -3, -4, 4.7.1-2, -3, 4.7.3-1, -2, 4.8.0-1]
    """
    with RawClient(broker, version) as client:
        client.connect("02-malformed")
        client.send(b.subscribe(1, *((each, options) for each in filters), properties=client.no_properties))
        client.expect_disconnect(*codes)
    bystander.ping()


@VERSIONS
def test_02_subscribe_packet_id_0(broker: Address, version: int) -> None:
    """[MQTT5-2.2.1-3] [MQTT3-2.3.1-1]"""
    with RawClient(broker, version) as client:
        client.connect("02-zero")
        client.send(b.subscribe(0, ("a", 0), properties=client.no_properties))
        client.expect_disconnect(0x82, 0x81)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("first", [0x80, 0x8A, 0xA0, 0xAA])
def test_02_subscribe_flags(broker: Address, version: int, first: int) -> None:
    """[MQTT5-2.1.3-1, 3.8.1-1, 3.10.1-1] [MQTT3-2.2.2-1, -2, 3.8.1-1, 3.10.1-1]"""
    properties = b"\0" if version == 5 else b""
    tail = b.u8(0) if first < 0xA0 else b""
    with RawClient(broker, version) as client:
        client.connect("02-flags")
        client.send(b.packet(first, b.u16(1), properties, b.text("a"), tail))
        client.expect_disconnect(0x81)


@VERSIONS
def test_02_unsubscribe(broker: Address, version: int) -> None:
    """Deliveries stop; MQTT 5 says for each filter whether it existed.

    [MQTT5-2.2.1-6, 2.2.2-1, 3.10.4-1, -2, -4, -5, -6, 3.11.3-1, -2] [MQTT3-2.3.1-7, 3.10.4-1, -2, -4, -5,
    -6]
    """
    with RawClient(broker, version) as client:
        client.connect("02-unsubscribe")
        client.subscribe(("02/u/#", 1))
        client.send(b.unsubscribe(4, "02/u/#", "02/never", properties=client.no_properties))
        client.expect(b.unsuback(4, 0x00, 0x11, properties=b"") if version == 5 else b.unsuback(4))
        client.publish("02/u/x")
        client.ping()


@VERSIONS
def test_02_unsubscribe_is_exact(broker: Address, version: int) -> None:
    """Filters are compared character by character. [MQTT5-3.10.4-1] [MQTT3-3.10.4-1]"""
    with RawClient(broker, version) as client:
        client.connect("02-exact")
        client.subscribe(("02/x/+", 0))
        client.send(b.unsubscribe(4, "02/x/y", properties=client.no_properties))
        client.expect_kind(b.UNSUBACK)
        client.send(b.publish("02/x/y", b"still", properties=client.no_properties))
        assert client.message().payload == b"still"


@VERSIONS
def test_02_unsubscribe_empty(broker: Address, version: int) -> None:
    """[MQTT5-3.10.3-2] [MQTT3-3.10.3-2]"""
    with RawClient(broker, version) as client:
        client.connect("02-nothing")
        client.send(b.unsubscribe(1, properties=client.no_properties))
        client.expect_disconnect(0x82)


@VERSIONS
def test_02_subscribe_again_replaces(broker: Address, version: int) -> None:
    """The same filter again is one subscription, with the new QoS. [MQTT5-3.8.4-3] [MQTT3-3.8.4-3]"""
    with RawClient(broker, version) as client:
        client.connect("02-again")
        client.subscribe(("02/again", 1))
        client.subscribe(("02/again", 0))
        client.send(b.publish("02/again", b"1", properties=client.no_properties), b.PINGREQ_PACKET)
        message = [p for p in (client.receive(), client.receive()) if p and p.kind == b.PUBLISH]
        assert len(message) == 1


def test_02_subscribe_no_local(broker: Address) -> None:
    """What a client publishes itself doesn't come back to it, and does to others. [MQTT5-3.8.3-3]"""
    with RawClient(broker, 5) as client, RawClient(broker, 5) as other:
        client.connect("02-nolocal")
        client.subscribe(("02/nolocal", 0x04 | 1))
        other.connect("02-other")
        other.subscribe(("02/nolocal", 1))
        client.publish("02/nolocal", b"mine")
        assert other.message().payload == b"mine"
        client.ping()
        other.send(b.publish("02/nolocal", b"theirs", properties=b""))
        assert client.message().payload == b"theirs"


MATCHING = [
    ("02/m/a", "02/m/a", True),
    ("02/m/+", "02/m/a", True),
    ("02/m/+", "02/m/", True),
    ("02/m/+", "02/m/a/b", False),
    ("02/m/#", "02/m", True),
    ("02/m/#", "02/m/a/b", True),
    ("02/+/+/c", "02/a/b/c", True),
    ("/02/m", "02/m", False),
    ("+/m", "02/m", True),
    ("#", "02/m", True),
    ("02//m", "02//m", True),
    ("02/+/m", "02//m", True),
    ("02/M", "02/m", False),
    ("#", "$02/m", False),
    ("+/m", "$02/m", False),
    ("$02/#", "$02/m", True),
    ("$02/+", "$02/m", True),
]


@pytest.mark.parametrize(("topic_filter", "topic", "expected"), MATCHING)
def test_02_subscribe_matching(broker: Address, topic_filter: str, topic: str, expected: bool) -> None:
    """Wildcards, levels, case, and topics that begin with $ (§4.7).

    [MQTT5-3.3.2-3, 4.7.0-1, 4.7.1-1, -2, 4.7.2-1, 4.7.3-4] [MQTT3-3.3.2-3, 4.7.1-1, -2, -3, 4.7.2-1,
    4.7.3-4]
    """
    with RawClient(broker, 4) as client:
        client.connect("02-matching")
        client.subscribe((topic_filter, 0), ("02/end", 0))
        client.send(b.publish(topic, b"x"), b.publish("02/end", b""))
        topics = [client.message().topic]
        while topics[-1] != "02/end":
            topics.append(client.message().topic)
        assert (topic in topics) is expected
