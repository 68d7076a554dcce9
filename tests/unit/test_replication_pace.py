"""What a link carries is found out from what leaves it, and parts are as large as it carries in a second."""

from __future__ import annotations

from appliance.core.limits_replication import (
    LINK_UNSENT_BYTES,
    LINK_UNSENT_BYTES_MIN,
    PART_BYTES_MAX,
    PART_BYTES_MIN,
)
from replication.pace import FIRST_PART_BYTES, Pace


def carry(pace: Pace, bytes_per_s: int, *, seconds: int, swallowed_bytes: int = 48 * 1024) -> None:
    """A link that always has something to carry, behind a kernel that takes some bytes at once."""
    now_ms, swallowed = 0, 0
    while now_ms < seconds * 1000:
        size_bytes = pace.part_bytes
        if swallowed < swallowed_bytes:
            swallowed += size_bytes
        else:
            now_ms += size_bytes * 1000 // bytes_per_s
        pace.left(size_bytes, now_ms, is_more=True)


def test_a_link_of_which_nothing_is_known_gets_small_parts() -> None:
    pace = Pace()
    assert pace.bytes_per_s is None
    assert (pace.part_bytes, pace.unsent_bytes) == (FIRST_PART_BYTES, LINK_UNSENT_BYTES_MIN)


def test_parts_are_what_a_link_carries_in_a_second() -> None:
    for bytes_per_s, low, high in (
        (6_250, PART_BYTES_MIN, PART_BYTES_MIN),
        (25_000, 16_384, 24_576),
        (10**7, PART_BYTES_MAX, PART_BYTES_MAX),
    ):
        pace = Pace()
        carry(pace, bytes_per_s, seconds=20)
        assert pace.bytes_per_s is not None
        assert 0.6 * bytes_per_s <= pace.bytes_per_s <= 1.2 * bytes_per_s
        assert low <= pace.part_bytes <= high
        assert pace.part_bytes % PART_BYTES_MIN == 0
        assert LINK_UNSENT_BYTES_MIN <= pace.unsent_bytes <= LINK_UNSENT_BYTES


def test_a_link_that_becomes_slow_gets_small_parts_within_two_of_them() -> None:
    pace = Pace()
    carry(pace, 10**7, seconds=1)
    for now_ms in (10_000, 20_000):
        pace.left(PART_BYTES_MAX, now_ms, is_more=True)
    assert pace.part_bytes == PART_BYTES_MIN


def test_what_is_acknowledged_soon_proves_a_fast_link_and_a_slow_answer_proves_nothing() -> None:
    pace = Pace()
    pace.proved(20_000, 10)
    assert pace.part_bytes == PART_BYTES_MAX
    pace.proved(20_000, 10_000)
    assert pace.bytes_per_s == 2_000_000
    small = Pace()
    small.proved(100, 1)
    assert small.bytes_per_s is None, "an answer to little tells how long the way is"


def test_what_leaves_an_idle_link_says_nothing() -> None:
    pace = Pace()
    for now_ms in range(0, 60_000, 500):
        pace.left(PART_BYTES_MAX, now_ms, is_more=False)
    assert pace.bytes_per_s is None
