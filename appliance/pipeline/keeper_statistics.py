"""What the keeper says of itself and of the archive: for the page Storage, the API and metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

KeeperState = Literal["starting", "idle", "working", "paused", "failing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayView:
    """One day, wherever its readings lie. Times are UTC ms.

    Attributes:
        where: `hot` in the store alone, `both` in the store and the archive, `part` some classes in the archive alone, `archived` in the
            archive alone.
        hot_rows, pending_rows: Rows in the store; those of them that no generation has yet.
        archived_rows, archived_bytes: Of its generation.
        verified_at_ms: When its files were last read back. faults: (file, problem) found then.
        restored_until: Day (since 1970-01-01 UTC) until which it stays in the store, for one that was restored.
    """

    day: int
    where: Literal["hot", "both", "part", "archived"]
    generation: int | None
    hot_rows: int
    pending_rows: int
    archived_rows: int
    archived_bytes: int
    verified_at_ms: int | None
    faults: tuple[tuple[str, str], ...] = ()
    restored_until: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperStatistics:
    """Totals count since the process began.

    Attributes:
        step: What is being done, in words; "" for nothing. progress: Parts done of how many.
        paused_because: Why nothing is done, in words; "" when it isn't paused.
        incident: The last thing that went wrong, "" once all went well again. hint: The operator's next step.
        archive_bytes, archive_rows, archive_days: Of the newest generations.
        faulty_days: Days whose last check found something wrong.
        unarchived_days: Days that are over and in no generation yet.
        cooled_total: By rule: days whose readings left the store.
    """

    state: KeeperState
    step: str = ""
    progress: tuple[int, int] = (0, 0)
    paused_because: str = ""
    incident: str = ""
    hint: str = ""
    archive_bytes: int = 0
    archive_rows: int = 0
    archive_days: int = 0
    faulty_days: int = 0
    unarchived_days: int = 0
    generations_total: int = 0
    verified_total: int = 0
    expired_total: int = 0
    failures_total: int = 0
    cooled_total: dict[str, int] = field(default_factory=dict)
