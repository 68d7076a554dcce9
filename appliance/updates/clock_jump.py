"""Jumps of the wall clock, for deadlines. No input or output.

Deadlines stand in the catalog as UTC, so that they survive a restart, and must not come because somebody set the clock. So whoever works
with them asks first how far it jumped (appliance/core/clock_jumps.py), moves all of them by that, and then looks which have come.

What holds: while the node runs, no jump of CLOCK_JUMP_MS_MIN or more makes a deadline come or keeps one from coming. Over a
restart the time that the machine was off can't be told from a jump forward: then the wall clock is believed, and START_GRACE_MS lets devices
speak first. A jump backward is noticed by the newest change in the catalog.
"""

from __future__ import annotations


def jump_while_away(newest_change_ms: int, now_ms: int) -> int:
    """How far the wall clock went back while the node was away, at least: ms, 0 or negative.

    Args:
        newest_change_ms: Of what the catalog has, UTC ms.
    """
    return min(0, now_ms - newest_change_ms)
