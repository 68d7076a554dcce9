"""The bandwidth that all of the tier may take: what was sent counts after it was sent, so a piece is never too large. Pure.

A token bucket of one second, which may go below nothing: nothing goes out until it is filled again.
"""

from __future__ import annotations


class Budget:
    """Every time is monotonic, ms.

    Args:
        bytes_per_s: 0 for no bound.

    Attributes:
        worst_ms: The longest that nothing could go out so far.
    """

    def __init__(self, bytes_per_s: int, now_ms: int) -> None:
        self._bytes_per_s = bytes_per_s
        self._tokens = 0.0
        self._at_ms = now_ms
        self.worst_ms = 0

    def spend(self, size_bytes: int, now_ms: int) -> None:
        """So much went out."""
        self.refill(now_ms)
        self._tokens -= size_bytes
        self.worst_ms = max(self.worst_ms, self.open_ms(now_ms) - now_ms)

    def refill(self, now_ms: int) -> None:
        """Time has passed."""
        if self._bytes_per_s:
            grown = self._tokens + (now_ms - self._at_ms) * self._bytes_per_s / 1000
            self._tokens = min(grown, float(self._bytes_per_s))
        self._at_ms = now_ms

    def open_ms(self, now_ms: int) -> int:
        """When something may go out again."""
        if not self._bytes_per_s or self._tokens >= 0:
            return now_ms
        return now_ms + 1 + int(-self._tokens * 1000 / self._bytes_per_s)

    def waits_ms(self, now_ms: int) -> tuple[int, int] | None:
        """What it adds to the age of what is new: how long nothing goes out from now on, and the longest of that so far; None where there is no bound."""
        if not self._bytes_per_s:
            return None
        return max(0, self.open_ms(self._at_ms) - now_ms), self.worst_ms
