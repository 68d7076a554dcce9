"""Tables by day, and migrations."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from storage.telemetry.database import StoreDamaged, run
from storage.telemetry.schema import MIGRATIONS, SCHEMA_VERSION, day_table, migrate
from storage.telemetry.store import TelemetryStore


@pytest.mark.parametrize(
    ("day", "table"),
    [
        (0, "readings_19700101"),
        (19_782, "readings_20240229"),
        (20_454, "readings_20260101"),
        (None, "readings_other"),
    ],
)
def test_day_table(day: int | None, table: str) -> None:
    assert day_table(day) == table


def test_migrations_run_once() -> None:
    connection = duckdb.connect()
    assert migrate(connection) == 0
    assert migrate(connection) == SCHEMA_VERSION
    assert run(connection, "SELECT count(*) FROM v_readings") == [(0,)]
    assert run(connection, "SELECT next_seq FROM cursor") == [(1,)]
    connection.close()


def test_texts_move_to_tables_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    connection = duckdb.connect(str(path))
    run(connection, "CREATE TABLE meta (key VARCHAR NOT NULL, value VARCHAR NOT NULL)")
    run(connection, "INSERT INTO meta VALUES ('schema_version', '1')")
    for statement in MIGRATIONS[0]:
        assert isinstance(statement, str)
        run(connection, statement)
    run(connection, "INSERT INTO series VALUES (1, 'd', 't', 0), (2, 'd', 'mode', 2)")
    run(connection, "CREATE TABLE readings_20231114 AS FROM readings_other")
    run(connection, "INSERT INTO readings_20231114 VALUES (1, 10, 1.5, NULL, 0), (2, 11, NULL, 'eco', 1)")
    connection.close()
    store = TelemetryStore.open(path)
    assert store.reading_tables() == ["readings_20231114", "readings_other", "texts_20231114", "texts_other"]
    with store.reading() as reading:
        assert run(reading, "FROM v_readings ORDER BY observed_at") == [
            ("d", "t", 10, 1.5, None, 0, 0),
            ("d", "mode", 11, None, "eco", 1, 2),
        ]
        assert run(reading, "FROM texts_20231114") == [(2, 11, "eco", 1)]
    store.close()


def test_a_newer_file_is_set_aside_untouched(tmp_path: Path) -> None:
    path = tmp_path / "t.duckdb"
    TelemetryStore.open(path).close()
    connection = duckdb.connect(str(path))
    connection.execute("UPDATE meta SET value = '99'").fetchall()
    connection.close()
    store = TelemetryStore.open(path)
    assert store.set_aside_path is not None
    assert store.read_cursor().next_seq == 1
    store.close()
    connection = duckdb.connect(str(store.set_aside_path))
    assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchall() == [("99",)]
    with pytest.raises(StoreDamaged, match="schema 99") as caught:
        migrate(connection)
    connection.close()
    assert caught.value.code == "store_too_new"
