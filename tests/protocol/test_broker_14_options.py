"""14-options: subscription identifiers, and what a draining broker and a delayed will say (MQTT 5.0 §3.8.2.1.2, §3.1.3.2.2)."""

from __future__ import annotations

import time

from . import builder as b
from .raw_client import Address, RawClient
from .test_broker_12_sessions import leave, resume, start


def subscribe_with(client: RawClient, topic_filter: str, identifier: int, options: int = 1) -> None:
    client.send(b.subscribe(9, (topic_filter, options), properties=b.pvar(0x0B, identifier)))
    assert client.expect_kind(b.SUBACK).body[-1] < 0x80


def test_14_options_identifier_is_sent_along(broker: Address) -> None:
    """With each message of the subscription; a subscription again replaces it (§3.8.2.1.2).

    [MQTT5-3.3.4-3, 3.8.4-3]
    """
    with RawClient(broker, 5) as client:
        client.connect("14-one")
        subscribe_with(client, "14/one", 7)
        client.publish("14/one", b"m", properties=b.ptext(0x03, "text"))
        assert client.message().properties == b.ptext(0x03, "text") + b.pvar(0x0B, 7)
        subscribe_with(client, "14/one", 268_435_455)
        client.publish("14/one")
        assert client.message().properties == b.pvar(0x0B, 268_435_455)
        client.subscribe(("14/one", 1))
        client.publish("14/one")
        assert client.message().properties == b""


def test_14_options_identifiers_of_overlapping_subscriptions(broker: Address) -> None:
    """One copy with those of all, at the highest QoS. [MQTT5-3.3.4-2, -3, -4, -5]"""
    with RawClient(broker, 5) as client:
        client.connect("14-overlap")
        subscribe_with(client, "14/overlap/#", 1, 0)
        subscribe_with(client, "14/+/x", 2, 1)
        client.subscribe(("14/overlap/x", 0))
        client.publish("14/overlap/x")
        message = client.message()
        assert message.qos == 1
        assert message.properties in (
            b.pvar(0x0B, 1) + b.pvar(0x0B, 2),
            b.pvar(0x0B, 2) + b.pvar(0x0B, 1),
        )
        client.ping()


def test_14_options_identifier_of_a_session_that_was_kept(broker: Address) -> None:
    """§4.1: part of the subscription, so of the state; also with what waited and what is sent again."""
    client = start(broker, 5, "14-kept")
    subscribe_with(client, "14/kept", 5)
    client.publish("14/kept", b"in flight")
    assert client.message().properties == b.pvar(0x0B, 5)
    client.close()
    with RawClient(broker, 4) as publisher:
        publisher.connect("14-publisher")
        publisher.publish("14/kept", b"waited")
    client = resume(broker, 5, "14-kept")
    found = [client.message() for _ in range(2)]
    assert [(m.payload, m.properties) for m in found] == [
        (b"in flight", b.pvar(0x0B, 5)),
        (b"waited", b.pvar(0x0B, 5)),
    ]
    leave(client)


def test_14_options_identifier_0(broker: Address) -> None:
    """§3.8.2.1.2: 0 is a protocol error."""
    with RawClient(broker, 5) as client:
        client.connect("14-zero")
        client.send(b.subscribe(1, ("a", 0), properties=b.pvar(0x0B, 0)))
        client.expect_disconnect(0x82)


def test_14_options_topic_alias_to_the_client(broker: Address) -> None:
    """None above what CONNECT allows; the topic once, then its number. [MQTT5-3.1.2-26, 3.3.2-8, -11]"""
    with RawClient(broker, 5) as client:
        client.connect("14-alias", properties=b.p16(0x22, 1))
        client.subscribe(("14/alias/#", 0))
        found = []
        for topic in ("14/alias/a", "14/alias/a", "14/alias/b", "14/alias/a"):
            client.publish(topic)
            message = client.message()
            found.append((message.topic, message.properties))
        alias = b.p16(0x23, 1)
        assert found == [("14/alias/a", alias), ("", alias), ("14/alias/b", b""), ("", alias)]


def test_14_options_will_delay(broker: Address) -> None:
    """Not before its delay, and not at all if the client is back by then (§3.1.3.2.2).

    [MQTT5-3.1.2-8, 3.1.3-9]
    """
    delay = b.p32(0x18, 1)
    with RawClient(broker, 5) as watcher:
        watcher.connect("14-watcher")
        watcher.subscribe(("14/will", 1))
        will = b.will_fields("14/will", b"gone", properties=delay)
        client = start(broker, 5, "14-will", will=will, will_flags=0x0C)
        client.close()
        client = resume(broker, 5, "14-will", will=will, will_flags=0x0C)
        began = time.monotonic()
        client.close()
        assert watcher.message().payload == b"gone"
        assert time.monotonic() - began >= 1
        watcher.ping()


def test_14_options_will_delay_ends_with_the_session(broker: Address) -> None:
    """Whichever comes first; a clean start ends the session at once. [MQTT5-3.1.2-8]"""
    with RawClient(broker, 5) as watcher:
        watcher.connect("14-watcher")
        watcher.subscribe(("14/will/ends", 1))
        will = b.will_fields("14/will/ends", b"gone", properties=b.p32(0x18, 3600))
        client = start(broker, 5, "14-ends", will=will, will_flags=0x0C)
        client.close()
        with RawClient(broker, 5) as again:
            again.connect("14-ends")
            assert watcher.message().payload == b"gone"
