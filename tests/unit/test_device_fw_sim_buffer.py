"""One hour of readings, the oldest dropped first, nothing uncounted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from device_fw_sim.buffer import Reading, ReadingBuffer

HOUR_MS = 3_600_000


def reading(seq: int, at_ms: int = 0) -> Reading:
    return Reading(seq, at_ms, b"%d" % seq)


def test_oldest_is_dropped_beyond_the_count() -> None:
    buffer = ReadingBuffer(3)
    for seq in range(1, 6):
        buffer.put(reading(seq))
    assert buffer.dropped_count == 2
    assert [taken.seq for taken in iter(buffer.take, None)] == [3, 4, 5]


def test_what_is_older_than_an_hour_is_dropped() -> None:
    buffer = ReadingBuffer(1_000)
    buffer.put(reading(1, 0))
    buffer.put(reading(2, 1_000))
    buffer.put(reading(3, HOUR_MS))
    assert buffer.dropped_count == 0
    buffer.put(reading(4, HOUR_MS + 1))
    assert buffer.dropped_count == 1
    assert len(buffer) == 3


def test_lost_connection_puts_unacknowledged_before_newer_ones_in_order() -> None:
    buffer = ReadingBuffer(10)
    for seq in range(1, 5):
        buffer.put(reading(seq))
    for _ in range(3):
        buffer.take()
    assert buffer.acknowledge(2)
    buffer.connection_lost()
    assert [taken.seq for taken in iter(buffer.take, None)] == [1, 3, 4]
    assert buffer.sent_count == 4
    assert buffer.resent_count == 2


def test_acknowledgement_of_nothing_in_flight_is_ignored() -> None:
    buffer = ReadingBuffer(10)
    buffer.put(reading(1))
    assert not buffer.acknowledge(1)
    buffer.take()
    assert buffer.acknowledge(1)
    assert not buffer.acknowledge(1)
    assert buffer.acknowledged_count == 1


def test_dropping_a_sent_reading_no_longer_expects_its_acknowledgement() -> None:
    buffer = ReadingBuffer(1)
    buffer.put(reading(1))
    buffer.take()
    buffer.connection_lost()
    buffer.put(reading(2))
    assert buffer.dropped_count == 1
    assert buffer.sent_count == 0


@given(
    st.integers(1, 20),
    st.lists(st.sampled_from(["put", "take", "ack", "lose"]), max_size=200),
)
def test_every_reading_is_in_one_place(count_max: int, steps: list[str]) -> None:
    """Taken = acknowledged + dropped + kept, and sent = acknowledged + sent-but-kept, whatever happens."""
    buffer = ReadingBuffer(count_max)
    seq, inflight = 0, list[int]()
    for step in steps:
        match step:
            case "put":
                seq += 1
                buffer.put(reading(seq))
            case "take":
                if (taken := buffer.take()) is not None:
                    inflight.append(taken.seq)
            case "ack" if inflight:
                assert buffer.acknowledge(inflight.pop(0))
            case "lose":
                buffer.connection_lost()
                inflight.clear()
        assert buffer.acknowledged_count + buffer.dropped_count + len(buffer) == seq
        assert buffer.sent_count == buffer.acknowledged_count + buffer.unacknowledged_count
        assert buffer.inflight_count == len(inflight)
