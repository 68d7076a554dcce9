"""Settling a closed day: its rows in order of series and time, one part for each series and minute, hour and day.

Theory of operation. A day that is over gets few rows any more. Step by step, a range of series at a time, its tables are copied
into new ones in order; rows that come meanwhile lie behind those that the copy began with, and are added when the new
table takes the old one's name, in one transaction. Nobody can see a half of it: until then questions have the old table. A copy that was
left over (the process ended, or rows of the day were deleted meanwhile) is dropped. It runs between two commits, in the
writer's thread. A question for one series then reads only its own row groups; DESIGN.md has the figures.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

import duckdb

from storage.telemetry.batch import DAY_MS
from storage.telemetry.database import run
from storage.telemetry.rolled import NOTHING, Progress, Tables, read_tables, save
from storage.telemetry.rolling import roll_all
from storage.telemetry.rolling_archive import RollingArchive
from storage.telemetry.rollup import COARSE, MINUTE_MS, behind, numbers_of, roll_parts
from storage.telemetry.schema import create_rollup, create_table, day_of, is_other

Connection = duckdb.DuckDBPyConnection

SETTLE_AFTER_MS: Final = 2 * 3_600_000
"""After a day's end: what was on its way has arrived then, but for devices that were offline."""
SETTLE_ROWS_MIN: Final = 8_192
"""Rows out of order that are worth it: a row group."""
STEP_ROWS: Final = 300_000
"""Rows that one step copies: 60 ms of CPU here, and the next batch waits for it."""
SETTLE_SHARE: Final = 4
"""... and at least one in this many of the table."""
PAUSE: Final = 9
"""Times as long as a step took, until the next one: a tenth of the writer's time."""
LOOK_MS: Final = 60_000
"""How often it is looked for a day to settle."""
SPARSE_ROWS: Final = 4
"""Readings that a series has in a minute, on average, for a closed day to keep its minutes."""
_COPY: Final = "settling_"
COPIES: Final = f"starts_with(table_name, '{_COPY}')"


@dataclass(slots=True)
class _Copy:
    """One table that is being copied.

    Attributes:
        rows: Of the table when it began; all are rolled up. copied: Rows of the copy.
        borders: Series between which a step copies; the first ones are done.
    """

    table: str
    rows: int
    borders: list[int] = field(default_factory=list)
    copied: int = 0
    deleted: int = 0

    @property
    def name(self) -> str:
        return _COPY + self.table

    def is_valid(self, tables: Tables) -> bool:
        """Whether the table only grew since: neither was it dropped nor did it lose rows."""
        there = self.table in tables.sizes and self.name in tables.sizes
        return there and tables.progress(self.table).deleted == self.deleted

    @property
    def is_minutes(self) -> bool:
        return is_minutes(self.table)


@dataclass(slots=True)
class Settling:
    """The closed day that is being settled. One thread at a time."""

    archive: RollingArchive
    """What is done when no day is to be settled."""
    copy: _Copy | None = None
    settled_total: int = 0
    """Tables that were put in order since the process began."""
    _next_mono_ms: int = 0

    def failed(self, error: duckdb.Error) -> bool:
        """A step was rolled back: what it was at is begun anew.

        Returns:
            Whether it was for a file of the archive, which is left alone from now on: the store is not at fault.
        """
        is_of_file = str(self.archive.folder) in str(error)
        if is_of_file:
            self.archive.give_up()
        self.copy = self.archive.at = None
        return is_of_file

    def abandon(self, connection: Connection) -> None:
        """Drop copies: when the store was opened, and within a transaction that deletes rows of a day."""
        for (name,) in run(connection, f"SELECT table_name FROM duckdb_tables() WHERE {COPIES}"):  # noqa: S608
            run(connection, f"DROP TABLE {name}")
        self.copy = self.archive.at = None

    def step(self, connection: Connection, now_ms: int, now_mono_ms: int, *, at_once: bool = False) -> bool:
        """Do a step of it, if it is time for one, in one transaction of the caller's connection.

        Args:
            at_once: Nobody else waits for the writer.
        Returns:
            Whether there was one.
        Raises:
            duckdb.Error: the transaction is still open; call `failed`.
        """
        if now_mono_ms < self._next_mono_ms and not at_once:
            return False
        started = time.perf_counter()
        run(connection, "BEGIN")
        is_under_way = self._step(connection, now_ms)
        run(connection, "COMMIT")
        took_ms = (time.perf_counter() - started) * 1_000
        pause_ms = PAUSE * took_ms if is_under_way else LOOK_MS
        self._next_mono_ms = now_mono_ms + int(took_ms + pause_ms)
        return is_under_way

    def _step(self, connection: Connection, now_ms: int) -> bool:
        tables = read_tables(connection)
        if self.copy is not None and not self.copy.is_valid(tables):
            self.copy = None
        if self.copy is None:
            table = _next(connection, tables, now_ms)
            if table is None:
                return self.archive.step(connection)
            self.abandon(connection)
            if is_minutes(table) and _drop_sparse(connection, tables, table):
                self.settled_total += 1
                return True
            self.copy = _begin(connection, tables, table)
        elif self.copy.borders:
            _copy_range(connection, tables, self.copy)
        else:
            _take_over(connection, tables, self.copy)
            self.copy = None
            self.settled_total += 1
        return True


def is_minutes(table: str) -> bool:
    return table.startswith("rollup_1m_")


def _next(connection: Connection, tables: Tables, now_ms: int) -> str | None:
    """The closed day's table with the most to gain; minutes come once their numbers are in order."""
    found = []
    for table in (*tables.numbers(), *tables.minutes()):
        if is_other(table) or (day_of(table) + 1) * DAY_MS + SETTLE_AFTER_MS > now_ms:
            continue
        progress = tables.progress(table)
        if tables.sizes[table] - progress.rows - progress.deleted > STEP_ROWS:
            continue  # rolled up in steps first: beginning does what is left in one
        loose = tables.sizes[table] - progress.in_order
        if loose >= SETTLE_ROWS_MIN and loose * SETTLE_SHARE >= tables.sizes[table]:
            found.append((table.startswith("readings_"), day_of(table), table))
    return max(found)[2] if found else None


def _drop_sparse(connection: Connection, tables: Tables, minutes: str) -> bool:
    """Drop a day's minutes if they are hardly fewer than its rows: these answer as fast, and are a quarter of the size."""
    numbers = numbers_of(minutes)
    roll_all(connection, tables, numbers)
    counts = [int(run(connection, f"SELECT count(*) FROM {name}")[0][0]) for name in (minutes, numbers)]  # noqa: S608
    if counts[0] * SPARSE_ROWS <= counts[1]:
        return False
    run(connection, f"DROP TABLE {minutes}")
    save(connection, minutes, NOTHING)
    merge_day(connection, day_of(numbers))
    return True


def _begin(connection: Connection, tables: Tables, table: str) -> _Copy:
    """Roll the day up whole, so that a row's place says nothing any more, and make the copy's table."""
    copy = _Copy(table, 0)
    roll_all(connection, tables, numbers_of(table) if copy.is_minutes else table)
    copy.deleted = tables.progress(table).deleted
    copy.rows = int(run(connection, f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608
    made = create_rollup(table) if copy.is_minutes else create_table(table)
    run(connection, made.replace(f"TABLE {table} ", f"TABLE {copy.name} ", 1))
    # Ranges of series with STEP_ROWS rows each, but for a series that has more alone.
    counted = run(
        connection,
        f"SELECT max(series) + 1 FROM (SELECT series, (sum(n) OVER (ORDER BY series) - 1) // {STEP_ROWS} AS step"  # noqa: S608
        f" FROM (SELECT series, count(*) AS n FROM {table} GROUP BY series)) GROUP BY step ORDER BY 1",
    )
    copy.borders = [0, *(int(row[0]) for row in counted)] if counted else []
    return copy


def _copy_range(connection: Connection, tables: Tables, copy: _Copy) -> None:
    low, top = copy.borders[:2]
    copy.borders = copy.borders[1:] if len(copy.borders) > 2 else []
    end = tables.rowid_behind(connection, copy.table, copy.rows)
    until = "" if end is None else f" AND rowid < {end}"
    source = f"(FROM {copy.table} WHERE series >= {low} AND series < {top}{until})"
    if copy.is_minutes:
        ordered = f"{roll_parts(source, MINUTE_MS)} ORDER BY series, begins_at"
    else:
        ordered = f"SELECT * FROM {source} ORDER BY series, observed_at"  # noqa: S608
    copy.copied += int(run(connection, f"INSERT INTO {copy.name} {ordered}")[0][0])


def _take_over(connection: Connection, tables: Tables, copy: _Copy) -> None:
    """Add what came meanwhile, and give the copy the table's name."""
    roll_all(connection, tables, numbers_of(copy.table) if copy.is_minutes else copy.table)
    came = 0
    first = tables.rowid_behind(connection, copy.table, copy.rows)
    if first is not None:
        came = int(run(connection, f"INSERT INTO {copy.name} FROM {behind(copy.table, first)}")[0][0])
    run(connection, f"DROP TABLE {copy.table}")
    run(connection, f"ALTER TABLE {copy.name} RENAME TO {copy.table}")
    save(connection, copy.table, Progress(copy.copied + came, 0, copy.copied))
    if copy.is_minutes or tables.is_sparse(copy.table):
        merge_day(connection, day_of(copy.table))


def merge_day(connection: Connection, day: int) -> None:
    """Make one part of the parts that each series' hours and day have, within the caller's transaction."""
    for table, width_ms in COARSE:
        within = f"begins_at >= {day * DAY_MS} AND begins_at < {(day + 1) * DAY_MS}"
        merged = roll_parts(f"(FROM {table} WHERE {within})", width_ms)
        run(connection, f"CREATE OR REPLACE TEMP TABLE merged AS {merged}")
        run(connection, f"DELETE FROM {table} WHERE {within}")  # noqa: S608
        run(connection, f"INSERT INTO {table} FROM merged ORDER BY series, begins_at")
        run(connection, "DROP TABLE merged")
