"""What the watch adds to a transaction: transitions into the outbox, and now and then its state. All within the caller's transaction.

Exactly once. A transition is in the outbox in the transaction of the readings it came from, or not at all. After a start the watch goes
on from its checkpoint, so it finds once more what it had found behind it: those rows are kept (`found_number`), whether they were
applied or not, and `found_since` says which they are.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import duckdb
import msgspec

from appliance.management.rule_transition import Transition
from storage.telemetry.arrow import ArrowTable
from storage.telemetry.batch import Cursor, WatchCheckpoint, WatchPart
from storage.telemetry.database import run

_encode = msgspec.msgpack.Encoder().encode
decode_transition = msgspec.msgpack.Decoder(Transition).decode


def write_part(connection: duckdb.DuckDBPyConnection, part: WatchPart) -> None:
    """Add transitions behind those that are there, in their order, and put the checkpoint in place of the one before."""
    if part.transitions:
        _write_transitions(connection, part.transitions)
    if (checkpoint := part.checkpoint) is not None:
        cursor = checkpoint.cursor
        run(connection, "DELETE FROM watch_checkpoints")
        run(
            connection,
            "INSERT INTO watch_checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                cursor.epoch,
                cursor.next_seq,
                cursor.hash,
                cursor.watermark_ms,
                checkpoint.found_number,
                checkpoint.reader,
                checkpoint.watch,
            ],
        )


def _write_transitions(connection: duckdb.DuckDBPyConnection, transitions: Sequence[Transition]) -> None:
    first = last_number(connection) + 1
    table = ArrowTable(len(transitions))
    table.add("number", "u64", array("Q", range(first, first + len(transitions))))
    table.add("epoch", "i64", array("q", (each.epoch for each in transitions)))
    table.add("seq", "u64", array("Q", (each.seq for each in transitions)))
    table.add_binaries("transition", [_encode(each) for each in transitions])
    connection.register("incoming", table)
    run(connection, "INSERT INTO alarm_outbox SELECT * FROM incoming")
    connection.unregister("incoming")


def last_number(connection: duckdb.DuckDBPyConnection) -> int:
    """Of the newest transition that was ever found in this store; 0 for none."""
    return int(run(connection, "SELECT coalesce(max(number), 0) FROM alarm_outbox")[0][0])


def waiting_count(connection: duckdb.DuckDBPyConnection) -> int:
    """Transitions that are not applied yet."""
    found = run(
        connection,
        "SELECT count(*) FROM alarm_outbox WHERE number > (SELECT value::UBIGINT FROM meta WHERE key = 'outbox_applied')",
    )
    return int(found[0][0])


def read_checkpoint(connection: duckdb.DuckDBPyConnection) -> WatchCheckpoint | None:
    """None while there is none."""
    found = run(
        connection,
        "SELECT epoch, next_seq, hash, watermark_ms, found_number, reader, watch FROM watch_checkpoints",
    )
    if not found:
        return None
    epoch, next_seq, block_hash, watermark_ms, found_number, reader, watch = found[0]
    return WatchCheckpoint(
        cursor=Cursor(epoch, next_seq, block_hash, watermark_ms),
        found_number=found_number,
        reader=reader,
        watch=watch,
    )


def found_since(connection: duckdb.DuckDBPyConnection, number: int) -> list[Transition]:
    """What is in the outbox behind a number, applied or not."""
    rows = run(connection, "SELECT transition FROM alarm_outbox WHERE number > ? ORDER BY number", [number])
    return [decode_transition(row[0]) for row in rows]
