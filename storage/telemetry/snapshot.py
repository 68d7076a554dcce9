"""The state of the store at one position of the log, in a file: where a rebuild can begin without reading all of the log.

    archive/state/EPOCH-NEXT_SEQ.state   magic, SHA-256 of the rest, zstd of msgpack

Written beside, fsynced, renamed: a file with the right name is whole, or its checksum says that it isn't. What it holds is
what `read_state` reads, and the dead letters. Must not know readings: those are in the archive and in the log.
"""

from __future__ import annotations

import hashlib
import os
import re
from array import array
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

import duckdb
import msgspec
import numpy as np
import zstandard

from appliance.core.errors import StorageError
from appliance.core.limits import SNAPSHOT_BYTES_MAX
from appliance.management.readings import ValueKind
from storage.telemetry.arrow import ArrowTable
from storage.telemetry.batch import Cursor, DeadLetter, NewestRows
from storage.telemetry.database import run
from storage.telemetry.journal import State, Unfolded, newest_state, presence_row, window_row
from storage.telemetry.positions import is_settled
from storage.telemetry.state import StoredNewest, StoreState, Totals, read_state, rows
from storage.telemetry.writing import add_commit, affected, fold, scanned, write_dead_letters

MAGIC: Final = b"HPSTATE1"
LETTER_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of dead letters' payloads, the newest first; older ones keep their position and reason."""
_NAME: Final = re.compile(r"([0-9]{1,19})-([0-9]{1,20})\.state")


@dataclass(frozen=True, slots=True, order=True)
class SnapshotName:
    """A snapshot's file, ordered by its position in the log."""

    next_seq: int
    epoch: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.next_seq}.state"


class Snapshot(msgspec.Struct, array_like=True):
    """What a file holds. series: (id, device, metric, kind)."""

    cursor: tuple[int, int, bytes, int]
    totals: tuple[int, int, int, int, int, int, int]
    series: list[tuple[int, str, str, int]]
    state: State
    letters: list[tuple[int, int, int, str, str, str, str, str, bytes | None, int, str | None, bool]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Snapshot).decode


def take_snapshot(connection: duckdb.DuckDBPyConnection) -> Snapshot | None:
    """The state as the connection's transaction sees it; None while no position says what it is: there is a backlog, or as in is_settled."""
    state, _ = read_state(connection)
    if state.behind is not None or not is_settled(connection):
        return None
    series = run(connection, "SELECT id, device, metric, kind FROM series ORDER BY id")
    ids = {(device, metric, kind): number for number, device, metric, kind in series}
    return Snapshot(
        cursor=(state.cursor.epoch, state.cursor.next_seq, state.cursor.hash, state.cursor.watermark_ms),
        totals=astuple(state.totals),
        series=series,
        state=_state(state, ids),
        letters=_letters(connection),
    )


def _state(state: StoreState, ids: dict[tuple[str, str, int], int]) -> State:
    texts = [each for each in state.newest if each.kind is ValueKind.TEXT]
    numbers = [each for each in state.newest if each.kind is not ValueKind.TEXT]
    return State(
        windows=[window_row(window, state.seen.is_current(window)) for window in state.seen.all()],
        dropped=[],
        presences=[presence_row(each) for each in state.presence.all()],
        newest_numbers=newest_state(_newest(numbers, ids, is_text=False)),
        newest_texts=newest_state(_newest(texts, ids, is_text=True)),
    )


def _newest(found: list[StoredNewest], ids: dict[tuple[str, str, int], int], *, is_text: bool) -> NewestRows:
    return NewestRows(
        np.array([ids[each.device, each.metric, each.kind] for each in found], np.uint32),
        np.array([each.observed_at_ms for each in found], np.int64),
        np.array([each.received_at_ms for each in found], np.int64),
        np.empty(0) if is_text else np.array([float(each.value) for each in found], np.float64),
        [str(each.value) for each in found] if is_text else [],
        np.array([each.quality for each in found], np.uint8),
    )


def _letters(
    connection: duckdb.DuckDBPyConnection,
) -> list[tuple[int, int, int, str, str, str, str, str, bytes | None, int, str | None, bool]]:
    """The oldest first."""
    found = []
    budget_bytes = LETTER_BYTES_MAX
    for row in rows(
        connection,
        "SELECT epoch, seq, received_at, device, topic, client_id, reason, detail, payload, payload_bytes,"
        " boot_id, is_noted FROM dead_letters ORDER BY id DESC",
    ):
        budget_bytes -= len(row[8] or b"")
        found.append(row if budget_bytes >= 0 else (*row[:8], None, *row[9:]))
    return found[::-1]


def write_snapshot(snapshot: Snapshot, folder: Path) -> SnapshotName:
    """Write the file, durably.

    Raises:
        OSError: the disk has no room for it, or fails.
    """
    name = SnapshotName(snapshot.cursor[1], snapshot.cursor[0])
    packed = zstandard.ZstdCompressor(level=3).compress(_encode(snapshot))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = folder / f"{name}.new"
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(MAGIC + hashlib.sha256(packed).digest() + packed)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    beside.rename(folder / str(name))
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return name


def snapshots(folder: Path) -> list[SnapshotName]:
    """Those in a folder, the oldest position first."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = [match for name in names if (match := _NAME.fullmatch(name))]
    return sorted(SnapshotName(int(match[2]), int(match[1])) for match in found)


def read_snapshot(folder: Path, name: SnapshotName) -> Snapshot:
    """A snapshot from its file.

    Raises:
        StorageError: `snapshot_damaged`: it can't be read, or isn't what was written.
    """
    try:
        data = (folder / str(name)).read_bytes()
        packed = data[len(MAGIC) + 32 :]
        if (
            not data.startswith(MAGIC)
            or hashlib.sha256(packed).digest() != data[len(MAGIC) : len(MAGIC) + 32]
        ):
            raise ValueError("its checksum is wrong")
        size = zstandard.frame_content_size(packed)
        if not 0 <= size <= SNAPSHOT_BYTES_MAX:
            raise ValueError(f"it would be {size} bytes")
        found = _decode(zstandard.ZstdDecompressor().decompress(packed, max_output_size=SNAPSHOT_BYTES_MAX))
        if SnapshotName(found.cursor[1], found.cursor[0]) != name:
            raise ValueError("it is of another position than its name says")
    except (OSError, ValueError, zstandard.ZstdError) as error:  # msgspec's errors are ValueErrors
        raise StorageError(
            f"The copy of the store's state {name} can't be read: {error}.",
            hint="An older one is taken, if there is one: a rebuild then reads more of the log.",
            code="snapshot_damaged",
        ) from error
    return found


def put_back(connection: duckdb.DuckDBPyConnection, snapshot: Snapshot) -> None:
    """Bring a snapshot into a store without any state, within the caller's transaction."""
    table = ArrowTable(len(snapshot.series))
    table.add("id", "u32", array("I", (row[0] for row in snapshot.series)))
    table.add_texts("device", [row[1] for row in snapshot.series])
    table.add_texts("metric", [row[2] for row in snapshot.series])
    table.add("kind", "u8", bytes(row[3] for row in snapshot.series))
    with scanned(connection, table):
        affected(connection, "INSERT INTO series SELECT * FROM incoming")
    unfolded = Unfolded()
    unfolded.add(snapshot.state)
    fold(connection, unfolded)
    write_dead_letters(connection, [DeadLetter(*row) for row in snapshot.letters])
    run(connection, "DELETE FROM commits")
    add_commit(connection, 1, Cursor(*snapshot.cursor), Totals(*snapshot.totals), b"")


def forget_snapshots(folder: Path, needed_seq: int, *, count_max: int) -> SnapshotName | None:
    """Remove those that no rebuild needs: all before the newest one that isn't beyond `needed_seq`, and some if too many.

    Returns:
        The one that a rebuild would begin with; None: it would begin with the log.
    """
    found = snapshots(folder)
    first = max((name for name in found if name.next_seq <= needed_seq), default=None)
    kept = [name for name in found if first is None or name >= first]
    # Of too many the second ones go: the first is needed now, the newest will be.
    while len(kept) > count_max:
        del kept[1]
    for name in set(found) - set(kept):
        (folder / str(name)).unlink(missing_ok=True)
    return first
