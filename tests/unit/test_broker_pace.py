"""The buckets of bytes and messages, and who pauses for how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.core.limits import CLIENT_RATE_BURST_MS
from broker.limit_counts import Limit
from broker.pace import RECEIVE_BYTES_MIN, Pace, Pauses, Rate
from tests.broker_kit import connection_pair

NOW = 1_000_000


def test_without_a_limit_there_is_nothing_to_pay() -> None:
    assert Rate().pace() is None


def test_a_burst_and_then_the_rate() -> None:
    pace = Pace(Rate(bytes_per_s=10_000))
    wait_ms, limit = pace.spend(10_000 * CLIENT_RATE_BURST_MS // 1000, 1, NOW)
    assert (wait_ms, limit) == (0, Limit.APPLICATION_BYTES_PER_S_MAX)
    assert pace.spend(1000, 1, NOW)[0] == pytest.approx(100)
    assert pace.spend(0, 0, NOW + 100)[0] == pytest.approx(0)
    assert pace.spend(1000, 1, NOW + 200)[0] == pytest.approx(0)
    assert pace.spend(10_000 * CLIENT_RATE_BURST_MS // 1000, 1, NOW + 3_600_000)[0] == 0, (
        "no more is saved up"
    )


def test_messages_have_a_bucket_of_their_own() -> None:
    pace = Pace(
        Rate(bytes_per_s=1_000_000, messages_per_s=100, messages_limit=Limit.DEVICE_MESSAGES_PER_S_MAX)
    )
    wait_ms, limit = pace.spend(100, 100 * CLIENT_RATE_BURST_MS // 1000 + 5, NOW)
    assert limit is Limit.DEVICE_MESSAGES_PER_S_MAX
    assert wait_ms == pytest.approx(50)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (Rate(bytes_per_s=1), RECEIVE_BYTES_MIN),
        (Rate(bytes_per_s=8_000_000, messages_per_s=10_000), 50_000),
        (Rate(messages_per_s=1), RECEIVE_BYTES_MIN),
        (Rate(bytes_per_s=20_000), 20_000),
    ],
)
def test_one_read_takes_at_most_about_what_a_second_allows(rate: Rate, expected: int) -> None:
    pace = Pace(rate)
    assert pace.receive_bytes == expected
    asked: list[int] = []

    def receive(bytes_max: int) -> bytes:
        asked.append(bytes_max)
        return b"x"

    assert pace.bounded(receive)(65_536) == b"x"
    assert asked == [min(expected, 65_536)]


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 65_536), st.integers(0, 2000)), max_size=60),
    st.integers(1000, 100_000),
    st.integers(10, 5000),
)
def test_whoever_waits_as_told_never_exceeds_burst_and_rate(
    reads: list[tuple[int, int, int]], bytes_per_s: int, messages_per_s: int
) -> None:
    """Counted at the end of each wait: what was taken is at most what the time since the beginning allows."""
    pace = Pace(Rate(bytes_per_s=bytes_per_s, messages_per_s=messages_per_s))
    now, taken_bytes, taken_messages = float(NOW), 0, 0
    for pause_ms, size, count in reads:
        now += pause_ms
        wait_ms, _ = pace.spend(size, count, int(now))
        taken_bytes, taken_messages = taken_bytes + size, taken_messages + count
        now += max(wait_ms, 0) + 1  # time is in whole milliseconds
        allowed_s = (now - NOW + CLIENT_RATE_BURST_MS) / 1000
        assert taken_bytes <= bytes_per_s * allowed_s + 1
        assert taken_messages <= messages_per_s * allowed_s + 1


def test_pauses_end_in_their_order_and_forget_who_left() -> None:
    made = [connection_pair() for _ in range(3)]
    first, second, third = (connection for connection, _ in made)
    pauses = Pauses()
    assert pauses.left_ms(NOW) is None
    pauses.add(second, NOW + 20)
    pauses.add(first, NOW + 10.5)
    pauses.add(third, NOW + 10.5).connection = None
    assert len(pauses) == 2
    assert pauses.left_ms(NOW) == 10.5
    assert list(pauses.ended(NOW + 10)) == []
    assert list(pauses.ended(NOW + 11)) == [first]
    assert pauses.left_ms(NOW + 30) == 0
    assert list(pauses.ended(NOW + 30)) == [second]
    assert len(pauses) == 0
    for connection, theirs in made:
        connection.part(b"")
        theirs.close()
