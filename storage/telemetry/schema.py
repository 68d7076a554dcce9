"""Tables of the store, and how an older file becomes a newer one.

    readings_YYYYMMDD  numbers and booleans of one UTC day: (series, observed_at ms, num, quality)
    texts_YYYYMMDD     texts of one UTC day: (series, observed_at ms, text, quality)
    readings_other     rows of days too old for a table of their own; texts_other as well
    v_readings         all of them with names: (device, metric, observed_at, num, text, quality, kind)
    series             (id, device, metric, kind); kind is what makes 1.0 a `true` again
    commits            one row per commit: how far the log was read, running totals, and changes of state that the
                       next three tables don't have yet; the last row is the cursor (view `cursor`)
    newest             one row per series, by the newest observed_at
    dedup              one row per device and boot: intervals of `seq` seen
    presence           one row per device
    dead_letters       the last DEAD_LETTER_COUNT_MAX of them
    meta               schema version

No primary key and no index anywhere: exactly once comes from the cursor, and an index over readings would cost
more than the readings. Migrations are numbered and forward; each runs in one transaction. DESIGN.md says why a table per day.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import date, timedelta
from typing import Final, Literal

import duckdb

from appliance.core.errors import StorageError
from storage.telemetry.database import run

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
    run(connection, create_view(table_names(connection)))


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
)
SCHEMA_VERSION: Final = len(MIGRATIONS)


def migrate(connection: duckdb.DuckDBPyConnection) -> int:
    """Bring the file to SCHEMA_VERSION.

    Returns:
        The version it had (0: it was empty).
    Raises:
        StorageError: the file was written by a newer Homeport.
    """
    run(connection, "CREATE TABLE IF NOT EXISTS meta (key VARCHAR NOT NULL, value VARCHAR NOT NULL)")
    rows = run(connection, "SELECT value FROM meta WHERE key = 'schema_version'")
    found = int(rows[0][0]) if rows else 0
    if found > SCHEMA_VERSION:
        raise StorageError(
            f"The time-series store has schema {found}, this Homeport knows up to {SCHEMA_VERSION}.",
            hint="Start the newer Homeport again, or move telemetry.duckdb away: it is rebuilt from the log.",
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
    suffix = _OTHER if day is None else f"{_FIRST_DAY + timedelta(days=day):%Y%m%d}"
    return _PREFIXES[value] + suffix


def value_of(table: str) -> Value:
    """What a table of readings holds."""
    return "text" if table.startswith(_PREFIXES["text"]) else "num"


def suffix_of(table: str) -> str:
    """The day of a table of readings as YYYYMMDD, or `other`."""
    return table.rpartition("_")[2]


def is_other(table: str) -> bool:
    """Whether the table is the shared one for days too old for a table of their own."""
    return suffix_of(table) == _OTHER


def create_table(table: str) -> str:
    """The statement that makes a table of readings. `table` is from day_table."""
    value = "num DOUBLE" if value_of(table) == "num" else "text VARCHAR"
    return f"CREATE TABLE {table} (series UINTEGER NOT NULL, observed_at BIGINT NOT NULL, {value} NOT NULL, quality UTINYINT NOT NULL)"


def create_view(tables: Collection[str]) -> str:
    """The statement that makes v_readings over these tables."""
    # The names are made by day_table; nothing from outside gets here.
    union = " UNION ALL ".join(
        f"SELECT series, observed_at, {'num, NULL' if value_of(table) == 'num' else 'NULL, text'}, quality FROM {table}"  # noqa: S608
        for table in sorted(tables)
    )
    columns = "s.device, s.metric, r.observed_at, r.num, r.text, r.quality, s.kind"
    return (
        f"CREATE OR REPLACE VIEW v_readings AS SELECT {columns}"  # noqa: S608
        f" FROM ({union}) r(series, observed_at, num, text, quality) JOIN series s ON s.id = r.series"
    )
