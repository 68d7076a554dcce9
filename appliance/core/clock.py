"""Time comes in as an argument: wall time for people and records, monotonic time for deadlines."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    def now_ms(self) -> int:
        """Wall time, UTC, milliseconds since 1970. May jump."""

    def mono_ms(self) -> int:
        """Monotonic milliseconds. Never goes back; its zero means nothing."""


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def mono_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000


class ManualClock:
    """A clock that tests turn by hand; wall and monotonic time move together unless told otherwise."""

    def __init__(self, now_ms: int = 1_700_000_000_000, mono_ms: int = 0) -> None:
        self._now_ms = now_ms
        self._mono_ms = mono_ms

    def now_ms(self) -> int:
        return self._now_ms

    def mono_ms(self) -> int:
        return self._mono_ms

    def advance(self, ms: int) -> None:
        self._now_ms += ms
        self._mono_ms += ms

    def set_wall(self, now_ms: int) -> None:
        self._now_ms = now_ms
