"""How far the backlog has been worked off, and how long it will take. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from storage.telemetry.behind import Behind

WINDOW_MS: Final = 60_000
"""The rate is that of the last minute."""


@dataclass(frozen=True, slots=True)
class BacklogStatistics:
    """Attributes:
    records: Not in the store yet. total: From where it began to where it will end. done: Of them, read in order.
    is_rebuild: The store was begun anew there.
    left_s: How long the rest will take at the rate of the last minute; None where that isn't known.
    """

    records: int = 0
    total: int = 0
    done: int = 0
    is_rebuild: bool = False
    left_s: float | None = None


class BacklogPace:
    """Remembers how far it was, for the rate."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque()

    def of(self, behind: Behind | None, cursor_seq: int, now_mono_ms: int) -> BacklogStatistics:
        """What to say of a backlog now.

        Args:
            behind: The reader in order, None without a backlog. cursor_seq: Where the other one is.
        """
        if behind is None:
            self._seen.clear()
            return BacklogStatistics()
        at = behind.cursor.next_seq
        if not self._seen or self._seen[-1][0] < now_mono_ms:
            self._seen.append((now_mono_ms, at))
        while len(self._seen) > 2 and self._seen[0][0] < now_mono_ms - WINDOW_MS:
            self._seen.popleft()
        (then_ms, then_seq), left = self._seen[0], max(0, cursor_seq - at)
        rate = (at - then_seq) / (now_mono_ms - then_ms) * 1_000 if now_mono_ms > then_ms else 0.0
        return BacklogStatistics(
            records=behind.unread(),
            total=cursor_seq - behind.began_seq,
            done=at - behind.began_seq,
            is_rebuild=behind.is_rebuild,
            left_s=left / rate if rate > 0 else None,
        )
