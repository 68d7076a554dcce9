"""How each day stands: what of it is in the store, what of that the archive has, what is registered."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from storage.telemetry.batch import DAY_MS
from storage.telemetry.database import run
from storage.telemetry.schema import day_table

Connection = duckdb.DuckDBPyConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class DayState:
    """One day. Counts are rows.

    Attributes:
        is_whole: The store has all of it (docs: storage/archive/DESIGN.md). generation: None for not archived.
        hot: In the day's tables. archived: Of these, those that the generation has.
        other: In the tables that old days share.
        cold_classes: Whose files are registered: their readings are in the archive alone. cold: Rows of these.
        restored_until: The day until which it stays in the store, None for one that was not restored.
    """

    day: int
    is_whole: bool
    generation: int | None
    hot: int
    archived: int
    other: int = 0
    cold_classes: frozenset[str] = frozenset()
    cold: int = 0
    restored_until: int | None = None

    @property
    def is_dirty(self) -> bool:
        """Whether the day's tables have rows that its generation has not."""
        return self.hot > self.archived

    @property
    def pending(self) -> int:
        """Rows that are in no generation."""
        return self.hot - self.archived + self.other


def read_days(connection: Connection) -> list[DayState]:
    """All days that have readings anywhere, the oldest first."""
    run(connection, "BEGIN")
    try:
        other = _other_rows(connection)
        cold: dict[int, set[str]] = {}
        cold_rows: dict[int, int] = {}
        for day, class_id, rows in run(
            connection, "SELECT day, class, sum(rows)::BIGINT FROM archive_files GROUP BY ALL"
        ):
            cold.setdefault(day, set()).add(class_id)
            cold_rows[day] = cold_rows.get(day, 0) + rows
        restored = dict(run(connection, "SELECT day, max(until_day) FROM restored GROUP BY day"))
        tables = {name for (name,) in run(connection, "SELECT table_name FROM duckdb_tables()")}
        found = []
        for day, is_whole, generation, numbers, texts in run(
            connection, "SELECT day, is_whole, generation, archived_numbers, archived_texts FROM days"
        ):
            found.append(
                DayState(
                    day=day,
                    is_whole=is_whole,
                    generation=generation,
                    hot=sum(
                        int(run(connection, f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - made by day_table
                        for table in (day_table(day), day_table(day, "text"))
                        if table in tables
                    ),
                    archived=numbers + texts,
                    other=other.pop(day, 0),
                    cold_classes=frozenset() if is_whole else frozenset(cold.get(day, ())),
                    cold=0 if is_whole else cold_rows.get(day, 0),
                    restored_until=restored.get(day),
                )
            )
        for day, rows in other.items():
            found.append(DayState(day=day, is_whole=False, generation=None, hot=0, archived=0, other=rows))
    finally:
        run(connection, "ROLLBACK")
    return sorted(found, key=lambda state: state.day)


def _other_rows(connection: Connection) -> dict[int, int]:
    """Rows of old days in the tables that they share, by day."""
    union = " UNION ALL ".join(
        f"SELECT observed_at // {DAY_MS} AS day FROM {table}"  # noqa: S608 - made by day_table
        for table in (day_table(None), day_table(None, "text"))
    )
    return dict(run(connection, f"SELECT day, count(*) FROM ({union}) GROUP BY day"))  # noqa: S608
