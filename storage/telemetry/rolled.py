"""How far each table has been rolled up into the next level: which of its rows are not in there yet.

The row in `rolled` counts the rows that are, which are always the table's first ones: rows are only added behind them. Whoever
deletes rows rolls everything up first and lowers the count by what went (removing.py). DuckDB gives rows other rowids when it
clears away deleted ones, but keeps their order: so those that are not rolled up are always the last ones, as many as the
table has more than were rolled up. Where nothing was ever deleted their first rowid is the count itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import duckdb

from storage.telemetry.database import run
from storage.telemetry.rollup import minutes_of
from storage.telemetry.schema import date_of

Connection = duckdb.DuckDBPyConnection

_OWN_ROWID: Final = 2**54
"""Rows that the transaction itself has added have rowids above this, until it is committed."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Attributes:
    rows: The table's first rows that are in the next level. deleted: Rows that were taken out since the table was made.
    in_order: The table's first rows that lie in order of series and time, and of minutes have one part each.
    """

    rows: int = 0
    deleted: int = 0
    in_order: int = 0


NOTHING = Progress()


@dataclass(slots=True)
class Tables:
    """The store's tables as one transaction sees them.

    Attributes:
        sizes: Table → rows, those that were deleted and are not yet cleared away included.
    """

    sizes: dict[str, int]
    rolled: dict[str, Progress]

    def numbers(self) -> list[str]:
        """Tables of numbers, the oldest day first, the shared one last."""
        return [name for name in sorted(self.sizes) if name.startswith("readings_")]

    def minutes(self) -> list[str]:
        return [name for name in sorted(self.sizes) if name.startswith("rollup_1m_")]

    def is_sparse(self, table: str) -> bool:
        """Whether a table of numbers has no minutes, because these would hardly be fewer than its rows (settling.py)."""
        minutes = minutes_of(table)
        return minutes in self.rolled and minutes not in self.sizes

    def progress(self, table: str) -> Progress:
        return self.rolled.get(table, NOTHING)

    def first_behind(self, connection: Connection, table: str) -> int | None:
        """The rowid from which on rows are not rolled up; None when there are none."""
        progress = self.progress(table)
        if self.sizes.get(table, 0) <= progress.rows:
            return None
        return self.rowid_behind(connection, table, progress.rows)

    def rowid_behind(self, connection: Connection, table: str, rows: int) -> int | None:
        """The rowid from which on there are the rows behind the table's first `rows` ones, none of which was deleted; None when there are none."""
        if not self.progress(table).deleted:
            return rows
        committed, last, count = run(
            connection,
            f"SELECT count(*) FILTER (rowid < {_OWN_ROWID}), coalesce(max(rowid) FILTER (rowid < {_OWN_ROWID}), -1), count(*)"  # noqa: S608
            f" FROM {table}",
        )[0]
        return int(last) + 1 - max(0, committed - rows) if count > rows else None


def read_tables(connection: Connection) -> Tables:
    """What there is. Within one transaction with the question, so that both see the same."""
    # All in one question: 1.2 ms for 270 tables, where counting each would take 0.1 ms times as many.
    sizes = run(
        connection,
        "SELECT table_name, estimated_size FROM duckdb_tables()"
        " WHERE regexp_full_match(table_name, '(settling_)?(readings|texts|rollup_1m)_([0-9]{8}|other)')",
    )
    found = run(connection, "SELECT table_name, rows, deleted, in_order FROM rolled")
    return Tables(dict(sizes), {name: Progress(*counts) for name, *counts in found})


def save(connection: Connection, table: str, progress: Progress) -> None:
    """Note how far a table is rolled up, in the transaction that did it."""
    forget(connection, table)
    run(
        connection,
        "INSERT INTO rolled VALUES (?, ?, ?, ?)",
        [table, progress.rows, progress.deleted, progress.in_order],
    )


def forget(connection: Connection, table: str) -> None:
    """The table goes, or begins anew."""
    run(connection, "DELETE FROM rolled WHERE table_name = ?", [table])


def archived_mark(day: int) -> str:
    """What stands in `rolled` when hours and days have all of a day's readings that are in the archive."""
    return f"archive_{date_of(day):%Y%m%d}"


def drop_numbers(connection: Connection, table: str) -> None:
    """Drop a table of numbers with its minutes, and what was noted of both."""
    for name in (table, minutes_of(table)):
        run(connection, f"DROP TABLE IF EXISTS {name}")
        # A copy of it that is being put in order (settling.py): whoever makes it notices.
        run(connection, f"DROP TABLE IF EXISTS settling_{name}")
        forget(connection, name)


def held_days(connection: Connection) -> list[int | None]:
    """Days with readings here or in the archive, the newest first; None behind them: the tables that old days share."""
    return [*(row[0] for row in run(connection, "SELECT day FROM days ORDER BY day DESC")), None]
