"""What a device keeps until it is acknowledged: at most an hour, the oldest goes first, nothing goes uncounted. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from device_fw_sim.limits import BUFFER_MS_MAX, BUFFER_READING_COUNT_MAX


@dataclass(frozen=True, slots=True)
class Reading:
    """One encoded reading.

    Args:
        seq: Dense within one boot; stays the same however often it is sent.
        taken_mono_ms: When it was taken, monotonic.
        payload: As it goes over the wire.
    """

    seq: int
    taken_mono_ms: int
    payload: bytes


class ReadingBuffer:
    """Readings waiting, and readings sent but not acknowledged.

    Args:
        count_max: Readings kept altogether; the contract's hour at the device's pace, never above 36,000.
    """

    def __init__(self, count_max: int) -> None:
        self._count_max = max(1, min(count_max, BUFFER_READING_COUNT_MAX))
        self._waiting: deque[Reading] = deque()
        self._inflight: dict[int, Reading] = {}
        self._sent_seq_max = 0
        self.dropped_count = 0
        self.sent_count = 0
        self.resent_count = 0
        self.acknowledged_count = 0
        self.lost_count = 0

    def __len__(self) -> int:
        return len(self._waiting) + len(self._inflight)

    @property
    def inflight_count(self) -> int:
        """Sent, not acknowledged."""
        return len(self._inflight)

    @property
    def unacknowledged_count(self) -> int:
        """Sent at least once, not acknowledged and not dropped."""
        return sum(reading.seq <= self._sent_seq_max for reading in self._waiting) + len(self._inflight)

    def put(self, reading: Reading) -> None:
        """Keep a reading; what is older than an hour or beyond the count is dropped, the oldest first."""
        self._waiting.append(reading)
        while self._waiting and (
            len(self) > self._count_max
            or reading.taken_mono_ms - self._waiting[0].taken_mono_ms > BUFFER_MS_MAX
        ):
            dropped = self._waiting.popleft()
            self.dropped_count += 1
            if dropped.seq <= self._sent_seq_max:
                # Sent once, never acknowledged, now given up: it no longer counts as something to be acknowledged.
                self.sent_count -= 1

    def take(self) -> Reading | None:
        """The oldest waiting reading, in flight from now on; None when nothing waits."""
        if not self._waiting:
            return None
        reading = self._waiting.popleft()
        self._inflight[reading.seq] = reading
        if reading.seq <= self._sent_seq_max:
            self.resent_count += 1
        else:
            self._sent_seq_max = reading.seq
            self.sent_count += 1
        return reading

    def acknowledge(self, seq: int) -> bool:
        """Forget a reading that the broker has; False when it wasn't in flight."""
        if self._inflight.pop(seq, None) is None:
            return False
        self.acknowledged_count += 1
        return True

    def connection_lost(self) -> None:
        """What was in flight waits again, before everything newer, in its order."""
        self._waiting.extendleft(reversed(self._inflight.values()))
        self._inflight.clear()

    def power_lost(self) -> None:
        """Everything was in RAM; `seq` begins at 1 again."""
        # Nobody acknowledges any more what was sent.
        self.sent_count -= self.unacknowledged_count
        self.lost_count += len(self)
        self._waiting.clear()
        self._inflight.clear()
        self._sent_seq_max = 0
