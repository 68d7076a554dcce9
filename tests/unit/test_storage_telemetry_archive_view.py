"""v_readings has what the archive alone has, and a file that is gone keeps no store from opening."""

from __future__ import annotations

from pathlib import Path

import duckdb

from storage.telemetry.archive_view import create_archive_view
from storage.telemetry.database import archive_folder
from storage.telemetry.store import TelemetryStore
from tests.archive_kit import TODAY, Filled


def test_registered_files_of_days_that_are_not_whole_are_in_the_view(tmp_path: Path) -> None:
    filled = Filled(tmp_path)
    filled.put(TODAY, ("a",), count=1)
    here = filled.view()
    root = archive_folder(filled.store.path)
    select = (
        "SELECT 'z' AS device, 't' AS metric, 1::UTINYINT AS kind, 5::BIGINT AS observed_at, 2.5::DOUBLE AS num,"
        " NULL::VARCHAR AS text, 0::UTINYINT AS quality"
    )
    duckdb.execute(f"COPY ({select}) TO '{root}/it''s.parquet' (FORMAT parquet)").fetchall()
    with filled.store.writing() as connection:
        for day, is_whole in ((0, False), (1, True)):
            connection.execute("INSERT INTO days VALUES (?, ?, 1, 1, 0, 0)", [day, is_whole]).fetchall()
            for name in ("it's.parquet", "gone.parquet"):
                sql = "INSERT INTO archive_files VALUES (?, 1, 'default', ?, 1, 'z', 'z', 5, 5)"
                connection.execute(sql, [day, name]).fetchall()
    filled.store.close()
    for broken in (False, True):
        if broken:
            path = root / "it's.parquet"
            path.write_bytes(b"PAR1" + bytes(50) + b"PAR1")
        filled.store = TelemetryStore.open(filled.store.path)
        archived = [] if broken else [("z", "t", 1, 5, 2.5, None, 0)]
        assert filled.view() == here + archived
        filled.store.close()


def test_a_broken_file_ends_no_transaction_that_makes_the_view(tmp_path: Path) -> None:
    filled = Filled(tmp_path)
    root = archive_folder(filled.store.path)
    select = (
        "SELECT 'z' AS device, 't' AS metric, 1::UTINYINT AS kind, 5::BIGINT AS observed_at, 2.5::DOUBLE AS num,"
        " NULL::VARCHAR AS text, 0::UTINYINT AS quality"
    )
    duckdb.execute(f"COPY ({select}) TO '{root}/b.parquet' (FORMAT parquet)").fetchall()
    for broken in ("a.parquet", "c.parquet"):
        (root / broken).write_bytes(b"PAR1" + bytes(50) + b"PAR1")
    with filled.store.writing() as connection:
        connection.execute("INSERT INTO days VALUES (0, false, 1, 1, 0, 0)").fetchall()
        for name in ("a.parquet", "b.parquet", "c.parquet"):
            sql = "INSERT INTO archive_files VALUES (0, 1, 'default', ?, 1, 'z', 'z', 5, 5)"
            connection.execute(sql, [name]).fetchall()
        create_archive_view(connection, root)
    with filled.store.reading() as connection:
        assert connection.execute("SELECT count(*) FROM archive_files").fetchall() == [(3,)]
        (sql,) = connection.execute(
            "SELECT sql FROM duckdb_views() WHERE view_name = 'v_archived'"
        ).fetchall()[0]
    assert "a.parquet" not in sql
    assert "b.parquet" in sql
    filled.store.close()
