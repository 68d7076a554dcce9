"""13-shared: one message to one of a group (MQTT 5.0 §4.8.2)."""

from __future__ import annotations

import pytest

from . import builder as b
from .raw_client import Address, RawClient
from .test_broker_12_sessions import leave, resume, start

VERSIONS = pytest.mark.parametrize("version", [4, 5])


@VERSIONS
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_13_shared_each_message_once(broker: Address, version: int, qos: int) -> None:
    """§4.8.2: two members share, a second group and an ordinary subscriber have everything."""
    topic = f"13/once/{version}/{qos}"
    with (
        RawClient(broker, version) as one,
        RawClient(broker, version) as two,
        RawClient(broker, version) as other,
        RawClient(broker, version) as plain,
        RawClient(broker, 4) as publisher,
    ):
        for name, client in (("one", one), ("two", two), ("other", other), ("plain", plain)):
            client.connect(f"13-{name}")
        assert one.subscribe((f"$share/g/{topic}", qos)) == bytes((qos,))
        two.subscribe((f"$share/g/{topic}", qos))
        other.subscribe((f"$share/h/{topic}", qos))
        plain.subscribe((topic, qos))
        publisher.connect("13-publisher")
        expected = {b"%d" % number for number in range(10)}
        for payload in sorted(expected):
            if qos == 2:
                publisher.send(b.publish(topic, payload, qos=2, packet_id=1))
                publisher.expect(b.ack(b.PUBREC, 1))
                publisher.send(b.ack(b.PUBREL, 1))
                publisher.expect(b.ack(b.PUBCOMP, 1))
            else:
                publisher.publish(topic, payload)
        shared = [[client.message().payload for _ in range(5)] for client in (one, two)]
        assert {*shared[0], *shared[1]} == expected
        for client in (other, plain):
            assert {client.message().payload for _ in range(10)} == expected
        for client in (one, two, other, plain):
            client.ping()


@VERSIONS
def test_13_shared_malformed(broker: Address, version: int) -> None:
    """A share name without wildcards, and a filter behind it. [MQTT5-4.8.2-1, -2]"""
    for topic_filter in ("$share/g", "$share//a", "$share/g+/a", "$share/#/a", "$share/g/"):
        with RawClient(broker, version) as client:
            client.connect("13-malformed")
            client.send(b.subscribe(1, (topic_filter, 1), properties=client.no_properties))
            packet = client.receive()
            assert packet is None or packet.kind == b.DISCONNECT or packet.body[-1] >= 0x80, topic_filter


def test_13_shared_no_local_is_a_protocol_error(broker: Address) -> None:
    """[MQTT5-3.8.3-4]"""
    with RawClient(broker, 5) as client:
        client.connect("13-local")
        client.send(b.subscribe(1, ("$share/g/a", 1 | 4), properties=b""))
        client.expect_disconnect(0x82)


def test_13_shared_no_retained_messages(broker: Address) -> None:
    """§4.8.2: retained messages are not sent when a shared subscription is made."""
    with RawClient(broker, 5) as client:
        client.connect("13-retained")
        client.publish("13/retained", b"kept", retain=True)
        client.subscribe(("$share/g/13/retained", 1))
        client.ping()
        client.publish("13/retained", b"", retain=True)


def test_13_shared_goes_to_who_is_left(broker: Address) -> None:
    """A member that ends without PUBACK has not had the message: another gets it (§4.8.2)."""
    with RawClient(broker, 5) as one, RawClient(broker, 5) as publisher:
        one.connect("13-leaves")
        one.subscribe(("$share/g/13/left", 1))
        publisher.connect("13-publisher")
        publisher.publish("13/left", b"again")
        assert one.message().payload == b"again"
        with RawClient(broker, 5) as two:
            two.connect("13-stays")
            two.subscribe(("$share/g/13/left", 1))
            one.close()
            assert two.message().payload == b"again"
            two.ping()


def test_13_shared_qos_2_does_not(broker: Address) -> None:
    """A QoS 2 message that one member has begun goes to no other. [MQTT5-4.8.2-5]"""
    with RawClient(broker, 5) as one, RawClient(broker, 5) as two:
        one.connect("13-begins")
        one.subscribe(("$share/g/13/two", 2))
        two.connect("13-other")
        two.send(b.publish("13/two", b"begun", qos=2, packet_id=1, properties=b""))
        two.expect(b.ack(b.PUBREC, 1))
        assert one.message().payload == b"begun"
        two.subscribe(("$share/g/13/two", 2))
        one.send(b.disconnect())
        one.expect_closed()
        two.ping()


def test_13_shared_waits_while_all_are_away(broker: Address) -> None:
    """§4.8.2: sessions that are kept keep the subscription; messages wait for whoever comes back first."""
    client = start(broker, 5, "13-away")
    client.subscribe(("$share/g/13/away", 1))
    leave(client)
    with RawClient(broker, 5) as publisher:
        publisher.connect("13-publisher")
        for number in range(3):
            publisher.publish("13/away", b"%d" % number)
    client = resume(broker, 5, "13-away")
    assert [client.message().payload for _ in range(3)] == [b"0", b"1", b"2"]
    client.ping()
    leave(client)


def test_13_shared_a_member_that_is_full_is_passed_over(broker: Address) -> None:
    """§4.9: with room for one message in flight, the others have the rest."""
    with RawClient(broker, 5) as narrow, RawClient(broker, 5) as wide:
        narrow.connect("13-narrow", properties=b.p16(0x21, 1))
        wide.connect("13-wide")
        narrow.subscribe(("$share/g/13/full", 1))
        wide.subscribe(("$share/g/13/full", 1))
        with RawClient(broker, 5) as publisher:
            publisher.connect("13-publisher")
            for number in range(6):
                publisher.publish("13/full", b"%d" % number)
        seen = [narrow.message().payload]
        for _ in range(3):
            message = wide.message()
            seen.append(message.payload)
        narrow.ping()
        assert len(set(seen)) == 4


def test_13_shared_unsubscribe(broker: Address) -> None:
    """§3.10: by its whole filter."""
    with RawClient(broker, 5) as client:
        client.connect("13-un")
        client.subscribe(("$share/g/13/un", 1))
        client.send(b.unsubscribe(2, "13/un", "$share/g/13/un", properties=b""))
        assert client.expect_kind(b.UNSUBACK).body == b"\0\2\0\x11\0"
        client.publish("13/un", b"nobody's")
        client.ping()
