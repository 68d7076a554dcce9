"""Every acknowledgement is accounted for, however its bytes are cut."""

from __future__ import annotations

from functools import cache, partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_fw_sim.load import wire
from device_fw_sim.load.acks import AckTracker

RING = 8


def tracker(sent: int = 0) -> AckTracker:
    found = AckTracker(RING, cache(partial(wire.ack_ring, RING)))
    found.sent = sent
    return found


def puback(packet_id: int, reason: int | None = None, *, long: bool = False) -> bytes:
    body = packet_id.to_bytes(2, "big")
    if reason is not None:
        body += bytes([reason])
    if long:
        body += b"\x00"
    return bytes([0x40, len(body)]) + body


def test_acknowledgements_in_order_over_several_turns_of_the_ring() -> None:
    acks = tracker()
    for _ in range(5):
        acks.sent += 5
        ids = [number % RING + 1 for number in range(acks.acknowledged, acks.sent)]
        assert acks.receive_bytes(b"".join(puback(each) for each in ids)) == 5
    assert acks.acknowledged == acks.sent == 25
    assert (acks.unexpected, acks.out_of_order, acks.refused, acks.problem) == (0, 0, 0, None)


@given(
    st.integers(1, RING),
    st.lists(st.sampled_from([None, 0x00, 0x10]), min_size=1, max_size=3),
    st.lists(st.integers(1, 9), max_size=30),
)
def test_any_cut_gives_the_same_counts(inflight: int, forms: list[int | None], cuts: list[int]) -> None:
    """Bytes cut anywhere, in every form of MQTT 5, with PINGRESP in between."""
    acks = tracker(inflight * 3)
    data = b""
    for number in range(inflight * 3):
        data += puback(number % RING + 1, forms[number % len(forms)])
        if number % 4 == 3:
            data += b"\xd0\x00"
    position = 0
    for size in [*cuts, len(data)]:
        acks.receive_bytes(data[position : position + size])
        position += size
    assert acks.acknowledged == inflight * 3
    assert acks.ping_responses == inflight * 3 // 4
    assert (acks.unexpected, acks.out_of_order, acks.problem) == (0, 0, None)


def test_an_acknowledgement_of_nothing_in_flight_is_unexpected() -> None:
    acks = tracker(2)
    assert acks.receive_bytes(puback(1) + puback(2) + puback(3)) == 2
    assert acks.unexpected == 1
    assert acks.receive_bytes(puback(0) + puback(1) + puback(9)) == 0
    assert acks.unexpected == 4


def test_a_second_acknowledgement_is_unexpected() -> None:
    acks = tracker(3)
    acks.receive_bytes(puback(1) + puback(1))
    assert (acks.acknowledged, acks.unexpected) == (1, 1)
    acks.receive_bytes(puback(3) + puback(3))
    assert (acks.acknowledged, acks.acknowledged_total, acks.unexpected) == (1, 2, 2)


def test_out_of_order_is_counted_and_still_accounted_for() -> None:
    acks = tracker(4)
    assert acks.receive_bytes(puback(3)) == 0
    assert acks.receive_bytes(puback(1)) == 1
    assert acks.receive_bytes(puback(2)) == 2
    assert acks.receive_bytes(puback(4)) == 1
    assert (acks.acknowledged, acks.out_of_order, acks.unexpected) == (4, 1, 0)


def test_a_missing_one_stays_missing() -> None:
    acks = tracker(4)
    acks.receive_bytes(puback(1) + puback(3) + puback(4))
    assert acks.acknowledged == 1
    assert acks.acknowledged_total == 3


def test_refused_by_reason_code() -> None:
    acks = tracker(2)
    acks.receive_bytes(puback(1, 0x97) + puback(2, 0x10, long=True))
    assert (acks.acknowledged, acks.refused) == (2, 1)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xe0\x01\x8b", "0x8b"),
        (b"\xe0\x00", "0x00"),
        (b"\x30\x03\x00\x01a", "0x30"),
        (b"\x40\xff\xff\xff\xff\x01", "malformed"),
        (b"\x40\x01\x00", "0x40"),
    ],
)
def test_any_other_packet_is_a_problem(data: bytes, said: str) -> None:
    acks = tracker(2)
    acks.receive_bytes(puback(1) + data)
    assert acks.acknowledged == 1
    assert acks.problem is not None
    assert said in acks.problem


@given(st.lists(st.binary(max_size=12), max_size=10))
def test_any_bytes_at_all_never_acknowledge_more_than_was_sent(chunks: list[bytes]) -> None:
    acks = tracker(5)
    for chunk in chunks:
        acks.receive_bytes(chunk)
        assert acks.acknowledged_total <= acks.sent
