"""A device taken out of the copies of the store's state, so that a rebuild does not bring its newest values back.

Each copy is written anew beside itself and renamed over. A copy that is damaged goes. Blocks.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from appliance.core.errors import StorageError
from storage.telemetry.batch import NewestRows
from storage.telemetry.journal import NewestState, State, newest_rows, newest_state
from storage.telemetry.snapshot import Snapshot, read_snapshot, snapshots, write_snapshot


def erase_from_snapshots(folder: Path, device: str) -> int:
    """Take a device's newest values, duplicate windows, presence and dead letters out of all copies in a folder.

    Returns:
        Copies that were written anew.
    Raises:
        OSError: the disk has no room, or fails. The same again goes on.
    """
    written = 0
    for name in snapshots(folder):
        try:
            before = read_snapshot(folder, name)
        except StorageError:
            # No rebuild can begin with it, and what it holds can't be looked at: it may hold the device.
            (folder / str(name)).unlink()
            continue
        after = without_device(before, device)
        if msgspec.msgpack.encode(after) != msgspec.msgpack.encode(before):
            write_snapshot(after, folder)
            written += 1
    return written


def without_device(snapshot: Snapshot, device: str) -> Snapshot:
    """The copy without anything of a device but the names of its series, whose ids rows may have."""
    series = np.array([row[0] for row in snapshot.series if row[1] == device], np.uint32)
    state = snapshot.state
    return Snapshot(
        cursor=snapshot.cursor,
        totals=snapshot.totals,
        series=snapshot.series,
        state=State(
            windows=[window for window in state.windows if window[0] != device],
            dropped=state.dropped,
            presences=[presence for presence in state.presences if presence.device != device],
            newest_numbers=_without(state.newest_numbers, series),
            newest_texts=_without(state.newest_texts, series),
        ),
        letters=[letter for letter in snapshot.letters if letter[3] != device],
    )


def _without(state: NewestState, series: np.ndarray[tuple[int], np.dtype[np.uint32]]) -> NewestState:
    rows: NewestRows = newest_rows(state)
    return newest_state(rows.take(np.flatnonzero(~np.isin(rows.series, series))))
