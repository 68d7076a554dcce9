"""Change capture: every change of a replicated row is in the outbox, in its transaction, without secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, UsageError
from appliance.identity import SiteKeys, new_token
from appliance.management.hlc import wall_ms
from storage.catalog import Catalog, Change
from storage.catalog.capture import replicated_tables
from storage.catalog.rows import OutboxRow

NODE = bytes(range(16))
HASH = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$aGFzaA"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def catalog(tmp_path: Path, clock: ManualClock) -> Iterator[Catalog]:
    opened = Catalog.open(tmp_path / "catalog.db", clock=clock, node_id=NODE)
    yield opened
    opened.close()


def changes_of(catalog: Catalog) -> list[OutboxRow]:
    """The outbox without the audit's entries, of which each change has one."""
    return [row for row in catalog.outbox_after(0) if row.table != "audit"]


def test_every_table_with_a_clock_is_captured(catalog: Catalog) -> None:
    tables = replicated_tables(catalog.connection)
    assert tables == {
        "api_tokens": "token_id",
        "alarm_events": "event_id",
        "alarms": "alarm_id",
        "artifact_keys": "key_id",
        "maintenances": "maintenance_id",
        "notification_targets": "target_id",
        "notifications": "notification_id",
        "on_call_lists": "list_id",
        "rules": "rule_id",
        "artifacts": "artifact_id",
        "audit": "entry_id",
        "certificates": "serial",
        "claims": "claim_id",
        "commands": "command_id",
        "rollout_events": "event_id",
        "execution_events": "event_id",
        "executions": "execution_id",
        "known_bad": "known_bad_id",
        "rollouts": "rollout_id",
        "twins": "twin_id",
        "enrolments": "device_id",
        "device_tokens": "token_hash",
        "devices": "device_id",
        "groups": "group_id",
        "erasures": "erasure_id",
        "archived_days": "archived_day_id",
        "mapping_sets": "set_id",
        "mappings": "mapping_id",
        "replays": "replay_id",
        "retention_classes": "class_id",
        "settings": "key",
        "users": "user_id",
    }
    triggers = {row[0] for row in catalog.rows("SELECT name FROM sqlite_master WHERE type = 'trigger'")}
    assert {f"capture_{table}_{op}" for table in tables for op in ("insert", "update", "delete")} <= triggers


def test_an_insert_holds_the_whole_row(catalog: Catalog, clock: ManualClock) -> None:
    catalog.add_device("d", name="Kessel", tags=("a", "ü"))
    (row,) = changes_of(catalog)
    assert (row.table, row.key, row.op, row.origin, row.changed) == (
        "devices",
        "d",
        "insert",
        NODE.hex(),
        None,
    )
    assert wall_ms(row.hlc) == clock.now_ms()
    columns = [column[1] for column in catalog.rows("PRAGMA table_info(devices)")]
    captured = json.loads(row.row)
    assert list(captured) == columns
    assert (captured["name"], json.loads(captured["tags"]), captured["hlc"]) == (
        "Kessel",
        ["a", "ü"],
        row.hlc,
    )


def test_an_update_names_the_fields_that_changed(catalog: Catalog, clock: ManualClock) -> None:
    catalog.note_first_contact(["d"], at_ms=clock.now_ms())
    clock.advance(1000)
    catalog.adopt_device("d")
    row = changes_of(catalog)[-1]
    assert (row.op, json.loads(row.changed or "")) == ("update", ["state", "updated_at_ms"])
    assert json.loads(row.row)["state"] == "active"


def test_a_delete_leaves_a_tombstone_and_an_insert_takes_it_away(catalog: Catalog) -> None:
    catalog.set_setting("k", 1)
    with catalog.transaction():
        catalog.execute("DELETE FROM settings WHERE key = ?", ("k",))
        deleted_at = catalog.hlc
    row = changes_of(catalog)[-1]
    assert (row.op, row.key, row.hlc) == ("delete", "k", deleted_at)
    assert [tuple(r) for r in catalog.rows("SELECT table_name, row_key, hlc FROM tombstones")] == [
        ("settings", "k", deleted_at)
    ]
    catalog.set_setting("k", 2)
    assert not catalog.rows("SELECT * FROM tombstones")


def test_rows_of_one_transaction_have_one_timestamp(catalog: Catalog) -> None:
    with catalog.transaction():
        catalog.add_device("a")
        catalog.add_device("b")
    catalog.add_device("c")
    stamps = [row.hlc for row in changes_of(catalog)]
    assert stamps[0] == stamps[1] < stamps[2]


def test_what_was_rolled_back_is_in_no_outbox(catalog: Catalog) -> None:
    def fail() -> None:
        with catalog.transaction():
            catalog.add_device("a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert changes_of(catalog) == []
    assert catalog.find_device("a") is None
    catalog.add_device("a")
    assert catalog.last_changes == (Change("devices", "a"),)


def test_a_write_without_the_transactions_clock_is_refused(catalog: Catalog) -> None:
    catalog.add_device("a")
    with pytest.raises(Conflict, match="without the clock"), catalog.transaction():
        catalog.execute("UPDATE devices SET name = 'x' WHERE device_id = 'a'")
    with pytest.raises(Conflict, match="a key never changes"), catalog.transaction():
        catalog.execute("UPDATE devices SET device_id = 'b', hlc = ? WHERE device_id = 'a'", (catalog.hlc,))
    assert catalog.get_device("a").name == ""


def test_records_of_a_peer_are_not_captured_again(catalog: Catalog) -> None:
    with catalog.transaction():
        catalog.execute("UPDATE change_clock SET capture = 0")
        catalog.execute(
            "INSERT INTO settings (key, value, origin, hlc) VALUES ('k', '1', ?, 5)", ("cd" * 16,)
        )
        catalog.execute("UPDATE change_clock SET capture = 1")
    assert changes_of(catalog) == []
    assert catalog.get_setting("k") == 1


def test_the_clock_never_goes_back_over_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "other.db"
    first = Catalog.open(path, clock=clock, node_id=NODE)
    first.add_device("a")
    first.close()
    clock.set_wall(clock.now_ms() - 86_400_000)
    second = Catalog.open(path, clock=clock, node_id=NODE)
    second.add_device("b")
    a, b = changes_of(second)
    assert b.hlc > a.hlc
    second.close()


def test_the_outbox_never_holds_a_secret_in_clear(tmp_path: Path, catalog: Catalog) -> None:
    keys, token = SiteKeys.load_or_create(tmp_path), new_token()
    catalog.add_device("d")
    catalog.set_token("d", keys.token_hash(token.encode()))
    catalog.add_user("admin", role="admin", password_hash=HASH)
    catalog.open_session(bytes(32), user_id="admin", expires_at_ms=1 << 50, address="a", agent="b")
    catalog.set_password("admin", HASH + "2")
    rows = changes_of(catalog)
    assert {row.table for row in rows} == {"devices", "device_tokens", "users"}
    assert not any(token in row.row or token.removeprefix("hpd_") in row.row for row in rows)


def test_what_is_in_the_log_is_forgotten_and_positions_go_on(catalog: Catalog) -> None:
    for name in "abc":
        catalog.add_device(name)
    second = catalog.outbox_after(0, limit=4)[-1].position
    assert catalog.outbox_forget(second) == 4
    assert [row.key for row in changes_of(catalog)] == ["c"]
    catalog.outbox_forget(1 << 40)
    catalog.add_device("d")
    assert catalog.outbox_count() == 2
    assert changes_of(catalog)[0].position == 7


@pytest.mark.parametrize("limit", [0, 1001])
def test_batches_of_the_outbox_are_bounded(catalog: Catalog, limit: int) -> None:
    with pytest.raises(UsageError):
        catalog.outbox_after(0, limit=limit)
