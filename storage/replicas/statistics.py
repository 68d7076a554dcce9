"""What was done to one copy since it was opened."""

from __future__ import annotations

from dataclasses import dataclass, field

from storage.replicas.errors import Refusal


@dataclass(slots=True)
class ReplicaStatistics:
    """Counts since the copy was opened; `bytes_total` is of frames as they are on disk."""

    chunks_total: int = 0
    frames_total: int = 0
    records_total: int = 0
    bytes_total: int = 0
    sealed_total: int = 0
    refused_total: dict[Refusal, int] = field(default_factory=dict)

    def count(self, frame_count: int, record_count: int, size: int) -> None:
        self.chunks_total += 1
        self.frames_total += frame_count
        self.records_total += record_count
        self.bytes_total += size

    def refuse(self, reason: Refusal) -> None:
        self.refused_total[reason] = self.refused_total.get(reason, 0) + 1
