"""Marking records lost, as page and API have the replicator do it, and as the audit calls it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

MARK_LOST: Final = "log.lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class LostWords:
    """What is to be marked: records [first_seq, next_seq) of a stream, by whom and why."""

    node_id: str
    name: str
    epoch: int
    first_seq: int
    next_seq: int
    by: str
    reason: str

    @property
    def stream(self) -> str:
        return f"{self.node_id}/{self.name}"

    @property
    def detail(self) -> str:
        said = f"records {self.first_seq} to {self.next_seq - 1} of epoch {self.epoch}"
        return f"{said}: {self.reason}" if self.reason else said

    @property
    def fields(self) -> dict[str, Any]:
        return asdict(self)
