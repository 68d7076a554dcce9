"""Which records a rebuild would have to read."""

from __future__ import annotations

from pathlib import Path

from storage.telemetry import recovery
from storage.telemetry.positions import archived_until, has_others, needed_seq, note_others
from storage.telemetry.store import TelemetryStore

DAY = 19_675  # 2023-11-14


def test_days_that_no_archive_has_are_needed_from_their_first_record_on(tmp_path: Path) -> None:
    store = TelemetryStore.open(tmp_path / "t.duckdb")
    with store.reading() as connection:
        assert needed_seq(connection) is None
        connection.execute("CREATE TABLE readings_20231114 (series UINTEGER)").fetchall()
        connection.execute("INSERT INTO readings_20231114 SELECT 1 FROM range(10)").fetchall()
        connection.execute(
            "INSERT INTO days VALUES (?, true, 70, NULL, 0, 0), (?, true, 90, NULL, 0, 0)", [DAY, DAY + 1]
        ).fetchall()
        assert needed_seq(connection) == 70
        # In the archive, all ten rows of it, from all records before 80.
        connection.execute(
            "UPDATE days SET generation = 1, archived_numbers = 10, first_seq = 80 WHERE day = ?", [DAY]
        ).fetchall()
        assert needed_seq(connection) == 90
        assert archived_until(connection, 75) == {DAY: 80}
        assert archived_until(connection, 80) == {}
        connection.execute("INSERT INTO readings_20231114 VALUES (1)").fetchall()
        assert needed_seq(connection) == 80
    assert recovery.needed_seq(store) == 1, "never beyond the cursor"
    store.close()


def test_readings_without_a_table_of_their_own_are_needed_too(tmp_path: Path) -> None:
    store = TelemetryStore.open(tmp_path / "t.duckdb")
    with store.transaction() as connection:
        assert not has_others(connection)
        note_others(connection, 500)
        connection.execute("INSERT INTO readings_other VALUES (1, 1, 1.0, 0)").fetchall()
        assert needed_seq(connection) == 500
        note_others(connection, 700)
        assert needed_seq(connection) == 500
        note_others(connection, 300)
        assert needed_seq(connection) == 300
        connection.execute("DELETE FROM readings_other").fetchall()
        assert needed_seq(connection) is None
        note_others(connection, 900)
        connection.execute("INSERT INTO readings_other VALUES (1, 1, 1.0, 0)").fetchall()
        assert needed_seq(connection) == 900
    store.close()


def test_rows_that_an_older_release_wrote_may_be_from_any_record(tmp_path: Path) -> None:
    store = TelemetryStore.open(tmp_path / "t.duckdb")
    with store.transaction() as connection:
        connection.execute("INSERT INTO readings_other VALUES (1, 1, 1.0, 0)").fetchall()
        assert needed_seq(connection) == 1
        note_others(connection, 900)
        assert needed_seq(connection) == 1
    store.close()
