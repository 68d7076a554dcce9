"""What a link carries, from when bytes left for it and from when they were acknowledged; and how large a part is good on it. Pure.

A part is what a link carries in a second or so, since a heartbeat waits for the part that has begun. A link of which nothing is known
gets small ones. What the kernel swallows at once says nothing, so the first bytes of each busy time are not counted.
"""

from __future__ import annotations

from typing import Final

from appliance.core.limits import KIB
from appliance.core.limits_replication import (
    LINK_UNSENT_BYTES,
    LINK_UNSENT_BYTES_MIN,
    PART_BYTES_MAX,
    PART_BYTES_MIN,
    SERVED_UNSENT_BYTES_MAX,
)

FIRST_PART_BYTES: Final = 2 * PART_BYTES_MIN
SAMPLE_MS: Final = 1_000
SAMPLE_BYTES: Final = 128 * KIB
SWALLOWED_BYTES: Final = 64 * KIB
"""By the kernel and the network, before a link shows how fast it is: what may be unsent, a part, and a first window of TCP."""
QUEUE_S: Final = 4
QUEUE_BYTES_MIN: Final = 64 * KIB
PROOF_BYTES: Final = 8 * KIB
"""An answer to less than that tells how long the way is, not how wide."""


class Pace:
    """Of one direction of a link."""

    __slots__ = ("_began_ms", "_bytes", "_is_full", "bytes_per_s")

    def __init__(self) -> None:
        self.bytes_per_s: int | None = None
        """What it carried lately while something waited for it; None: not known yet."""
        self._began_ms: int | None = None
        self._bytes = 0
        self._is_full = False

    @property
    def part_bytes(self) -> int:
        """How large a part is good: a multiple of PART_BYTES_MIN."""
        if self.bytes_per_s is None:
            return FIRST_PART_BYTES
        whole = self.bytes_per_s // PART_BYTES_MIN * PART_BYTES_MIN
        return max(PART_BYTES_MIN, min(PART_BYTES_MAX, whole))

    @property
    def queue_bytes(self) -> int:
        """Of a backlog, how much may wait for it: some seconds' worth, since what waits can't be taken back."""
        if self.bytes_per_s is None:
            return QUEUE_BYTES_MIN
        return max(QUEUE_BYTES_MIN, min(SERVED_UNSENT_BYTES_MAX, QUEUE_S * self.bytes_per_s))

    @property
    def unsent_bytes(self) -> int:
        """How much the kernel may hold of it before it takes more: half a second's."""
        if self.bytes_per_s is None:
            return LINK_UNSENT_BYTES_MIN
        return max(LINK_UNSENT_BYTES_MIN, min(LINK_UNSENT_BYTES, self.bytes_per_s // 2))

    def takes_ms(self, size_bytes: int) -> int:
        """How long it takes for so many bytes; 0 while it isn't known."""
        return size_bytes * 1000 // max(1, self.bytes_per_s) if self.bytes_per_s is not None else 0

    def left(self, size_bytes: int, now_ms: int, *, is_more: bool) -> None:
        """Bytes left.

        Args:
            is_more: Others wait behind them, so that it is the link that says when these leave.
        """
        if self._began_ms is None:
            self._began_ms, self._bytes, self._is_full = now_ms, 0, False
        else:
            self._bytes += size_bytes
            took_ms = now_ms - self._began_ms
            if took_ms >= SAMPLE_MS or self._bytes >= SAMPLE_BYTES:
                counted_bytes = self._bytes if self._is_full else max(0, self._bytes - SWALLOWED_BYTES)
                self._measured(counted_bytes * 1000 // max(1, took_ms))
                self._began_ms, self._bytes, self._is_full = now_ms, 0, True
        if not is_more:
            self._began_ms = None

    def proved(self, size_bytes: int, took_ms: int) -> None:
        """Bytes were acknowledged so long after they were sent: it carries that many at least."""
        if size_bytes >= PROOF_BYTES:
            carried = size_bytes * 1000 // max(1, took_ms)
            if self.bytes_per_s is None or carried > self.bytes_per_s:
                self.bytes_per_s = carried

    def _measured(self, bytes_per_s: int) -> None:
        """It slows down at once, and speeds up by half of the way: a short burst is no proof of a fast link."""
        known = self.bytes_per_s
        if known is None or bytes_per_s < known:
            self.bytes_per_s = bytes_per_s
        else:
            self.bytes_per_s = (known + bytes_per_s) // 2
