"""When the state of rules and anomalies is saved: often enough that a start is quick, seldom enough that nobody notices. Pure but for its clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from appliance.core.clock import Clock
from storage.telemetry.batch import WatchCheckpoint

INTERVAL_MS: Final = 60_000
READINGS: Final = 2_000_000
"""Either of them: a start then reads so much of the log once more, 4 s of 500,000 readings a second."""
SHARE: Final = 50
"""Not before this many times what the last one took: at most 2 % of the pipeline's time."""
BYTES_PER_S: Final = 256 * 1024
"""Nor faster than this on average, for the disk's sake: 20 MB every 80 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointStatistics:
    """Attributes:
    total: Written since the process began. last_bytes, last_ms: Of the last one: its size, and the pipeline's time for it.
    age_s: Since the last one, or since the start.
    """

    total: int
    last_bytes: int
    last_ms: float
    age_s: float


class Checkpoints:
    """Decides when.

    Attributes:
        wanted: Something happened that the log alone doesn't tell: as soon as the last one is paid for.
        has_changed: There is something that the last one doesn't have.
    """

    def __init__(self, clock: Clock, *, clock_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self._clock = clock
        self.clock_ns = clock_ns
        self._last_mono_ms = clock.mono_ms()
        self._readings = 0
        self._bytes = 0
        self._took_ms = 0.0
        self._total = 0
        self.wanted = self.has_changed = False

    def begun(self) -> None:
        """The state was begun anew."""
        self._readings, self._last_mono_ms = 0, self._clock.mono_ms()
        self.wanted = self.has_changed = False

    def seen(self, readings: int, *, has_changed: bool) -> None:
        """So many readings more."""
        self._readings += readings
        self.has_changed |= has_changed

    def is_due(self) -> bool:
        """Whether it is time for one."""
        if not self.wanted and not self.has_changed:
            return False
        passed_ms = self._clock.mono_ms() - self._last_mono_ms
        if self._total and passed_ms < max(self._took_ms * SHARE, self._bytes * 1_000 / BYTES_PER_S):
            return False
        return self.wanted or passed_ms >= INTERVAL_MS or self._readings >= READINGS

    def make(self, save: Callable[[], WatchCheckpoint]) -> WatchCheckpoint:
        """Make one now."""
        began_ns = self.clock_ns()
        made = save()
        self._took_ms = (self.clock_ns() - began_ns) / 1e6
        self._bytes = len(made.reader) + len(made.watch)
        self._total += 1
        self.begun()
        return made

    def statistics(self) -> CheckpointStatistics:
        return CheckpointStatistics(
            total=self._total,
            last_bytes=self._bytes,
            last_ms=self._took_ms,
            age_s=(self._clock.mono_ms() - self._last_mono_ms) / 1_000,
        )
