"""What a record says of a session's deliveries, and what is made of it when it is read again."""

from __future__ import annotations

from broker.delivery import Delivery, recipe
from broker.outbound import Outbound, Step
from broker.progress import Progress, all_waiting, apply_progress, apply_sent, take_progress
from broker.shared import SharedGroup
from broker.state.positions import Position

NEXT_SEQ = 100


def outbound(*, receive_maximum: int = 2, is_durable: bool = True) -> Outbound:
    out = Outbound(queue_messages_max=10, queue_bytes_max=1000, is_durable=is_durable)
    out.attach(
        has_properties=False,
        receive_maximum=receive_maximum,
        packet_bytes_max=None,
        topic_alias_max=0,
        next_seq=1,
    )
    return out


def offer(out: Outbound, seq: int, qos: int = 1, group: SharedGroup | None = None) -> None:
    out.offer(Delivery(seq=seq, client=("p", "p"), topic=b"t", payload=b"12", qos=qos), recipe(qos), group)
    out.withheld.clear()


def entry(seq: int, step: Step) -> int:
    return seq << 3 | step


def after_start(*seqs: int) -> Outbound:
    """A session as the messages of the log alone make it."""
    out = Outbound(queue_messages_max=10, queue_bytes_max=1000, is_durable=True)
    for seq in seqs:
        out.park(seq, 3)
    return out


class TestTake:
    def test_all_is_done(self) -> None:
        assert take_progress(outbound(), NEXT_SEQ) == Progress(NEXT_SEQ, [], [])

    def test_what_is_in_flight_is_named(self) -> None:
        out = outbound()
        offer(out, 5)
        offer(out, 6, qos=2)
        assert out.is_changed
        made = take_progress(out, NEXT_SEQ)
        assert made == Progress(NEXT_SEQ, [(1, entry(5, Step.PUBACK))], []), "QoS 2 has records of its own"
        assert not out.is_changed

    def test_what_waits_in_the_queue_is_not_done(self) -> None:
        out = outbound()
        for seq in range(5, 9):
            offer(out, seq)
        assert take_progress(out, NEXT_SEQ).through == 7

    def test_one_that_waits_with_its_retain_flag_is_not_done(self) -> None:
        """To a subscription with retain as published a message of now comes with RETAIN, as those kept of before do."""
        out = outbound(receive_maximum=1)
        offer(out, 5)
        message = Delivery(seq=6, client=("p", "p"), topic=b"t", payload=b"12", qos=1, is_retained=True)
        out.offer(message, recipe(1, True))
        assert take_progress(out, NEXT_SEQ).through == 6
        out.detach()
        assert take_progress(out, NEXT_SEQ).through == 6

    def test_what_waits_as_places_is_not_done(self) -> None:
        out = outbound()
        out.positions.append(3, 1, is_retained=True)
        out.positions.append(8, 1)
        assert take_progress(out, NEXT_SEQ).through == 8, "retained ones are not of the records before"

    def test_what_a_cursor_has_not_come_to_is_not_done(self) -> None:
        out = outbound()
        out.fall_behind(40)
        assert take_progress(out, NEXT_SEQ).through == 40

    def test_qos_2_that_is_done_is_named_once(self) -> None:
        out = outbound()
        offer(out, 5, qos=2)
        out.receive(1)
        out.complete(1, Step.PUBCOMP, 0)
        assert take_progress(out, NEXT_SEQ).completed == [1]
        assert take_progress(out, NEXT_SEQ).completed == []

    def test_what_is_of_a_shared_subscription_is_the_groups(self) -> None:
        out, group = outbound(), SharedGroup("g", "t")
        for seq in range(5, 9):
            offer(out, seq, group=group)
        assert take_progress(out, NEXT_SEQ) == Progress(NEXT_SEQ, [], [])


class TestApply:
    def test_what_is_done_is_taken_away(self) -> None:
        out = after_start(1, 2, 3, 4)
        apply_progress(out, Progress(4, [(7, entry(2, Step.PUBACK))], []))
        assert list(out.positions) == [Position(4, False)]
        assert out.in_flight == {7: entry(2, Step.PUBACK)}

    def test_what_is_in_flight_beyond_does_not_wait_too(self) -> None:
        out = after_start(1, 2, 3)
        apply_progress(out, Progress(1, [(7, entry(2, Step.PUBACK))], []))
        assert [position.seq for position in out.positions] == [1, 3]

    def test_a_later_record_replaces_what_an_earlier_one_said(self) -> None:
        out = after_start()
        apply_sent(out, 1, entry(1, Step.PUBREC))
        apply_progress(out, Progress(4, [(7, entry(2, Step.PUBACK)), (8, entry(3, Step.PUBACK))], []))
        apply_progress(out, Progress(5, [(8, entry(3, Step.PUBACK))], []))
        assert out.in_flight == {1: entry(1, Step.PUBREC), 8: entry(3, Step.PUBACK)}
        apply_progress(out, Progress(5, [], [1, 99]))
        assert out.in_flight == {}

    def test_a_cursor_only_goes_forward(self) -> None:
        out = after_start()
        out.lag_seq = 10
        apply_progress(out, Progress(20, [], []))
        assert out.lag_seq == 20
        apply_progress(out, Progress(15, [], []))
        assert out.lag_seq == 20

    def test_sent_means_no_longer_waiting(self) -> None:
        out = after_start(1, 2, 3)
        apply_sent(out, 9, entry(2, Step.PUBREC))
        assert [position.seq for position in out.positions] == [1, 3]
        apply_sent(out, 4, entry(3, Step.PUBREC))
        apply_sent(out, 9, entry(1, Step.PUBREC))
        assert list(out.in_flight) == [4, 9], "the order is that of the last sending"

    def test_what_is_taken_and_applied_is_what_there_was(self) -> None:
        out = outbound()
        for seq in range(1, 8):
            offer(out, seq)
        out.complete(1, Step.PUBACK, 0)
        again = after_start(*range(1, 8))
        apply_progress(again, take_progress(out, NEXT_SEQ))
        out.detach()
        assert again.in_flight == out.in_flight == {2: entry(2, Step.PUBACK), 3: entry(3, Step.PUBACK)}
        assert list(again.positions) == list(out.positions)


def test_all_that_waits_as_a_checkpoint_keeps_it() -> None:
    out, group = outbound(receive_maximum=1), SharedGroup("g", "t")
    offer(out, 1)
    offer(out, 2)
    offer(out, 3, group=group)
    out.positions.append(9, 5)
    waiting = all_waiting(out)
    assert list(waiting) == [Position(2, False), Position(9, False)]
    assert waiting.size_bytes == 3 + 5
    assert len(out.queue) == 2, "nothing is changed"
    assert len(out.positions) == 1
