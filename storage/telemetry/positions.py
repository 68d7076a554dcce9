"""Which records of the log the store can't do without: from where a rebuild would have to read."""

from __future__ import annotations

import duckdb

from storage.telemetry.database import run
from storage.telemetry.schema import day_table

_DAYS = "SELECT day, first_seq, generation, archived_numbers, archived_texts FROM days ORDER BY first_seq"
OTHER_FIRST_SEQ = "other_first_seq"
"""Key of `meta`: no record before it has a reading that lies in readings_other or texts_other."""


def needed_seq(connection: duckdb.DuckDBPyConnection) -> int | None:
    """No record before it has a reading that is in no archive; None: all are."""
    # Counts deleted rows too, costs nothing, and so tells at once which days need no closer look.
    sizes = dict(run(connection, "SELECT table_name, estimated_size FROM duckdb_tables()"))
    found = None
    for day, first_seq, generation, numbers, texts in run(connection, _DAYS):
        archived = {day_table(day): numbers, day_table(day, "text"): texts}
        if generation is None or any(
            sizes.get(table, 0) > count and _count(connection, table) > count
            for table, count in archived.items()
        ):
            found = first_seq
            break
    if has_others(connection):
        found = min(found or 1 << 63, others_first_seq(connection))
    return None if found is None else int(found)


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    return int(run(connection, f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608 - made by day_table


def has_others(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether there are readings of days too old for a table of their own."""
    return bool(
        run(
            connection,
            "SELECT EXISTS (FROM readings_other) OR EXISTS (FROM texts_other)",
        )[0][0]
    )


def others_first_seq(connection: duckdb.DuckDBPyConnection) -> int:
    """No record before it has a reading that lies in the tables that old days share."""
    found = run(connection, "SELECT value FROM meta WHERE key = ?", [OTHER_FIRST_SEQ])
    # Without a row an older release wrote them: from any record.
    return int(found[0][0]) if found else 1


def note_others(connection: duckdb.DuckDBPyConnection, seq: int) -> None:
    """Readings of days too old for a table of their own are about to come from records from `seq` on."""
    if has_others(connection):
        seq = min(seq, others_first_seq(connection))
    run(connection, "DELETE FROM meta WHERE key = ?", [OTHER_FIRST_SEQ])
    run(connection, "INSERT INTO meta VALUES (?, ?)", [OTHER_FIRST_SEQ, str(seq)])


def is_settled(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the cursor's position says which readings are in the store; not while a replay stored some right there.

    A rebuild does such a replay again when it comes to that position. A copy of the state, or a generation of a day, that was made after
    it says the same position as one that was made before it: the first would lose what the replay stored, the other have it twice.
    """
    sql = "SELECT count(*) FROM replays r JOIN cursor c ON r.epoch = c.epoch AND r.at_seq = c.next_seq WHERE r.messages > 0"
    return not run(connection, sql)[0][0]


def archived_until(connection: duckdb.DuckDBPyConnection, seq: int) -> dict[int, int]:
    """Day → the record before which the archive has all of its readings; days for which that lies behind `seq`."""
    found = run(
        connection, "SELECT day, first_seq FROM days WHERE generation IS NOT NULL AND first_seq > ?", [seq]
    )
    return {int(day): int(first_seq) for day, first_seq in found}
