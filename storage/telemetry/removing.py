"""Taking readings out of the store so that rollups and progress stay right. Each function is part of the caller's transaction.

Rows of a table are counted from its beginning (rolled.py), so everything is rolled up before some of them go, and
the counts are lowered by what went. What is taken out of a day is taken out of its rollups; a day whose readings are in the
archive keeps its hours and days, since they still are readings that the store answers for.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from storage.telemetry.batch import DAY_MS
from storage.telemetry.database import run
from storage.telemetry.rolled import (
    NOTHING,
    Progress,
    Tables,
    archived_mark,
    drop_numbers,
    forget,
    read_tables,
    save,
)
from storage.telemetry.rolling import roll_all
from storage.telemetry.rollup import COARSE, minutes_of
from storage.telemetry.schema import create_rollup, create_table, create_view, day_table, table_names

Connection = duckdb.DuckDBPyConnection


def series_of(connection: Connection, device: str) -> list[int]:
    """The series of a device, of every metric and kind it ever had."""
    return [
        int(row[0]) for row in run(connection, "SELECT id FROM series WHERE device = ? ORDER BY id", [device])
    ]


def remove_series(
    connection: Connection, day: int | None, series: Sequence[int], *, keep_coarse: bool = False
) -> int:
    """Take some series' readings out of a day's tables and rollups.

    Args:
        keep_coarse: Hours and days stay: the readings are in files that are registered for the day in this transaction.
        day: Days since 1970-01-01 UTC; None for the tables that old days share. Their hours and days are those of many
            days, so with None the series lose all of their hours and days: for what is erased altogether.
    Returns:
        Readings that went.
    """
    if not series:
        return 0
    tables = read_tables(connection)
    numbers, texts = day_table(day), day_table(day, "text")
    removed = 0
    archived = {numbers: 0, texts: 0}
    which = _among(series)
    if numbers in tables.sizes:
        roll_all(connection, tables, numbers)
        for table in (numbers, minutes_of(numbers)):
            count = _delete(connection, tables, table, which)
            archived[table] = count
        removed += archived[numbers]
    if texts in tables.sizes:
        archived[texts] = int(run(connection, f"DELETE FROM {texts} WHERE {which}")[0][0])  # noqa: S608
        removed += archived[texts]
    for table, _ in () if keep_coarse else COARSE:
        within = (
            "" if day is None else f" AND begins_at >= {day * DAY_MS} AND begins_at < {(day + 1) * DAY_MS}"
        )
        run(connection, f"DELETE FROM {table} WHERE {which}{within}")  # noqa: S608
    if day is not None:
        # As if all of them had been in the archive: a day with later rows stays one that must be archived again.
        run(
            connection,
            "UPDATE days SET archived_numbers = greatest(archived_numbers, $numbers) - $numbers,"
            " archived_texts = greatest(archived_texts, $texts) - $texts WHERE day = $day",
            {"day": day, "numbers": archived[numbers], "texts": archived[texts]},
        )
    return removed


def forget_newest(connection: Connection, device: str) -> None:
    """Take a device's newest values and dead letters out of the tables of state, where the last commits were folded before."""
    run(connection, f"DELETE FROM newest WHERE {_among(series_of(connection, device))}")  # noqa: S608
    run(connection, "DELETE FROM dead_letters WHERE device = ?", [device])


def drop_day(connection: Connection, day: int) -> None:
    """Drop a day's tables: its readings are in the archive's generation, late ones included, or go altogether.

    With a generation in `days` the day is not whole afterwards, and its hours and days stay if they had all of its readings.
    """
    found = run(connection, "SELECT is_whole, generation FROM days WHERE day = ?", [day])
    is_archived = bool(found) and found[0][1] is not None
    tables, numbers = read_tables(connection), day_table(day)
    if is_archived and numbers in tables.sizes:
        roll_all(connection, tables, numbers)
    drop_numbers(connection, numbers)
    run(connection, f"DROP TABLE IF EXISTS {day_table(day, 'text')}")
    if not is_archived:
        forget_day(connection, day)
        return
    run(
        connection,
        "UPDATE days SET is_whole = false, archived_numbers = 0, archived_texts = 0 WHERE day = ?",
        [day],
    )
    is_whole = bool(found[0][0])
    note_archived(connection, day, has_rollups=is_whole or archived_mark(day) in tables.rolled)
    run(connection, create_view(table_names(connection)))


def drop_old_rows(connection: Connection, day: int) -> int:
    """Take a day's rows out of the tables that old days share, since the archive's generation has them now.

    Returns:
        Readings that went.
    """
    tables, within = (
        read_tables(connection),
        f"observed_at >= {day * DAY_MS} AND observed_at < {(day + 1) * DAY_MS}",
    )
    numbers = day_table(None)
    roll_all(connection, tables, numbers)
    removed = _delete(connection, tables, numbers, within)
    _delete(connection, tables, minutes_of(numbers), within.replace("observed_at", "begins_at"))
    removed += int(run(connection, f"DELETE FROM {day_table(None, 'text')} WHERE {within}")[0][0])  # noqa: S608
    return removed


def forget_day(connection: Connection, day: int) -> None:
    """A day is no more, neither here nor in the archive: its tables, hours, days and files are forgotten."""
    drop_numbers(connection, day_table(day))
    run(connection, f"DROP TABLE IF EXISTS {day_table(day, 'text')}")
    note_archived(connection, day, has_rollups=False)
    run(connection, "DELETE FROM archive_files WHERE day = ?", [day])
    run(connection, "DELETE FROM days WHERE day = ?", [day])
    run(connection, create_view(table_names(connection)))


def has_archived_rollups(connection: Connection, day: int) -> bool:
    """Whether hours and days have the readings of the day's registered files."""
    return bool(run(connection, "SELECT 1 FROM rolled WHERE table_name = ?", [archived_mark(day)]))


def note_archived(connection: Connection, day: int, *, has_rollups: bool) -> None:
    """Say whether hours and days have the readings of the day's registered files.

    If not, they lose all of that day, and what its tables have is rolled up into them once more; questions read the files.
    """
    forget(connection, archived_mark(day))
    if has_rollups:
        save(connection, archived_mark(day), NOTHING)
        return
    _forget_coarse(connection, day)
    tables, numbers = read_tables(connection), day_table(day)
    source = numbers if tables.is_sparse(numbers) else minutes_of(numbers)
    if source in tables.sizes:
        if tables.progress(source).deleted:
            _close_gaps(connection, source)
        forget(connection, source)


def _close_gaps(connection: Connection, table: str) -> None:
    """Write a table anew: all of it is to be rolled up again, and what waits must have no deleted rows in between (rolled.py)."""
    is_minutes = table.startswith("rollup_1m_")
    created = create_rollup(table) if is_minutes else create_table(table)
    run(connection, f"DROP TABLE IF EXISTS settling_{table}")
    run(connection, f"ALTER TABLE {table} RENAME TO settling_{table}")
    run(connection, created)
    run(connection, f"INSERT INTO {table} FROM settling_{table}")
    run(connection, f"DROP TABLE settling_{table}")


def _forget_coarse(connection: Connection, day: int) -> None:
    for table, _ in COARSE:
        run(
            connection,
            f"DELETE FROM {table} WHERE begins_at >= ? AND begins_at < ?",  # noqa: S608
            [day * DAY_MS, (day + 1) * DAY_MS],
        )


def _delete(connection: Connection, tables: Tables, table: str, which: str) -> int:
    """Delete rows of a table that is rolled up whole, and lower its counts."""
    if table not in tables.sizes:
        return 0
    before = tables.progress(table)
    count = int(run(connection, f"DELETE FROM {table} WHERE {which}")[0][0])  # noqa: S608
    if count:
        # Which of them lay in order isn't looked up: a table with more out of order than it has is put in order once more.
        in_order = max(0, before.in_order - count)
        save(connection, table, Progress(before.rows - count, before.deleted + count, in_order))
    return count


def _among(series: Sequence[int]) -> str:
    return f"series IN ({', '.join(str(int(number)) for number in series)})" if series else "false"
