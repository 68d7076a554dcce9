"""The hybrid clock: never twice, never back, close to the wall clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from appliance.management.hlc import AHEAD_MS_MAX, COUNTER_BITS, HybridClock, counter, pack, wall_ms

NOW = 1_772_000_000_000
WALL = st.integers(0, (1 << 46) - 1)


@given(WALL, st.integers(0, (1 << COUNTER_BITS) - 1))
def test_a_timestamp_holds_time_and_counter_and_fits_sqlite(wall: int, count: int) -> None:
    packed = pack(wall, count)
    assert (wall_ms(packed), counter(packed)) == (wall, count)
    assert packed < 1 << 63


def test_it_follows_the_wall_clock() -> None:
    clock = HybridClock()
    assert wall_ms(clock.tick(NOW)) == NOW
    assert wall_ms(clock.tick(NOW + 5)) == NOW + 5
    assert counter(clock.last) == 0


def test_it_counts_while_the_wall_clock_stands_or_goes_back() -> None:
    clock = HybridClock()
    first = clock.tick(NOW)
    assert clock.tick(NOW) == first + 1
    assert clock.tick(NOW - 3_600_000) == first + 2
    assert wall_ms(clock.last) == NOW


def test_a_full_counter_moves_the_time_on() -> None:
    clock = HybridClock(pack(NOW, (1 << COUNTER_BITS) - 1))
    assert clock.tick(NOW) == pack(NOW + 1)


def test_what_is_written_after_following_a_peer_is_later() -> None:
    clock = HybridClock()
    theirs = pack(NOW + AHEAD_MS_MAX, 7)
    assert clock.follow(theirs, NOW)
    assert clock.tick(NOW) > theirs


def test_a_peer_too_far_ahead_is_not_followed() -> None:
    clock = HybridClock()
    assert not clock.follow(pack(NOW + AHEAD_MS_MAX + 1), NOW)
    assert wall_ms(clock.tick(NOW)) == NOW


@given(st.lists(st.tuples(st.sampled_from(["tick", "follow"]), st.integers(0, 1 << 40))))
def test_never_twice_and_never_back(steps: list[tuple[str, int]]) -> None:
    clock, given_out = HybridClock(), [0]
    for verb, value in steps:
        if verb == "tick":
            given_out.append(clock.tick(value))
        else:
            clock.follow(pack(value), value)
    assert given_out == sorted(set(given_out))
