"""A device's readings leave the store: a day at a time, then whatever came meanwhile, at one position of the log.

In the writer's thread, each call a short piece of work. The same again goes on where it ended. The names of the device's
series stay, since a batch that is being built may have their ids. Must not know the archive's files: rewriting.py.
"""

from __future__ import annotations

from typing import Final

from storage.telemetry.batch import Cursor
from storage.telemetry.database import archive_folder, run, set_aside_files
from storage.telemetry.removing import series_of
from storage.telemetry.rolled import held_days
from storage.telemetry.snapshot_erasing import erase_from_snapshots
from storage.telemetry.store import TelemetryStore

STATE_FOLDER: Final = "state"
"""Below the archive's: copies of the store's state, for a rebuild."""


def held_by(store: TelemetryStore, device: str) -> tuple[list[int], list[int | None]]:
    """The device's series, and the days to look in; none of both when it never had a reading."""
    with store.writing() as connection:
        series = series_of(connection, device)
        return series, held_days(connection) if series else []


def remove_day(store: TelemetryStore, day: int | None, series: list[int]) -> int:
    """Take the series out of a day's tables and rollups; returns how many readings went."""
    return store.remove_series(day, series)


def finish(store: TelemetryStore, device: str) -> tuple[Cursor, int]:
    """Take out what is left, with newest values, duplicate windows, presence and dead letters; copies of the state lose them too, and damaged stores that were kept go.

    Returns:
        The store's cursor: nothing from a record before it is left. How many readings went.
    """
    removed = store.erase(device)
    with store.writing() as connection:
        # Folded just now: what commits have gathered since the last fold would bring them back.
        run(connection, "DELETE FROM dedup WHERE device = ?", [device])
        run(connection, "DELETE FROM presence WHERE device = ?", [device])
    erase_from_snapshots(archive_folder(store.path) / STATE_FOLDER, device)
    for path in set_aside_files(store.path):
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
    return store.read_cursor(), removed
