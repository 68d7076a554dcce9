"""Migrations: forward, whole or not at all, and compatible with the previous release."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import StorageError
from storage.catalog import Catalog, DeviceAuthReader, schema
from storage.catalog.schema import Migration, migrations, statements
from tests import catalog_template

NODE = "ab" * 16
BEFORE = 2
"""The newest migration of the release before this one."""
PASSWORD_HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0c2FsdA$" + "h" * 43


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


def test_the_template_of_the_tests_is_what_the_migrations_make(tmp_path: Path) -> None:
    made, copied = _connection(tmp_path / "made.db"), _connection(tmp_path / "copied.db")
    versions = schema.migrate(made, node_id=NODE, now_ms=5)
    assert catalog_template.migrate(copied, node_id=NODE, now_ms=5) == versions
    assert list(copied.iterdump()) == list(made.iterdump())
    assert catalog_template.migrate(copied, node_id=NODE, now_ms=6) == []
    made.close()
    copied.close()


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


def _as_the_release_before(path: Path, *statements: str) -> None:
    """Run what that release runs, word for word, each in a transaction of its own; :hlc and :node are its clock and name."""
    connection = _connection(path)
    for statement in statements:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE change_clock SET hlc = hlc + 1")
        (hlc,) = connection.execute("SELECT hlc FROM change_clock").fetchone()
        connection.execute(statement, {"hlc": hlc, "node": NODE, "hash": PASSWORD_HASH})
        connection.execute("COMMIT")
    connection.close()


def _device(device_id: str, state: str, access: str = "own") -> str:
    return (
        "INSERT INTO devices (device_id, kind, access, role, state, name, tags, first_contact_at_ms, created_at_ms, "
        f"updated_at_ms, origin, hlc) VALUES ('{device_id}', 'device', '{access}', '', '{state}', '', '[]', NULL, 1, 1, :node, :hlc)"
    )


def _token(device_id: str, byte: str) -> str:
    return (
        "INSERT INTO device_tokens (token_hash, device_id, created_at_ms, expires_at_ms, origin, hlc) "
        f"VALUES ('{byte * 32}', '{device_id}', 1, NULL, :node, :hlc)"
    )


def _user(user_id: str, role: str) -> str:
    return (
        "INSERT INTO users (user_id, role, password_hash, created_at_ms, credentials_changed_at_ms, origin, hlc) "
        f"VALUES ('{user_id}', '{role}', :hash, 1, 1, :node, :hlc)"
    )


def _session(user_id: str, byte: str) -> str:
    return (
        "INSERT INTO browser_sessions (session_hash, user_id, created_at_ms, last_used_at_ms, expires_at_ms, address, agent) "
        f"VALUES ('{byte * 32}', '{user_id}', 1, 1, {2**42}, '::1', 'x')"
    )


_SETTING = (
    "INSERT INTO settings (key, value, origin, hlc) VALUES ('site.name', '\"{}\"', :node, :hlc) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value, origin = excluded.origin, hlc = excluded.hlc"
)


@pytest.fixture
def upgraded(tmp_path: Path) -> Path:
    """A catalog that the release before has made and filled, opened once by this one."""
    path = tmp_path / "c.db"
    connection = _connection(path)
    schema.migrate(connection, node_id=NODE, now_ms=5, known=migrations()[:BEFORE])
    connection.close()
    _as_the_release_before(
        path,
        _device("pump", "active"),
        _token("pump", "11"),
        _device("new", "waiting"),
        _user("anna", "admin"),
        _session("anna", "77"),
        _SETTING.format("Works"),
    )
    catalog = Catalog.open(path, clock=ManualClock(), node_id=bytes.fromhex(NODE))
    assert catalog.schema_version == len(migrations())
    catalog.close()
    return path


def test_what_the_release_before_left_works_on(upgraded: Path) -> None:
    clock = ManualClock()
    catalog = Catalog.open(upgraded, clock=clock, node_id=bytes.fromhex(NODE))
    anna = catalog.get_user("anna")
    assert (anna.role, anna.scope, anna.disabled, anna.totp_sealed) == ("admin", None, False, None)
    assert catalog.has_admin()
    session = catalog.find_session(bytes([0x77]) * 32)
    assert session is not None
    assert session.user_id == "anna"
    assert catalog.get_setting("site.name") == "Works"
    pump = catalog.get_device("pump")
    assert (pump.state, pump.groups, pump.serial, pump.replaced_at_ms) == ("active", (), "", None)
    reader = DeviceAuthReader(upgraded, clock=clock)
    credential = reader.lookup("pump")
    assert credential is not None
    assert [token.hash for token in credential.tokens] == [b"\x11" * 32]
    catalog.adopt_device("new")
    catalog.edit_device("pump", serial="SN-1")
    catalog.replace_device("pump")
    credential = reader.lookup("pump")
    assert credential is not None
    assert credential.tokens == ()
    reader.close()
    entries = catalog.rows("SELECT object_id FROM audit ORDER BY seq")
    assert {entry["object_id"] for entry in entries} == {"new", "pump"}
    catalog.close()


def test_the_release_before_works_on_this_ones_schema_and_this_one_after_it(upgraded: Path) -> None:
    """What storage/catalog/DESIGN.md promises for going back: each migration says so, and that release's own SQL shows it."""
    assert all(each.compatible_with <= BEFORE for each in migrations())
    catalog = Catalog.open(upgraded, clock=ManualClock(), node_id=bytes.fromhex(NODE))
    catalog.add_device("fan", serial="SN-9")
    catalog.close()
    _as_the_release_before(
        upgraded,
        _device("valve", "active", "site"),
        _token("valve", "22"),
        _token("fan", "33"),
        "UPDATE devices SET state = 'active', updated_at_ms = 2, origin = :node, hlc = :hlc WHERE device_id = 'new'",
        "UPDATE device_tokens SET revoked_at_ms = 2, origin = :node, hlc = :hlc WHERE device_id = 'pump'",
        _user("bert", "viewer"),
        "UPDATE users SET password_hash = :hash, credentials_changed_at_ms = 2, origin = :node, hlc = :hlc WHERE user_id = 'anna'",
        "DELETE FROM browser_sessions WHERE user_id = 'anna'",
        _session("bert", "88"),
        _SETTING.format("Hall"),
    )
    connection = _connection(upgraded)
    credentials = connection.execute(
        "SELECT c.device_id, d.kind, d.access, d.state, d.role, (SELECT group_concat(t.token_hash || ':' || "
        "coalesce(t.expires_at_ms, '')) FROM device_tokens t WHERE t.device_id = c.device_id AND t.revoked_at_ms IS NULL) "
        "FROM auth_changes c LEFT JOIN devices d USING (device_id) WHERE c.position > 0"
    ).fetchall()
    assert {row[0]: row[2:] for row in credentials} == {
        "pump": ("own", "active", "", None),
        "new": ("own", "active", "", None),
        "valve": ("site", "active", "", "22" * 32 + ":"),
        "fan": ("own", "active", "", "33" * 32 + ":"),
    }
    (captured,) = connection.execute("SELECT count(*) FROM outbox WHERE row_key = 'bert'").fetchone()
    assert captured == 1
    connection.close()
    catalog = Catalog.open(upgraded, clock=ManualClock(), node_id=bytes.fromhex(NODE))
    assert (catalog.get_user("bert").role, catalog.get_user("bert").scope) == ("viewer", None)
    assert catalog.find_session(bytes([0x77]) * 32) is None
    assert catalog.get_setting("site.name") == "Hall"
    assert catalog.get_device("fan").serial == "SN-9"
    assert catalog.get_device("valve").groups == ()
    catalog.decommission_device("valve")
    assert catalog.tokens_of("valve") == []
    catalog.close()


def test_deletes_before_nodes_shared_the_catalog_are_counted_as_generations(tmp_path: Path) -> None:
    path = tmp_path / "c.db"
    connection = _connection(path)
    schema.migrate(connection, node_id=NODE, now_ms=5, known=migrations()[:6])
    captured = (
        "INSERT INTO outbox (table_name, row_key, op, row, hlc, origin) VALUES ('groups', ?, ?, '{}', ?, ?)"
    )
    for hlc, (key, op) in enumerate(
        [("a", "insert"), ("a", "delete"), ("a", "insert"), ("b", "insert"), ("b", "delete")]
    ):
        connection.execute(captured, (key, op, hlc, NODE))
    connection.execute(
        "INSERT INTO tombstones (table_name, row_key, hlc, origin) VALUES ('groups', 'b', 4, ?)", (NODE,)
    )
    connection.execute(
        "INSERT INTO rollouts (rollout_id, name, artifact_id, state, targets, plan, policy, created_by, created_at_ms, updated_at_ms, "
        "origin, hlc) VALUES ('r', 'r', 'a', 'draft', '{}', '{}', '{}', 'x', 0, 0, ?, 0)",
        (NODE,),
    )
    schema.migrate(connection, node_id=NODE, now_ms=6)
    generations = connection.execute(
        "SELECT row_key, op, generation FROM outbox ORDER BY position"
    ).fetchall()
    assert generations == [
        ("a", "insert", 1),
        ("a", "delete", 1),
        ("a", "insert", 2),
        ("b", "insert", 1),
        ("b", "delete", 1),
    ]
    assert connection.execute("SELECT row_key, generation FROM tombstones").fetchall() == [("b", 1)]
    assert connection.execute("SELECT row_key, register, generation FROM field_clocks").fetchall() == [
        ("a", "", 2)
    ]
    assert connection.execute("SELECT home, home_fence FROM rollouts").fetchall() == [(NODE, 0)]
    connection.close()
