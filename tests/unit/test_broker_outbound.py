"""What goes to one subscriber: window, queue, the fall back to the log, packet identifiers."""

from __future__ import annotations

import pytest

from broker.mqtt.packet_ids import PACKET_ID_MAX
from broker.outbound import (
    IN_FLIGHT_COUNT_MAX,
    Delivery,
    Outbound,
    Step,
    publish_packet,
    variable_byte_integer,
)
from tests.protocol import builder


def outbound(
    *,
    version: int = 4,
    receive_maximum: int = 2,
    packet_bytes_max: int | None = None,
    queue_messages_max: int = 4,
    queue_bytes_max: int = 1000,
) -> Outbound:
    return Outbound(
        has_properties=version == 5,
        receive_maximum=receive_maximum,
        packet_bytes_max=packet_bytes_max,
        queue_messages_max=queue_messages_max,
        queue_bytes_max=queue_bytes_max,
    )


def delivery(
    payload: bytes = b"m", *, topic: bytes = b"a/b", properties: bytes = b"", qos: int = 1
) -> Delivery:
    return Delivery(topic=topic, payload=payload, properties=properties, qos=qos)


def lag(out: Outbound) -> int | None:
    return out.lag_seq


def wants_refill(out: Outbound) -> bool:
    return out.wants_refill


def sent(packet_id: int, payload: bytes = b"m") -> bytes:
    return builder.publish("a/b", payload, qos=1, packet_id=packet_id)


class TestPackets:
    @pytest.mark.parametrize("size", [0, 1, 100, 200, 20_000, 3_000_000])
    @pytest.mark.parametrize("version", [4, 5])
    def test_as_an_independent_builder_makes_them(self, size: int, version: int) -> None:
        message = delivery(b"x" * size, properties=builder.puser("k", "v" * 200) if version == 5 else b"")
        properties = message.properties if version == 5 else None
        assert publish_packet(message, qos=1, packet_id=300, has_properties=version == 5) == builder.publish(
            "a/b", message.payload, qos=1, packet_id=300, properties=properties
        )
        assert publish_packet(message, qos=0, packet_id=0, has_properties=version == 5) == builder.publish(
            "a/b", message.payload, properties=properties
        )

    def test_a_packet_at_qos_0_is_made_once_for_all(self) -> None:
        message = delivery()
        for has_properties in (False, True):
            for retain in (False, True):
                packet = message.qos0_packet(retain=retain, has_properties=has_properties)
                assert message.qos0_packet(retain=retain, has_properties=has_properties) is packet
                assert packet[0] & 1 == retain
        assert message.qos0_packet(retain=False, has_properties=False) != message.qos0_packet(
            retain=False, has_properties=True
        )

    @pytest.mark.parametrize("value", [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455])
    def test_variable_byte_integers(self, value: int) -> None:
        assert variable_byte_integer(value) == builder.varint(value)


class TestWindow:
    def test_qos_1_waits_for_room_in_the_window(self) -> None:
        out = outbound(receive_maximum=2)
        assert out.offer(delivery(b"1"), 1, 1) == sent(1, b"1")
        assert out.offer(delivery(b"2"), 1, 2) == sent(2, b"2")
        assert out.offer(delivery(b"3"), 1, 3) == b""
        assert out.complete(2, Step.PUBACK) == sent(3, b"3")
        assert out.complete(1, Step.PUBACK) == b""
        assert out.complete(3, Step.PUBACK) == b""
        assert not out.in_flight

    def test_what_is_queued_goes_first(self) -> None:
        out = outbound(receive_maximum=1)
        out.offer(delivery(b"1"), 1, 1)
        out.offer(delivery(b"2"), 1, 2)
        out.in_flight.clear()  # as if the window had room while something waits
        assert out.offer(delivery(b"3"), 1, 3) == b""
        assert [d.payload for d, _, _ in out.queue] == [b"2", b"3"]

    def test_qos_0_needs_no_window(self) -> None:
        out = outbound(receive_maximum=1)
        out.offer(delivery(b"1"), 1, 1)
        assert out.offer(delivery(b"2"), 0, 2) == builder.publish("a/b", b"2")

    def test_an_acknowledgement_of_nothing_is_no_error(self) -> None:
        assert outbound().complete(7, Step.PUBACK) is None

    def test_a_window_wider_than_is_good_is_narrowed(self) -> None:
        out = outbound(receive_maximum=PACKET_ID_MAX, queue_messages_max=100_000, queue_bytes_max=10_000_000)
        for number in range(IN_FLIGHT_COUNT_MAX + 10):
            out.offer(delivery(), 1, number)
        assert len(out.in_flight) == IN_FLIGHT_COUNT_MAX

    def test_identifiers_go_round_and_skip_those_in_flight(self) -> None:
        out = outbound(receive_maximum=3)
        out.offer(delivery(), 1, 1)  # stays in flight as 1
        for packet_id in range(2, PACKET_ID_MAX + 1):
            assert out.offer(delivery(), 1, packet_id) == sent(packet_id)
            out.complete(packet_id, Step.PUBACK)
        assert out.offer(delivery(), 1, 1) == sent(2), "0 is none, 1 is in flight"

    def test_what_is_too_large_for_the_client_makes_room_for_the_next(self) -> None:
        out = outbound(version=5, receive_maximum=1, packet_bytes_max=50)
        assert out.offer(delivery(b"1"), 1, 1)
        for payload in (b"x" * 60, b"y" * 60, b"small"):
            assert out.offer(delivery(payload), 1, 2) == b""
        packet = out.complete(1, Step.PUBACK)
        assert packet is not None
        assert packet.endswith(b"small")
        assert out.oversize_count == 2
        assert out.delivered_count == 2
        assert out.queue_bytes == 0
        assert out.complete(int.from_bytes(packet[7:9], "big"), Step.PUBACK) == b""

    def test_too_large_without_a_queue_is_dropped_as_if_delivered(self) -> None:
        out = outbound(version=5, packet_bytes_max=10)
        assert out.offer(delivery(b"x" * 20), 0, 1) == b""
        assert out.offer(delivery(b"x" * 20), 1, 2) == b""
        assert out.lag_seq is None
        assert not out.in_flight


class TestLag:
    def test_full_by_count(self) -> None:
        out = outbound(receive_maximum=1, queue_messages_max=2)
        for seq in range(1, 4):
            out.offer(delivery(), 1, seq)
        assert lag(out) is None
        assert out.offer(delivery(), 1, 4) == b""
        assert lag(out) == 4
        assert out.offer(delivery(), 1, 5) == b""
        assert out.offer(delivery(), 0, 6) == b""
        assert out.lag_seq == 4, "the first that was not taken"
        assert len(out.queue) == 2
        assert out.lag_count == 1

    def test_full_by_bytes(self) -> None:
        out = outbound(receive_maximum=1, queue_messages_max=100, queue_bytes_max=500)
        out.offer(delivery(), 1, 1)
        out.offer(delivery(b"x" * 600), 1, 2)
        assert lag(out) is None, "one message may go over the bound"
        out.offer(delivery(), 1, 3)
        assert lag(out) == 3

    def test_full_by_what_the_socket_does_not_take(self) -> None:
        out = outbound(queue_bytes_max=500)
        out.unsent_bytes = 500
        assert out.offer(delivery(), 0, 9) == b""
        assert out.lag_seq == 9

    def test_refill_when_half_is_gone(self) -> None:
        out = outbound(receive_maximum=1, queue_messages_max=4)
        for seq in range(1, 7):
            out.offer(delivery(), 1, seq)
        assert out.lag_seq == 6
        assert not wants_refill(out)
        out.complete(1, Step.PUBACK)
        assert not wants_refill(out)
        out.complete(2, Step.PUBACK)
        assert wants_refill(out)
        out.unsent_bytes = 501
        assert not wants_refill(out)
        out.unsent_bytes = 0
        assert out.refill(delivery(b"from the log"), 1) == b""
        assert out.queue[-1][0].payload == b"from the log"

    def test_nothing_to_refill_without_lag(self) -> None:
        assert not outbound().wants_refill


class TestQos2:
    def test_two_answers_and_then_the_next(self) -> None:
        out = outbound(receive_maximum=1)
        packet = out.offer(delivery(b"1"), 2, 1)
        assert packet == builder.publish("a/b", b"1", qos=2, packet_id=1)
        assert out.offer(delivery(b"2"), 2, 2) == b""
        assert out.complete(1, Step.PUBCOMP) is None, "not received yet"
        assert out.receive(1)
        assert out.receive(1), "the subscriber may say it again"
        assert out.complete(1, Step.PUBACK) is None
        assert out.complete(1, Step.PUBREC) is None, "received is received"
        assert out.complete(1, Step.PUBCOMP) == builder.publish("a/b", b"2", qos=2, packet_id=2)
        assert not out.receive(1)

    def test_a_refusal_ends_it(self) -> None:
        out = outbound(receive_maximum=1)
        out.offer(delivery(b"1"), 2, 1)
        out.offer(delivery(b"2"), 1, 2)
        assert out.complete(1, Step.PUBREC) == builder.publish("a/b", b"2", qos=1, packet_id=2)
        assert not out.receive(2), "of QoS 1"
