"""How far a bridge is behind the log: records, and the age of the oldest. Blocking; for one thread at a time."""

from __future__ import annotations

from appliance.core.errors import StorageError

from .scan import Log


class LagMeter:
    """Reads one block, where the cursor stands, and only when the cursor has moved."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._seq = 0
        self._received_at_ms: int | None = None

    def measure(self, seq: int, now_ms: int) -> tuple[int, int]:
        """Records from a cursor to the durable head, and the age of the first of them, ms; 0 where that isn't known."""
        try:
            head_seq = self._log.head().next_seq
        except StorageError:
            return 0, 0
        if seq >= head_seq:
            return 0, 0
        try:
            if seq != self._seq or self._received_at_ms is None:
                self._seq, self._received_at_ms = seq, None
                block = self._log.read(seq, bytes_max=1)[0]
                delta_ms = block.columns().received_delta_ms[seq - block.first_seq]
                self._received_at_ms = block.first_time_ms + delta_ms
        except StorageError:
            return head_seq - seq, 0
        return head_seq - seq, max(now_ms - self._received_at_ms, 0)
