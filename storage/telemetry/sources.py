"""Where the readings of a time range lie: the tables of days, and the archive's Parquet files of days whose tables are gone.

A day's readings are the rows of its tables and those of the files registered for it, and none is in both (storage/archive/DESIGN.md).
Must not know what is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from storage.telemetry.batch import DAY_MS
from storage.telemetry.database import run
from storage.telemetry.rolled import Tables, archived_mark, read_tables
from storage.telemetry.schema import day_table, is_other, suffix_of

Connection = duckdb.DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """A Parquet file of a day that is not whole: (device, metric, kind, observed_at, num, text, quality), sorted.

    Attributes:
        is_rolled: Hours and days have its readings.
    """

    day: int
    path: Path
    first_device: str
    last_device: str
    is_rolled: bool


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything with readings from a range, as one transaction sees it.

    Attributes:
        numbers, texts, minutes: Tables, the oldest day first, the shared one last. files: The oldest day first.
        tables: How far each is rolled up.
    """

    numbers: Sequence[str]
    texts: Sequence[str]
    minutes: Sequence[str]
    files: Sequence[ArchiveFile]
    tables: Tables

    def within(self, from_ms: int, to_ms: int) -> Sources:
        """Those of a part of the range."""
        first, last = _day(from_ms), _day(to_ms - 1)
        return Sources(
            tables_between(self.numbers, from_ms, to_ms),
            tables_between(self.texts, from_ms, to_ms),
            tables_between(self.minutes, from_ms, to_ms),
            [file for file in self.files if first <= file.day <= last],
            self.tables,
        )


def read_sources(connection: Connection, archive: Path, from_ms: int, to_ms: int) -> Sources:
    """What has readings with from_ms <= observed_at < to_ms.

    Args:
        connection: Within the transaction that also asks. archive: The folder that the files' paths are below.
    """
    tables = read_tables(connection)
    first, last = _day(from_ms), _day(to_ms - 1)
    files = [
        ArchiveFile(day, archive / path, low, top, archived_mark(day) in tables.rolled)
        for day, path, low, top in run(
            connection,
            "SELECT f.day, f.path, f.first_device, f.last_device FROM archive_files f JOIN days d ON d.day = f.day"
            " WHERE NOT d.is_whole AND f.day BETWEEN ? AND ?"
            " AND f.last_ms >= ? AND f.first_ms < ? ORDER BY f.day, f.path",
            [first, last, from_ms, to_ms],
        )
    ]
    texts = sorted(name for name in tables.sizes if name.startswith("texts_"))
    return Sources(
        tables_between(tables.numbers(), from_ms, to_ms),
        tables_between(texts, from_ms, to_ms),
        tables_between(tables.minutes(), from_ms, to_ms),
        files,
        tables,
    )


def parquet(files: Sequence[ArchiveFile]) -> str:
    """A relation of the rows of some files; at least one."""
    # Paths are the archive's own, below its folder; a quote in the folder's name is doubled.
    paths = ", ".join("'{}'".format(str(file.path).replace("'", "''")) for file in files)
    return f"read_parquet([{paths}])"


def tables_between(tables: Sequence[str], from_ms: int, to_ms: int) -> list[str]:
    """The tables that may hold readings of a time range."""
    first, last = suffix_of(day_table(_day(from_ms))), suffix_of(day_table(_day(to_ms - 1)))
    return [table for table in tables if is_other(table) or first <= suffix_of(table) <= last]


def _day(at_ms: int) -> int:
    """Days since 1970, kept within the years that a table's name can say."""
    return min(max(at_ms // DAY_MS, 0), 2_932_896)
