"""08-topic-alias: topic aliases from client to server, on a live broker (MQTT 5.0 §3.3.2.3.4)."""

from __future__ import annotations

import pytest

from . import builder as b
from .raw_client import Address, RawClient
from .test_broker_01_connect import properties_of


def alias(number: int) -> bytes:
    return b.p16(0x23, number)


def connect(client: RawClient, client_id: str) -> int:
    """CONNECT; gives the topic alias maximum of the server."""
    return int.from_bytes(properties_of(client.connect(client_id).body).get(0x22, b"\0"), "big")


def receive_one(subscriber: RawClient) -> tuple[str, bytes, bytes | None]:
    message = subscriber.message()
    if message.packet_id is not None:
        subscriber.send(b.ack(b.PUBACK, message.packet_id))
    return message.topic, message.payload, message.properties


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [0, 1])
def test_08_alias_stands_for_its_topic(broker: Address, version: int, qos: int) -> None:
    """Whoever subscribes gets the topic, and no alias that was never agreed with them.

    [MQTT5-3.1.2-27, 3.3.2-12]
    """
    with RawClient(broker, version) as subscriber, RawClient(broker, 5) as client:
        subscriber.connect("08-subscriber")
        subscriber.subscribe(("08/#", qos))
        assert connect(client, "08-publisher") >= 2
        for topic, number, payload in (("08/a", 1, b"1"), ("", 1, b"2"), ("08/b", 2, b"3"), ("", 1, b"4")):
            user = b.puser("k", payload)
            ident = 1 if qos else None
            client.send(b.publish(topic, payload, qos=qos, packet_id=ident, properties=alias(number) + user))
            if qos:
                client.expect_puback(1)
        for topic, payload in (("08/a", b"1"), ("08/a", b"2"), ("08/b", b"3"), ("08/a", b"4")):
            properties = b.puser("k", payload) if version == 5 else None
            assert receive_one(subscriber) == (topic, payload, properties)


@pytest.mark.parametrize("maximum", [0, 2])
def test_08_alias_to_a_subscriber(broker: Address, maximum: int) -> None:
    """A server need not use them; where it does, none is above what CONNECT allows. [MQTT5-3.1.2-26, -27, 3.3.2-11]"""
    with RawClient(broker, 5) as subscriber, RawClient(broker, 5) as client:
        subscriber.connect("08-subscriber", properties=b.p16(0x22, maximum))
        subscriber.subscribe(("08/to/#", 0))
        connect(client, "08-publisher")
        topics = [f"08/to/{name}" for name in "abcabcc"]
        client.send(*(b.publish(topic, topic.encode(), properties=b"") for topic in topics))
        known: dict[bytes, str] = {}
        for expected in topics:
            topic, payload, properties = receive_one(subscriber)
            assert properties is not None
            if properties:
                assert properties in [alias(number) for number in range(1, maximum + 1)]
                topic = topic or known[properties]
                known[properties] = topic
            assert (topic, payload) == (expected, expected.encode())


def test_08_alias_is_set_anew(broker: Address) -> None:
    """§3.3.2.3.4: a topic with an alias that had one changes what it stands for."""
    with RawClient(broker, 5) as subscriber, RawClient(broker, 5) as client:
        subscriber.connect("08-subscriber")
        subscriber.subscribe(("08/anew/#", 0))
        connect(client, "08-anew")
        client.send(
            *(
                b.publish(topic, b"", properties=alias(1))
                for topic in ("08/anew/one", "08/anew/two", "", "08/anew/one", "")
            )
        )
        topics = [receive_one(subscriber)[0] for _ in range(5)]
        assert topics == [f"08/anew/{name}" for name in ("one", "two", "two", "one", "one")]


def test_08_alias_up_to_the_maximum(broker: Address, bystander: RawClient) -> None:
    """All up to the maximum of CONNACK are taken, the next is 0x94. [MQTT5-3.2.2-17, 3.3.2-9, -12]"""
    with RawClient(broker, 5) as client:
        alias_max = connect(client, "08-maximum")
        for number in range(1, alias_max + 1):
            client.publish(f"08/{number}", properties=alias(number))
        for number in (1, alias_max):
            client.publish("", properties=alias(number))
        client.send(b.publish("08/more", qos=1, packet_id=1, properties=alias(alias_max + 1)))
        client.expect_disconnect(0x94)


@pytest.mark.parametrize("topic", ["08/zero", ""])
def test_08_alias_0(broker: Address, bystander: RawClient, topic: str) -> None:
    """[MQTT5-3.3.2-8]"""
    with RawClient(broker, 5) as client:
        connect(client, "08-zero")
        client.send(b.publish(topic, properties=alias(0)))
        client.expect_disconnect(0x94)


@pytest.mark.parametrize("properties", [b"", alias(2), b.puser("k", "v")], ids=["none", "other", "no-alias"])
def test_08_alias_that_was_not_set(broker: Address, bystander: RawClient, properties: bytes) -> None:
    """§3.3.2.3.4: an empty topic without an alias that stands for something is a protocol error."""
    with RawClient(broker, 5) as client:
        connect(client, "08-unset")
        client.publish("08/set", properties=alias(1))
        client.send(b.publish("", qos=1, packet_id=1, properties=properties))
        client.expect_disconnect(0x82)


def test_08_alias_ends_with_the_connection(broker: Address) -> None:
    """Neither a connection of before nor another one sets it. [MQTT5-3.3.2-7]"""
    with RawClient(broker, 5) as client:
        connect(client, "08-ends")
        client.publish("08/ends", properties=alias(1))
    for client_id in ("08-ends", "08-other"):
        with RawClient(broker, 5) as client:
            connect(client, client_id)
            client.send(b.publish("", qos=1, packet_id=1, properties=alias(1)))
            client.expect_disconnect(0x82)


def test_08_alias_twice(broker: Address, bystander: RawClient) -> None:
    """§3.3.2.3.4: more than one in a packet is a protocol error."""
    with RawClient(broker, 5) as client:
        connect(client, "08-twice")
        client.send(b.publish("08/twice", properties=alias(1) + alias(2)))
        client.expect_disconnect(0x82)


def test_08_alias_in_version_3(broker: Address) -> None:
    """An empty topic is none, and there are no properties that would help. [MQTT3-4.7.3-1]"""
    with RawClient(broker, 4) as client:
        client.connect("08-old")
        client.send(b.publish("", alias(1), qos=1, packet_id=1))
        client.expect_closed()


@pytest.mark.parametrize("qos", [1, 2])
def test_08_alias_of_a_topic_not_permitted(broker: Address, qos: int) -> None:
    """§3.4.2.1: the alias is set all the same, and gives nobody a topic that is not theirs."""
    with RawClient(broker, 5) as subscriber, RawClient(broker, 5) as client:
        subscriber.connect("08-subscriber")
        subscriber.subscribe(("dm/press-8/#", 0), ("dm/press-9/#", 0))
        client.connect("08-device", username="press-8")
        answer = b.PUBACK if qos == 1 else b.PUBREC
        for topic in ("dm/press-9/telemetry", ""):
            client.send(b.publish(topic, b"not mine", qos=qos, packet_id=8, properties=alias(1)))
            assert client.expect_kind(answer).body[:3] == b"\x00\x08\x87"
        client.publish("dm/press-8/telemetry", b"mine", properties=alias(2))
        client.publish("", b"mine too", properties=alias(2))
        assert [receive_one(subscriber)[:2] for _ in range(2)] == [
            ("dm/press-8/telemetry", b"mine"),
            ("dm/press-8/telemetry", b"mine too"),
        ]


def test_08_alias_byte_by_byte(broker: Address) -> None:
    """§2.1: a packet cut anywhere."""
    with RawClient(broker, 5) as client:
        connect(client, "08-bytes")
        for topic in ("08/bytes", "", ""):
            for byte in b.publish(topic, b"xyz", qos=1, packet_id=2, properties=alias(3)):
                client.send(bytes((byte,)))
            client.expect_puback(2)


def test_08_alias_of_a_retained_message(broker: Address) -> None:
    """§3.3.1.3: kept under its topic, without the alias."""
    with RawClient(broker, 5) as client, RawClient(broker, 5) as subscriber:
        subscriber.connect("08-subscriber")
        connect(client, "08-retain")
        client.publish("08/kept", b"", properties=alias(1))
        client.publish("", b"kept", retain=True, properties=alias(1))
        subscriber.subscribe(("08/kept", 0))
        message = subscriber.message()
        assert (message.topic, message.payload, message.properties) == ("08/kept", b"kept", b"")
        client.publish("", b"", retain=True, properties=alias(1))
