"""What the node has told the broker of itself, for as long as it is fresh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from appliance.core.clock import Clock

FRESH_MS: Final = 30_000
"""The node tells every 5 s; from here on it is away, or hangs."""


class Told:
    """See the module's docstring."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._at_mono_ms = 0
        self._numbers: dict[str, int] = {}

    def take(self, lag_ms: int, behind_records: int) -> None:
        """How far the time-series store is behind the log."""
        self._at_mono_ms = self._clock.mono_ms()
        self._numbers = {"lag_ms": lag_ms, "behind_records": behind_records}

    def numbers(self) -> Mapping[str, int]:
        """By name; empty when the node has told nothing for FRESH_MS."""
        if self._clock.mono_ms() - self._at_mono_ms > FRESH_MS:
            self._numbers = {}
        return self._numbers
