"""The table of merge rules: it knows every replicated table and column, and says what a change of columns writes."""

from __future__ import annotations

import sqlite3

import pytest

from appliance.management.merge_rules import MERGE_RULES, STAMPS, WHOLE, Kind, TableRules, rules_of
from storage.catalog import schema
from storage.catalog.capture import replicated_tables

NEVER_CHANGED = {
    "api_tokens": {"token_hash", "user_id", "name", "role", "scope", "created_at_ms", "expires_at_ms"},
    "claims": {"token_hash", "name", "device_id", "groups", "tags", "adopt", "use_count_max", "created_by", "created_at_ms", "expires_at_ms"},
    "device_tokens": {"device_id", "created_at_ms"},
    "certificates": {"device_id", "fingerprint", "key_hash", "issuer_key_id", "issued_by", "not_before_at_ms", "not_after_at_ms", "issued_at_ms"},
    "artifacts": {"sha256", "sha1", "size_bytes", "filename", "format", "hw", "min_version", "max_version", "epoch", "is_vendor_signed",
                  "created_by", "created_at_ms"},
    "artifact_keys": {"public_key", "is_on_box", "created_at_ms"},
    "twins": {"device_id", "name"},
    "rules": {"is_built_in", "created_by"},
    "alarms": {"rule_id", "device_id", "group_id", "series"},
    "maintenances": {"created_by", "created_at_ms"},
    "notification_targets": {"created_at_ms"},
    "on_call_lists": {"created_at_ms"},
    "retention_classes": {"created_at_ms"},
}  # fmt: skip
"""Columns that are written when a row is made: how they would be merged is of no interest."""


@pytest.fixture(scope="module")
def tables() -> dict[str, tuple[str, set[str]]]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(connection, node_id="ab" * 16, now_ms=0)
    return {
        name: (key, {row[1] for row in connection.execute(f"PRAGMA table_info({name})")})
        for name, key in replicated_tables(connection).items()
    }


def test_every_replicated_table_has_rules(tables: dict[str, tuple[str, set[str]]]) -> None:
    assert MERGE_RULES.keys() == tables.keys()


def test_every_column_is_in_a_register_or_never_changes(tables: dict[str, tuple[str, set[str]]]) -> None:
    for name, (key, columns) in tables.items():
        rules = MERGE_RULES[name]
        if rules.whole is not None:
            assert set(rules.whole.fence) <= columns
            continue
        decided = {column for register in rules.registers for column in register.columns}
        assert decided <= columns, name
        assert decided | NEVER_CHANGED.get(name, set()) | STAMPS | {key} == columns, name
        assert sum(len(register.columns) for register in rules.registers) == len(decided), (
            f"{name}: one in two"
        )
        assert {column for columns in rules.unique for column in columns} <= columns


def test_names_of_registers_are_their_own() -> None:
    for rules in MERGE_RULES.values():
        names = [register.name for register in rules.registers]
        assert len(names) == len(set(names))
        assert WHOLE not in names


def test_a_table_of_a_later_release_is_merged_as_a_whole() -> None:
    rules = rules_of("not_known_here", "k")
    assert rules.register_of("anything").name == WHOLE
    (register,) = rules.registers_of({"b", "a", "hlc", "origin"})
    assert (register.columns, register.kind) == (("a", "b"), Kind.LAST)


def test_the_fence_of_firmware_orders_never_falls() -> None:
    assert rules_of("settings", "firmware_fence").register_of("value").kind is Kind.GREATEST
    assert rules_of("settings", "site.name").register_of("value").kind is Kind.DECIDED


def test_a_column_without_rules_is_merged_by_itself() -> None:
    register = TableRules().register_of("colour")
    assert (register.name, register.kind, register.has_clock, register.has_line) == (
        "colour",
        Kind.LAST,
        True,
        True,
    )


def test_what_a_change_writes() -> None:
    devices, alarms = MERGE_RULES["devices"], MERGE_RULES["alarms"]
    assert devices.wrote(("role", "access", "hlc")) == {"rights"}
    assert alarms.wrote(("state", "cleared_at_ms")) == {"found"}
    assert alarms.wrote(("state", "acknowledged_at_ms")) == {"acknowledged"}


def test_an_alarm_is_acknowledged_whatever_was_found_meanwhile() -> None:
    settled = MERGE_RULES["alarms"].settled
    for state, after in (
        ("active_unacknowledged", "active_acknowledged"),
        ("cleared_unacknowledged", "normal"),
        ("normal", "normal"),
    ):
        assert settled({"state": state, "acknowledged_at_ms": 5})["state"] == after
        assert settled({"state": state, "acknowledged_at_ms": None})["state"] == state
