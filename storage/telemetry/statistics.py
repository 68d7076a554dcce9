"""What the store says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from storage.telemetry.rolling import RollingStatistics


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Attributes:
    database_bytes, wal_bytes: Sizes on disk (a DuckDB file doesn't shrink; it reuses what is free).
    day_tables: Tables of readings. set_aside: Damaged stores that are kept.
    commits_total, commits_failed_total: Since the process began. commit_ms_last: Of the last one.
    """

    database_bytes: int
    wal_bytes: int
    day_tables: int
    set_aside: int
    commits_total: int
    commits_failed_total: int
    commit_ms_last: float
    checkpoints_total: int
    rolling: RollingStatistics
    settled_total: int
    archive_days_unusable: int


def size_bytes(path: Path) -> int:
    """Of a file; 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
