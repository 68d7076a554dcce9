"""Every exchange of QoS 2 is accounted for, however its bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_fw_sim.load.exchanges import ExchangeTracker

RING = 8


def packet(first_byte: int, packet_id: int, *more: int) -> bytes:
    body = packet_id.to_bytes(2, "big") + bytes(more)
    return bytes((first_byte, len(body))) + body


def pubrec(packet_id: int, *more: int) -> bytes:
    return packet(0x50, packet_id, *more)


def pubrel(packet_id: int) -> bytes:
    return packet(0x62, packet_id)


def pubcomp(packet_id: int, *more: int) -> bytes:
    return packet(0x70, packet_id, *more)


def tracker(sent: int) -> ExchangeTracker:
    found = ExchangeTracker(RING)
    found.sent = sent
    return found


@given(st.integers(1, RING), st.lists(st.integers(1, 9), max_size=20))
def test_any_cut_gives_the_same_answers_and_counts(count: int, cuts: list[int]) -> None:
    found = tracker(count)
    data = b"".join(pubrec(each) for each in range(1, count + 1)) + b"\xd0\x00"
    answers, position = b"", 0
    for size in (*cuts, len(data)):
        found.receive_bytes(data[position : position + size])
        answers += found.take_answers()
        position += size
    assert answers == b"".join(pubrel(each) for each in range(1, count + 1))
    assert (found.acknowledged, found.ping_responses) == (0, 1)
    assert found.receive_bytes(b"".join(pubcomp(each) for each in range(1, count + 1))) == count
    assert (found.acknowledged_total, found.unexpected, found.out_of_order, found.problem) == (
        count,
        0,
        0,
        None,
    )


def test_packet_ids_are_used_again_in_the_next_turn() -> None:
    found = tracker(RING)
    for turn in range(3):
        for each in range(1, RING + 1):
            found.receive_bytes(pubrec(each) + pubcomp(each))
        found.sent += RING
        assert found.acknowledged == (turn + 1) * RING
    assert found.unexpected == 0


def test_pubcomp_comes_in_any_order() -> None:
    found = tracker(2)
    found.receive_bytes(pubrec(1) + pubrec(2))
    assert found.receive_bytes(pubcomp(2)) == 0
    assert (found.acknowledged, found.acknowledged_total) == (0, 1)
    assert found.receive_bytes(pubcomp(1)) == 2
    assert found.out_of_order == 0


def test_a_pubrec_out_of_order_is_counted() -> None:
    found = tracker(2)
    found.receive_bytes(pubrec(2))
    assert found.out_of_order == 1


@pytest.mark.parametrize(
    "data", [pubrec(3), pubrec(0), pubrec(9), pubcomp(1), pubrec(1) + pubcomp(1) + pubcomp(1)]
)
def test_an_answer_to_nothing_is_unexpected(data: bytes) -> None:
    found = tracker(2)
    found.receive_bytes(data)
    assert found.unexpected == 1


def test_refused_is_done_without_pubrel() -> None:
    found = tracker(1)
    assert found.receive_bytes(pubrec(1, 0x97)) == 1
    assert (found.refused, found.take_answers()) == (1, b"")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xe0\x01\x8b", "reason code 0x8b"),
        (b"\x40\x02\x00\x01", "0x40"),
        (b"\x50\xff\xff\xff\xff", "malformed"),
    ],
)
def test_anything_else_is_a_problem(data: bytes, said: str) -> None:
    found = tracker(1)
    found.receive_bytes(data)
    assert found.problem is not None
    assert said in found.problem
