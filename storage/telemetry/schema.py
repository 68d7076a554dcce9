"""Tables of the store, and how an older file becomes a newer one.

    readings_YYYYMMDD  numbers and booleans of one UTC day: (series, observed_at ms, num, quality)
    texts_YYYYMMDD     texts of one UTC day: (series, observed_at ms, text, quality)
    readings_other     rows of days too old for a table of their own; texts_other as well
    v_readings         all of them with names: (device, metric, observed_at, num, text, quality, kind), and those of v_archived
    v_archived         readings that only the archive has (archive_view.py)
    restored           days that were brought back from the archive, and until which day they stay
    series             (id, device, metric, kind); kind is what makes 1.0 a `true` again
    commits            one row per commit: how far the log was read, running totals, and changes of state that the
                       next three tables don't have yet; the last row is the cursor (view `cursor`)
    newest             one row per series, by the newest observed_at; received_at is negative where the message may be a copy
                       that another broker kept: it arrived then, but was said at some time before
    dedup              one row per device and boot: intervals of `seq` seen
    presence           one row per device
    dead_letters       the last DEAD_LETTER_COUNT_MAX of them
    days               one row per day that has tables here or files in the archive
    rollup_1m_YYYYMMDD numbers of one day by the minute: (series, begins_at, count, sum, low, high, first, first_at, last, last_at);
                       several rows of one series and time are parts of it, to be added up; rollup_1m_other as well
    rollup_1h, rollup_1d   the same by the hour and by the day, of all days
    rolled             how many of a table's first rows have been rolled up into the next level (rolled.py)
    archive_files      the Parquet files of each day's generation in the archive, by their path below the archive's folder
    replays            parts of replays of dead letters that are done (letters.py)
    backlog            ranges of the log before the cursor that are not in the store yet
    behind             how far a second reader has come, who works them off in order (behind.py)
    alarm_outbox       what rules found, until it is applied to the catalog and older than the checkpoint (alarm_outbox.py)
    watch_checkpoints  one row: the state of rules and anomalies at a position of the log (watch_state.py)
    meta               schema version

No primary key and no index anywhere: exactly once comes from the cursor, and an index over readings would cost
more than the readings. Migrations are numbered and forward; each runs in one transaction. DESIGN.md says why a table per day.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date, timedelta
from pathlib import Path
from typing import Final, Literal

import duckdb

from storage.telemetry.archive_view import create_archive_view
from storage.telemetry.database import StoreDamaged, run

Value = Literal["num", "text"]
"""The column that a table of readings has its values in."""
_PREFIXES: Final[dict[Value, str]] = {"num": "readings_", "text": "texts_"}
_OTHER: Final = "other"
_FIRST_DAY: Final = date(1970, 1, 1)


def table_names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The tables of readings in the file, numbers and texts, sorted."""
    found = run(
        connection,
        "SELECT table_name FROM duckdb_tables() WHERE regexp_full_match(table_name, '(readings|texts)_([0-9]{8}|other)')"
        " ORDER BY ALL",
    )
    return [str(row[0]) for row in found]


def _split_texts(connection: duckdb.DuckDBPyConnection) -> None:
    """Texts get tables of their own: an empty text column beside numbers cost a third of each commit."""
    # So that nothing depends on the tables while they change.
    run(connection, "DROP VIEW v_readings")
    for numbers in table_names(connection):
        texts = numbers.replace("readings_", "texts_")
        run(connection, create_table(texts))
        run(
            connection,
            f"INSERT INTO {texts} SELECT series, observed_at, text, quality FROM {numbers} WHERE text IS NOT NULL",  # noqa: S608
        )
        run(connection, f"DELETE FROM {numbers} WHERE text IS NOT NULL")  # noqa: S608
        run(connection, f"ALTER TABLE {numbers} DROP COLUMN text")
    run(connection, create_view(table_names(connection), with_archive=False))


def _view_archive(connection: duckdb.DuckDBPyConnection) -> None:
    """v_archived, without files so far, and v_readings over it too."""
    create_archive_view(connection, Path())
    run(connection, create_view(table_names(connection)))


def create_rollup(table: str) -> str:
    """The statement that makes a table of rollups; `begins_at` is the beginning of the interval, UTC ms like all times here."""
    return (
        f"CREATE TABLE {table} (series UINTEGER NOT NULL, begins_at BIGINT NOT NULL, count UBIGINT NOT NULL, sum DOUBLE NOT NULL,"
        " low DOUBLE NOT NULL, high DOUBLE NOT NULL, first DOUBLE NOT NULL, first_at BIGINT NOT NULL, last DOUBLE NOT NULL,"
        " last_at BIGINT NOT NULL)"
    )


def _note_days(connection: duckdb.DuckDBPyConnection) -> None:
    """Days that older releases made tables for: whole, not in the archive, from any record on."""
    for day in sorted({day_of(table) for table in table_names(connection) if not is_other(table)}):
        run(connection, "INSERT INTO days VALUES (?, true, 1, NULL, 0, 0)", [day])


MIGRATIONS: Final[tuple[tuple[str | Callable[[duckdb.DuckDBPyConnection], None], ...], ...]] = (
    (
        "CREATE TABLE series (id UINTEGER NOT NULL, device VARCHAR NOT NULL, metric VARCHAR NOT NULL,"
        " kind UTINYINT NOT NULL)",
        "CREATE TABLE newest (series UINTEGER NOT NULL, observed_at BIGINT NOT NULL, received_at BIGINT NOT NULL,"
        " num DOUBLE, text VARCHAR, quality UTINYINT NOT NULL)",
        "CREATE TABLE dedup (device VARCHAR NOT NULL, boot_id VARCHAR NOT NULL, is_current BOOLEAN NOT NULL,"
        " low BIGINT NOT NULL, top BIGINT NOT NULL, floor BIGINT NOT NULL, newest_ms BIGINT NOT NULL, used BIGINT"
        " NOT NULL, earlier BLOB NOT NULL)",
        "CREATE TABLE presence (device VARCHAR NOT NULL, presence VARCHAR NOT NULL, since_ms BIGINT,"
        " reason VARCHAR NOT NULL, last_seen_at_ms BIGINT, address VARCHAR NOT NULL, session VARCHAR NOT NULL,"
        " clients BLOB NOT NULL)",
        "CREATE TABLE dead_letters (id UBIGINT NOT NULL, epoch BIGINT NOT NULL, seq UBIGINT NOT NULL,"
        " received_at BIGINT NOT NULL, device VARCHAR NOT NULL, topic VARCHAR NOT NULL, client_id VARCHAR NOT NULL,"
        " reason VARCHAR NOT NULL, detail VARCHAR NOT NULL, payload BLOB, payload_bytes BIGINT NOT NULL)",
        "CREATE TABLE commits (number UBIGINT NOT NULL, epoch BIGINT NOT NULL, next_seq UBIGINT NOT NULL,"
        " hash BLOB NOT NULL, watermark_ms BIGINT NOT NULL, records_total UBIGINT NOT NULL, readings_total UBIGINT"
        " NOT NULL, rows_total UBIGINT NOT NULL, duplicates_total UBIGINT NOT NULL, dead_letters_total UBIGINT NOT"
        " NULL, unmapped_total UBIGINT NOT NULL, skipped_total UBIGINT NOT NULL, state BLOB NOT NULL)",
        "INSERT INTO commits VALUES (0, 0, 1, ''::BLOB, 0, 0, 0, 0, 0, 0, 0, 0, ''::BLOB)",
        "CREATE VIEW cursor AS SELECT * EXCLUDE (state) FROM commits ORDER BY number DESC LIMIT 1",
        "CREATE TABLE readings_other (series UINTEGER NOT NULL, observed_at BIGINT NOT NULL, num DOUBLE, text VARCHAR,"
        " quality UTINYINT NOT NULL)",
        "CREATE VIEW v_readings AS SELECT s.device, s.metric, r.observed_at, r.num, r.text, r.quality, s.kind"
        " FROM readings_other r JOIN series s ON s.id = r.series",
    ),
    (_split_texts,),
    (
        # is_whole: the day's tables hold all of its readings; otherwise the archive has the rest. archived_numbers and
        # archived_texts: rows of the tables, by rowid, that the archive's generation holds. first_seq: no record before it
        # has a reading of this day that is in no archive.
        "CREATE TABLE days (day INTEGER NOT NULL, is_whole BOOLEAN NOT NULL, first_seq UBIGINT NOT NULL,"
        " generation UINTEGER, archived_numbers UBIGINT NOT NULL, archived_texts UBIGINT NOT NULL)",
        create_rollup("rollup_1m_other"),
        create_rollup("rollup_1h"),
        create_rollup("rollup_1d"),
        "CREATE TABLE rolled (table_name VARCHAR NOT NULL, rows UBIGINT NOT NULL, deleted UBIGINT NOT NULL,"
        " in_order UBIGINT NOT NULL)",
        "CREATE TABLE archive_files (day INTEGER NOT NULL, generation UINTEGER NOT NULL, class VARCHAR NOT NULL,"
        " path VARCHAR NOT NULL, rows UBIGINT NOT NULL, first_device VARCHAR NOT NULL, last_device VARCHAR NOT NULL,"
        " first_ms BIGINT NOT NULL, last_ms BIGINT NOT NULL)",
        "ALTER TABLE dead_letters ADD COLUMN boot_id VARCHAR",
        "ALTER TABLE dead_letters ADD COLUMN is_noted BOOLEAN DEFAULT false",
        "UPDATE dead_letters SET is_noted = true WHERE reason IN ('no_metric', 'too_many_series')",
        "CREATE TABLE replays (replay_id VARCHAR NOT NULL, number UINTEGER NOT NULL, epoch BIGINT NOT NULL, at_seq UBIGINT NOT NULL,"
        " after_epoch BIGINT NOT NULL, after_seq UBIGINT NOT NULL, through_epoch BIGINT NOT NULL, through_seq UBIGINT NOT NULL,"
        " letters UBIGINT NOT NULL, messages UBIGINT NOT NULL, duplicates UBIGINT NOT NULL, rows UBIGINT NOT NULL,"
        " still_dead UBIGINT NOT NULL)",
        "CREATE TABLE backlog (epoch BIGINT NOT NULL, from_seq UBIGINT NOT NULL, to_seq UBIGINT NOT NULL, hash BLOB NOT NULL)",
        # Restored by somebody: not taken out of the store before this day.
        "CREATE TABLE restored (day INTEGER NOT NULL, until_day INTEGER NOT NULL)",
        "CREATE TABLE behind (epoch BIGINT NOT NULL, next_seq UBIGINT NOT NULL, hash BLOB NOT NULL, watermark_ms BIGINT NOT NULL,"
        " began_seq UBIGINT NOT NULL, is_rebuild BOOLEAN NOT NULL, presences BLOB NOT NULL)",
        # How often its status said that a reading is to be expected; NULL while it has not said so.
        "ALTER TABLE presence ADD COLUMN expect_ms BIGINT",
        _note_days,
        _view_archive,
    ),
    (
        # What its status said that it runs, as MessagePack; NULL while it has not said so.
        "ALTER TABLE presence ADD COLUMN firmware BLOB",
    ),
    (
        # transition: MessagePack. The newest row always stays: numbers never begin anew.
        "CREATE TABLE alarm_outbox (number UBIGINT NOT NULL, epoch BIGINT NOT NULL, seq UBIGINT NOT NULL, transition BLOB NOT NULL)",
        # found_number: the last one of the outbox when nothing that was found after this position was in it.
        "CREATE TABLE watch_checkpoints (epoch BIGINT NOT NULL, next_seq UBIGINT NOT NULL, hash BLOB NOT NULL, watermark_ms BIGINT NOT NULL,"
        " found_number UBIGINT NOT NULL, reader BLOB NOT NULL, watch BLOB NOT NULL)",
        # Numbers of the outbox count within one store; one that is begun anew has another id.
        "INSERT INTO meta VALUES ('store_id', uuid()::VARCHAR), ('outbox_applied', '0')",
    ),
)
SCHEMA_VERSION: Final = len(MIGRATIONS)


def migrate(connection: duckdb.DuckDBPyConnection) -> int:
    """Bring the file to SCHEMA_VERSION.

    Returns:
        The version it had (0: it was empty).
    Raises:
        StoreDamaged: `store_too_new`: the file was written by a newer Homeport.
    """
    run(connection, "CREATE TABLE IF NOT EXISTS meta (key VARCHAR NOT NULL, value VARCHAR NOT NULL)")
    rows = run(connection, "SELECT value FROM meta WHERE key = 'schema_version'")
    found = int(rows[0][0]) if rows else 0
    if found > SCHEMA_VERSION:
        raise StoreDamaged(
            f"The time-series store has schema {found}, this Homeport knows up to {SCHEMA_VERSION}.",
            hint="It is set aside, for the newer Homeport, and rebuilt from the archive and the log by itself.",
            code="store_too_new",
        )
    for version, statements in enumerate(MIGRATIONS[found:], start=found + 1):
        run(connection, "BEGIN")
        for statement in statements:
            if isinstance(statement, str):
                run(connection, statement)
            else:
                statement(connection)
        run(connection, "DELETE FROM meta WHERE key = 'schema_version'")
        run(connection, "INSERT INTO meta VALUES ('schema_version', ?)", [str(version)])
        run(connection, "COMMIT")
    return found


def day_table(day: int | None, value: Value = "num") -> str:
    """The table for the numbers, or the texts, of a day (days since 1970-01-01 UTC), or of None."""
    suffix = _OTHER if day is None else f"{date_of(day):%Y%m%d}"
    return _PREFIXES[value] + suffix


def date_of(day: int) -> date:
    """A day as a date; days since 1970-01-01 UTC."""
    return _FIRST_DAY + timedelta(days=day)


def value_of(table: str) -> Value:
    """What a table of readings holds."""
    return "text" if table.startswith(_PREFIXES["text"]) else "num"


def suffix_of(table: str) -> str:
    """The day of a table of readings as YYYYMMDD, or `other`."""
    return table.rpartition("_")[2]


def day_of(table: str) -> int:
    """The day of a table that has one of its own, days since 1970-01-01 UTC."""
    suffix = suffix_of(table)
    return (date(int(suffix[:4]), int(suffix[4:6]), int(suffix[6:])) - _FIRST_DAY).days


def is_other(table: str) -> bool:
    """Whether the table is the shared one for days too old for a table of their own."""
    return suffix_of(table) == _OTHER


def create_table(table: str) -> str:
    """The statement that makes a table of readings. `table` is from day_table."""
    value = "num DOUBLE" if value_of(table) == "num" else "text VARCHAR"
    return f"CREATE TABLE {table} (series UINTEGER NOT NULL, observed_at BIGINT NOT NULL, {value} NOT NULL, quality UTINYINT NOT NULL)"


def create_view(tables: Collection[str], *, with_archive: bool = True) -> str:
    """The statement that makes v_readings over these tables and v_archived."""
    # The names are made by day_table; nothing from outside gets here.
    union = " UNION ALL ".join(
        f"SELECT series, observed_at, {'num, NULL' if value_of(table) == 'num' else 'NULL, text'}, quality FROM {table}"  # noqa: S608
        for table in sorted(tables)
    )
    columns = "s.device, s.metric, r.observed_at, r.num, r.text, r.quality, s.kind"
    return (
        f"CREATE OR REPLACE VIEW v_readings AS SELECT {columns}"  # noqa: S608
        f" FROM ({union}) r(series, observed_at, num, text, quality) JOIN series s ON s.id = r.series"
        f"{' UNION ALL FROM v_archived' if with_archive else ''}"
    )
