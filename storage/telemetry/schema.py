"""Tables of the store, and how an older file becomes a newer one.

    readings_YYYYMMDD  rows of one UTC day: (series, observed_at ms, num, text, quality)
    readings_other     rows of days too old for a table of their own
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

from datetime import date, timedelta
from typing import Final

import duckdb

from appliance.core.errors import StorageError
from storage.telemetry.database import run

OTHER_TABLE: Final = "readings_other"
_FIRST_DAY: Final = date(1970, 1, 1)

_READINGS_COLUMNS: Final = "series UINTEGER NOT NULL, observed_at BIGINT NOT NULL, num DOUBLE, text VARCHAR, quality UTINYINT NOT NULL"

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
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
        f"CREATE TABLE {OTHER_TABLE} ({_READINGS_COLUMNS})",
        "CREATE VIEW v_readings AS SELECT s.device, s.metric, r.observed_at, r.num, r.text, r.quality, s.kind"
        " FROM readings_other r JOIN series s ON s.id = r.series",
    ),
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
            run(connection, statement)
        run(connection, "DELETE FROM meta WHERE key = 'schema_version'")
        run(connection, "INSERT INTO meta VALUES ('schema_version', ?)", [str(version)])
        run(connection, "COMMIT")
    return found


def day_table(day: int | None) -> str:
    """The table of a day (days since 1970-01-01 UTC), or of None."""
    if day is None:
        return OTHER_TABLE
    return f"readings_{_FIRST_DAY + timedelta(days=day):%Y%m%d}"


def create_day_table(table: str) -> str:
    """The statement that makes a day's table. `table` is from day_table."""
    return f"CREATE TABLE {table} ({_READINGS_COLUMNS})"


def create_view(tables: list[str]) -> str:
    """The statement that makes v_readings over these tables."""
    # The names are made by day_table; nothing from outside gets here.
    union = " UNION ALL ".join(f"SELECT * FROM {table}" for table in tables)  # noqa: S608
    columns = "s.device, s.metric, r.observed_at, r.num, r.text, r.quality, s.kind"
    return f"CREATE OR REPLACE VIEW v_readings AS SELECT {columns} FROM ({union}) r JOIN series s ON s.id = r.series"  # noqa: S608
