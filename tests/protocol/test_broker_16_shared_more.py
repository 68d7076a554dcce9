"""16-shared-more: what becomes of one message of a group, on a live broker (MQTT 5.0 §4.8.2)."""

from __future__ import annotations

from typing import Any

import pytest

from . import builder as b
from .raw_client import Address, RawClient

SESSION_EXPIRY = 0x11


def publish(publisher: RawClient, topic: str, *payloads: bytes) -> None:
    """Messages of QoS 2, up to their PUBCOMP."""
    for packet_id, payload in enumerate(payloads, start=1):
        publisher.send(b.publish(topic, payload, qos=2, packet_id=packet_id, properties=b""))
        publisher.expect(b.ack(b.PUBREC, packet_id))
        publisher.send(b.ack(b.PUBREL, packet_id))
        publisher.expect(b.ack(b.PUBCOMP, packet_id))


def connect_with_will(client: RawClient, client_id: str, publisher: RawClient, **options: Any) -> None:
    """Its will tells the publisher when the broker has noticed that it is gone."""
    publisher.subscribe((f"16/gone/{client_id}", 0))
    will = b.will_fields(f"16/gone/{client_id}", b"gone", properties=b"")
    client.connect(client_id, will=will, will_flags=0x04, **options)


def close(client: RawClient, publisher: RawClient) -> None:
    client.close()
    assert publisher.message().payload == b"gone"


def test_16_each_at_its_own_qos(broker: Address) -> None:
    """[MQTT5-4.8.2-3]"""
    with RawClient(broker, 5) as publisher, RawClient(broker, 5) as zero, RawClient(broker, 5) as one:
        publisher.connect("16-publisher")
        zero.connect("16-zero")
        one.connect("16-one")
        assert zero.subscribe(("$share/g/16/qos", 0)) == b"\0"
        assert one.subscribe(("$share/g/16/qos", 1)) == b"\1"
        publish(publisher, "16/qos", *(b"%d" % n for n in range(6)))
        for member, qos in ((zero, 0), (one, 1)):
            messages = []
            member.send(b.PINGREQ_PACKET)
            while (packet := member.receive()) is not None and packet.kind == b.PUBLISH:
                messages.append(packet.first >> 1 & 3)
                if qos:
                    size = 2 + int.from_bytes(packet.body[:2], "big")
                    member.send(b.ack(b.PUBACK, int.from_bytes(packet.body[size : size + 2], "big")))
            assert messages
            assert set(messages) == {qos}


def test_16_qos_2_goes_on_with_its_client(broker: Address) -> None:
    """Cut off by a disconnect, it is completed with that client when it is back, and by nobody else. [MQTT5-4.8.2-4, -5]"""
    with (
        RawClient(broker, 5) as publisher,
        RawClient(broker, 5) as before,
        RawClient(broker, 5) as other,
        RawClient(broker, 5) as after,
    ):
        publisher.connect("16-publisher")
        kept = b.p32(SESSION_EXPIRY, 3600)
        connect_with_will(before, "16-kept", publisher, clean=False, properties=kept)
        before.subscribe(("$share/g/16/kept", 2))
        publish(publisher, "16/kept", b"begun")
        message = before.message()
        close(before, publisher)
        other.connect("16-other")
        other.subscribe(("$share/g/16/kept", 2))
        other.ping()
        after.resume("16-kept", properties=kept)
        again = after.message()
        assert (again.payload, again.dup, again.packet_id) == (b"begun", True, message.packet_id)
        after.send(b.ack(b.PUBREC, again.packet_id or 0))
        after.expect(b.ack(b.PUBREL, again.packet_id or 0))
        after.send(b.ack(b.PUBCOMP, again.packet_id or 0))
        other.ping()
        after.ping()


@pytest.mark.parametrize("qos", [1, 2])
def test_16_refused_by_a_member(broker: Address, qos: int) -> None:
    """A reason code of 0x80 or above discards the message: it goes to no other. [MQTT5-4.8.2-6, 4.4.0-2]"""
    topic = f"16/refused/{qos}"
    with RawClient(broker, 5) as publisher, RawClient(broker, 5) as one, RawClient(broker, 5) as two:
        publisher.connect("16-publisher")
        connect_with_will(one, f"16-refuses-{qos}", publisher)
        one.subscribe((f"$share/g/{topic}", qos))
        publish(publisher, topic, b"not wanted")
        message = one.message()
        two.connect("16-two")
        two.subscribe((f"$share/g/{topic}", qos))
        one.send(b.ack(b.PUBACK if qos == 1 else b.PUBREC, message.packet_id or 0, 0x97))
        one.ping()
        close(one, publisher)
        two.ping()
        publish(publisher, topic, b"wanted")
        assert two.message().payload == b"wanted"
