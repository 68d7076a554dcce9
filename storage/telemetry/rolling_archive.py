"""Rolling up days that only the archive has, after a rebuild or a restored backup: their hours and days from the files.

Theory of operation. As settling: a step takes some rows of one file, into a table of its own; when all files of the day are through,
their hours and days are added to the others' in one transaction, which also says so (rolled.py). Until then, and for days whose
files can't be read, questions go through the files themselves. Files that changed meanwhile are begun anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import duckdb

from storage.telemetry.database import run
from storage.telemetry.rolled import NOTHING, archived_mark, save
from storage.telemetry.rollup import HOUR_MS, insert_coarse, roll_parts, roll_rows
from storage.telemetry.schema import create_rollup
from storage.telemetry.sources import ArchiveFile, parquet

Connection = duckdb.DuckDBPyConnection

STEP_ROWS: Final = 500_000
"""Rows of a file that one step takes: some 150 ms of CPU here, decompression included."""
HOURS_OF_FILES: Final = "settling_archive"
"""The hours so far; dropped with all copies when the store is opened."""


@dataclass(slots=True)
class _Day:
    """A day whose files are being gone through. left: (path, rows) of those that are not through yet."""

    day: int
    files: list[tuple[str, int]]
    left: list[tuple[str, int]]
    first_row: int = 0


@dataclass(slots=True)
class RollingArchive:
    """The day in the archive that is being rolled up. One thread at a time."""

    folder: Path
    at: _Day | None = None
    rolled_total: int = 0
    """Days since the process began."""
    unusable: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    """Days whose files, as they were then, can't be read or have series that the store doesn't know."""

    def step(self, connection: Connection) -> bool:
        """Do a step within the caller's transaction. Returns whether there was one."""
        if self.at is not None and _files(connection, self.at.day) != self.at.files:
            self.at = None
        if self.at is None:
            return self._begin(connection)
        if self.at.left:
            self._take(connection, self.at)
        else:
            _add(connection, self.at.day)
            self.at = None
            self.rolled_total += 1
        return True

    def give_up(self) -> None:
        """A step has failed, and its transaction was rolled back: the day stays as it is until its files change."""
        if self.at is not None:
            self.unusable[self.at.day] = self.at.files
            self.at = None

    def _begin(self, connection: Connection) -> bool:
        # The newest first, as people ask for them.
        rows = run(
            connection,
            "SELECT DISTINCT day FROM archive_files WHERE day IN (SELECT day FROM days WHERE NOT is_whole) ORDER BY day DESC",
        )
        marks = {name for (name,) in run(connection, "SELECT table_name FROM rolled")}
        for (day,) in rows:
            files = _files(connection, day)
            if archived_mark(day) not in marks and self.unusable.get(day) != files:
                run(connection, f"DROP TABLE IF EXISTS {HOURS_OF_FILES}")
                run(connection, create_rollup(HOURS_OF_FILES))
                self.at = _Day(day, files, list(files))
                return True
        return False

    def _take(self, connection: Connection, at: _Day) -> None:
        path, rows = at.left[0]
        first, at.first_row = at.first_row, at.first_row + STEP_ROWS
        if at.first_row >= rows:
            at.left, at.first_row = at.left[1:], 0
        file = parquet([ArchiveFile(at.day, self.folder / path, "", "", is_rolled=False)])
        some = file.removesuffix(")") + ", file_row_number = true)"
        within = f"file_row_number >= {first} AND file_row_number < {first + STEP_ROWS}"
        run(
            connection,
            "CREATE OR REPLACE TEMP TABLE archived AS SELECT s.id AS series, f.observed_at, f.num, f.quality"  # noqa: S608
            f" FROM {some} f JOIN series s USING (device, metric, kind) WHERE {within}",
        )
        known = int(run(connection, "SELECT count(*) FROM archived")[0][0])
        if known < min(STEP_ROWS, rows - first):
            # With some of them missing the day's sums would be wrong; questions find nothing of those series in the files either.
            run(connection, "DROP TABLE archived")
            self.give_up()
            return
        hours = roll_rows("(FROM archived WHERE num IS NOT NULL)", HOUR_MS)
        run(connection, f"INSERT INTO {HOURS_OF_FILES} {hours}")
        run(connection, "DROP TABLE archived")


def _files(connection: Connection, day: int) -> list[tuple[str, int]]:
    found = run(
        connection,
        "SELECT f.path, f.rows FROM archive_files f JOIN days d ON d.day = f.day WHERE NOT d.is_whole AND f.day = ? ORDER BY f.path",
        [day],
    )
    return [(str(path), int(rows)) for path, rows in found]


def _add(connection: Connection, day: int) -> None:
    for sql in insert_coarse(roll_parts(HOURS_OF_FILES, HOUR_MS)):
        run(connection, sql)
    run(connection, f"DROP TABLE {HOURS_OF_FILES}")
    save(connection, archived_mark(day), NOTHING)
