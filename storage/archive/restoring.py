"""Bringing a day back from the archive into the store: as quick to ask as before, until a chosen day.

Theory of operation. The files' rows go into tables beside the day's, a portion at a time, so that no batch waits long. At the
end they become the day's own in one transaction, which also ends that the files are registered. Until then
questions are answered from the files. Tables that a crash left are dropped when it is begun again. In the writer's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import duckdb

from appliance.core.errors import Conflict, StorageError
from appliance.core.limits import ARCHIVE_RESTORE_ROW_COUNT
from storage.archive.layout import day_number, day_text, generation_folder
from storage.archive.manifest import ArchiveFile, Manifest
from storage.telemetry.archive_view import create_archive_view
from storage.telemetry.database import archive_folder, run
from storage.telemetry.removing import has_archived_rollups, note_archived
from storage.telemetry.schema import Value, create_table, create_view, day_table, table_names
from storage.telemetry.store import TelemetryStore

Connection = duckdb.DuckDBPyConnection
_BESIDE: Final = "restoring_"
_VALUES: Final[tuple[Value, ...]] = ("num", "text")


@dataclass(frozen=True, slots=True)
class Portion:
    """Rows of a file, by their place in it."""

    path: Path
    first: int
    end: int


def registered_files(connection: Connection, manifest: Manifest) -> list[ArchiveFile]:
    """The generation's files whose readings the store has not."""
    day = day_number(manifest.day)
    sql = (
        "SELECT class FROM archive_files WHERE day = $day AND generation = $generation"
        " AND day IN (SELECT day FROM days WHERE NOT is_whole)"
    )
    classes = {c for (c,) in run(connection, sql, {"day": day, "generation": manifest.generation})}
    return [file for file in manifest.files if file.class_id in classes]


def portions(root: Path, manifest: Manifest, files: list[ArchiveFile]) -> Iterator[Portion]:
    """How the files are cut."""
    folder = generation_folder(root, day_number(manifest.day), manifest.generation)
    for file in files:
        for first in range(0, file.rows, ARCHIVE_RESTORE_ROW_COUNT):
            yield Portion(folder / file.name, first, min(file.rows, first + ARCHIVE_RESTORE_ROW_COUNT))


def begin(store: TelemetryStore, day: int) -> None:
    """Make the tables beside the day's, empty."""
    with store.writing() as connection:
        _drop_beside(connection)
        for value in _VALUES:
            table = day_table(day, value)
            run(connection, create_table(table).replace(table, _BESIDE + table, 1))


def bring(store: TelemetryStore, day: int, portion: Portion) -> None:
    """Copy a portion into the tables beside the day's.

    Raises:
        StorageError: `archive_series_unknown`: rows of a series that the store does not know.
    """
    with store.writing() as connection:
        path = str(portion.path).replace("'", "''")
        source = (
            f"read_parquet('{path}', file_row_number = true) p JOIN series s"
            " ON s.device = p.device AND s.metric = p.metric AND s.kind = p.kind"
            f" WHERE file_row_number >= {portion.first} AND file_row_number < {portion.end}"
        )
        count = 0
        for value in _VALUES:
            column = "num" if value == "num" else "text"
            sql = (
                f"INSERT INTO {_BESIDE}{day_table(day, value)} SELECT s.id, p.observed_at, p.{column}, p.quality"  # noqa: S608 - names of our own
                f" FROM {source} AND p.{column} IS NOT NULL ORDER BY s.id, p.observed_at"
            )
            count += int(run(connection, sql)[0][0])
        if count != portion.end - portion.first:
            raise StorageError(
                f"Of {portion.end - portion.first} rows of {portion.path.name} {count} belong to series that the store knows.",
                hint="The day stays in the archive, where it can be asked for. Please report it with this message.",
                code="archive_series_unknown",
            )


def finish(store: TelemetryStore, manifest: Manifest, until_day: int) -> int:
    """Make the rows the day's own.

    Args:
        until_day: The last day on which it stays; days since 1970-01-01 UTC.
    Returns:
        Rows that are in the store again.
    Raises:
        Conflict: `archive_day_changed`: its generation is another by now.
    """
    day = day_number(manifest.day)
    with store.writing() as connection:
        files = registered_files(connection, manifest)
        if not files:
            raise Conflict(
                f"The archive's files of {day_text(day)} are others by now.",
                hint="Restore it again.",
                code="archive_day_changed",
            )
        # Hours and days that have the files' readings would have them twice: what is brought back is rolled up anew.
        if has_archived_rollups(connection, day):
            note_archived(connection, day, has_rollups=False)
        brought = {value: _take_over(connection, day_table(day, value)) for value in _VALUES}
        _drop_beside(connection)
        if sum(brought.values()) != sum(file.rows for file in files):
            raise StorageError(
                f"{sum(brought.values())} rows of {day_text(day)} were brought back, its files have others.",
                hint="The day stays in the archive. Please report it with this message.",
                code="archive_uneven",
            )
        run(connection, "DELETE FROM archive_files WHERE day = ?", [day])
        run(
            connection,
            "UPDATE days SET is_whole = true, archived_numbers = archived_numbers + ?, archived_texts = archived_texts + ?"
            " WHERE day = ?",
            [brought["num"], brought["text"], day],
        )
        run(connection, "DELETE FROM restored WHERE day = ?", [day])
        run(connection, "INSERT INTO restored VALUES (?, ?)", [day, until_day])
        create_archive_view(connection, archive_folder(store.path))
        run(connection, create_view(table_names(connection)))
    return sum(brought.values())


def _take_over(connection: Connection, table: str) -> int:
    """Give the rows beside a table to it; without one, they become it."""
    beside = _BESIDE + table
    rows = int(run(connection, f"SELECT count(*) FROM {beside}")[0][0])  # noqa: S608 - made by day_table
    if not rows:
        return 0
    if table in table_names(connection):
        run(connection, f"INSERT INTO {table} SELECT * FROM {beside} ORDER BY rowid")  # noqa: S608 - made by day_table
    else:
        run(connection, f"ALTER TABLE {beside} RENAME TO {table}")
    return rows


def steps(
    store_root: Path, manifest: Manifest, files: list[ArchiveFile]
) -> Iterator[Callable[[TelemetryStore], None]]:
    """What is to be done to the store before `finish`, each a short piece of work."""
    day = day_number(manifest.day)
    yield partial(begin, day=day)
    for portion in portions(store_root, manifest, files):
        yield partial(bring, day=day, portion=portion)


def _drop_beside(connection: Connection) -> None:
    sql = f"SELECT table_name FROM duckdb_tables() WHERE starts_with(table_name, '{_BESIDE}')"  # noqa: S608
    for (name,) in run(connection, sql):
        run(connection, f"DROP TABLE {name}")
