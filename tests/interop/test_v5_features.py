"""What is new in MQTT 5, with clients that nobody here wrote: paho and MQTT.js."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.interop.brokers import LiveBroker
from tests.interop.v5_clients import KINDS, Client, client

DEADLINE_S = 60.0
_numbers = itertools.count(1)
BOTH = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def pair(live_broker: LiveBroker, kind: str) -> Iterator[tuple[Client, Client]]:
    """Two clients of a kind that have not connected."""
    number = next(_numbers)
    with (
        client(kind, live_broker, f"v5-{kind}-{number}-a") as one,
        client(kind, live_broker, f"v5-{kind}-{number}-b") as other,
    ):
        yield one, other


@pytest.fixture
def topic() -> str:
    return f"v5/{next(_numbers)}"


@BOTH
def test_properties_of_a_message(pair: tuple[Client, Client], topic: str) -> None:
    """Content type, payload format, response topic, correlation data, and user properties in their order."""
    properties: dict[str, Any] = {
        "content_type": "application/json",
        "payload_format": 1,
        "response_topic": f"{topic}/answers",
        "correlation_data": "00ff7f",
        "user": [["b", "1"], ["b", "2"], ["a", "é"]],
    }
    subscriber, publisher = pair
    subscriber.connect()
    assert subscriber.subscribe(topic, 2) == [2]
    publisher.connect()
    publisher.publish(topic, "grüße".encode(), 2, **properties)
    message = subscriber.receive()
    assert (message.topic, message.payload, message.qos) == (topic, "grüße".encode(), 2)
    assert message.properties == properties


@BOTH
def test_request_and_response(pair: tuple[Client, Client], topic: str) -> None:
    """One asks, the other answers where and with what it was asked to."""
    asking, answering = pair
    answering.connect()
    answering.subscribe(f"{topic}/questions")
    asking.connect()
    asking.subscribe(f"{topic}/answers")
    asking.publish(f"{topic}/questions", b"?", response_topic=f"{topic}/answers", correlation_data="0102")
    question = answering.receive()
    answering.publish(
        question.properties["response_topic"],
        b"!",
        correlation_data=question.properties["correlation_data"],
    )
    answer = asking.receive()
    assert (answer.payload, answer.properties) == (b"!", {"correlation_data": "0102"})


@BOTH
def test_topic_alias_to_the_broker(pair: tuple[Client, Client], topic: str) -> None:
    """Subscribers get the topic that the alias stands for."""
    subscriber, publisher = pair
    subscriber.connect()
    subscriber.subscribe(f"{topic}/#")
    assert publisher.connect()["properties"]["topic_alias_maximum"] >= 2
    for name, number in (("one", 1), ("two", 2), ("", 1), ("", 2), ("three", 1), ("", 1)):
        publisher.publish(f"{topic}/{name}" if name else "", topic_alias=number)
    got = [subscriber.receive() for _ in range(6)]
    assert [each.topic for each in got] == [
        f"{topic}/{name}" for name in ("one", "two", "one", "two", "three", "three")
    ]
    assert all("topic_alias" not in each.properties for each in got)


@BOTH
def test_receive_maximum_of_one(pair: tuple[Client, Client], topic: str) -> None:
    """A client with room for one message gets all, one after the other."""
    subscriber, publisher = pair
    subscriber.connect(properties={"receive_maximum": 1})
    subscriber.subscribe(topic, 2)
    publisher.connect()
    for number in range(20):
        publisher.publish(topic, str(number).encode(), number % 3)
    # QoS 0 doesn't count and may overtake what waits; the others keep their order.
    got = [subscriber.receive() for _ in range(20)]
    for qos in range(3):
        of_qos = [int(each.payload) for each in got if each.qos == qos]
        assert of_qos == list(range(qos, 20, 3))


@BOTH
def test_maximum_packet_size(pair: tuple[Client, Client], topic: str) -> None:
    """What is too large for a client is left out."""
    subscriber, publisher = pair
    subscriber.connect(properties={"maximum_packet_size": 200})
    subscriber.subscribe(topic)
    publisher.connect()
    publisher.publish(topic, bytes(500))
    publisher.publish(topic, b"small")
    assert subscriber.receive().payload == b"small"


@BOTH
def test_message_expiry(pair: tuple[Client, Client], topic: str) -> None:
    """A retained message tells how long it will still be there, and is not there any more when it has expired."""
    subscriber, publisher = pair
    publisher.connect()
    publisher.publish(f"{topic}/long", b"long", retain=True, message_expiry_s=1000)
    publisher.publish(f"{topic}/short", b"short", retain=True, message_expiry_s=1)
    subscriber.connect()
    subscriber.subscribe(f"{topic}/end")

    def retained(name: str) -> list[bytes]:
        """Payloads of what is retained: they come before a message that is published now."""
        subscriber.subscribe(f"{topic}/{name}")
        publisher.publish(f"{topic}/end", b"end")
        payloads = []
        while (message := subscriber.receive()).payload != b"end":
            payloads.append(message.payload)
            assert 0 < message.properties["message_expiry_s"] <= 1000
        return payloads

    assert retained("long") == [b"long"]
    deadline = time.monotonic() + DEADLINE_S
    while retained("short"):
        assert time.monotonic() < deadline, "it does not expire"
        time.sleep(0.1)
    assert retained("long") == [b"long"]


@BOTH
def test_subscription_options(pair: tuple[Client, Client], topic: str) -> None:
    """No local, retain as published and retain handling."""
    client, publisher = pair
    publisher.connect()
    publisher.publish(f"{topic}/kept", b"kept", retain=True)
    client.connect()
    client.subscribe(f"{topic}/kept", retain_handling=2, retain_as_published=True)
    client.subscribe(f"{topic}/own", no_local=True)
    client.publish(f"{topic}/own", b"mine")
    publisher.publish(f"{topic}/own", b"another's")
    message = client.receive()
    assert (message.payload, message.retain) == (b"another's", False)
    publisher.publish(f"{topic}/kept", b"new", retain=True)
    message = client.receive()
    assert (message.payload, message.retain) == (b"new", True)


@BOTH
def test_assigned_client_id(live_broker: LiveBroker, kind: str) -> None:
    with client(kind, live_broker, "") as one, client(kind, live_broker, "") as other:
        ids = {each.connect()["properties"].get("assigned_client_id") for each in (one, other)}
        assert len(ids) == 2
        assert None not in ids
