"""Rolling up as rows arrive: which table is due, and one bounded step of it.

Theory of operation. Rows become minutes, minutes become hours and days; a step takes at most STEP_ROWS of one table and is one
transaction, with how far it came (rolled.py). It runs between two commits, in the writer's thread, when enough rows or enough
time have come together: each step leaves at least one part for each series it met, and a part costs more than a row. A question adds what is not
rolled up yet, so nothing depends on when this runs. Must not know the pipeline or any clock: the time is an argument.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import duckdb

from storage.telemetry.batch import StoreBatch
from storage.telemetry.database import run
from storage.telemetry.rolled import Progress, Tables, read_tables, save
from storage.telemetry.rollup import (
    HOUR_MS,
    MINUTE_MS,
    behind,
    insert_coarse,
    minutes_of,
    roll_parts,
    roll_rows,
)
from storage.telemetry.schema import create_rollup, day_table

Connection = duckdb.DuckDBPyConnection

ROWS_DUE: Final = 1_000_000
"""Rows of one day that wait at most. A question scans them: 1 ms for one series, some 20 ms for all of them."""
ROWS_DUE_AFTER_MS: Final = 300_000
"""Fewer are rolled up after this time: 5,000 series with a value each 10 s make 150,000 rows in it, and five parts each."""
MINUTES_DUE: Final = 500_000
MINUTES_DUE_AFTER_MS: Final = 3_600_000
"""An hour's minutes make one or two parts of it."""
STEP_ROWS: Final = 250_000
"""Rows that one step takes: 20 to 120 ms of CPU here, the more the fewer of them share a minute; the next batch waits for it."""


@dataclass(slots=True)
class Waiting:
    """Rows of a table that are not rolled up yet. since_mono_ms: When the first of them came."""

    rows: int
    since_mono_ms: int


@dataclass(frozen=True, slots=True)
class RollingStatistics:
    """Attributes:
    rolled_rows_total: Rows rolled up into minutes since the process began. behind_rows: Those that wait.
    busy_ms_total, step_ms_longest: What it took the writer.
    """

    rolled_rows_total: int
    behind_rows: int
    steps_total: int
    busy_ms_total: float
    step_ms_longest: float


@dataclass(slots=True)
class Rolling:
    """What waits to be rolled up in one store. One thread at a time."""

    numbers: dict[str, Waiting] = field(default_factory=dict)
    minutes: dict[str, Waiting] = field(default_factory=dict)
    rolled_rows_total: int = 0
    steps_total: int = 0
    busy_ms_total: float = 0.0
    step_ms_longest: float = 0.0

    def load(self, connection: Connection, now_mono_ms: int) -> None:
        """See what waits, when the store was opened or its tables were changed by others."""
        tables = read_tables(connection)
        self.numbers = _waiting(tables, tables.numbers(), self.numbers, now_mono_ms)
        self.minutes = _waiting(tables, tables.minutes(), self.minutes, now_mono_ms)

    def committed(self, batch: StoreBatch, now_mono_ms: int) -> None:
        """A batch's numbers are in their tables."""
        for day, numbers in batch.numbers.items():
            _add(self.numbers, day_table(day), len(numbers), now_mono_ms)

    def step(self, connection: Connection, now_mono_ms: int, *, everything: bool = False) -> bool:
        """Roll up some rows of the table that is most due, in one transaction of the caller's connection.

        Args:
            everything: Whatever waits is due.
        Returns:
            Whether anything was due; then there may be more.
        Raises:
            duckdb.Error: the transaction is still open.
        """
        table = _due(self.numbers, now_mono_ms, ROWS_DUE, 0 if everything else ROWS_DUE_AFTER_MS)
        minutes = _due(self.minutes, now_mono_ms, MINUTES_DUE, 0 if everything else MINUTES_DUE_AFTER_MS)
        if table is None and minutes is None:
            return False
        started = time.perf_counter()
        run(connection, "BEGIN")
        tables = read_tables(connection)
        if table is not None:
            taken, made, left = roll_numbers(connection, tables, table, STEP_ROWS)
        else:
            assert minutes is not None
            taken, made, left = roll_minutes(connection, tables, minutes, STEP_ROWS)
        run(connection, "COMMIT")
        if table is not None:
            _left(self.numbers, table, left, now_mono_ms)
            _add(self.minutes, minutes_of(table), made, now_mono_ms)
            self.rolled_rows_total += taken
        elif minutes is not None:
            _left(self.minutes, minutes, left, now_mono_ms)
        self.steps_total += 1
        took_ms = (time.perf_counter() - started) * 1_000
        self.busy_ms_total += took_ms
        self.step_ms_longest = max(self.step_ms_longest, took_ms)
        return True

    def statistics(self) -> RollingStatistics:
        return RollingStatistics(
            rolled_rows_total=self.rolled_rows_total,
            behind_rows=sum(waiting.rows for waiting in list(self.numbers.values())),
            steps_total=self.steps_total,
            busy_ms_total=self.busy_ms_total,
            step_ms_longest=self.step_ms_longest,
        )


def roll_numbers(connection: Connection, tables: Tables, table: str, step_rows: int) -> tuple[int, int, int]:
    """Roll the first rows of a table of numbers that wait up into its minutes, within the caller's transaction.

    Of a sparse day, into hours and days at once.

    Returns:
        Rows taken, minutes made, rows that still wait.
    """
    minutes, is_sparse = minutes_of(table), tables.is_sparse(table)
    if minutes not in tables.sizes and not is_sparse:
        run(connection, create_rollup(minutes))
        tables.sizes[minutes] = 0
    low = tables.first_behind(connection, table)
    if low is None:
        return 0, 0, 0
    source, taken, left = _taken(connection, table, low, step_rows)
    made = 0
    if is_sparse:
        for sql in insert_coarse(roll_rows(source, HOUR_MS)):
            run(connection, sql)
    else:
        sql = f"INSERT INTO {minutes} {roll_rows(source, MINUTE_MS)} ORDER BY series, begins_at"
        made = int(run(connection, sql)[0][0])
        tables.sizes[minutes] += made
    _advance(connection, tables, table, taken)
    return taken, made, left


def roll_minutes(
    connection: Connection, tables: Tables, minutes: str, step_rows: int
) -> tuple[int, int, int]:
    """Roll the first minutes of a table that wait up into hours and days, within the caller's transaction.

    Returns:
        Minutes taken, 0, minutes that still wait.
    """
    low = tables.first_behind(connection, minutes)
    if low is None:
        return 0, 0, 0
    source, taken, left = _taken(connection, minutes, low, step_rows)
    for sql in insert_coarse(roll_parts(source, HOUR_MS)):
        run(connection, sql)
    _advance(connection, tables, minutes, taken)
    return taken, 0, left


def roll_all(connection: Connection, tables: Tables, table: str) -> None:
    """Roll all of a table of numbers up to hours and days, within the caller's transaction: it is about to lose rows."""
    everything = 2**62
    roll_numbers(connection, tables, table, everything)
    roll_minutes(connection, tables, minutes_of(table), everything)


def _taken(connection: Connection, table: str, low: int, step_rows: int) -> tuple[str, int, int]:
    """Of the rows from `low` on: what a step takes, how many they are, and how many are left. None of them was deleted."""
    there = int(run(connection, f"SELECT count(*) FROM {behind(table, low)}")[0][0])  # noqa: S608
    taken = min(there, step_rows)
    # Without an end when it is everything: rows that this very transaction has added have other rowids until it is committed.
    return behind(table, low, low + taken if taken < there else None), taken, there - taken


def _advance(connection: Connection, tables: Tables, table: str, rows: int) -> None:
    before = tables.progress(table)
    progress = Progress(before.rows + rows, before.deleted, before.in_order)
    tables.rolled[table] = progress
    save(connection, table, progress)


def _waiting(
    tables: Tables, names: list[str], before: Mapping[str, Waiting], now_mono_ms: int
) -> dict[str, Waiting]:
    found = {}
    for name in names:
        rows = tables.sizes[name] - tables.progress(name).rows
        if rows > 0:
            since = before[name].since_mono_ms if name in before else now_mono_ms
            found[name] = Waiting(rows, since)
    return found


def _due(waiting: Mapping[str, Waiting], now_mono_ms: int, rows: int, after_ms: int) -> str | None:
    """The table with the most rows waiting, among those with enough of them or for long enough."""
    due = [
        (found.rows, table)
        for table, found in waiting.items()
        if found.rows >= rows or now_mono_ms - found.since_mono_ms >= after_ms
    ]
    return max(due)[1] if due else None


def _add(waiting: dict[str, Waiting], table: str, rows: int, now_mono_ms: int) -> None:
    if rows:
        found = waiting.setdefault(table, Waiting(0, now_mono_ms))
        found.rows += rows


def _left(waiting: dict[str, Waiting], table: str, left: int, now_mono_ms: int) -> None:
    if not left:
        waiting.pop(table, None)
        return
    # After a step by age the rest keeps its time, and is taken at once; after one by count as well, soon enough.
    found = waiting.setdefault(table, Waiting(0, now_mono_ms))
    found.rows = left
