"""Backups that this node made: what the pages show, also while the disk with them is away. The repository is what counts.

Rows of this node only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from appliance.core.errors import NotFound
from storage.catalog.database import CatalogDatabase

BackupState = Literal["running", "done", "failed"]
ROW_COUNT_MAX = 1_000
"""The newest are kept; failures among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRow:
    """A backup that was made, tried, or is being made. Times are UTC ms.

    Attributes:
        backup_id: The repository's name for it once it is done; until then one of its own.
        bytes: Of what was backed up. new_bytes: Of those, what was written this time.
        detail: What went wrong, or what is worth knowing.
    """

    backup_id: str
    directory: str
    state: BackupState
    started_at_ms: int
    finished_at_ms: int | None
    verified_at_ms: int | None
    file_count: int
    bytes: int
    new_bytes: int
    detail: str


class BackupTable(CatalogDatabase):
    """Methods of the catalog about backups."""

    def begin_backup(self, backup_id: str, directory: str) -> None:
        """A backup is being made.

        Args:
            backup_id: Until the repository has a name for it.
        """
        with self.transaction():
            self.execute(
                "INSERT INTO backups (backup_id, directory, state, started_at_ms) VALUES (?, ?, 'running', ?)",
                (backup_id, directory, self._clock.now_ms()),
            )
            self.execute(
                "DELETE FROM backups WHERE state <> 'running' AND backup_id NOT IN "
                "(SELECT backup_id FROM backups ORDER BY rowid DESC LIMIT ?)",
                (ROW_COUNT_MAX,),
            )

    def finish_backup(
        self,
        begun_id: str,
        *,
        backup_id: str,
        file_count: int,
        bytes_count: int,
        new_bytes: int,
        detail: str = "",
    ) -> None:
        """It is made, under the repository's name for it."""
        with self.transaction():
            self.execute(
                "UPDATE backups SET backup_id = ?, state = 'done', finished_at_ms = ?, file_count = ?, bytes = ?, "
                "new_bytes = ?, detail = ? WHERE backup_id = ?",
                (backup_id, self._clock.now_ms(), file_count, bytes_count, new_bytes, detail, begun_id),
            )

    def fail_backup(self, begun_id: str, detail: str) -> None:
        """It was not made; `detail` says why, in words."""
        with self.transaction():
            self.execute(
                "UPDATE backups SET state = 'failed', finished_at_ms = ?, detail = ? WHERE backup_id = ?",
                (self._clock.now_ms(), detail, begun_id),
            )

    def fail_interrupted_backups(self) -> int:
        """What a node that ended left as running; how many there were."""
        with self.transaction():
            return self.execute(
                "UPDATE backups SET state = 'failed', finished_at_ms = ?, detail = ? WHERE state = 'running'",
                (self._clock.now_ms(), "Homeport ended while it was made."),
            )

    def verified_backup(self, backup_id: str, problem: str) -> None:
        """It was read back; `problem` says what was wrong, "" for nothing."""
        with self.transaction():
            if problem:
                self.execute("UPDATE backups SET detail = ? WHERE backup_id = ?", (problem, backup_id))
            else:
                self.execute(
                    "UPDATE backups SET verified_at_ms = ?, detail = '' WHERE backup_id = ?",
                    (self._clock.now_ms(), backup_id),
                )

    def forget_backup(self, backup_id: str) -> bool:
        """It was removed; whether it was known."""
        with self.transaction():
            return bool(self.execute("DELETE FROM backups WHERE backup_id = ?", (backup_id,)))

    def backups(self, limit: int = ROW_COUNT_MAX) -> list[BackupRow]:
        """The newest first: as they were begun, whatever the clock said."""
        found = self.rows("SELECT * FROM backups ORDER BY rowid DESC LIMIT ?", (limit,))
        return [_row(row) for row in found]

    def backup(self, backup_id: str) -> BackupRow | None:
        """One, or None."""
        found = self.row("SELECT * FROM backups WHERE backup_id = ?", (backup_id,))
        return _row(found) if found else None

    def done_backup(self, backup_id: str) -> BackupRow:
        """One that was made.

        Raises:
            NotFound: `backup_unknown`.
        """
        found = self.backup(backup_id)
        if found is None or found.state != "done":
            raise NotFound(
                f"There is no backup {backup_id[:60]}.",
                hint="`homeport backup list` and the page Backups name them.",
                code="backup_unknown",
            )
        return found


def _row(row: Any) -> BackupRow:
    return BackupRow(**{name: row[name] for name in BackupRow.__slots__})
