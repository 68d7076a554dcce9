"""04-deliver: PUBLISH to subscribers, on a live broker (MQTT 5.0 §3.3, §4.3, §4.6, §4.9)."""

from __future__ import annotations

import pytest

from . import builder as b
from .raw_client import Address, RawClient

VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])


@VERSIONS
@pytest.mark.parametrize(("published", "granted"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_04_deliver_qos(broker: Address, version: int, published: int, granted: int) -> None:
    """The lower of the two, without RETAIN and DUP.

    [MQTT5-2.2.1-2, 3.3.1-2, -3, -12, 3.8.4-8, 4.3.1-1, 4.3.2-2, 4.5.0-1] [MQTT3-2.3.1-5, 3.3.1-2, -3, -9,
    3.8.4-6, 4.3.1-1, 4.3.2-1, 4.5.0-1]
    """
    with RawClient(broker, version) as subscriber, RawClient(broker, version) as publisher:
        subscriber.connect("04-qos-sub")
        publisher.connect("04-qos-pub")
        subscriber.subscribe(("04/qos", granted))
        ident = 77 if published else None
        data = b.publish(
            "04/qos", b"\x00\xff", qos=published, packet_id=ident, properties=publisher.no_properties
        )
        publisher.send(data)
        message = subscriber.message()
        assert (message.topic, message.payload, message.qos) == (
            "04/qos",
            b"\x00\xff",
            min(published, granted),
        )
        assert not message.retain
        assert not message.dup
        if message.packet_id is not None:
            subscriber.send(b.ack(b.PUBACK, message.packet_id))
        subscriber.ping()


@pytest.mark.parametrize(("sender", "receiver"), [(3, 5), (4, 5), (5, 4), (5, 3), (5, 5)])
def test_04_deliver_between_versions(broker: Address, sender: int, receiver: int) -> None:
    """A message crosses versions; what 3.x can't carry is left out."""
    with RawClient(broker, receiver) as subscriber, RawClient(broker, sender) as publisher:
        subscriber.connect("04-versions-sub")
        publisher.connect("04-versions-pub")
        subscriber.subscribe(("04/versions", 1))
        properties = b.ptext(0x03, "text/plain") if sender == 5 else None
        publisher.publish("04/versions", b"x", properties=properties)
        message = subscriber.message()
        assert message.payload == b"x"
        expected = (b.ptext(0x03, "text/plain") if sender == 5 else b"") if receiver == 5 else None
        assert message.properties == expected


def test_04_deliver_properties(broker: Address) -> None:
    """Passed on unaltered, user properties in their order. [MQTT5-3.3.2-4, -15, -16, -17, -18, -20]"""
    properties = b"".join(
        (
            b.p8(0x01, 1),
            b.ptext(0x03, "text/plain"),
            b.ptext(0x08, "04/answer"),
            b.ptext(0x09, b"\x00\x01"),
            b.puser("b", "1"),
            b.puser("a", "2"),
            b.puser("b", "1"),
        )
    )
    with RawClient(broker, 5) as client:
        client.connect("04-properties")
        client.subscribe(("04/properties", 0))
        client.send(b.publish("04/properties", b"x", properties=properties))
        message = client.message()
        assert message.properties is not None
        left = message.properties
        for one in (
            b.p8(0x01, 1),
            b.ptext(0x03, "text/plain"),
            b.ptext(0x08, "04/answer"),
            b.ptext(0x09, b"\x00\x01"),
        ):
            assert left.count(one) == 1
            left = left.replace(one, b"")
        assert left == b.puser("b", "1") + b.puser("a", "2") + b.puser("b", "1")


@VERSIONS
def test_04_deliver_order(broker: Address, version: int) -> None:
    """Per topic in the order they were published. [MQTT5-4.6.0-5, -6] [MQTT3-4.6.0-5, -6]"""
    count = 200
    with RawClient(broker, version) as subscriber, RawClient(broker, version) as publisher:
        subscriber.connect("04-order-sub")
        publisher.connect("04-order-pub")
        subscriber.subscribe(("04/order/+", 0))
        publisher.send(
            *(
                b.publish(
                    "04/order/x",
                    str(at).encode(),
                    qos=1,
                    packet_id=at + 1,
                    properties=publisher.no_properties,
                )
                for at in range(count)
            )
        )
        assert [int(subscriber.message().payload) for _ in range(count)] == list(range(count))


@VERSIONS
def test_04_deliver_once_for_overlapping(broker: Address, version: int) -> None:
    """A server may send one copy for overlapping subscriptions, at the highest QoS (§3.3.4).

    [MQTT5-3.3.4-2] [MQTT3-3.3.5-1]
    """
    with RawClient(broker, version) as client:
        client.connect("04-overlap")
        client.subscribe(("04/overlap/#", 0), ("04/overlap/+", 1), ("04/+/x", 0))
        with RawClient(broker, version) as publisher:
            publisher.connect("04-overlap-pub")
            publisher.publish("04/overlap/x")
        message = client.message()
        assert message.qos == 1
        client.ping()


def test_04_deliver_receive_maximum(broker: Address) -> None:
    """Never more unacknowledged than the client takes; the next goes out with each PUBACK.

    [MQTT5-3.3.4-9, -10, 4.3.2-3, 4.9.0-1, -2, -3]
    """
    with RawClient(broker, 5) as client, RawClient(broker, 5) as publisher:
        client.connect("04-window", properties=b.p16(0x21, 2))
        client.subscribe(("04/window", 1))
        publisher.connect("04-window-pub")
        for at in range(5):
            publisher.publish("04/window", str(at).encode(), at + 1)
        first, second = client.message(), client.message()
        client.ping()
        assert first.packet_id is not None
        assert second.packet_id is not None
        client.send(b.ack(b.PUBACK, first.packet_id))
        third = client.message()
        client.ping()
        assert third.packet_id is not None
        client.send(b.ack(b.PUBACK, second.packet_id), b.ack(b.PUBACK, third.packet_id))
        rest = [client.message(), client.message()]
        assert [m.payload for m in (first, second, third, *rest)] == [b"0", b"1", b"2", b"3", b"4"]


def test_04_deliver_maximum_packet_size(broker: Address) -> None:
    """What is too large for the client is not sent, as if it had been. [MQTT5-3.1.2-24, -25]"""
    with RawClient(broker, 5) as client, RawClient(broker, 5) as publisher:
        client.connect("04-size", properties=b.p32(0x27, 100))
        client.subscribe(("04/size", 0))
        publisher.connect("04-size-pub")
        publisher.publish("04/size", bytes(200))
        publisher.publish("04/size", b"small", 2)
        assert client.message().payload == b"small"


@VERSIONS
def test_04_deliver_packet_ids(broker: Address, version: int) -> None:
    """Identifiers in flight differ from each other. [MQTT5-2.2.1-4, 4.3.2-1] [MQTT3-2.3.1-4, 4.3.2-1]"""
    with RawClient(broker, version) as client, RawClient(broker, version) as publisher:
        client.connect("04-ids")
        client.subscribe(("04/ids", 1))
        publisher.connect("04-ids-pub")
        for at in range(10):
            publisher.publish("04/ids", packet_id=at + 1)
        assert len({client.message().packet_id for _ in range(10)}) == 10


@VERSIONS
def test_04_deliver_unknown_puback(broker: Address, version: int) -> None:
    """A PUBACK for nothing is not an error that would have to end the connection."""
    with RawClient(broker, version) as client:
        client.connect("04-unknown")
        client.send(b.ack(b.PUBACK, 4711))
        client.ping()


def test_04_deliver_only_after_subscribing(broker: Address) -> None:
    """§3.8.4: messages from before a subscription are not part of it, unless they were retained."""
    with RawClient(broker, 4) as client:
        client.connect("04-late")
        client.publish("04/late", b"before")
        client.subscribe(("04/late", 1))
        client.ping()
