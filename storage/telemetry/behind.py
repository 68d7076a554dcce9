"""Reading behind the cursor: records that the cursor passed over, so that new readings needn't wait for them.

    backlog   ranges [from_seq, to_seq) that nobody has read yet
    behind    at most one row: how far a second reader has come, who reads everything in order from the first range on, until
              it stands where the cursor is; then both tables are empty and there is one reader again

All within the caller's transaction. The presence that follows from the records read in order is kept with the second
reader's position; table `presence` has what the records after the gap say, which is what is shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import duckdb
import msgspec

from appliance.core.errors import StorageError
from storage.telemetry.batch import Cursor, StoreBatch
from storage.telemetry.database import run
from storage.telemetry.journal import PresenceRow

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[PresenceRow]).decode


@dataclass(slots=True)
class Behind:
    """How far the reader in order has come.

    Attributes:
        cursor: Where it goes on. began_seq: Where the first range began.
        is_rebuild: The store was begun anew there.
        presences: What follows from all records before the cursor.
        ranges: [from_seq, to_seq) that nobody has read, ascending.
    """

    cursor: Cursor
    began_seq: int
    is_rebuild: bool = False
    presences: list[PresenceRow] = field(default_factory=list)
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def unread(self) -> int:
        """Records that nobody has read."""
        return sum(max(0, to_seq - max(from_seq, self.cursor.next_seq)) for from_seq, to_seq in self.ranges)

    def is_unread(self) -> bool:
        """Whether nobody has read the records at the cursor; otherwise they were read ahead of it."""
        return any(from_seq <= self.cursor.next_seq < to_seq for from_seq, to_seq in self.ranges)

    def until_seq(self) -> int | None:
        """Where that changes; None where it doesn't any more."""
        borders = [seq for each in self.ranges for seq in each if seq > self.cursor.next_seq]
        return min(borders, default=None)


def read_behind(connection: duckdb.DuckDBPyConnection) -> Behind | None:
    """None when there is one reader only."""
    found = run(
        connection, "SELECT epoch, next_seq, hash, watermark_ms, began_seq, is_rebuild, presences FROM behind"
    )
    if not found:
        return None
    epoch, next_seq, block_hash, watermark_ms, began_seq, is_rebuild, presences = found[0]
    ranges = run(connection, "SELECT from_seq, to_seq FROM backlog ORDER BY from_seq")
    return Behind(
        Cursor(epoch, next_seq, block_hash, watermark_ms),
        began_seq,
        is_rebuild,
        _decode(presences),
        [(row[0], row[1]) for row in ranges],
    )


def has_happened(connection: duckdb.DuckDBPyConnection, batch: StoreBatch) -> bool:
    """Whether a commit that failed has happened after all: its transaction moved a cursor, or did nothing."""
    try:
        if batch.behind is None:
            found = run(connection, "SELECT epoch, next_seq, hash, watermark_ms FROM cursor")
            return Cursor(*found[0]) == batch.after
        behind = read_behind(connection)
    except duckdb.Error:
        # The database is invalid: the caller's error says more, and opening it anew reads the cursor again.
        return False
    return batch.behind.ends if behind is None else behind.cursor == batch.after


def pass_over(
    connection: duckdb.DuckDBPyConnection,
    before: Cursor,
    to_seq: int,
    presences: list[PresenceRow],
    *,
    is_rebuild: bool,
) -> None:
    """Note that the cursor goes from `before` to a later record; who reads in order begins there if nobody does yet."""
    run(
        connection,
        "INSERT INTO backlog VALUES (?, ?, ?, ?)",
        [before.epoch, before.next_seq, to_seq, before.hash],
    )
    if not run(connection, "SELECT 1 FROM behind"):
        columns = (before.epoch, before.next_seq, before.hash, before.watermark_ms, before.next_seq)
        run(
            connection,
            "INSERT INTO behind VALUES (?, ?, ?, ?, ?, ?, ?)",
            [*columns, is_rebuild, _encode(presences)],
        )


def move_behind(
    connection: duckdb.DuckDBPyConnection,
    before: Cursor,
    after: Cursor,
    presences: list[PresenceRow] | None,
    *,
    ends: bool,
) -> None:
    """Move the reader in order.

    Args:
        presences: As of `after`; None where they are as before.
        ends: It has come to where the cursor is.
    Raises:
        StorageError: it isn't at `before`, or not all ranges are behind it at the end; the caller rolls back.
    """
    found = read_behind(connection)
    if found is None or found.cursor.next_seq != before.next_seq:
        raise StorageError(
            f"The store's backlog is not at {before.next_seq}, where this batch begins.",
            hint="Only one node may write to a store: see that no second one runs on this data directory.",
            code="cursor_moved",
        )
    run(connection, "DELETE FROM backlog WHERE to_seq <= ?", [after.next_seq])
    if ends:
        if any(to_seq > after.next_seq for _, to_seq in found.ranges):
            raise StorageError(
                f"The store's backlog goes on behind {after.next_seq}, where it was to end.",
                hint="This is a defect of Homeport; nothing was written. Please report it with this message.",
                code="backlog_uneven",
            )
        run(connection, "DELETE FROM behind")
        return
    columns = [after.epoch, after.next_seq, after.hash, after.watermark_ms]
    run(connection, "UPDATE behind SET epoch = ?, next_seq = ?, hash = ?, watermark_ms = ?", columns)
    if presences is not None:
        run(connection, "UPDATE behind SET presences = ?", [_encode(presences)])
