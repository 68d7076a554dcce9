"""12-sessions: what a client has with the broker outlives its connection (MQTT 5.0 §3.1.2.4, §3.1.2.11.2, §4.1, §4.4; 3.1.1 §3.1.2.4)."""

from __future__ import annotations

import time
from typing import Any

import pytest

from . import builder as b
from .raw_client import DEADLINE_S, Address, RawClient
from .test_broker_01_connect import properties_of

VERSIONS = pytest.mark.parametrize("version", [3, 4, 5])
HOUR = b.p32(0x11, 3600)


def kept(version: int, expiry: bytes = HOUR) -> dict[str, Any]:
    """What CONNECT says for a session that outlives its connection."""
    return {"clean": False, **({"properties": expiry} if version == 5 else {})}


def start(broker: Address, version: int, client_id: str, **options: Any) -> RawClient:
    """A client with a new session that is kept."""
    with RawClient(broker, version) as cleaner:
        cleaner.connect(client_id)  # ends one of before
        cleaner.send(b.disconnect())
        cleaner.expect_closed()
    client = RawClient(broker, version)
    client.connect(client_id, **kept(version), **options)
    return client


def resume(broker: Address, version: int, client_id: str, expiry: bytes = HOUR, **options: Any) -> RawClient:
    client = RawClient(broker, version)
    properties = {"properties": options.pop("properties", b"") + expiry} if version == 5 else {}
    client.resume(client_id, **properties, **options)
    return client


def leave(client: RawClient) -> None:
    """DISCONNECT, and wait until the broker has closed."""
    client.send(b.disconnect())
    client.expect_closed()
    client.close()


@VERSIONS
def test_12_sessions_subscriptions_and_messages(broker: Address, version: int) -> None:
    """Nobody subscribes again, and nothing is missed, in order.

    [MQTT5-3.1.2-5, -6, -23, 3.2.2-3, 4.5.0-1] [MQTT3-3.1.2-4, -5, 3.2.2-2, -3, 4.5.0-1]
    """
    client = start(broker, version, f"12-kept-{version}")
    assert client.subscribe((f"12/kept/{version}/#", 1)) == b"\1"
    leave(client)
    with RawClient(broker, 4) as publisher:
        publisher.connect("12-publisher")
        for number in range(5):
            publisher.publish(f"12/kept/{version}/a", b"%d" % number, packet_id=number + 1)
        client = resume(broker, version, f"12-kept-{version}") if version > 3 else again(broker, version)
        messages = [client.message() for _ in range(5)]
        assert [m.payload for m in messages] == [b"0", b"1", b"2", b"3", b"4"]
        assert {(m.qos, m.dup, m.retain) for m in messages} == {(1, False, False)}
        publisher.publish(f"12/kept/{version}/a", b"live")
        assert client.message().payload == b"live"
        leave(client)


def again(broker: Address, version: int) -> RawClient:
    """3.1 has no session present flag: its byte is reserved, and 0."""
    client = RawClient(broker, version)
    client.connect(f"12-kept-{version}", clean=False)
    return client


@pytest.mark.parametrize("version", [4, 5])
def test_12_sessions_qos_0_is_not_kept(broker: Address, version: int) -> None:
    """§4.1: QoS 0 messages are not part of the state; those of a subscription of QoS 0 neither."""
    client = start(broker, version, "12-zero")
    client.subscribe(("12/zero/sent", 1), ("12/zero/wanted", 0))
    leave(client)
    with RawClient(broker, 4) as publisher:
        publisher.connect("12-publisher")
        publisher.send(b.publish("12/zero/sent", b"0"))
        publisher.publish("12/zero/wanted", b"1")
        publisher.ping()
    client = resume(broker, version, "12-zero")
    client.ping()
    leave(client)


@pytest.mark.parametrize("version", [4, 5])
def test_12_sessions_clean_start_ends_it(broker: Address, version: int) -> None:
    """Nothing of before; session present 0.

    [MQTT5-3.1.2-4, 3.1.4-4, 3.2.2-2] [MQTT3-3.1.2-6, 3.1.4-3, 3.2.2-1]
    """
    client = start(broker, version, "12-clean")
    client.subscribe(("12/clean", 1))
    leave(client)
    with RawClient(broker, version) as client:
        client.connect("12-clean")
        client.publish("12/clean", b"nobody's")
        client.ping()


@pytest.mark.parametrize("version", [4, 5])
def test_12_sessions_what_was_in_flight_is_sent_again(broker: Address, version: int) -> None:
    """The same packets with DUP and their identifiers, in order, then the rest.

    [MQTT5-3.3.1-1, 4.3.2-3, 4.4.0-1] [MQTT3-2.3.1-4, 3.3.1-1, 4.3.2-1, 4.4.0-1, 4.6.0-1]
    """
    client = start(broker, version, "12-again")
    client.subscribe(("12/again/1", 1), ("12/again/2", 2))
    with RawClient(broker, 4) as publisher:
        publisher.connect("12-publisher")
        for number in range(3):
            publisher.publish("12/again/1", b"one %d" % number)
        first = [client.message() for _ in range(3)]
        client.send(b.ack(b.PUBACK, first[1].packet_id or 0))
        client.ping()
        client.close()
        publisher.publish("12/again/1", b"later")
    client = resume(broker, version, "12-again")
    second = [client.message() for _ in range(3)]
    assert [(m.payload, m.dup, m.packet_id) for m in second[:2]] == [
        (b"one 0", True, first[0].packet_id),
        (b"one 2", True, first[2].packet_id),
    ]
    assert (second[2].payload, second[2].dup) == (b"later", False)
    leave(client)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("answered", ["nothing", "PUBREC"])
def test_12_sessions_qos_2_goes_on_where_it_was(broker: Address, version: int, answered: str) -> None:
    """PUBLISH with DUP until PUBREC, PUBREL after; the message comes once.

    [MQTT5-3.3.1-1, 4.3.3-3, -5, -6, 4.4.0-1] [MQTT3-3.3.1-1, 4.3.3-1, 4.4.0-1]
    """
    topic = f"12/two/{version}/{answered}"
    client = start(broker, version, "12-two")
    client.subscribe((topic, 2))
    with RawClient(broker, 4) as publisher:
        publisher.connect("12-publisher")
        publisher.send(b.publish(topic, b"once", qos=2, packet_id=1))
        publisher.expect(b.ack(b.PUBREC, 1))
        publisher.send(b.ack(b.PUBREL, 1))
        publisher.expect(b.ack(b.PUBCOMP, 1))
    message = client.message()
    assert message.packet_id is not None
    if answered == "PUBREC":
        client.send(b.ack(b.PUBREC, message.packet_id))
        client.expect(b.ack(b.PUBREL, message.packet_id))
    client.close()
    client = resume(broker, version, "12-two")
    if answered == "nothing":
        second = client.message()
        assert (second.payload, second.dup, second.packet_id) == (b"once", True, message.packet_id)
        client.send(b.ack(b.PUBREC, message.packet_id))
    client.expect(b.ack(b.PUBREL, message.packet_id))
    client.send(b.ack(b.PUBCOMP, message.packet_id))
    client.ping()
    leave(client)
    client = resume(broker, version, "12-two")
    client.ping()
    leave(client)


@pytest.mark.parametrize("version", [4, 5])
def test_12_sessions_qos_2_from_the_client(broker: Address, version: int) -> None:
    """What was received before the connection ended is received; PUBREL after it is answered.

    [MQTT5-4.3.3-10, -11, 4.4.0-1] [MQTT3-4.3.3-2, 4.4.0-1]
    """
    with RawClient(broker, 4) as subscriber:
        subscriber.connect("12-subscriber")
        subscriber.subscribe((f"12/from/{version}", 0))
        client = start(broker, version, "12-from")
        packet = b.publish(f"12/from/{version}", b"once", qos=2, packet_id=5, properties=client.no_properties)
        client.send(packet)
        client.expect(b.ack(b.PUBREC, 5))
        client.close()
        client = resume(broker, version, "12-from")
        client.send(bytes((packet[0] | 8,)) + packet[1:])
        client.expect(b.ack(b.PUBREC, 5))
        client.send(b.ack(b.PUBREL, 5))
        client.expect(b.ack(b.PUBCOMP, 5))
        assert subscriber.message().payload == b"once"
        subscriber.ping()
        leave(client)


def test_12_sessions_expiry(broker: Address) -> None:
    """Kept for so long and no longer; 0 ends with the connection (§3.1.2.11.2). [MQTT5-3.1.2-23, 4.1.0-2]"""
    client = start(broker, 5, "12-expiry")
    client.subscribe(("12/expiry", 1))
    leave(client)
    client = resume(broker, 5, "12-expiry", b.p32(0x11, 1))
    leave(client)
    deadline = time.monotonic() + DEADLINE_S
    while True:
        time.sleep(1.1)
        with RawClient(broker, 5) as client:
            client.send(
                b.connect(
                    "12-expiry",
                    version=5,
                    clean=False,
                    username="site",
                    password=b"t",
                    properties=b.p32(0x11, 1),
                )
            )
            if client.expect_kind(b.CONNACK).body[0] == 0:
                return
        assert time.monotonic() < deadline


def test_12_sessions_expiry_of_disconnect(broker: Address) -> None:
    """DISCONNECT may change it, though not from 0 to more, which is a protocol error (§3.14.2.2.2)."""
    client = start(broker, 5, "12-changed")
    client.send(b.disconnect(0, b.p32(0x11, 0)))
    client.expect_closed()
    client.close()
    with RawClient(broker, 5) as client:
        client.connect("12-changed", clean=False)  # session present 0
        client.send(b.disconnect(0, b.p32(0x11, 60)))
        client.expect_disconnect(0x82)


def test_12_sessions_longest(broker: Address) -> None:
    """§3.2.2.3.2: the server may grant less, and says so."""
    with RawClient(broker, 5) as client:
        connack = client.connect("12-longest", properties=b.p32(0x11, 0xFFFF_FFFF))
        granted = int.from_bytes(properties_of(connack.body)[0x11], "big")
        assert 0 < granted < 0xFFFF_FFFF
        client.send(b.disconnect(0, b.p32(0x11, 0)))
        client.expect_closed()


@pytest.mark.parametrize("version", [4, 5])
def test_12_sessions_takeover_keeps_it(broker: Address, version: int) -> None:
    """The older connection ends, the session goes on. [MQTT5-3.1.2-5, 3.1.4-3] [MQTT3-3.1.2-4, 3.1.4-2]"""
    client = start(broker, version, "12-taken")
    client.subscribe(("12/taken", 1))
    newer = resume(broker, version, "12-taken")
    if version == 5:
        client.expect_disconnect(0x8E)
    else:
        client.expect_closed()
    client.close()
    newer.publish("12/taken", b"mine")
    # PUBACK may come before or behind it.
    assert newer.message().payload == b"mine"
    leave(newer)


def test_12_sessions_receive_maximum_of_the_new_connection(broker: Address) -> None:
    """What is sent again counts; with room for one, one at a time (§4.9). [MQTT5-3.3.4-9, 4.9.0-1, -2]"""
    client = start(broker, 5, "12-window")
    client.subscribe(("12/window", 1))
    with RawClient(broker, 4) as publisher:
        publisher.connect("12-publisher")
        for number in range(4):
            publisher.publish("12/window", b"%d" % number)
    first = [client.message() for _ in range(4)]
    client.close()
    client = resume(broker, 5, "12-window", properties=b.p16(0x21, 1))
    for message in first:
        found = client.message()
        assert (found.payload, found.dup, found.packet_id) == (message.payload, True, message.packet_id)
        client.ping()
        client.send(b.ack(b.PUBACK, found.packet_id or 0))
    client.ping()
    leave(client)


@pytest.mark.parametrize("version", [4, 5])
def test_12_sessions_unsubscribed_stays_so(broker: Address, version: int) -> None:
    """UNSUBSCRIBE is part of the state. [MQTT5-3.10.4-2] [MQTT3-3.10.4-2]"""
    client = start(broker, version, "12-unsubscribed")
    client.subscribe(("12/un/a", 1), ("12/un/b", 1))
    client.send(b.unsubscribe(3, "12/un/a", properties=client.no_properties))
    client.expect_kind(b.UNSUBACK)
    leave(client)
    with RawClient(broker, 4) as publisher:
        publisher.connect("12-publisher")
        publisher.publish("12/un/a", b"no")
        publisher.publish("12/un/b", b"yes")
    client = resume(broker, version, "12-unsubscribed")
    assert client.message().payload == b"yes"
    client.ping()
    leave(client)


def test_12_sessions_message_expiry(broker: Address) -> None:
    """What has waited too long is not sent; what is sent says what is left. [MQTT5-3.3.2-5, -6]"""
    client = start(broker, 5, "12-message")
    client.subscribe(("12/message", 1))
    leave(client)
    with RawClient(broker, 5) as publisher:
        publisher.connect("12-publisher")
        publisher.publish("12/message", b"short", properties=b.p32(0x02, 1))
        publisher.publish("12/message", b"long", properties=b.p32(0x02, 1000))
    time.sleep(1.2)  # the time that must pass is what is tested
    client = resume(broker, 5, "12-message")
    message = client.message()
    assert message.payload == b"long"
    assert message.properties is not None
    assert message.properties[0] == 0x02
    assert 990 < int.from_bytes(message.properties[1:], "big") < 1000
    leave(client)


def test_12_sessions_of_somebody_else(broker: Address) -> None:
    """A client id that somebody else's session has is refused; a device's own id is its own, whoever was there."""
    client = start(broker, 5, "12-theirs")
    leave(client)
    with RawClient(broker, 5) as other:
        other.send(b.connect("12-theirs", version=5, username="dev9", password=b"t"))
        assert other.expect_kind(b.CONNACK).body[1] == 0x85
    squatter = start(broker, 5, "12-device")
    squatter.subscribe(("12/secret", 1))
    leave(squatter)
    with RawClient(broker, 5) as device:
        device.connect("12-device", username="12-device", clean=False)
        device.ping()
