"""Names that must be unique, given on two nodes that did not know of each other.

The one that was written first keeps it; the others go by a name made of it and of their key, until it is free. Which is which depends on
what there is and not on what came when, so all nodes say the same. What a row would be called is kept beside it: that is what it
is merged by, and what it is called again when the first one is gone or called otherwise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from appliance.management.merge import KeyState, RowState
from appliance.management.merge_rules import TableRules
from appliance.management.row_change import Clock, Value
from storage.catalog.merge_state import MergedTable, MergeStateTable

_DIGITS: Final = 6
_NUMBER_STEP: Final = 1_000_000
"""What stands for a number that is taken lies above all numbers that anybody counts up to."""


class RenamingTable(MergeStateTable):
    """Methods of the catalog about names that two rows would have. Within a transaction in which capture is off."""

    def true_state(self, table: MergedTable, key: str, rules: TableRules) -> KeyState:
        """What there is of a key, with the names that it would have."""
        state = self.key_state(table, key, rules)
        if not rules.unique or state.row is None:
            return state
        return KeyState(row=_with(state.row, self._names_of(table, key, state.row.values)), dead=state.dead)

    def put_true_state(
        self,
        table: MergedTable,
        key: str,
        rules: TableRules,
        before: KeyState,
        after: KeyState,
        *,
        clock: Clock,
    ) -> list[str]:
        """Write what became of a key, and who is called what now.

        Returns:
            Keys of other rows that are called otherwise.
        """
        if not rules.unique:
            self.put_key_state(table, key, rules, before, after, clock=clock)
            return []
        shown = after
        if after.row is not None:
            taken = {
                columns[0]: instead_of(after.row.values[columns[0]], key)
                for columns in rules.unique
                if self._others(table, key, columns, after.row.values)
            }
            shown = KeyState(row=_with(after.row, taken), dead=after.dead)
        self.put_key_state(table, key, rules, self.key_state(table, key, rules), shown, clock=clock)
        self.execute("DELETE FROM renamed_values WHERE table_name = ? AND row_key = ?", (table.name, key))
        renamed: list[str] = []
        for columns in rules.unique:
            if after.row is not None and shown.row is not None:
                wanted, name = after.row.values[columns[0]], shown.row.values[columns[0]]
                if wanted != name:
                    self._put_renamed(table, key, columns[0], wanted, name)
                renamed += self._settle(table, rules, columns, after.row.values)
            if before.row is not None:
                renamed += self._settle(table, rules, columns, before.row.values)
        return [each for each in dict.fromkeys(renamed) if each != key]

    def _names_of(self, table: MergedTable, key: str, values: Mapping[str, Value]) -> dict[str, Value]:
        """By column, the names that a row would have; one that was given another since has none."""
        found = self.rows(
            "SELECT field, value, instead FROM renamed_values WHERE table_name = ? AND row_key = ?",
            (table.name, key),
        )
        return {
            row["field"]: json.loads(row["value"])
            for row in found
            if json.loads(row["instead"]) == values[row["field"]]
        }

    def _others(
        self, table: MergedTable, key: str, columns: tuple[str, ...], values: Mapping[str, Value]
    ) -> list[str]:
        where = " AND ".join(f"{column} = ?" for column in columns)
        found = self.rows(
            f"SELECT {table.key} FROM {table.name} WHERE {where} AND {table.key} <> ?",  # noqa: S608
            (*(values[column] for column in columns), key),
        )
        return [row[0] for row in found]

    def _settle(
        self, table: MergedTable, rules: TableRules, columns: tuple[str, ...], values: Mapping[str, Value]
    ) -> list[str]:
        """Give a name to the first of those that would have it, and others to the others; whose changed."""
        field, rest = columns[0], columns[1:]
        wanted = values[field]
        keys = self._others(table, "", columns, values) + [
            row["row_key"]
            for row in self.rows(
                "SELECT row_key FROM renamed_values WHERE table_name = ? AND field = ? AND value = ?",
                (table.name, field, json.dumps(wanted)),
            )
        ]
        claims = []
        for key in dict.fromkeys(keys):
            row = self.true_state(table, key, rules).row
            if row is None or row.values[field] != wanted or any(row.values[c] != values[c] for c in rest):
                continue
            register = rules.register_of(field).name
            claims.append((row.written[register].clock, key))
        claims.sort()
        changed = []
        # From the last one on: the name is free when its turn comes.
        for place, (_, key) in reversed(list(enumerate(claims))):
            name = wanted if place == 0 else instead_of(wanted, key)
            moved = self.execute(
                f"UPDATE {table.name} SET {field} = ? WHERE {table.key} = ? AND {field} IS NOT ?",  # noqa: S608
                (name, key, name),
            )
            self.execute(
                "DELETE FROM renamed_values WHERE table_name = ? AND row_key = ? AND field = ?",
                (table.name, key, field),
            )
            if place:
                self._put_renamed(table, key, field, wanted, name)
            changed += [key] * bool(moved)
        return changed

    def _put_renamed(self, table: MergedTable, key: str, field: str, value: Value, instead: Value) -> None:
        self.execute(
            "INSERT OR REPLACE INTO renamed_values (table_name, row_key, field, value, instead) VALUES (?, ?, ?, ?, ?)",
            (table.name, key, field, json.dumps(value), json.dumps(instead)),
        )


def instead_of(value: Value, key: str) -> Value:
    """What a row goes by whose name or number is another's; the same wherever it is asked."""
    digits = hashlib.sha256(key.encode()).hexdigest()[:_DIGITS]
    if isinstance(value, int):
        return value + _NUMBER_STEP * (1 + int(digits, 16))
    return f"{value} ~{digits}"


def _with(row: RowState, values: Mapping[str, Value]) -> RowState:
    return replace(row, values={**row.values, **values}) if values else row
