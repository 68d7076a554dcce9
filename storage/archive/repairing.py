"""A day whose tables in the store are damaged is left to the archive, where the archive has all of it."""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from storage.archive.adopting import adopt
from storage.archive.checking import check_generation
from storage.telemetry.database import archive_folder, run
from storage.telemetry.removing import forget_day
from storage.telemetry.schema import day_table
from storage.telemetry.store import TelemetryStore


def days_to_leave(
    connection: duckdb.DuckDBPyConnection, tables: Collection[str], store: TelemetryStore
) -> list[int] | None:
    """The days of damaged tables, the oldest first; None where the archive has not all of it: the store is begun anew then.

    Each day's generation is read whole before. Raises OSError: the disk can't be read.
    """
    sizes = dict(run(connection, "SELECT table_name, estimated_size FROM duckdb_tables()"))
    root = archive_folder(store.path)
    left: set[str] = set(tables)
    days = []
    found = run(connection, "SELECT day, generation, archived_numbers, archived_texts FROM days ORDER BY day")
    for day, generation, numbers, texts in found:
        of_day = {day_table(day): numbers, day_table(day, "text"): texts}
        minutes = day_table(day).replace("readings_", "rollup_1m_")
        if not left & {*of_day, minutes}:
            continue
        if generation is None or any(sizes.get(name, 0) > count for name, count in of_day.items()):
            return None
        if check_generation(root, day, generation):
            return None
        left -= {*of_day, minutes}
        days.append(day)
    return None if left else days


def leave_to_archive(store: TelemetryStore, days: Collection[int]) -> None:
    """Drop the days' tables, and have the archive's files asked for them. One transaction. Raises as TelemetryStore.commit."""
    with store.writing() as connection:
        for day in days:
            forget_day(connection, day)
        adopt(connection, archive_folder(store.path))
