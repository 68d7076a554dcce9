"""Triggers that write each change of a replicated row into the outbox, in the same transaction.

They are generated from the tables themselves whenever a migration was applied, so that no column can be forgotten.
A table is replicated when it has the columns `origin` and `hlc`. A write that did not take the transaction's
clock and this node's id is refused by the trigger: it would be lost in a merge.

While `change_clock.capture` is 0 (records of a peer are applied) nothing is captured.
"""

from __future__ import annotations

import sqlite3

import sqlite_utils

PREFIX = "capture_"


def replicated_tables(connection: sqlite3.Connection) -> dict[str, str]:
    """Name and key column of each replicated table."""
    found = {}
    for table in sqlite_utils.Database(connection).tables:
        if table.name in ("outbox", "tombstones"):
            continue
        columns = {column.name for column in table.columns}
        if {"origin", "hlc"} <= columns:
            (key,) = table.pks
            found[table.name] = key
    return found


def remove(connection: sqlite3.Connection) -> None:
    """Drop all capture triggers (before a migration changes tables)."""
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name GLOB ?", (PREFIX + "*",)
    ).fetchall()
    for (name,) in names:
        connection.execute(f'DROP TRIGGER "{name}"')


def install(connection: sqlite3.Connection) -> None:
    """Create the capture triggers of every replicated table."""
    for table, key in replicated_tables(connection).items():
        columns = [column.name for column in sqlite_utils.Database(connection)[table].columns]
        for statement in _triggers(table, key, columns):
            connection.execute(statement)


def _triggers(table: str, key: str, columns: list[str]) -> list[str]:
    def row(which: str) -> str:
        return "json_object(" + ", ".join(f"'{c}', {which}.{c}" for c in columns) + ")"

    compared = [c for c in columns if c not in ("origin", "hlc")]
    changed = " UNION ALL ".join(f"SELECT '{c}' AS name WHERE NEW.{c} IS NOT OLD.{c}" for c in compared)
    own_clock = (
        f"SELECT RAISE(ABORT, '{table}: a row was written without the clock of its transaction') "  # noqa: S608
        "FROM change_clock WHERE NEW.hlc IS NOT change_clock.hlc OR NEW.origin IS NOT change_clock.node_id"
    )
    captured = "WHEN (SELECT capture FROM change_clock) = 1"
    into = "INSERT INTO outbox (table_name, row_key, op, row, changed, hlc, origin)"
    return [
        f"""CREATE TRIGGER {PREFIX}{table}_insert AFTER INSERT ON {table} {captured} BEGIN
            {own_clock};
            {into} VALUES ('{table}', NEW.{key}, 'insert', {row("NEW")}, NULL, NEW.hlc, NEW.origin);
            DELETE FROM tombstones WHERE table_name = '{table}' AND row_key = NEW.{key};
        END""",  # noqa: S608
        f"""CREATE TRIGGER {PREFIX}{table}_update AFTER UPDATE ON {table} {captured} BEGIN
            {own_clock};
            SELECT RAISE(ABORT, '{table}: a key never changes') WHERE NEW.{key} IS NOT OLD.{key};
            {into} VALUES ('{table}', NEW.{key}, 'update', {row("NEW")},
                (SELECT json_group_array(name) FROM ({changed})), NEW.hlc, NEW.origin);
        END""",  # noqa: S608
        f"""CREATE TRIGGER {PREFIX}{table}_delete AFTER DELETE ON {table} {captured} BEGIN
            {into} SELECT '{table}', OLD.{key}, 'delete', {row("OLD")}, NULL, hlc, node_id FROM change_clock;
            INSERT OR REPLACE INTO tombstones (table_name, row_key, hlc, origin)
                SELECT '{table}', OLD.{key}, hlc, node_id FROM change_clock;
        END""",  # noqa: S608
    ]
