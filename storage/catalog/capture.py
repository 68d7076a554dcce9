"""Triggers that write each change of a replicated row into the outbox, in the same transaction.

They are generated from the tables themselves whenever a migration was applied, so that no column can be forgotten.
A table is replicated when it has the columns `origin` and `hlc`. A write that did not take the transaction's
clock and this node's id is refused by the trigger: it would be lost in a merge.

With the change goes what other nodes need to come to the same row (appliance/management/merge.py): an update leaves the clocks of the
registers that it wrote in `field_clocks`, and a row whose registers were all written at once has no line there. A change is later than
all that it replaces, also where a clock that is ahead wrote that: then it has a clock of its own, and the transaction's stays as it is.

While `change_clock.capture` is 0 (records of a peer are applied) nothing is captured.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import sqlite_utils

from appliance.management.hlc import COUNTER_BITS
from appliance.management.merge_rules import STAMPS, WHOLE, Kind, TableRules, rules_of

PREFIX = "capture_"
_OWN: Final = frozenset({"outbox", "tombstones", "field_clocks"})
"""Tables of the capture itself."""


def replicated_tables(connection: sqlite3.Connection) -> dict[str, str]:
    """Name and key column of each replicated table."""
    found = {}
    for table in sqlite_utils.Database(connection).tables:
        if table.name in _OWN:
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
    """Create the capture triggers of every replicated table (once the outbox has all of its columns)."""
    if "seen" not in {column.name for column in sqlite_utils.Database(connection)["outbox"].columns}:
        return  # An older schema on the way to the newest: the last migration makes them.
    for table, key in replicated_tables(connection).items():
        columns = [column.name for column in sqlite_utils.Database(connection)[table].columns]
        for statement in _triggers(table, key, columns):
            connection.execute(statement)


def _triggers(table: str, key: str, columns: list[str]) -> list[str]:
    def row(which: str) -> str:
        return "json_object(" + ", ".join(f"'{c}', {which}.{c}" for c in columns) + ")"

    compared = [c for c in columns if c not in STAMPS]
    changed = " UNION ALL ".join(f"SELECT '{c}' AS name WHERE NEW.{c} IS NOT OLD.{c}" for c in compared)
    before = " UNION ALL ".join(
        f"SELECT '{c}' AS name, OLD.{c} AS value WHERE NEW.{c} IS NOT OLD.{c}" for c in compared
    )
    own_clock = (
        f"SELECT RAISE(ABORT, '{table}: a row was written without the clock of its transaction') "  # noqa: S608
        "FROM change_clock WHERE NEW.hlc IS NOT change_clock.hlc OR NEW.origin IS NOT change_clock.node_id"
    )
    captured = "WHEN (SELECT capture FROM change_clock) = 1"
    into = (
        "INSERT INTO outbox (table_name, row_key, op, row, changed, before, hlc, origin, generation, clock)"
    )
    new, old = (
        f"table_name = '{table}' AND row_key = NEW.{key}",
        f"table_name = '{table}' AND row_key = OLD.{key}",
    )
    generation = "coalesce((SELECT generation FROM field_clocks WHERE {} AND register = ''), 1)"
    # Later than all that it replaces, of which one may be of a clock that is ahead, or of this very transaction.
    later = f"max(OLD.hlc, coalesce((SELECT max(hlc) FROM field_clocks WHERE {new}), 0)) + 1"  # noqa: S608
    return [
        f"""CREATE TRIGGER {PREFIX}{table}_insert AFTER INSERT ON {table} {captured} BEGIN
            {own_clock};
            {into} VALUES ('{table}', NEW.{key}, 'insert', {row("NEW")}, NULL, NULL, NEW.hlc, NEW.origin,
                coalesce((SELECT generation + 1 FROM tombstones WHERE {new}), 1), NULL);
            INSERT INTO field_clocks (table_name, row_key, register, hlc, origin, generation)
                SELECT table_name, row_key, '', NEW.hlc, NEW.origin, generation + 1 FROM tombstones WHERE {new};
            DELETE FROM tombstones WHERE {new};
        END""",  # noqa: S608
        f"""CREATE TRIGGER {PREFIX}{table}_update AFTER UPDATE ON {table} {captured} BEGIN
            {own_clock};
            SELECT RAISE(ABORT, '{table}: a key never changes') WHERE NEW.{key} IS NOT OLD.{key};
            {into} VALUES ('{table}', NEW.{key}, 'update', {row("NEW")},
                (SELECT json_group_array(name) FROM ({changed})),
                (SELECT json_group_object(name, value) FROM ({before})), NEW.hlc, NEW.origin,
                {generation.format(new)}, nullif(max(NEW.hlc, {later}), NEW.hlc));
            {_field_clocks(table, key, compared)}
        END""",  # noqa: S608
        f"""CREATE TRIGGER {PREFIX}{table}_delete AFTER DELETE ON {table} {captured} BEGIN
            {into} SELECT '{table}', OLD.{key}, 'delete', {row("OLD")}, NULL, NULL, hlc, node_id,
                {generation.format(old)}, NULL FROM change_clock;
            INSERT OR REPLACE INTO tombstones (table_name, row_key, hlc, origin, generation)
                SELECT '{table}', OLD.{key}, hlc, node_id, {generation.format(old)} FROM change_clock;
            DELETE FROM field_clocks WHERE {old};
            UPDATE conflicts SET state = 'resolved', resolved_at_ms = (SELECT hlc >> {COUNTER_BITS} FROM change_clock)
                WHERE {old} AND state = 'open';
            DELETE FROM renamed_values WHERE {old};
        END""",  # noqa: S608
    ]


_LAST_CHANGE: Final = "(SELECT coalesce(clock, hlc) FROM outbox WHERE position = last_insert_rowid())"
"""Clock of the change that this trigger has put into the outbox; nothing after it in a trigger has a rowid of its own."""

_REPLACED: Final = (
    "ON CONFLICT (table_name, row_key, register) DO UPDATE SET hlc = excluded.hlc, origin = excluded.origin, is_weak = 0, "
    "seen = excluded.seen, others = NULL, context = NULL"
)
"""Not INSERT OR REPLACE: a trigger's own OR gives way to that of the statement that fires it."""


def _field_clocks(table: str, key: str, columns: list[str]) -> str:
    """What an update leaves behind it: the clocks of the registers that it wrote."""
    rules = rules_of(table)
    row = f"table_name = '{table}' AND row_key = NEW.{key}"
    if rules.whole is not None:
        return f"""INSERT INTO field_clocks (table_name, row_key, register, hlc, origin)
                SELECT table_name, row_key, '{WHOLE}', clock, origin FROM outbox
                WHERE position = last_insert_rowid() AND clock IS NOT NULL {_REPLACED};"""  # noqa: S608
    registers = [register for register in rules.registers_of(columns) if register.has_line]
    wrote = " UNION ALL ".join(
        f"SELECT '{register.name}' AS name WHERE {' OR '.join(_is_written(rules, c) for c in register.columns)}"
        for register in registers
    )
    found = f"""INSERT INTO field_clocks (table_name, row_key, register, hlc, origin)
                SELECT '{table}', NEW.{key}, '', OLD.hlc, OLD.origin
                WHERE NOT EXISTS (SELECT 1 FROM field_clocks WHERE {row} AND register = '');"""  # noqa: S608
    decided = [register.name for register in registers if register.kind is Kind.DECIDED]
    if not decided:
        return f"""{found}
            INSERT INTO field_clocks (table_name, row_key, register, hlc, origin)
                SELECT '{table}', NEW.{key}, name, {_LAST_CHANGE}, NEW.origin FROM ({wrote}) WHERE true {_REPLACED};"""  # noqa: S608
    names = ", ".join(f"'{name}'" for name in decided)
    # What stood there, and what its writers had seen, is seen by this write; that a node has seen its own goes without saying.
    seen = """nullif(json_remove(json_patch(coalesce(context, seen, '{}'), json_object(origin, hlc)),
                    '$."' || NEW.origin || '"'), '{}')"""
    stood = f"""SELECT {seen} FROM field_clocks WHERE {row} AND register IN (name, '')
                    ORDER BY register DESC LIMIT 1"""  # noqa: S608
    return f"""{found}
            INSERT INTO field_clocks (table_name, row_key, register, hlc, origin, seen)
                SELECT '{table}', NEW.{key}, name, {_LAST_CHANGE}, NEW.origin,
                    CASE WHEN name IN ({names}) THEN ({stood}) END FROM ({wrote}) WHERE true {_REPLACED};
            UPDATE outbox SET seen = (SELECT json_group_object(register, json(seen)) FROM field_clocks
                    WHERE {row} AND hlc = {_LAST_CHANGE} AND origin = NEW.origin AND seen IS NOT NULL)
                WHERE position = last_insert_rowid() AND EXISTS (SELECT 1 FROM field_clocks
                    WHERE {row} AND hlc = {_LAST_CHANGE} AND origin = NEW.origin AND seen IS NOT NULL);
            UPDATE conflicts SET state = 'resolved', resolved_at_ms = NEW.hlc >> {COUNTER_BITS}
                WHERE {row} AND state = 'open' AND register IN (SELECT name FROM ({wrote}));"""  # noqa: S608


def _is_written(rules: TableRules, column: str) -> str:
    changed = f"NEW.{column} IS NOT OLD.{column}"
    instead = rules.along.get(column)
    return f"({changed} AND NEW.{instead} IS OLD.{instead})" if instead else changed
