"""11-time-and-room: message expiry, and what a client with little room or no wish for reasons is told, on a live broker."""

from __future__ import annotations

import time

import pytest

from . import builder as b
from .raw_client import DEADLINE_S, Address, RawClient, Received

EXPIRY = 0x02
MAXIMUM_PACKET_SIZE = 0x27
REASON_STRING = 0x1F
PROBLEM_INFORMATION = 0x17
POLL_S = 0.02


def retained_properties(broker: Address, topic: str) -> bytes | None:
    """Of a topic's retained message; None where there is none."""
    with RawClient(broker, 5) as client:
        client.connect("")
        client.subscribe(("11/live", 0), (topic, 0))
        client.send(b.publish("11/live", b"live", properties=b""))
        message = client.message()
        return message.properties if message.topic == topic else None


def let_it_expire(broker: Address, topic: str) -> None:
    """Wait until a message that expires within a second has: one like it, retained and published later, is gone."""
    with RawClient(broker, 5) as client:
        client.connect("")
        client.publish(topic, b"like it", retain=True, properties=b.p32(EXPIRY, 1))
    deadline = time.monotonic() + DEADLINE_S
    while retained_properties(broker, topic) is not None:
        assert time.monotonic() < deadline, "the retained message did not expire"
        time.sleep(POLL_S)


def test_11_expiry_counts_down(broker: Address) -> None:
    """What is told is what is left. [MQTT5-3.3.2-6]"""
    with RawClient(broker, 5) as client:
        client.connect("11-publisher")
        client.publish("11/counts", b"x", retain=True, properties=b.p32(EXPIRY, 1000) + b.puser("k", "v"))
    deadline = time.monotonic() + DEADLINE_S
    seen: set[int] = set()
    while len(seen) < 3:
        properties = retained_properties(broker, "11/counts")
        assert properties is not None
        left = next(n for n in range(980, 1001) if b.p32(EXPIRY, n) in properties)
        assert properties.replace(b.p32(EXPIRY, left), b"") == b.puser("k", "v")
        seen.add(left)
        assert time.monotonic() < deadline, f"{seen}: it does not count down"
        time.sleep(POLL_S)
    assert max(seen) - min(seen) == 2


def test_11_expired_is_not_sent(broker: Address) -> None:
    """[MQTT5-3.3.2-5]"""
    with RawClient(broker, 5) as client:
        client.connect("11-publisher")
        client.publish("11/expires", b"x", retain=True, properties=b.p32(EXPIRY, 1))
        client.publish("11/stays", b"x", retain=True)
        let_it_expire(broker, "11/clock")
        assert retained_properties(broker, "11/expires") is None
        assert retained_properties(broker, "11/stays") is not None


def test_11_a_message_that_was_sent_does_not_expire(broker: Address) -> None:
    """QoS 2 goes on to its end on both ways, however long it takes. [MQTT5-4.3.3-7, -13]"""
    with RawClient(broker, 5) as publisher, RawClient(broker, 5) as client:
        publisher.connect("11-publisher")
        client.connect("11-slow")
        client.subscribe(("11/sent", 2))
        publisher.send(b.publish("11/sent", b"x", qos=2, packet_id=7, properties=b.p32(EXPIRY, 1)))
        publisher.expect(b.ack(b.PUBREC, 7))
        let_it_expire(broker, "11/clock")
        publisher.send(b.publish("11/sent", b"x", qos=2, dup=True, packet_id=7, properties=b.p32(EXPIRY, 1)))
        publisher.expect(b.ack(b.PUBREC, 7))
        publisher.send(b.ack(b.PUBREL, 7))
        publisher.expect(b.ack(b.PUBCOMP, 7))
        publisher.send(b.publish("11/sent", b"y", qos=2, packet_id=8, properties=b.p32(EXPIRY, 1)))
        publisher.expect(b.ack(b.PUBREC, 8))
        publisher.send(b.ack(b.PUBREL, 8))
        publisher.expect(b.ack(b.PUBCOMP, 8))
        while (message := client.message()).payload != b"y":
            pass  # A server that passes messages on at PUBREL may have let the first expire.
        let_it_expire(broker, "11/clock")
        client.send(b.ack(b.PUBREC, message.packet_id or 0))
        client.expect(b.ack(b.PUBREL, message.packet_id or 0))
        client.send(b.ack(b.PUBCOMP, message.packet_id or 0))
        client.ping()


def answers(broker: Address, properties: bytes) -> list[Received]:
    """What a client is told that does one thing after the other that is refused, to the last: it is thrown out."""
    none = b""
    with RawClient(broker, 5) as client:
        client.connect("11-refused", username="press-4", properties=properties)
        client.send(
            b.publish("dm/press-5/x", qos=1, packet_id=1, properties=none),
            b.publish("dm/press-5/x", qos=2, packet_id=2, properties=none),
            b.ack(b.PUBREL, 3),
            b.ack(b.PUBREC, 4),
            b.subscribe(5, ("dm/press-5/#", 0), ("dm/press-4/#", 0), properties=none),
            b.unsubscribe(6, "never", properties=none),
            b.publish("dm/press-4/#", properties=none),
        )
        packets = []
        while (packet := client.receive()) is not None:
            packets.append(packet)
    kinds = [packet.kind for packet in packets]
    assert sorted(kinds) == sorted(
        (b.PUBACK, b.PUBREC, b.PUBCOMP, b.PUBREL & 0xF0, b.SUBACK, b.UNSUBACK, b.DISCONNECT)
    )
    return packets


def properties_in(packet: Received) -> bytes:
    """Of an answer that has any."""
    at = {b.SUBACK: 2, b.UNSUBACK: 2, b.DISCONNECT: 1}.get(packet.kind, 3)
    rest = packet.body[at:]
    if not rest:
        return b""
    assert rest[0] < 0x80
    return rest[1 : 1 + rest[0]]


def test_11_refusals_have_their_reason_codes(broker: Address) -> None:
    """Each answer has a reason code of its own kind.

    [MQTT5-3.4.2-1, 3.5.2-1, 3.6.2-1, 3.7.2-1, 3.9.3-2, 3.11.3-2, 3.14.2-1, 3.14.4-2]
    """
    codes = {packet.kind: packet.body for packet in answers(broker, b"")}
    assert codes[b.PUBACK][:3] == b"\0\1\x87"
    assert codes[b.PUBREC][:3] == b"\0\2\x87"
    assert codes[b.PUBCOMP][:3] == b"\0\3\x92"
    assert codes[b.PUBREL & 0xF0][:3] == b"\0\4\x92"
    assert codes[b.SUBACK][:2] + codes[b.SUBACK][-2:] == b"\0\5\x87\0"
    assert codes[b.UNSUBACK][:2] + codes[b.UNSUBACK][-1:] == b"\0\6\x11"
    assert codes[b.DISCONNECT][:1] == b"\x90"


def test_11_no_reasons_for_who_wants_none(broker: Address) -> None:
    """Neither reason strings nor user properties but in CONNACK and DISCONNECT. [MQTT5-3.1.2-29]"""
    for packet in answers(broker, b.p8(PROBLEM_INFORMATION, 0)):
        assert packet.kind == b.DISCONNECT or properties_in(packet) == b""


def test_11_user_properties_of_messages_stay(broker: Address) -> None:
    """Request problem information is about answers, not about messages. [MQTT5-3.1.2-29, 3.3.2-17]"""
    with RawClient(broker, 5) as client:
        client.connect("11-messages", properties=b.p8(PROBLEM_INFORMATION, 0))
        client.subscribe(("11/messages", 0))
        client.send(b.publish("11/messages", properties=b.puser("k", "v")))
        assert client.message().properties == b.puser("k", "v")


def test_11_answers_fit(broker: Address) -> None:
    """No answer is larger than the client takes, and what is needed is in it all the same.

    [MQTT5-3.1.2-24, 3.4.2-2, -3, 3.5.2-2, -3, 3.6.2-2, -3, 3.7.2-2, -3, 3.9.2-1, -2, 3.11.2-1, -2, 3.14.2-3, -4]
    """
    with RawClient(broker, 5) as client:
        smallest = len(client.connect("11-refused", username="press-4").body) + 2
    for bytes_max in (smallest, smallest + 20, 200):
        packets = answers(broker, b.p32(MAXIMUM_PACKET_SIZE, bytes_max))
        assert max(len(packet.body) + 2 for packet in packets) <= bytes_max


@pytest.mark.parametrize("packet", ["subscribe", "unsubscribe"])
def test_11_an_answer_that_does_not_fit(broker: Address, packet: str) -> None:
    """SUBACK and UNSUBACK have a byte for each filter, and can't be shorter: the connection ends. [MQTT5-3.1.2-24]"""
    count = 250
    with RawClient(broker, 5) as client:
        client.connect("11-many", properties=b.p32(MAXIMUM_PACKET_SIZE, 200))
        filters = [f"11/{n}" for n in range(count)]
        if packet == "subscribe":
            client.send(b.subscribe(1, *((each, 0) for each in filters), properties=b""))
        else:
            client.send(b.unsubscribe(1, *filters, properties=b""))
        client.expect_disconnect(0x95, 0x97)
