"""07-qos2: exactly once, both ways, on a live broker (MQTT 5.0 §4.3.3, §3.5 to §3.7; MQTT 3.1.1 §4.3.3)."""

from __future__ import annotations

import pytest

from . import builder as b
from .raw_client import Address, RawClient
from .test_broker_01_connect import properties_of

VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])


def publish(client: RawClient, topic: str, payload: bytes, packet_id: int, *, dup: bool = False) -> None:
    client.send(
        b.publish(topic, payload, qos=2, dup=dup, packet_id=packet_id, properties=client.no_properties)
    )


def received(client: RawClient, topic: str, payload: bytes, packet_id: int) -> None:
    """PUBLISH and its PUBREC."""
    publish(client, topic, payload, packet_id)
    client.expect(b.ack(b.PUBREC, packet_id))


def release(client: RawClient, packet_id: int) -> None:
    """PUBREL and its PUBCOMP."""
    client.send(b.ack(b.PUBREL, packet_id))
    client.expect(b.ack(b.PUBCOMP, packet_id))


@VERSIONS
@pytest.mark.parametrize("granted", [0, 1, 2])
def test_07_qos2_to_a_subscriber(broker: Address, version: int, granted: int) -> None:
    """PUBREC, PUBCOMP; delivered once, at the lower QoS, with PUBREL after each PUBREC.

    [MQTT5-2.2.1-5, 3.3.4-1, 3.5.2-1, 3.6.2-1, 3.7.2-1, 4.3.3-1, -2, -4, -6, -8, -11] [MQTT3-2.3.1-6,
    3.3.4-1, 4.3.3-1, -2]
    """
    topic = f"07/to/{version}/{granted}"
    with RawClient(broker, version) as client, RawClient(broker, version) as subscriber:
        client.connect("07-client")
        subscriber.connect("07-subscriber")
        subscriber.subscribe((topic, granted))
        received(client, topic, b"once", 7)
        release(client, 7)
        message = subscriber.message()
        assert (message.payload, message.qos, message.dup) == (b"once", granted, False)
        if granted == 2:
            assert message.packet_id is not None
            subscriber.send(b.ack(b.PUBREC, message.packet_id))
            subscriber.expect(b.ack(b.PUBREL, message.packet_id))
            subscriber.send(b.ack(b.PUBREC, message.packet_id))
            subscriber.expect(b.ack(b.PUBREL, message.packet_id))
            subscriber.send(b.ack(b.PUBCOMP, message.packet_id))
        elif granted == 1:
            subscriber.send(b.ack(b.PUBACK, message.packet_id or 0))
        subscriber.ping()


@VERSIONS
def test_07_qos2_sent_again(broker: Address, version: int) -> None:
    """The same packet again before PUBREL is answered again, and is no second message.

    [MQTT5-4.3.3-10, -12] [MQTT3-4.3.3-2]
    """
    topic = f"07/again/{version}"
    with RawClient(broker, version) as client:
        client.connect("07-again")
        client.subscribe((topic, 0))
        received(client, topic, b"once", 9)
        assert client.message().payload == b"once"
        for _ in range(2):
            publish(client, topic, b"once", 9, dup=True)
            client.expect(b.ack(b.PUBREC, 9))
        release(client, 9)
        publish(client, topic, b"next", 9, dup=True)
        packets = [client.receive() for _ in range(2)]
        assert {p.kind for p in packets if p} == {b.PUBREC, b.PUBLISH}, "after PUBREL the identifier is free"


@VERSIONS
def test_07_qos2_a_reused_identifier_loses_nothing(broker: Address, version: int) -> None:
    """A client that has lost its state begins at 1 again, without DUP."""
    topic = f"07/reused/{version}"
    with RawClient(broker, version) as client, RawClient(broker, version) as subscriber:
        client.connect("07-reused")
        subscriber.connect("07-reused-subscriber")
        subscriber.subscribe((topic, 0))
        received(client, topic, b"first", 1)
        received(client, topic, b"second", 1)
        release(client, 1)
        assert [subscriber.message().payload for _ in range(2)] == [b"first", b"second"]


@VERSIONS
def test_07_qos2_unknown_identifiers(broker: Address, version: int) -> None:
    """Answered, in MQTT 5 with packet identifier not found (§4.3.3).

    [MQTT5-3.6.2-1, 3.7.2-1, 4.3.3-4, -11] [MQTT3-4.3.3-1, -2]
    """
    with RawClient(broker, version) as client:
        client.connect("07-unknown")
        reason = b.u8(0x92) if version == 5 else b""
        client.send(b.ack(b.PUBREL, 4711))
        client.expect(b.packet(b.PUBCOMP, b.u16(4711), reason))
        client.send(b.ack(b.PUBREC, 4712))
        client.expect(b.packet(b.PUBREL, b.u16(4712), reason))
        client.send(b.ack(b.PUBCOMP, 4713))
        client.ping()


def test_07_qos2_refused_by_the_subscriber(broker: Address) -> None:
    """No PUBREL after a PUBREC of 0x80 or more; the next message takes its place. [MQTT5-4.3.3-4, 4.4.0-2]"""
    with RawClient(broker, 5) as client:
        client.connect("07-refused", properties=b.p16(0x21, 1))
        client.subscribe(("07/refused", 2))
        for packet_id, payload in ((1, b"1"), (2, b"2")):
            publish(client, "07/refused", payload, packet_id)
        packets = [client.receive() for _ in range(3)]
        kinds = sorted(p.kind for p in packets if p)
        assert kinds == [b.PUBLISH, b.PUBREC, b.PUBREC]
        client.send(b.packet(b.PUBREC, b.u16(1), b.u8(0x80)))
        assert client.message().payload == b"2"


@VERSIONS
def test_07_qos2_order_of_answers(broker: Address, version: int) -> None:
    """Answers in the order of the publishes, whatever their QoS (§4.6).

    [MQTT5-4.6.0-2, -3] [MQTT3-4.6.0-2, -3]
    """
    with RawClient(broker, version) as client:
        client.connect("07-order")
        none = client.no_properties
        client.send(
            b.publish("07/o", b"1", qos=1, packet_id=1, properties=none)
            + b.publish("07/o", b"2", qos=2, packet_id=2, properties=none)
            + b.publish("07/o", b"0", properties=none)
            + b.publish("07/o", b"3", qos=1, packet_id=3, properties=none)
            + b.publish("07/o", b"4", qos=2, packet_id=4, properties=none)
        )
        for kind, packet_id in ((b.PUBACK, 1), (b.PUBREC, 2), (b.PUBACK, 3), (b.PUBREC, 4)):
            client.expect(b.ack(kind, packet_id))


def test_07_qos2_not_permitted(broker: Address) -> None:
    """PUBREC not authorized; the identifier is free at once (§3.5.2.1). [MQTT5-3.5.2-1, 4.3.3-9]"""
    with RawClient(broker, 5) as client:
        client.connect("07-device", username="dev1", password=b"token")
        publish(client, "dm/dev2/x", b"no", 5)
        client.expect(b.packet(b.PUBREC, b.u16(5), b.u8(0x87)))
        client.send(b.ack(b.PUBREL, 5))
        client.expect(b.packet(b.PUBCOMP, b.u16(5), b.u8(0x92)))


def test_07_qos2_receive_maximum(broker: Address) -> None:
    """A message counts until PUBCOMP; one more than CONNACK allowed ends the connection with 0x93.

    [MQTT5-3.3.4-7]
    """
    with RawClient(broker, 5) as client:
        maximum = int.from_bytes(properties_of(client.connect("07-maximum").body)[0x21], "big")
        client.send(
            b"".join(
                b.publish("07/m", b"", qos=2, packet_id=n, properties=b"") for n in range(1, maximum + 1)
            )
        )
        for packet_id in range(1, maximum + 1):
            client.expect(b.ack(b.PUBREC, packet_id))
        release(client, 1)
        received(client, "07/m", b"", 1)
        client.send(b.publish("07/m", b"", qos=2, packet_id=maximum + 1, properties=b""))
        client.expect_disconnect(0x93)


@VERSIONS
def test_07_qos2_will(broker: Address, version: int) -> None:
    """A will of QoS 2. [MQTT5-3.1.2-12] [MQTT3-3.1.2-14]"""
    with RawClient(broker, 5) as watcher:
        watcher.connect("07-watcher")
        watcher.subscribe((f"07/will/{version}", 2))
        client = RawClient(broker, version)
        will = b.will_fields(f"07/will/{version}", b"gone", properties=client.no_properties)
        client.connect("07-will", will=will, will_flags=0x14)
        client.socket.close()
        message = watcher.message()
        assert (message.payload, message.qos) == (b"gone", 2)
