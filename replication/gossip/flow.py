"""How much may be under way to a peer, from how long answers take. Pure.

A window grows by what was acknowledged while answers come soon, and is halved when they take long, so that what is under
way is some two seconds of the link, whatever its speed: more would only make the live tail wait in buffers.
"""

from __future__ import annotations

from typing import Final

from appliance.core.limits import MIB
from appliance.core.limits_replication import PUSH_WINDOW_BYTES_MAX, PUSH_WINDOW_BYTES_MIN

SOON_MS: Final = 2_000
LATE_MS: Final = 6_000
BEGIN_BYTES: Final = 256 * 1024
CHUNK_BYTES_MAX: Final = 1 * MIB


class Window:
    """Bytes under way in one direction between two nodes."""

    __slots__ = ("bytes_max", "under_way_bytes")

    def __init__(self) -> None:
        self.bytes_max = BEGIN_BYTES
        self.under_way_bytes = 0

    @property
    def is_open(self) -> bool:
        """Whether one more chunk fits: whoever takes them holds no more than a whole window, so a chunk beyond it would be dropped there."""
        return not self.under_way_bytes or self.under_way_bytes + self.chunk_bytes <= self.bytes_max

    @property
    def chunk_bytes(self) -> int:
        """How large a chunk is good: a quarter of the window, as a power of two, so that peers alike share what is read."""
        quarter = max(PUSH_WINDOW_BYTES_MIN, min(CHUNK_BYTES_MAX, self.bytes_max // 4))
        return 1 << (quarter.bit_length() - 1)

    def begin(self, size_bytes: int) -> None:
        self.under_way_bytes += size_bytes

    def end(self, size_bytes: int, took_ms: int) -> None:
        """Bytes were acknowledged, so long after they were begun."""
        was_full = self.under_way_bytes * 2 >= self.bytes_max
        self.under_way_bytes = max(0, self.under_way_bytes - size_bytes)
        if took_ms > LATE_MS:
            self.bytes_max = max(PUSH_WINDOW_BYTES_MIN, self.bytes_max // 2)
        elif took_ms < SOON_MS and was_full:
            self.bytes_max = min(PUSH_WINDOW_BYTES_MAX, self.bytes_max + size_bytes)

    def give_up(self, size_bytes: int) -> None:
        """Bytes got lost, or nothing is heard of them: the next go out more slowly."""
        self.under_way_bytes = max(0, self.under_way_bytes - size_bytes)
        self.bytes_max = max(PUSH_WINDOW_BYTES_MIN, self.bytes_max // 2)
