"""Writes what a transaction changed into the audit, in the transaction itself.

Nothing can be forgotten: the entries are made from the rows that the capture triggers wrote into the outbox, one for each
row that changed, with its values before and after. What changes no row (a sign-in, an export) is noted by the caller. Tables that keep a
history of their own get an entry for what people do, and none for what devices and Homeport itself do: that is their history.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.core.limits import AUDIT_DETAIL_LENGTH_MAX, AUDIT_OBJECT_ID_LENGTH_MAX
from appliance.management.audit import FIRST_PREVIOUS_HASH, Act, Actor, AuditEntry, Outcome, hash_of, shown

AUDIT_TABLE: Final = "audit"
_KINDS: Final = {"device_tokens": "device_token"}
"""Object kinds that aren't the table's name without its plural s."""
_OBJECT_COLUMN: Final = {"device_tokens": "device_id"}
"""Where the key is a secret's hash: the column that names the object instead."""
_OWN_HISTORY: Final = frozenset(
    {
        "twins",
        "commands",
        "rollouts",
        "rollout_events",
        "executions",
        "execution_events",
        "known_bad",
        "alarms",
        "alarm_events",
        "notifications",
    }
)
"""Tables that tell themselves what devices and Homeport did (execution_events, a command's times)."""
_NEVER_AUDITED: Final = frozenset({"execution_events", "rollout_events", "alarm_events"})
"""An entry about an entry says nothing: the execution's own is there."""
_MADE_BY_ANOTHER: Final = frozenset({"executions"})
"""Rows that come into being with another one, whose entry says so: a rollout's start would be as many entries as it has devices."""
_INSERT: Final = (
    "INSERT INTO audit (entry_id, seq, at_ms, actor, actor_kind, address, action, object_kind, object_id, outcome, before, "
    "after, detail, trace_id, previous_hash, hash, origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that changed no row and is to be in the audit all the same."""

    action: str
    actor: Actor
    object_kind: str
    object_id: str
    outcome: Outcome = "done"
    detail: str = ""


@dataclass(slots=True)
class _RowChange:
    table: str
    key: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    object_id: str = ""


@dataclass(slots=True)
class Auditing:
    """What one transaction puts into the audit.

    Args:
        trace_id: Of the request that it belongs to, "" outside of any.
        outbox_position: The outbox's end when the transaction began.
    """

    act: Act
    trace_id: str
    outbox_position: int
    notes: list[Note] = field(default_factory=list)

    def write(self, connection: sqlite3.Connection, *, at_ms: int, origin: str, hlc: int) -> None:
        """Append the entries, notes first, then the rows in the order in which they first changed."""
        found = connection.execute(
            "SELECT seq, hash FROM audit WHERE origin = ? ORDER BY seq DESC LIMIT 1", (origin,)
        ).fetchone()
        seq, previous = found or (0, FIRST_PREVIOUS_HASH)
        rows = []
        for made in self._made(connection):
            seq += 1
            entry = AuditEntry(
                seq=seq, origin=origin, at_ms=at_ms, trace_id=self.trace_id, previous_hash=previous, **made
            )
            previous = hash_of(entry)
            rows.append(_values(entry, previous, hlc))
        connection.executemany(_INSERT, rows)

    def _made(self, connection: sqlite3.Connection) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = [
            {
                **_who(note.actor),
                "action": note.action,
                "object_kind": note.object_kind,
                "object_id": note.object_id[:AUDIT_OBJECT_ID_LENGTH_MAX],
                "outcome": note.outcome,
                "before": None,
                "after": None,
                "detail": note.detail[:AUDIT_DETAIL_LENGTH_MAX],
            }
            for note in self.notes
        ]
        by_person = self.act.actor.kind not in ("system", "device")
        for change in self._row_changes(connection, without=_NEVER_AUDITED if by_person else _OWN_HISTORY):
            if change.before is None and change.table in _MADE_BY_ANOTHER:
                continue
            before = shown(change.before) if change.before is not None else None
            after = shown(change.after) if change.after is not None else None
            if before == {} and after == {}:
                continue  # Only bookkeeping changed.
            made.append(
                {
                    **_who(self.act.actor),
                    "action": self.act.action,
                    "object_kind": _KINDS.get(change.table, change.table.removesuffix("s")),
                    "object_id": change.object_id,
                    "outcome": "done",
                    "before": _json(before),
                    "after": _json(after),
                    "detail": "",
                }
            )
        return made

    def _row_changes(self, connection: sqlite3.Connection, *, without: frozenset[str]) -> list[_RowChange]:
        changes: dict[tuple[str, str], _RowChange] = {}
        # Left out by SQLite: of an outage that raises a thousand alarms, parsing them would take longer than writing them.
        for table, key, op, row_text, changed_text, before_text in connection.execute(
            "SELECT table_name, row_key, op, row, changed, before FROM outbox WHERE position > ? "
            "AND table_name NOT IN (SELECT value FROM json_each(?)) ORDER BY position",
            (self.outbox_position, json.dumps(sorted(without))),
        ):
            row = json.loads(row_text)
            if op == "insert":
                before, after = None, row
            elif op == "delete":
                before, after = row, None
            else:
                before = json.loads(before_text)
                after = {column: row[column] for column in json.loads(changed_text)}
            change = changes.get((table, key))
            if change is None:
                object_id = str(row[_OBJECT_COLUMN[table]]) if table in _OBJECT_COLUMN else key
                changes[table, key] = _RowChange(table, key, before, after, object_id)
            else:
                _merge(change, before, after)
        return list(changes.values())


def _merge(change: _RowChange, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    """Put a later change of the same row on top of what is known: the values before come from the earliest."""
    if change.before is not None and before is not None:
        change.before = {**before, **change.before}
    if after is None or change.after is None:
        change.after = after
    else:
        change.after = {**change.after, **after}


def _who(actor: Actor) -> dict[str, Any]:
    return {"actor": actor.name, "actor_kind": actor.kind, "address": actor.address}


def _json(values: dict[str, Any] | None) -> str | None:
    return None if values is None else json.dumps(values, ensure_ascii=False, sort_keys=True)


def _values(entry: AuditEntry, entry_hash: str, hlc: int) -> tuple[str | int | None, ...]:
    return (
        entry.entry_id,
        entry.seq,
        entry.at_ms,
        entry.actor,
        entry.actor_kind,
        entry.address,
        entry.action,
        entry.object_kind,
        entry.object_id,
        entry.outcome,
        entry.before,
        entry.after,
        entry.detail,
        entry.trace_id,
        entry.previous_hash,
        entry_hash,
        entry.origin,
        hlc,
    )
