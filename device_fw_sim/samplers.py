"""Where a device's readings come from: its simulated sensors, or a recording. Pure; a device asks when it is due."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from device_fw_sim.limits import BUFFER_MS_MAX
from device_fw_sim.randomness import Randomness
from device_fw_sim.signals import Signals, Value


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading before it is encoded.

    Args:
        due_mono_ms: When it fell due.
        ts_ms: UTC ms to be written into it, None to leave it out.
        values: By name.
    """

    due_mono_ms: int
    ts_ms: int | None
    values: Mapping[str, Value]


class Sampler(Protocol):
    """Gives readings one after the other.

    Attributes:
        is_patient: Waits while the device's buffer fills up, instead of having the oldest dropped.
    """

    is_patient: bool

    def next_due_ms(self) -> int | None:
        """Monotonic ms of the next reading, None when there are no more."""

    def take(self, mono_ms: int, wall_ms: int) -> Sample:
        """The next reading, which is due.

        Args:
            mono_ms: Now, monotonic.
            wall_ms: Now, UTC.
        """

    def restarted(self, mono_ms: int) -> None:
        """The device was off until now: what was due in the meantime was not measured."""

    def set_interval(self, interval_ms: int) -> None:
        """Another pace from the next reading on, where there is a pace to set."""


class SensorSampler:
    """Sensors read at a fixed interval.

    Args:
        signals: The sensors.
        interval_ms: 1 or more.
        start_mono_ms: Switch-on; the first reading falls somewhere in the first interval, since a fleet that is switched
            on at once still doesn't sample in step.
    """

    is_patient = False

    def __init__(self, signals: Signals, *, interval_ms: int, start_mono_ms: int, source: Randomness) -> None:
        self._signals = signals
        self._interval_ms = interval_ms
        self._next_ms = start_mono_ms + source.randrange(interval_ms)

    def next_due_ms(self) -> int | None:
        return self._next_ms

    def take(self, mono_ms: int, wall_ms: int) -> Sample:
        # A machine that slept for a day owes no readings older than the buffer keeps.
        due_ms = max(self._next_ms, mono_ms - BUFFER_MS_MAX)
        self._next_ms = due_ms + self._interval_ms
        # A loop that woke late still dates each reading when it fell due.
        ts_ms = wall_ms - (mono_ms - due_ms)
        return Sample(due_ms, ts_ms, self._signals.sample(ts_ms))

    def restarted(self, mono_ms: int) -> None:
        self._next_ms = max(self._next_ms, mono_ms)

    def set_interval(self, interval_ms: int) -> None:
        self._next_ms += interval_ms - self._interval_ms
        self._interval_ms = interval_ms


class Timestamps(Enum):
    """Which time a played-back reading carries."""

    SHIFTED = "shifted"
    """When it is played: the recording happens now."""
    ORIGINAL = "original"
    """As recorded."""
    NONE = "none"
    """No time at all: the time of arrival counts."""


class RecordingSampler:
    """Rows of a recording, as far apart as they were, or closer.

    Args:
        rows: (UTC ms, value). Where time goes back, playing goes on from there without a pause.
        metric: Name of the value.
        speed: How many times faster; infinity for as fast as the broker takes them.
        start_mono_ms: When the first row is due.
    """

    is_patient = True

    def __init__(
        self,
        rows: Iterator[tuple[int, Value]],
        *,
        metric: str,
        speed: float,
        timestamps: Timestamps,
        start_mono_ms: int,
    ) -> None:
        self._rows = rows
        self._metric = metric
        self._speed = speed
        self._timestamps = timestamps
        self._start_mono_ms = start_mono_ms
        self._row = next(rows, None)
        self._played_ms = 0
        """Time of the recording gone by before `_row`."""

    def next_due_ms(self) -> int | None:
        if self._row is None:
            return None
        return self._start_mono_ms + int(self._played_ms / self._speed)

    def take(self, mono_ms: int, wall_ms: int) -> Sample:
        due_ms = self.next_due_ms()
        assert due_ms is not None
        assert self._row is not None
        at_ms, value = self._row
        self._row = next(self._rows, None)
        if self._row is not None:
            self._played_ms += max(self._row[0] - at_ms, 0)
        ts_ms: int | None = None
        if self._timestamps is Timestamps.ORIGINAL:
            ts_ms = at_ms
        elif self._timestamps is Timestamps.SHIFTED:
            # With no pace there is no time to shift to but that of the play.
            ts_ms = wall_ms if self._speed == float("inf") else wall_ms - (mono_ms - due_ms)
        return Sample(due_ms, ts_ms, {self._metric: value})

    def restarted(self, mono_ms: int) -> None:
        """A recording waits."""

    def set_interval(self, interval_ms: int) -> None:
        """It has the pace that it was recorded at."""
