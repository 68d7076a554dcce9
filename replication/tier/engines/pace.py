"""How large pieces may be for an engine, and how long one may take: learned from those that it took. Pure.

A fixed time-out would either keep a box waiting for minutes at a region that is gone, or never let a large piece through a link of
50 kbit/s. So pieces become as small as such a link takes in some seconds, and what can't be made smaller, a large frame, gets the time
that it needs by what was measured.
"""

from __future__ import annotations

from typing import Final

from appliance.core.limits_replication import (
    TIER_CALL_S,
    TIER_PACE_BYTES_PER_S_MIN,
    TIER_PIECE_BYTES_MAX,
    TIER_PIECE_BYTES_MIN,
    TIER_PIECE_S,
)

_TELLING_BYTES: Final = 64 * 1024
"""A smaller piece says more about the way there and back than about the rate."""
_SLACK: Final = 3


class Pace:
    """The rate at which an engine takes pieces, as last seen."""

    def __init__(self) -> None:
        self._bytes_per_s: float | None = None

    @property
    def bytes_per_s(self) -> float | None:
        """None before any was measured."""
        return self._bytes_per_s

    @property
    def piece_bytes_max(self) -> int:
        """Of frames in the next piece."""
        if self._bytes_per_s is None:
            return TIER_PIECE_BYTES_MAX
        return max(TIER_PIECE_BYTES_MIN, min(TIER_PIECE_BYTES_MAX, int(self._bytes_per_s * TIER_PIECE_S)))

    def deadline_s(self, size_bytes: int) -> float:
        """How long a call that carries so much may take."""
        if self._bytes_per_s is None:
            return TIER_CALL_S
        return max(TIER_CALL_S, _SLACK * size_bytes / self._bytes_per_s)

    def took(self, size_bytes: int, seconds: float) -> None:
        """A piece was taken."""
        if size_bytes < _TELLING_BYTES and seconds < 1:
            return
        rate = size_bytes / max(seconds, 0.001)
        if self._bytes_per_s is not None:
            rate = (self._bytes_per_s + rate) / 2
        self._bytes_per_s = max(TIER_PACE_BYTES_PER_S_MIN, rate)

    def gave_up(self, size_bytes: int, seconds: float) -> None:
        """A piece was not taken in the time that it had."""
        rate = size_bytes / max(seconds, 0.001) / 2
        if self._bytes_per_s is not None:
            rate = min(rate, self._bytes_per_s / 2)
        self._bytes_per_s = max(TIER_PACE_BYTES_PER_S_MIN, rate)
