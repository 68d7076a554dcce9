"""A store that was begun anew is told what the archive has: its readings can be asked for at once.

One transaction, whatever the number of days. What is adopted is not whole: the archive's generation has all readings from records before
`through`, and the log has the others. In the writer's thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb

from appliance.core.errors import StorageError
from storage.archive.index import newest_of_days
from storage.archive.layout import relative_path
from storage.telemetry.archive_view import create_archive_view
from storage.telemetry.database import archive_folder, run
from storage.telemetry.schema import create_view, table_names
from storage.telemetry.store import TelemetryStore

BRING_BACK: Final = "bring_back:"
"""Keys of `meta`, with a day behind: it was adopted, and belongs into the store if it is young enough."""


def adopt_all(store: TelemetryStore) -> tuple[list[int], list[StorageError]]:
    """Register the newest usable generation of each day that the store does not know of, in a transaction.

    Returns: as adopt.
    Raises:
        As TelemetryStore.commit; nothing was registered.
    """
    with store.transaction() as connection:
        return adopt(connection, archive_folder(store.path))


def adopt(connection: duckdb.DuckDBPyConnection, root: Path) -> tuple[list[int], list[StorageError]]:
    """As adopt_all, within the caller's transaction.

    Returns:
        The days, the oldest first, and what is wrong with those whose newest generation can't be used: their readings come from
        the log, as far as it reaches back.
    """
    days: list[int] = []
    problems: list[StorageError] = []
    known = {day for (day,) in run(connection, "SELECT day FROM days")}
    for day, found in newest_of_days(root).items():
        if found.manifest is None:
            problems.append(
                StorageError(
                    found.problem,
                    hint="Put the day's folder back from a backup, and run homeport archive verify.",
                    code="archive_damaged",
                )
            )
        if found.manifest is None or day in known:
            continue
        run(
            connection,
            "INSERT INTO days (day, is_whole, first_seq, generation, archived_numbers, archived_texts)"
            " VALUES (?, false, ?, ?, 0, 0)",
            [day, found.manifest.through.next_seq, found.generation],
        )
        for file in found.manifest.files:
            path = relative_path(day, found.generation, file.name)
            columns = [day, found.generation, file.class_id, path, file.rows, file.first_device]
            columns += [file.last_device, file.first_ms, file.last_ms]
            run(connection, "INSERT INTO archive_files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", columns)
        run(connection, "INSERT INTO meta VALUES (?, '')", [f"{BRING_BACK}{day}"])
        days.append(day)
    if days:
        create_archive_view(connection, root)
        run(connection, create_view(table_names(connection)))
    return sorted(days), problems


def days_to_bring_back(connection: duckdb.DuckDBPyConnection, since_day: int) -> list[int]:
    """Days that were adopted, belong into the store and are not there yet, the oldest first."""
    found = run(
        connection,
        "SELECT d.day FROM days d JOIN meta m ON m.key = ? || d.day WHERE NOT d.is_whole AND d.day >= ? ORDER BY d.day",
        [BRING_BACK, since_day],
    )
    return [int(day) for (day,) in found]


def note_brought_back(store: TelemetryStore, day: int) -> None:
    """The day is in the store, or never will be. Raises as TelemetryStore.commit."""
    with store.transaction() as connection:
        run(connection, "DELETE FROM meta WHERE key = ?", [f"{BRING_BACK}{day}"])
