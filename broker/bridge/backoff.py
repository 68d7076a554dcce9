"""How long to wait before connecting again: exponential, with full jitter, bounded, forgiven after a stable connection. Pure."""

from __future__ import annotations

from collections.abc import Callable

from appliance.core.limits import BRIDGE_RETRY_FIRST_MS, BRIDGE_RETRY_MS_MAX, BRIDGE_STABLE_MS


class Backoff:
    """A pause is a random part of 1, 2, 4 … s, at most 5 min, and never less than a fifth of the first.

    Args:
        random: Gives numbers from 0 (included) to 1.
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._ceiling_ms = BRIDGE_RETRY_FIRST_MS

    def after_ms(self, stood_ms: int) -> int:
        """The pause after a connection that stood for `stood_ms` milliseconds (0: it never stood)."""
        if stood_ms >= BRIDGE_STABLE_MS:
            self._ceiling_ms = BRIDGE_RETRY_FIRST_MS
        pause_ms = max(int(self._random() * self._ceiling_ms), BRIDGE_RETRY_FIRST_MS // 5)
        self._ceiling_ms = min(self._ceiling_ms * 2, BRIDGE_RETRY_MS_MAX)
        return pause_ms
