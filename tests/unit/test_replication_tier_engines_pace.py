"""Pieces get as small as a link needs them, and the time that it needs; a link that is fast again is found to be."""

from __future__ import annotations

from appliance.core.limits_replication import (
    TIER_CALL_S,
    TIER_PACE_BYTES_PER_S_MIN,
    TIER_PIECE_BYTES_MAX,
    TIER_PIECE_BYTES_MIN,
)
from replication.tier.engines.pace import Pace


def test_nothing_is_known_at_first() -> None:
    pace = Pace()
    assert (pace.piece_bytes_max, pace.deadline_s(1 << 30), pace.bytes_per_s) == (
        TIER_PIECE_BYTES_MAX,
        TIER_CALL_S,
        None,
    )
    pace.took(200, 0.01)
    assert pace.bytes_per_s is None, "a small piece says nothing about the rate"


def test_a_link_of_50_kbit_s_gets_through_with_whatever_there_is() -> None:
    rate, pace, size = 6_250, Pace(), TIER_PIECE_BYTES_MAX
    tries = 0
    while size / rate > pace.deadline_s(size):
        pace.gave_up(size, pace.deadline_s(size))
        # A frame of half a MiB can't be made smaller; pieces of small frames can.
        size = min(size, max(512 * 1024, pace.piece_bytes_max))
        tries += 1
    assert tries <= 4
    pace.took(size, size / rate)
    assert pace.piece_bytes_max == TIER_PIECE_BYTES_MIN
    assert pace.deadline_s(size) > size / rate


def test_a_fast_link_is_found_to_be_one_again() -> None:
    pace = Pace()
    for _ in range(20):
        pace.gave_up(TIER_PIECE_BYTES_MAX, 300)
    assert pace.bytes_per_s == TIER_PACE_BYTES_PER_S_MIN
    for _ in range(8):
        pace.took(pace.piece_bytes_max, pace.piece_bytes_max / 50_000_000)
    assert pace.piece_bytes_max == TIER_PIECE_BYTES_MAX
    assert pace.deadline_s(TIER_PIECE_BYTES_MAX) == TIER_CALL_S


def test_a_small_piece_that_took_long_tells_of_a_slow_link() -> None:
    pace = Pace()
    pace.took(20_000, 4)
    assert pace.bytes_per_s == 5_000
