"""What is taken of a day for its next generation, at one moment, and how it is cut into files.

A day's readings are the rows of its tables and those of the files that are registered for it; no reading is in both. So
the next generation is both together, whether the day is in the store as a whole, in part or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from appliance.core.errors import StorageError, Unavailable
from appliance.core.limits import ARCHIVE_FILE_ROW_COUNT_MAX
from appliance.management.retention import Retention
from storage.archive.layout import day_text
from storage.archive.manifest import Position
from storage.archive.rows import ROW_HASH, class_sql, hot, parquet
from storage.telemetry.batch import DAY_MS
from storage.telemetry.database import run
from storage.telemetry.positions import is_settled
from storage.telemetry.schema import day_table
from storage.telemetry.state import read_cursor

Connection = duckdb.DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one table that are taken: those before a rowid.

    Attributes:
        number: DuckDB's for the table: one that was rewritten has another, so that a rowid of before means nothing.
        end: Behind the last row, by rowid. rows: How many they are; fewer than `end` when some were deleted before.
    """

    table: str
    number: int
    end: int
    rows: int


@dataclass(frozen=True, slots=True)
class Taken:
    """A day at one moment.

    Attributes:
        before: Its generation so far, None without one. through: See Manifest.
        hot: Of its tables: numbers, texts; those that there are.
        other: The same of the tables that old days share, rows of this day; none when they are not taken.
        cold: Paths below the archive's folder of the files registered for it. cold_rows: Theirs.
    """

    day: int
    before: int | None
    through: Position
    hot: tuple[Part, ...]
    other: tuple[Part, ...]
    cold: tuple[str, ...]
    cold_rows: int

    @property
    def rows(self) -> int:
        return sum(part.rows for part in (*self.hot, *self.other)) + self.cold_rows

    def rows_of(self, table: str) -> int:
        """Rows taken of a table of the day."""
        return sum(part.rows for part in self.hot if part.table == table)


@dataclass(frozen=True, slots=True)
class FilePlan:
    """One file to be: a class, a range of devices, and what must be in it."""

    class_id: str
    first_device: str
    last_device: str
    rows: int
    content_sum: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Group:
    """A device's rows of one class."""

    class_id: str
    device: str
    rows: int
    content_sum: int
    first_ms: int
    last_ms: int


def take(connection: Connection, day: int, *, with_other: bool) -> Taken | None:
    """What of a day is in the store now; None while the store's cursor does not say what that is: a backlog is left, or as in is_settled.

    Args:
        connection: A reader's; not in a transaction.
        with_other: Also rows of the day in the tables that old days share.
    Raises:
        Unavailable: `archive_day_changed`: there are some and they are not to be taken; the generation would not have all from before `through`.
    """
    run(connection, "BEGIN")
    try:
        if has_backlog(connection) or not is_settled(connection):
            return None
        if not with_other and _parts(connection, (day_table(None), day_table(None, "text")), within(day)):
            raise _changed(day)
        cursor, _, _ = read_cursor(connection)
        known = run(connection, "SELECT generation FROM days WHERE day = ?", [day])
        files = run(
            connection,
            "SELECT path, rows FROM archive_files WHERE day = $day"
            " AND day IN (SELECT day FROM days WHERE NOT is_whole) ORDER BY path",
            {"day": day},
        )
        return Taken(
            day=day,
            before=known[0][0] if known else None,
            through=Position(epoch=cursor.epoch, next_seq=cursor.next_seq),
            hot=_parts(connection, (day_table(day), day_table(day, "text")), ""),
            other=_parts(connection, (day_table(None), day_table(None, "text")), within(day))
            if with_other
            else (),
            cold=tuple(path for path, _ in files),
            cold_rows=sum(rows for _, rows in files),
        )
    finally:
        run(connection, "ROLLBACK")


def has_backlog(connection: Connection) -> bool:
    """Whether readings of before the cursor are still to be stored: a generation could not say how far it goes."""
    # Also when all ranges were read: what was left of records read ahead is still to come.
    sql = "SELECT (SELECT count(*) FROM backlog) + (SELECT count(*) FROM behind)"
    return bool(run(connection, sql)[0][0])


def within(day: int) -> str:
    """A condition on observed_at: the day's."""
    return f"observed_at >= {day * DAY_MS} AND observed_at < {(day + 1) * DAY_MS}"


def _parts(connection: Connection, names: tuple[str, str], where: str) -> tuple[Part, ...]:
    found = []
    for name, number in _tables(connection, names):
        end, rows = run(
            connection,
            f"SELECT coalesce(max(rowid) + 1, 0), count(*) FROM {name}{' WHERE ' + where if where else ''}",  # noqa: S608
        )[0]
        if rows:
            found.append(Part(name, number, end, rows))
    return tuple(found)


def _tables(connection: Connection, names: tuple[str, str]) -> list[tuple[str, int]]:
    sql = "SELECT table_name, table_oid FROM duckdb_tables() WHERE table_name IN (?, ?) ORDER BY table_name"
    return [(str(name), int(number)) for name, number in run(connection, sql, list(names))]


def check_unchanged(connection: Connection, taken: Taken, *, exactly: bool = False) -> None:
    """Refuse to go on when rows that were taken are not where they were: their table was rewritten, or rows deleted.

    Args:
        exactly: Also when rows have come since.
    Raises:
        Unavailable: `archive_day_changed`.
    """
    names = (day_table(taken.day), day_table(taken.day, "text"))
    now = dict(_tables(connection, names)) | dict(
        _tables(connection, (day_table(None), day_table(None, "text")))
    )
    is_same = all(now.get(part.table) == part.number for part in (*taken.hot, *taken.other))
    for part in taken.hot if is_same else ():
        count = f"SELECT count(*) FROM {part.table}"  # noqa: S608 - made by day_table
        is_same &= (
            part.rows == run(connection, count if exactly else f"{count} WHERE rowid < {part.end}")[0][0]
        )
    for part in taken.other if is_same else ():
        sql = f"SELECT count(*) FROM {part.table} WHERE {within(taken.day)}"  # noqa: S608 - made by day_table
        is_same &= part.rows == run(connection, sql)[0][0]
    if is_same and exactly:
        is_same = {part.table for part in taken.hot} == {
            name
            for name, _ in _tables(connection, names)
            if run(connection, f"SELECT count(*) FROM {name}")[0][0]  # noqa: S608 - made by day_table
        }
    if not is_same:
        raise _changed(taken.day)


def _changed(day: int) -> Unavailable:
    return Unavailable(
        f"Readings of {day_text(day)} came or went while it was archived.",
        hint="It is archived again by itself.",
        code="archive_day_changed",
    )


def source_sql(taken: Taken, root: Path) -> str:
    """All rows that were taken, as a SELECT of COLUMNS; "" for none."""
    parts = [hot(part.table, f"r.rowid < {part.end}") for part in taken.hot]
    parts += [hot(part.table, "r." + within(taken.day).replace("AND ", "AND r.")) for part in taken.other]
    if taken.cold:
        parts.append(parquet([root / path for path in taken.cold]))
    return " UNION ALL ".join(parts)


def groups_of(connection: Connection, source: str, retention: Retention) -> list[Group]:
    """How many rows each device has of each class, in order of both."""
    found = connection.execute(
        f"SELECT class, device, count(*), sum({ROW_HASH}), min(observed_at), max(observed_at)"  # noqa: S608 - made by source_sql
        f" FROM (SELECT *, {class_sql(retention)} AS class FROM ({source})) GROUP BY class, device ORDER BY class, device"
    )
    groups: list[Group] = []
    while portion := found.fetchmany(10_000):
        groups.extend(Group(*row) for row in portion)
    return groups


def plan_files(groups: Sequence[Group], rows_max: int = ARCHIVE_FILE_ROW_COUNT_MAX) -> list[FilePlan]:
    """Cut into files at borders of devices, each of at most `rows_max` rows unless one device alone has more."""
    plans: list[FilePlan] = []
    gathered: list[Group] = []

    def close() -> None:
        if gathered:
            plans.append(
                FilePlan(
                    class_id=gathered[0].class_id,
                    first_device=gathered[0].device,
                    last_device=gathered[-1].device,
                    rows=sum(g.rows for g in gathered),
                    content_sum=sum(g.content_sum for g in gathered),
                    first_ms=min(g.first_ms for g in gathered),
                    last_ms=max(g.last_ms for g in gathered),
                )
            )
            gathered.clear()

    count = 0
    for group in groups:
        if gathered and (group.class_id != gathered[0].class_id or count + group.rows > rows_max):
            close()
            count = 0
        gathered.append(group)
        count += group.rows
    close()
    return plans


def check_taken(taken: Taken, plans: Sequence[FilePlan]) -> None:
    """Refuse a plan that has not every row that was taken.

    Raises:
        StorageError: `archive_uneven`.
    """
    planned = sum(plan.rows for plan in plans)
    if planned != taken.rows:
        raise StorageError(
            f"Of {taken.rows} rows of a day {planned} would be archived.",
            hint="This is a defect of Homeport: the day stays in the store and is tried again. Please report it.",
            code="archive_uneven",
        )
