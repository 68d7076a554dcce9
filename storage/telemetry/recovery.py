"""What a store is asked and told so that it can be begun anew, and so that new readings can go first.

Each is one transaction of the writer, in its thread; `take_copy` alone may run in any thread. All raise as
`TelemetryStore.commit`: in all cases nothing was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from appliance.management.presence import DevicePresence
from storage.telemetry import positions, snapshot, writing
from storage.telemetry.batch import Cursor
from storage.telemetry.behind import read_behind
from storage.telemetry.database import as_store_error, run
from storage.telemetry.journal import presence_row
from storage.telemetry.snapshot import Snapshot, SnapshotName
from storage.telemetry.state import read_cursor
from storage.telemetry.store import TelemetryStore


def pass_over(
    store: TelemetryStore, after: Cursor, presences: Sequence[DevicePresence], *, is_rebuild: bool = False
) -> None:
    """Move the cursor to a later record; those between are read later, in order (behind.py).

    Args:
        presences: Of all devices, as of the cursor; what is kept already counts more.
        is_rebuild: The store was begun anew, for the page.
    """
    with store.transaction() as connection:
        rows = list(map(presence_row, presences))
        writing.pass_over(connection, after, rows, is_rebuild=is_rebuild)


def needed_seq(store: TelemetryStore) -> int:
    """The first record of the log that a rebuild of this store would have to read."""
    with store.transaction() as connection:
        behind, cursor = read_behind(connection), read_cursor(connection)[0]
        known = (positions.needed_seq(connection), behind.cursor.next_seq if behind else None)
    return min([cursor.next_seq, *(seq for seq in known if seq is not None)])


def archived_until(store: TelemetryStore, seq: int) -> dict[int, int]:
    """By day, the record before which the archive has all of it, where that is behind `seq`."""
    with store.transaction() as connection:
        return positions.archived_until(connection, seq)


def take_copy(store: TelemetryStore, folder: Path) -> SnapshotName | None:
    """Write the state to a file (snapshot.py); None while there is a backlog. Raises OSError, too: the disk."""
    with store.reading() as connection:
        try:
            run(connection, "BEGIN")
            taken = snapshot.take_snapshot(connection)
            run(connection, "ROLLBACK")
        except duckdb.Error as error:
            raise as_store_error(error, store.path) from error
    return snapshot.write_snapshot(taken, folder) if taken is not None else None


def put_back(store: TelemetryStore, copy: Snapshot) -> None:
    """Bring a copy of the state into a store that was begun anew."""
    with store.transaction() as connection:
        snapshot.put_back(connection, copy)
