"""broker/bridge/window.py"""

from __future__ import annotations

import pytest

from broker.bridge.window import OutgoingWindow, Placed, Progress


def window(next_seq: int = 10, *, count: int = 4, receive_maximum: int = 100) -> OutgoingWindow:
    made = OutgoingWindow(next_seq, entry_count_max=count)
    assert made.begin(session_present=False, receive_maximum=receive_maximum) == []
    return made


def place(made: OutgoingWindow, seq: int, qos: int) -> Placed:
    placed = made.place(seq, qos)
    assert placed is not None
    return placed


def test_the_position_is_the_first_that_is_not_acknowledged() -> None:
    made = window()
    first, second = place(made, 10, 1), place(made, 12, 1)
    made.pass_to(20)
    assert made.position == 10
    assert made.complete(second.packet_id, 1) == 12
    assert made.position == 10
    assert made.complete(first.packet_id, 1) == 10
    assert made.position == 20
    assert len(made) == 0


def test_qos_0_waits_for_nothing() -> None:
    made = window()
    assert place(made, 10, 0) == Placed(packet_id=0, qos=0, is_again=False)
    made.pass_to(11)
    assert made.position == 11
    assert not made.has_news


def test_identifiers_of_subscribe_are_left_alone() -> None:
    made = window(count=2)
    assert [place(made, seq, 1).packet_id for seq in (10, 11)] == [3, 4]


def test_an_identifier_is_free_again_when_its_message_has_arrived() -> None:
    made = window(count=2)
    made._last_packet_id = 65_534
    first = place(made, 10, 1)
    assert first.packet_id == 65_535
    assert place(made, 11, 1).packet_id == 3, "after the last comes the first that is not kept"


def test_room_is_bounded_by_the_window_and_by_the_remote() -> None:
    made = window(count=3, receive_maximum=2)
    assert made.room == 2
    placed = place(made, 10, 1)
    place(made, 11, 1)
    assert made.room == 0
    made.complete(placed.packet_id, 1)
    assert made.room == 1


def test_one_that_is_never_answered_holds_back_what_follows() -> None:
    """A remote that answers all but the first can't make the window grow."""
    made = window(count=3)
    stuck = place(made, 10, 1)
    for seq in (11, 12):
        made.complete(place(made, seq, 1).packet_id, 1)
    assert made.room == 0
    made.complete(stuck.packet_id, 1)
    assert made.room == 3


def test_on_the_next_connection_the_same_identifier_is_sent_again() -> None:
    made = window()
    placed = place(made, 10, 1)
    made.pass_to(15)
    assert made.begin(session_present=True, receive_maximum=100) == []
    assert made.scanned_seq == 10
    assert made.place(10, 1) == Placed(packet_id=placed.packet_id, qos=1, is_again=True)


def test_a_remote_that_has_forgotten_gets_it_as_new() -> None:
    made = window()
    placed = place(made, 10, 2)
    made.received(placed.packet_id)
    assert made.begin(session_present=False, receive_maximum=100) == []
    assert made.place(10, 2) == Placed(packet_id=placed.packet_id, qos=2, is_again=False)


def test_after_pubrec_a_message_is_released_and_never_sent_again() -> None:
    made = window()
    placed = place(made, 10, 2)
    assert made.received(placed.packet_id)
    assert made.begin(session_present=True, receive_maximum=100) == [placed.packet_id]
    assert made.place(10, 2) is None
    assert made.complete(placed.packet_id, 2) == 10
    assert made.position == 11


def test_what_is_saved_brings_qos_2_back_after_a_kill() -> None:
    made = window()
    waiting, sent, received, done = 10, 11, 12, 13
    place(made, waiting, 1)
    first = place(made, sent, 2)
    second = place(made, received, 2)
    third = place(made, done, 2)
    made.received(second.packet_id)
    made.received(third.packet_id)
    made.complete(third.packet_id, 2)
    assert made.has_news
    saved = made.saved()
    assert saved == [
        (sent, first.packet_id, Progress.SENT),
        (received, second.packet_id, Progress.RECEIVED),
        (done, third.packet_id, Progress.DONE),
    ]
    again = OutgoingWindow(made.position, saved, entry_count_max=4)
    assert again.position == waiting
    assert again.begin(session_present=True, receive_maximum=100) == [second.packet_id]
    assert not place(again, waiting, 1).is_again
    assert again.place(sent, 2) == Placed(packet_id=first.packet_id, qos=2, is_again=True)
    assert again.place(received, 2) is None
    assert again.place(done, 2) is None
    assert not place(again, 14, 2).is_again


def test_what_stands_before_a_full_window_after_a_kill_is_still_sent() -> None:
    """QoS 1 is not saved: its record comes again, in front of a window that is full of QoS 2."""
    again = OutgoingWindow(10, [(11, 3, 3), (12, 4, 3)], entry_count_max=2)
    again.begin(session_present=True, receive_maximum=100)
    assert again.room == 1
    placed = place(again, 10, 1)
    assert again.room == 0
    again.complete(placed.packet_id, 1)
    assert again.place(11, 2) is None
    assert again.place(12, 2) is None
    assert again.room == 2
    assert again.position == 13


def test_what_goes_out_no_more_frees_its_identifier_at_the_remote() -> None:
    """QoS 1 is let go; of QoS 2 the remote may have it, and would take a later message for this one."""
    again = OutgoingWindow(10, [(11, 7, 1)], entry_count_max=4)
    again.begin(session_present=True, receive_maximum=100)
    place(again, 10, 1)
    assert again.pass_to(20) == [7]
    assert again.complete(7, 2) == 11
    assert again.position == 10, "QoS 1 is still under way"


def test_a_refusal_for_now_is_sent_again_as_new() -> None:
    made = window()
    placed = place(made, 10, 1)
    made.give_back(placed.packet_id)
    assert made.pass_to(11) == [], "a look at the log that is under way does not give it up"
    assert made.position == 10
    made.begin(session_present=True, receive_maximum=100)
    assert made.place(10, 1) == Placed(packet_id=placed.packet_id, qos=1, is_again=False)
    made.give_back(99)


@pytest.mark.parametrize("qos", [1, 2])
def test_answers_to_nothing_change_nothing(qos: int) -> None:
    made = window()
    placed = place(made, 10, qos)
    assert made.complete(placed.packet_id, 3 - qos) is None
    assert made.complete(999, qos) is None
    assert not made.received(999)
    if qos == 1:
        assert not made.received(placed.packet_id)
    made.begin(session_present=True, receive_maximum=100)
    assert made.complete(placed.packet_id, qos) is None, "not sent on this connection yet"
    assert made.position == 10
