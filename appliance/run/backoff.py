"""How long to wait before a child is started again: doubling, bounded, and forgiven after a stable run.

Pure: time comes in as how long the last life was.
"""

from __future__ import annotations

from appliance.core.limits import RESTART_DELAY_FIRST_MS, RESTART_DELAY_MS_MAX, RESTART_STABLE_MS


class Backoff:
    """Delays first, 2 × first, 4 × first … up to the maximum; it never gives up.

    Args:
        first_ms: Delay after the first end, ms.
        delay_ms_max: Upper bound of any delay, ms.
        stable_ms: A life at least this long starts the delays over, ms.
    """

    def __init__(
        self,
        *,
        first_ms: int = RESTART_DELAY_FIRST_MS,
        delay_ms_max: int = RESTART_DELAY_MS_MAX,
        stable_ms: int = RESTART_STABLE_MS,
    ) -> None:
        self._first_ms = first_ms
        self._delay_ms_max = delay_ms_max
        self._stable_ms = stable_ms
        self._next_ms = first_ms

    def after_ms(self, lived_ms: int) -> int:
        """The delay after a life of `lived_ms` milliseconds."""
        if lived_ms >= self._stable_ms:
            self._next_ms = self._first_ms
        delay_ms = min(self._next_ms, self._delay_ms_max)
        self._next_ms = min(self._next_ms * 2, self._delay_ms_max)
        return delay_ms
