"""What there is of a key, as merge.py takes and gives it: read from a row, its field clocks and its tombstone, and written there.

A row whose registers were all written at once has nothing beside it: its own columns `hlc` and `origin` are their clock. Otherwise the
field clocks' register '' stands for all that have no line of their own. Within a transaction in which capture is off.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from appliance.management.merge import Candidate, KeyState, RowState, Written
from appliance.management.merge_rules import STAMPS, WHOLE, Kind, TableRules
from appliance.management.row_change import Clock, Seen, Value
from storage.catalog.database import CatalogDatabase

_CLOCKS: Final = "SELECT register, hlc, origin, is_weak, generation, seen, others FROM field_clocks WHERE table_name = ? AND row_key = ?"
_PUT_CLOCK: Final = (
    "INSERT INTO field_clocks (table_name, row_key, register, hlc, origin, is_weak, generation, seen, others, context) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedTable:
    """A table that is merged here: its key column and its columns, as this release has them."""

    name: str
    key: str
    columns: frozenset[str]


class MergeStateTable(CatalogDatabase):
    """Methods of the catalog about the state of keys. Table and column names come from the schema, never from a record."""

    def key_state(self, table: MergedTable, key: str, rules: TableRules) -> KeyState:
        """What there is of a key."""
        found = self.row(f"SELECT * FROM {table.name} WHERE {table.key} = ?", (key,))  # noqa: S608
        if found is None:
            gone = self.row(
                "SELECT generation FROM tombstones WHERE table_name = ? AND row_key = ?", (table.name, key)
            )
            return KeyState(dead=0 if gone is None else gone["generation"])
        values = {name: found[name] for name in sorted(table.columns - STAMPS)}
        clocks = {row["register"]: row for row in self.rows(_CLOCKS, (table.name, key))}
        base = clocks.get("")
        stamp = Clock(found["hlc"], found["origin"])
        written: dict[str, Written] = {}
        for register in rules.registers_of(values):
            line = clocks.get(register.name)
            if register.kind is Kind.STAMP:
                written[register.name] = Written(clock=max([stamp, *map(_clock, clocks.values())]))
            elif register.name == WHOLE:
                written[register.name] = Written(
                    clock=max(stamp, _clock(line) if line is not None else stamp)
                )
            elif register.has_clock:
                at = stamp if base is None else _clock(base)
                written[register.name] = _by_birth(rules, values, at) if line is None else _written(line)
        return KeyState(
            row=RowState(values=values, written=written), dead=0 if base is None else base["generation"] - 1
        )

    def put_key_state(
        self,
        table: MergedTable,
        key: str,
        rules: TableRules,
        before: KeyState,
        after: KeyState,
        *,
        clock: Clock,
    ) -> None:
        """Write what became of a key.

        Args:
            clock: Of the change.
        Raises:
            Conflict: `constraint_failed`: the row contradicts another one, or itself.
        """
        self.execute("DELETE FROM field_clocks WHERE table_name = ? AND row_key = ?", (table.name, key))
        if after.row is None:
            self.execute(f"DELETE FROM {table.name} WHERE {table.key} = ?", (key,))  # noqa: S608
            self.execute(
                "INSERT OR REPLACE INTO tombstones (table_name, row_key, hlc, origin, generation) VALUES (?, ?, ?, ?, ?)",
                (table.name, key, clock.hlc, clock.origin, after.dead),
            )
            return
        stamp = max(each.clock for each in after.row.written.values())
        values: dict[str, Value] = {**after.row.values, "hlc": stamp.hlc, "origin": stamp.origin}
        if before.row is None:
            self.execute(
                f"INSERT INTO {table.name} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",  # noqa: S608
                tuple(values.values()),
            )
            self.execute("DELETE FROM tombstones WHERE table_name = ? AND row_key = ?", (table.name, key))
        else:
            old = before.row.values
            changed = {
                name: value for name, value in values.items() if name in STAMPS or old.get(name) != value
            }
            self.execute(
                f"UPDATE {table.name} SET {', '.join(f'{name} = ?' for name in changed)} WHERE {table.key} = ?",  # noqa: S608
                (*changed.values(), key),
            )
        self._put_clocks(table.name, key, rules, after, stamp)

    def _put_clocks(self, table: str, key: str, rules: TableRules, after: KeyState, stamp: Clock) -> None:
        assert after.row is not None
        lines = [register.name for register in rules.registers_of(after.row.values) if register.has_line]
        written = {name: after.row.written[name] for name in lines}
        values = after.row.values
        plain = Counter(
            each.clock for each in written.values() if each == _by_birth(rules, values, each.clock)
        )
        ((base, count),) = plain.most_common(1) or [(stamp, 0)]
        is_whole = WHOLE in written
        if after.dead or (not is_whole and (count < len(written) or base != stamp)):
            self.execute(
                _PUT_CLOCK, (table, key, "", base.hlc, base.origin, 0, after.dead + 1, None, None, None)
            )
        if is_whole:
            return  # Its row's own columns have the clock.
        for name, each in written.items():
            if each != _by_birth(rules, values, base):
                context = _text(each.context()) if each.others else None
                self.execute(
                    _PUT_CLOCK,
                    (table, key, name, each.clock.hlc, each.clock.origin, int(each.is_weak), 1, _text(each.seen),
                     _others_text(each), context),
                )  # fmt: skip


def _by_birth(rules: TableRules, values: Mapping[str, Value], clock: Clock) -> Written:
    """What a register is that has no line of its own."""
    return Written(clock=clock, is_weak=rules.is_seed(values))


def _clock(line: Any) -> Clock:
    return Clock(line["hlc"], line["origin"])


def _written(line: Any) -> Written:
    return Written(
        clock=_clock(line),
        is_weak=bool(line["is_weak"]),
        seen=json.loads(line["seen"]) if line["seen"] else {},
        others=tuple(
            Candidate(values=tuple(values), clock=Clock(hlc, origin), seen=seen)
            for values, hlc, origin, seen in json.loads(line["others"] or "[]")
        ),
    )


def _others_text(written: Written) -> str | None:
    if not written.others:
        return None
    return json.dumps(
        [[list(each.values), each.clock.hlc, each.clock.origin, dict(each.seen)] for each in written.others],
        ensure_ascii=False,
    )


def _text(seen: Seen | Mapping[str, int]) -> str | None:
    return json.dumps(dict(seen), sort_keys=True) if seen else None
