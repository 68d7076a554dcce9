"""A device's readings: taken when due, spoiled by planted faults, numbered and kept in the buffer. Pure."""

from __future__ import annotations

from collections.abc import Set

from device_fw_sim import messages
from device_fw_sim.buffer import Reading, ReadingBuffer
from device_fw_sim.events import Moment
from device_fw_sim.faults import FaultKind
from device_fw_sim.limits import PATIENT_COUNT_MAX
from device_fw_sim.randomness import Randomness
from device_fw_sim.samplers import Sampler
from device_fw_sim.spoiling import Spoiling


class Sensing:
    """The readings of one device.

    Args:
        sampler: Where they come from.
        buffer: Where they go.
        source: Randomness, for faults.
        started_mono_ms: Where a clock begins that was reset.
    """

    def __init__(
        self, sampler: Sampler, buffer: ReadingBuffer, *, source: Randomness, started_mono_ms: int
    ) -> None:
        self.taken_count = 0
        self.garbage_count = 0
        self._sampler: Sampler | None = sampler
        self._buffer = buffer
        self._source = source
        self._started_mono_ms = started_mono_ms
        self._seq = 0
        self._spoiling = Spoiling(source)

    @property
    def next_due_ms(self) -> int | None:
        """Monotonic ms of the next reading, None when there is none, or none for now."""
        if self._sampler is None or (self._sampler.is_patient and len(self._buffer) >= PATIENT_COUNT_MAX):
            return None
        return self._sampler.next_due_ms()

    @property
    def is_exhausted(self) -> bool:
        """There will be no more readings."""
        return self._sampler is None or self._sampler.next_due_ms() is None

    def stop(self) -> None:
        """Take no more."""
        self._sampler = None

    def restarted(self, now: Moment, *, interval_ms: int) -> None:
        """A new boot: numbers begin at 1 again, and what was due in the meantime was not measured."""
        if self._sampler is not None:
            self._sampler.set_interval(interval_ms)
            self._sampler.restarted(now.mono_ms)

    def power_lost(self) -> None:
        """What was in RAM is gone."""
        self._buffer.power_lost()
        self._seq = 0

    def set_interval(self, interval_ms: int) -> None:
        """Another pace."""
        if self._sampler is not None:
            self._sampler.set_interval(interval_ms)

    def take(self, now: Moment, active: Set[FaultKind], boot_id: str) -> None:
        """The reading that is due."""
        assert self._sampler is not None
        self._seq += 1
        self.taken_count += 1
        sample = self._sampler.take(now.mono_ms, now.wall_ms)
        ts_ms = sample.ts_ms
        values = self._spoiling.spoiled(sample.values, active, sample.due_mono_ms)
        if FaultKind.CLOCK_WRONG in active:
            ts_ms = sample.due_mono_ms - self._started_mono_ms
        payload = messages.telemetry(ts_ms=ts_ms, seq=self._seq, boot_id=boot_id, values=values)
        if FaultKind.GARBAGE in active and self._source.random() < 1 / 3:
            payload = messages.garbage(payload, self._source)
            self.garbage_count += 1
        self._buffer.put(Reading(self._seq, sample.due_mono_ms, payload))
