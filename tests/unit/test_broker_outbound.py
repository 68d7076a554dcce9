"""What goes to one subscriber: window, queue, the fall back to the log, packet identifiers."""

from __future__ import annotations

from broker.delivery import Delivery, recipe
from broker.mqtt.packet_ids import PACKET_ID_MAX
from broker.outbound import IN_FLIGHT_COUNT_MAX, Outbound, Step
from broker.state.positions import Position
from tests.protocol import builder

NOW_MS = 1000


def outbound(
    *,
    version: int = 4,
    receive_maximum: int = 2,
    packet_bytes_max: int | None = None,
    queue_messages_max: int = 4,
    queue_bytes_max: int = 1000,
    is_durable: bool = False,
) -> Outbound:
    out = Outbound(
        queue_messages_max=queue_messages_max, queue_bytes_max=queue_bytes_max, is_durable=is_durable
    )
    attach(out, version=version, receive_maximum=receive_maximum, packet_bytes_max=packet_bytes_max)
    return out


def attach(
    out: Outbound,
    *,
    version: int = 4,
    receive_maximum: int = 2,
    packet_bytes_max: int | None = None,
    next_seq: int = 100,
) -> list[int]:
    return out.attach(
        has_properties=version == 5,
        receive_maximum=receive_maximum,
        packet_bytes_max=packet_bytes_max,
        topic_alias_max=0,
        next_seq=next_seq,
    )


def delivery(
    payload: bytes = b"m", seq: int = 1, *, topic: bytes = b"a/b", properties: bytes = b"", qos: int = 1
) -> Delivery:
    return Delivery(seq=seq, client=("p", "p"), topic=topic, payload=payload, properties=properties, qos=qos)


def offer(out: Outbound, message: Delivery, qos: int = 1, seq: int = 1) -> bytes:
    message.seq = seq
    return out.offer(message, recipe(qos))


def complete(out: Outbound, packet_id: int, step: Step = Step.PUBACK) -> bytes | None:
    packets = out.complete(packet_id, step, NOW_MS)
    return None if packets is None else b"".join(packets)


def lag(out: Outbound) -> int | None:
    return out.lag_seq


def wants_refill(out: Outbound) -> bool:
    return out.wants_refill


def sent(packet_id: int, payload: bytes = b"m") -> bytes:
    return builder.publish("a/b", payload, qos=1, packet_id=packet_id)


class TestWindow:
    def test_qos_1_waits_for_room_in_the_window(self) -> None:
        out = outbound(receive_maximum=2)
        assert offer(out, delivery(b"1"), 1, 1) == sent(1, b"1")
        assert offer(out, delivery(b"2"), 1, 2) == sent(2, b"2")
        assert offer(out, delivery(b"3"), 1, 3) == b""
        assert complete(out, 2, Step.PUBACK) == sent(3, b"3")
        assert complete(out, 1, Step.PUBACK) == b""
        assert complete(out, 3, Step.PUBACK) == b""
        assert not out.in_flight

    def test_what_is_queued_goes_first(self) -> None:
        out = outbound(receive_maximum=1)
        offer(out, delivery(b"1"), 1, 1)
        offer(out, delivery(b"2"), 1, 2)
        out.in_flight.clear()  # as if the window had room while something waits
        assert offer(out, delivery(b"3"), 1, 3) == b""
        assert [d.payload for d, _, _ in out.queue] == [b"2", b"3"]

    def test_qos_0_needs_no_window(self) -> None:
        out = outbound(receive_maximum=1)
        offer(out, delivery(b"1"), 1, 1)
        assert offer(out, delivery(b"2"), 0, 2) == builder.publish("a/b", b"2")

    def test_an_acknowledgement_of_nothing_is_no_error(self) -> None:
        assert complete(outbound(), 7, Step.PUBACK) is None

    def test_a_window_wider_than_is_good_is_narrowed(self) -> None:
        out = outbound(receive_maximum=PACKET_ID_MAX, queue_messages_max=100_000, queue_bytes_max=10_000_000)
        for number in range(IN_FLIGHT_COUNT_MAX + 10):
            offer(out, delivery(), 1, number)
        assert len(out.in_flight) == IN_FLIGHT_COUNT_MAX

    def test_identifiers_go_round_and_skip_those_in_flight(self) -> None:
        out = outbound(receive_maximum=3)
        offer(out, delivery(), 1, 1)  # stays in flight as 1
        for packet_id in range(2, PACKET_ID_MAX + 1):
            assert offer(out, delivery(), 1, packet_id) == sent(packet_id)
            complete(out, packet_id, Step.PUBACK)
        assert offer(out, delivery(), 1, 1) == sent(2), "0 is none, 1 is in flight"

    def test_what_is_too_large_for_the_client_makes_room_for_the_next(self) -> None:
        out = outbound(version=5, receive_maximum=1, packet_bytes_max=50)
        assert offer(out, delivery(b"1"), 1, 1)
        for payload in (b"x" * 60, b"y" * 60, b"small"):
            assert offer(out, delivery(payload), 1, 2) == b""
        packet = complete(out, 1, Step.PUBACK)
        assert packet is not None
        assert packet.endswith(b"small")
        assert out.oversize_count == 2
        assert out.delivered_count == 2
        assert out.queue_bytes == 0
        assert complete(out, int.from_bytes(packet[7:9], "big"), Step.PUBACK) == b""

    def test_too_large_without_a_queue_is_dropped_as_if_delivered(self) -> None:
        out = outbound(version=5, packet_bytes_max=10)
        assert offer(out, delivery(b"x" * 20), 0, 1) == b""
        assert offer(out, delivery(b"x" * 20), 1, 2) == b""
        assert out.lag_seq is None
        assert not out.in_flight


class TestLag:
    def test_full_by_count(self) -> None:
        out = outbound(receive_maximum=1, queue_messages_max=2)
        for seq in range(1, 4):
            offer(out, delivery(), 1, seq)
        assert lag(out) is None
        assert offer(out, delivery(), 1, 4) == b""
        assert lag(out) == 4
        assert offer(out, delivery(), 1, 5) == b""
        assert offer(out, delivery(), 0, 6) == b""
        assert out.lag_seq == 4, "the first that was not taken"
        assert len(out.queue) == 2
        assert out.lag_count == 1

    def test_full_by_bytes(self) -> None:
        out = outbound(receive_maximum=1, queue_messages_max=100, queue_bytes_max=500)
        offer(out, delivery(), 1, 1)
        offer(out, delivery(b"x" * 600), 1, 2)
        assert lag(out) is None, "one message may go over the bound"
        offer(out, delivery(), 1, 3)
        assert lag(out) == 3

    def test_full_by_what_the_socket_does_not_take(self) -> None:
        out = outbound(queue_bytes_max=500)
        out.unsent_bytes = 500
        assert offer(out, delivery(), 0, 9) == b""
        assert out.lag_seq == 9

    def test_refill_when_half_is_gone(self) -> None:
        out = outbound(receive_maximum=1, queue_messages_max=4)
        for seq in range(1, 7):
            offer(out, delivery(), 1, seq)
        assert out.lag_seq == 6
        assert not wants_refill(out)
        complete(out, 1, Step.PUBACK)
        assert not wants_refill(out)
        complete(out, 2, Step.PUBACK)
        assert wants_refill(out)
        out.unsent_bytes = 501
        assert not wants_refill(out)
        out.unsent_bytes = 0
        assert out.refill(delivery(b"from the log"), recipe(1)) == b""
        assert out.queue[-1][0].payload == b"from the log"

    def test_nothing_to_refill_without_lag(self) -> None:
        assert not outbound().wants_refill


class TestQos2:
    def test_two_answers_and_then_the_next(self) -> None:
        out = outbound(receive_maximum=1)
        packet = offer(out, delivery(b"1"), 2, 1)
        assert packet == builder.publish("a/b", b"1", qos=2, packet_id=1)
        assert offer(out, delivery(b"2"), 2, 2) == b""
        assert complete(out, 1, Step.PUBCOMP) is None, "not received yet"
        assert out.receive(1)
        assert out.receive(1), "the subscriber may say it again"
        assert complete(out, 1, Step.PUBACK) is None
        assert complete(out, 1, Step.PUBREC) is None, "received is received"
        assert complete(out, 1, Step.PUBCOMP) == builder.publish("a/b", b"2", qos=2, packet_id=2)
        assert not out.receive(1)

    def test_a_refusal_ends_it(self) -> None:
        out = outbound(receive_maximum=1)
        offer(out, delivery(b"1"), 2, 1)
        offer(out, delivery(b"2"), 1, 2)
        assert complete(out, 1, Step.PUBREC) == builder.publish("a/b", b"2", qos=1, packet_id=2)
        assert not out.receive(2), "of QoS 1"


class TestAway:
    def test_what_waits_becomes_places_in_the_log(self) -> None:
        out = outbound(receive_maximum=1, is_durable=True)
        for seq in (5, 6, 7):
            offer(out, delivery(), 1, seq)
        out.detach()
        assert not out.queue
        assert list(out.positions) == [Position(6, False), Position(7, False)]
        assert offer(out, delivery(), 1, 8) == offer(out, delivery(), 0, 9) == b""
        assert [position.seq for position in out.positions] == [6, 7, 8], "QoS 0 is not kept"
        assert out.in_flight == {1: 5 << 3 | Step.PUBACK}

    def test_a_full_queue_loses_its_oldest(self) -> None:
        out = outbound(queue_messages_max=3, is_durable=True)
        out.detach()
        for seq in range(1, 6):
            offer(out, delivery(), 1, seq)
        assert [position.seq for position in out.positions] == [3, 4, 5]
        assert out.dropped_count == 2

    def test_by_bytes_and_one_that_has_no_room_at_all(self) -> None:
        out = outbound(queue_bytes_max=100, is_durable=True)
        out.detach()
        offer(out, delivery(b"x" * 60), 1, 1)
        offer(out, delivery(b"x" * 60), 1, 2)
        assert [position.seq for position in out.positions] == [2]
        offer(out, delivery(b"x" * 200), 1, 3)
        assert (len(out.positions), out.positions.size_bytes, out.dropped_count) == (0, 0, 3)

    def test_who_is_connected_as_far_as_the_log_says_drops_nothing(self) -> None:
        out = Outbound(queue_messages_max=2, queue_bytes_max=1000, is_durable=True)
        out.keeps_all = True
        for seq in range(1, 5):
            offer(out, delivery(), 1, seq)
        assert (len(out.positions), out.lag_seq, out.dropped_count) == (2, 3, 0)

    def test_back_again(self) -> None:
        """What was in flight is to be sent again, PUBREL at once; live messages wait behind it."""
        out = outbound(receive_maximum=5, is_durable=True)
        offer(out, delivery(b"1"), 1, 1)
        out.in_flight[7] = 2 << 3 | Step.PUBCOMP
        offer(out, delivery(b"3"), 1, 3)
        out.detach()
        assert attach(out, receive_maximum=2, next_seq=50) == [7]
        assert list(out.resend) == [1, 2]
        assert lag(out) == 50
        windows = [out.is_window_open]
        out.resend.popleft()
        windows.append(out.is_window_open)
        assert windows == [True, False], "one that waits for PUBCOMP counts, too"
        assert not wants_refill(out)
        assert complete(out, 7, Step.PUBCOMP) == b""
        assert wants_refill(out)
        first = out.sent(1)
        assert first is not None
        assert (first.seq, first.step, first.retain) == (1, Step.PUBACK, False)
        assert out.sent(9) is None
        assert out.send_again(1, delivery(b"1"), recipe(1)) == sent(1, b"1")

    def test_nothing_waits_so_it_is_live_at_once(self) -> None:
        out = outbound(is_durable=True)
        out.detach()
        assert attach(out) == []
        assert out.lag_seq is None

    def test_one_in_flight_that_is_lost_is_forgotten(self) -> None:
        out = outbound(is_durable=True)
        offer(out, delivery(), 1, 1)
        out.forget(1)
        assert not out.in_flight

    def test_who_is_away_and_was_a_cursor_wants_to_come_to_rest(self) -> None:
        out = outbound(queue_messages_max=1, receive_maximum=1, is_durable=True)
        for seq in range(1, 5):
            offer(out, delivery(), 1, seq)
        assert not wants_refill(out)
        out.detach()
        assert wants_refill(out)
        assert not out.can_take


class TestDurable:
    def test_qos_2_waits_for_its_record(self) -> None:
        out = outbound(is_durable=True)
        assert offer(out, delivery(b"1"), 2, 9) == b""
        packet = builder.publish("a/b", b"1", qos=2, packet_id=1)
        assert out.withheld == [(1, 9 << 3 | Step.PUBREC, packet)]
        out.receive(1)
        complete(out, 1, Step.PUBCOMP)
        assert list(out.completed) == [1]

    def test_qos_1_does_not(self) -> None:
        assert offer(outbound(is_durable=True), delivery(), 1, 9) == sent(1)


class TestExpiry:
    def test_what_expires_in_the_queue_makes_room_for_the_next(self) -> None:
        out = outbound(version=5, receive_maximum=1)
        offer(out, delivery(b"1"), 1, 1)
        for seq, seconds in ((2, 1), (3, 100)):
            message = Delivery(
                seq=seq,
                client=("p", "p"),
                topic=b"a/b",
                payload=b"%d" % seq,
                properties=builder.p32(2, seconds),
                qos=1,
                received_at_ms=0,
            )
            out.offer(message, recipe(1))
        packet = complete(out, 1, Step.PUBACK)
        assert packet == builder.publish("a/b", b"3", qos=1, packet_id=2, properties=builder.p32(2, 99))
        assert out.expired_count == 1
