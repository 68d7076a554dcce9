"""Conflicts: values that people wrote on nodes that did not know of each other, until somebody says which it is to be.

The value of the greatest clock is in force meanwhile. Whoever changes the field on any node has seen all of them by then, so that
change ends the conflict everywhere; `resolve_conflict` is such a change, to one of the values, and says who chose.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from appliance.core.errors import Conflict, NotFound, UsageError
from appliance.core.limits import PAGE_ITEM_COUNT_DEFAULT, PAGE_ITEM_COUNT_MAX
from appliance.core.limits_catalog_stream import CONFLICT_KEPT_COUNT_MAX
from appliance.management.merge import RowState, contested
from appliance.management.merge_rules import Kind, TableRules
from appliance.management.row_change import Clock, Value
from storage.catalog.database import CatalogDatabase

ConflictState = Literal["open", "resolved"]
_ID_DIGITS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictValue:
    """One of the values: of which columns, who wrote it when."""

    values: Mapping[str, Value]
    clock: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldConflict:
    """A conflict. Times are UTC ms.

    Attributes:
        register: The field, or what several fields that mean something only together are called.
        candidates: The value in force is the first.
        resolved_by: "" where it was simply changed again.
    """

    conflict_id: str
    table: str
    key: str
    register: str
    candidates: tuple[ConflictValue, ...]
    found_at_ms: int
    state: ConflictState
    resolved_at_ms: int | None
    resolved_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictPage:
    """Conflicts, the newest first; `next_cursor` is where the next page begins, None at the end."""

    conflicts: tuple[FieldConflict, ...]
    next_cursor: str | None


class ConflictTable(CatalogDatabase):
    """Methods of the catalog about conflicts."""

    def note_conflicts(
        self, table: str, key: str, rules: TableRules, row: RowState | None, *, by: str
    ) -> None:
        """Open and end conflicts as a row says that has just been merged.

        Args:
            row: None for one that is gone. by: Who decided, where the change that arrived did.
        """
        now_ms = self._clock.now_ms()
        standing = {}
        if row is not None:
            for register in rules.registers_of(row.values):
                if register.kind is Kind.DECIDED and contested(row, register):
                    in_force = tuple(row.values.get(column) for column in register.columns)
                    written = row.written[register.name]
                    found = [
                        (in_force, written.clock),
                        *((each.values, each.clock) for each in written.others),
                    ]
                    standing[register.name] = [
                        {
                            "values": dict(zip(register.columns, values, strict=True)),
                            "hlc": at.hlc,
                            "origin": at.origin,
                        }
                        for values, at in found
                    ]
        self.execute(
            "UPDATE conflicts SET state = 'resolved', resolved_at_ms = ?, resolved_by = ? WHERE table_name = ? AND row_key = ? "
            "AND state = 'open' AND register NOT IN (SELECT value FROM json_each(?))",
            (now_ms, by, table, key, json.dumps(sorted(standing))),
        )
        for register_name, candidates in standing.items():
            text = json.dumps(candidates, ensure_ascii=False)
            self.execute(
                "INSERT INTO conflicts (conflict_id, table_name, row_key, register, candidates, found_at_ms, state) "
                "VALUES (?, ?, ?, ?, ?, ?, 'open') ON CONFLICT (table_name, row_key, register) WHERE state = 'open' "
                "DO UPDATE SET candidates = excluded.candidates",
                (_id_of(table, key, register_name, candidates), table, key, register_name, text, now_ms),
            )

    def forget_conflicts(self) -> int:
        """Remove the oldest of those that were resolved, beyond CONFLICT_KEPT_COUNT_MAX; how many."""
        return self.execute(
            "DELETE FROM conflicts WHERE conflict_id IN (SELECT conflict_id FROM conflicts WHERE state = 'resolved' "
            "ORDER BY found_at_ms DESC, conflict_id DESC LIMIT -1 OFFSET ?)",
            (CONFLICT_KEPT_COUNT_MAX,),
        )

    def list_conflicts(
        self,
        *,
        state: ConflictState | None = "open",
        cursor: str | None = None,
        limit: int = PAGE_ITEM_COUNT_DEFAULT,
    ) -> ConflictPage:
        """A page of conflicts, the newest first.

        Args:
            state: None for all. cursor: The last page's `next_cursor`. limit: 1..1000.
        """
        if not 1 <= limit <= PAGE_ITEM_COUNT_MAX:
            raise UsageError(
                f"A page has 1 to {PAGE_ITEM_COUNT_MAX} items, not {limit}.", hint="Ask for fewer at a time."
            )
        last = None if cursor is None else self._find(cursor)
        after: tuple[Value, Value] = (None, None) if last is None else (last.found_at_ms, last.conflict_id)
        found = self.rows(
            "SELECT * FROM conflicts WHERE (?1 IS NULL OR state = ?1) AND (?2 IS NULL OR (found_at_ms, conflict_id) < (?2, ?3)) "
            "ORDER BY found_at_ms DESC, conflict_id DESC LIMIT ?4",
            (state, *after, limit + 1),
        )
        page = tuple(map(_conflict, found[:limit]))
        return ConflictPage(conflicts=page, next_cursor=page[-1].conflict_id if len(found) > limit else None)

    def get_conflict(self, conflict_id: str) -> FieldConflict:
        """One conflict. Raises NotFound: `conflict_unknown`."""
        return self._find(conflict_id)

    def count_conflicts(self) -> int:
        """How many are open."""
        found = self.row("SELECT count(*) FROM conflicts WHERE state = 'open'")
        assert found
        return int(found[0])

    def resolve_conflict(self, conflict_id: str, choice: int, *, by: str) -> FieldConflict:
        """Put one of the values in force, on all nodes.

        Args:
            choice: Its number, 0 for the one that is in force.
            by: Who chose.
        Raises:
            NotFound: `conflict_unknown`. UsageError: `conflict_choice`. Conflict: `conflict_resolved`, `constraint_failed`.
        """
        with self.transaction():
            conflict = self._find(conflict_id)
            if conflict.state != "open":
                raise Conflict(
                    "The conflict was resolved already.",
                    hint="Look at the row as it is.",
                    code="conflict_resolved",
                )
            if not 0 <= choice < len(conflict.candidates):
                raise UsageError(
                    f"The conflict has {len(conflict.candidates)} values, numbered from 0.",
                    hint="Choose one of them.",
                    code="conflict_choice",
                )
            self._choose(conflict, conflict.candidates[choice].values, by)
            self.execute(
                "UPDATE conflicts SET state = 'resolved', resolved_at_ms = ?, resolved_by = ? WHERE conflict_id = ?",
                (self._clock.now_ms(), by, conflict_id),
            )
            self.note(
                "conflict.resolve",
                object_kind="conflict",
                object_id=f"{conflict.table}/{conflict.key}/{conflict.register}",
                detail=f"value {choice} of {len(conflict.candidates)}",
            )
            return self._find(conflict_id)

    def _choose(self, conflict: FieldConflict, values: Mapping[str, Value], by: str) -> None:
        """Write the value as a change of this node. One that is in force already is written all the same: that is what tells others."""
        key = self._key_of(conflict.table)
        assigned = ", ".join(f"{column} = ?" for column in values)
        self.execute(
            f"UPDATE {conflict.table} SET {assigned}, origin = ?, hlc = ? WHERE {key} = ?",  # noqa: S608 - names of the schema
            (*values.values(), self.origin, self.hlc, conflict.key),
        )
        # The trigger captured what differs, which may be nothing: that these columns were meant is said here.
        columns = json.dumps(sorted(values))
        self.execute(
            "UPDATE outbox SET decided_by = ?1, changed = (SELECT json_group_array(value) FROM (SELECT value FROM json_each(changed) "
            "UNION SELECT value FROM json_each(?2))) WHERE position = (SELECT max(position) FROM outbox)",
            (by, columns),
        )
        self._seal(conflict)

    def _seal(self, conflict: FieldConflict) -> None:
        """Have the last change of the outbox, and the register's clock, cover all that stood in the register."""
        row = self.row(
            "SELECT coalesce(clock, hlc) AS hlc, seen FROM outbox WHERE position = (SELECT max(position) FROM outbox)"
        )
        stood = self.row(
            "SELECT hlc, origin, seen, context FROM field_clocks WHERE table_name = ? AND row_key = ? AND register = ?",
            (conflict.table, conflict.key, conflict.register),
        )
        assert row is not None
        if stood is None or (stood["hlc"], stood["origin"]) == (row["hlc"], self.origin):
            return  # The trigger did.
        seen = json.loads(stood["context"] or stood["seen"] or "{}")
        seen[stood["origin"]] = max(stood["hlc"], seen.get(stood["origin"], 0))
        seen.pop(self.origin, None)
        self.execute(
            "UPDATE field_clocks SET hlc = ?, origin = ?, is_weak = 0, seen = ?, others = NULL, context = NULL "
            "WHERE table_name = ? AND row_key = ? AND register = ?",
            (
                row["hlc"], self.origin, json.dumps(seen) if seen else None, conflict.table, conflict.key, conflict.register,
            ),
        )  # fmt: skip
        told = json.loads(row["seen"] or "{}") | ({conflict.register: seen} if seen else {})
        self.execute(
            "UPDATE outbox SET seen = ? WHERE position = (SELECT max(position) FROM outbox)",
            (json.dumps(told) if told else None,),
        )

    def _key_of(self, table: str) -> str:
        found = self.row("SELECT name FROM pragma_table_info(?) WHERE pk = 1", (table,))
        assert found is not None
        return str(found["name"])

    def _find(self, conflict_id: str) -> FieldConflict:
        found = self.row("SELECT * FROM conflicts WHERE conflict_id = ?", (conflict_id,))
        if found is None:
            raise NotFound(
                f"There is no conflict “{conflict_id[:100]}”.",
                hint="Look at the list of conflicts.",
                code="conflict_unknown",
            )
        return _conflict(found)


def _id_of(table: str, key: str, register: str, candidates: list[dict[str, Any]]) -> str:
    """The same on every node that saw the same two values meet first."""
    clocks = [[each["hlc"], each["origin"]] for each in candidates]
    text = json.dumps([table, key, register, clocks], ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_ID_DIGITS]


def _conflict(row: Any) -> FieldConflict:
    return FieldConflict(
        conflict_id=row["conflict_id"],
        table=row["table_name"],
        key=row["row_key"],
        register=row["register"],
        candidates=tuple(
            ConflictValue(values=each["values"], clock=Clock(each["hlc"], each["origin"]))
            for each in json.loads(row["candidates"])
        ),
        found_at_ms=row["found_at_ms"],
        state=row["state"],
        resolved_at_ms=row["resolved_at_ms"],
        resolved_by=row["resolved_by"],
    )
