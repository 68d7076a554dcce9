"""The hybrid logical clock that orders changes of the catalog across nodes.

A timestamp is one integer, 48 bits of wall time in ms and 16 bits of counter, so that it compares as a number,
fits SQLite's INTEGER and reads as a time. Invariants: a clock never gives the same timestamp twice and never one
below what it gave or followed before, whatever the wall clock does. Knows no node and no storage.

Source: Kulkarni et al., "Logical Physical Clocks" (2014), section 3; REPLICATION "The catalog across nodes".
"""

from __future__ import annotations

from typing import Final

COUNTER_BITS: Final = 16
AHEAD_MS_MAX: Final = 5 * 60 * 1_000
"""A peer's clock further ahead than this is stored but not followed."""


def pack(wall_ms: int, counter: int = 0) -> int:
    """One timestamp of a wall time (ms UTC, 0..2^47-1) and a counter (0..65535)."""
    assert 0 <= wall_ms < 1 << 47, wall_ms
    assert 0 <= counter < 1 << COUNTER_BITS, counter
    return wall_ms << COUNTER_BITS | counter


def wall_ms(timestamp: int) -> int:
    """The wall time within a timestamp, ms UTC."""
    return timestamp >> COUNTER_BITS


def counter(timestamp: int) -> int:
    """The counter within a timestamp, 0..65535."""
    return timestamp & (1 << COUNTER_BITS) - 1


class HybridClock:
    """Gives timestamps for one node.

    Args:
        last: The greatest timestamp this node ever gave or followed; 0 for a new node.
    """

    def __init__(self, last: int = 0) -> None:
        self.last = last

    def tick(self, now_ms: int) -> int:
        """A new timestamp, greater than every earlier one.

        Args:
            now_ms: Wall time, ms UTC. May have gone back.
        """
        self.last = max(self.last + 1, pack(now_ms))
        return self.last

    def follow(self, timestamp: int, now_ms: int) -> bool:
        """Take a peer's timestamp into account, so that what is written next is later than it.

        Returns:
            False when it lies more than 5 min ahead of our wall clock; it is then not followed.
        """
        if wall_ms(timestamp) > now_ms + AHEAD_MS_MAX:
            return False
        self.last = max(self.last, timestamp)
        return True
