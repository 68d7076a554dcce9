"""Reconnecting: exponential backoff with full jitter, as the device contract asks. Pure."""

from __future__ import annotations

from device_fw_sim.limits import BACKOFF_MS_MAX, BACKOFF_MS_MIN
from device_fw_sim.randomness import Randomness


class Backoff:
    """Delays that grow from 1 s to 5 min, each drawn evenly from 0 to its bound.

    Full jitter (rather than the bound plus or minus something) is what keeps 10,000 devices that lost the same broker
    in the same second from coming back in the same second.

    Args:
        source: Randomness.
    """

    def __init__(self, source: Randomness) -> None:
        self._source = source
        self.attempt = 0

    @property
    def bound_ms(self) -> int:
        """Upper bound of the next delay."""
        return min(BACKOFF_MS_MIN << min(self.attempt, 20), BACKOFF_MS_MAX)

    def next_delay_ms(self) -> int:
        """How long to wait now; the bound doubles."""
        delay = self._source.randint(0, self.bound_ms)
        self.attempt += 1
        return delay

    def reset(self) -> None:
        """Service was given: the next delay is short again."""
        self.attempt = 0
