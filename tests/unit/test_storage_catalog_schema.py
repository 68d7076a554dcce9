"""Migrations: forward, whole or not at all, and compatible with the previous release."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import StorageError
from storage.catalog import Catalog, schema
from storage.catalog.schema import Migration, migrations, statements

NODE = "ab" * 16


def _connection(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def _next(sql: str, compatible_with: int = 1) -> Migration:
    version = len(migrations()) + 1
    return Migration(
        version=version,
        name="next",
        compatible_with=compatible_with,
        sql=f"-- compatible-with: {compatible_with}\n{sql}",
    )


def test_an_empty_file_gets_the_newest_schema_once(tmp_path: Path) -> None:
    with _connection(tmp_path / "c.db") as connection:
        assert schema.migrate(connection, node_id=NODE, now_ms=5) == [m.version for m in migrations()]
        assert schema.migrate(connection, node_id=NODE, now_ms=6) == []
        assert schema.version(connection) == len(migrations())
    connection.close()


def test_a_failing_migration_changes_nothing(tmp_path: Path) -> None:
    connection = _connection(tmp_path / "c.db")
    schema.migrate(connection, node_id=NODE, now_ms=5)
    before = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    broken = _next("ALTER TABLE devices ADD COLUMN x TEXT;\nINSERT INTO nothing VALUES (1);")
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection, node_id=NODE, now_ms=5, known=(*migrations(), broken))
    assert connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall() == before
    assert schema.version(connection) == len(migrations())
    connection.close()


def test_a_new_column_is_captured_without_anyone_writing_a_trigger(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    connection = _connection(path)
    wider = _next("ALTER TABLE devices ADD COLUMN place TEXT NOT NULL DEFAULT 'cellar';")
    schema.migrate(connection, node_id=NODE, now_ms=5, known=(*migrations(), wider))
    connection.close()
    catalog = Catalog.open(path, clock=ManualClock(), node_id=bytes.fromhex(NODE))
    catalog.add_device("d")
    assert '"place":"cellar"' in catalog.outbox_after(0)[0].row
    catalog.close()


def test_the_previous_release_works_on_a_compatible_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    connection = _connection(path)
    newer = _next("ALTER TABLE devices ADD COLUMN place TEXT;", compatible_with=len(migrations()))
    schema.migrate(connection, node_id=NODE, now_ms=5, known=(*migrations(), newer))
    connection.close()
    catalog = Catalog.open(path, clock=ManualClock(), node_id=bytes.fromhex(NODE))
    catalog.add_device("d")
    catalog.set_token("d", bytes(32))
    assert catalog.schema_version == len(migrations()) + 1
    reader = Catalog.open_read_only(path, clock=ManualClock())
    assert reader.get_device("d").device_id == "d"
    reader.close()
    catalog.close()


def test_a_schema_that_is_too_new_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    connection = _connection(path)
    newer = _next("CREATE TABLE t (x) ;", compatible_with=len(migrations()) + 1)
    schema.migrate(connection, node_id=NODE, now_ms=5, known=(*migrations(), newer))
    connection.close()
    with pytest.raises(StorageError) as refused:
        Catalog.open(path, clock=ManualClock(), node_id=bytes.fromhex(NODE))
    assert refused.value.code == "catalog_too_new"
    with pytest.raises(StorageError):
        Catalog.open_read_only(path, clock=ManualClock())


def test_an_applied_migration_that_was_edited_is_noticed(tmp_path: Path) -> None:
    connection = _connection(tmp_path / "c.db")
    schema.migrate(connection, node_id=NODE, now_ms=5)
    connection.execute("UPDATE schema_version SET checksum = 'other'")
    with pytest.raises(StorageError) as refused:
        schema.check(connection)
    assert refused.value.code == "catalog_history_differs"
    connection.close()


def test_scripts_are_cut_into_statements_with_triggers_whole() -> None:
    script = "CREATE TABLE a (x); -- why; because\nCREATE TRIGGER t AFTER INSERT ON a\nBEGIN SELECT 1; SELECT 2; END;\n-- end\n"
    assert len(statements(script)) == 2
    with pytest.raises(AssertionError):
        statements("CREATE TABLE a (")
