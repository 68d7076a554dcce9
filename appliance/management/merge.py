"""What becomes of a row when a change of it arrives, from this node or another, in whatever order, once or several times. Pure.

A row is made of registers (merge_rules.py says which columns make one, and its kind). Each is a join: the outcome depends on which changes
have arrived, not on their order, nor on how often one did. So nodes that heard of the same changes have the same rows.

    generation   a delete ends the row's generation and those before it, for good: no update, however late it was written or arrives, brings
                 back what was deleted. Whoever makes the key anew knowing of that begins the next generation, which replaces
                 an earlier one whole. Two nodes that make the same key without knowing of each other make one row, register by register.
    last         the value of the greatest clock stands.
    decided      values that no writer had seen the other of stand beside each other until somebody decides; the last one is in force.
    stamp        goes with any change: that of the greatest clock stands.
    greatest, first   by value: the highest; the earliest that there is.
    fenced       the whole row of the highest fence, then of the greatest clock.

A change carries the whole row. What it did not write is a weak value: it fills a register of which no write has arrived yet (an update that
comes before its insert, by another stream) and gives way to any write. So are all values of a row that Homeport itself makes on every node.

Must not know: tables, SQL, where clocks are kept.
Source: Shapiro et al., "Conflict-free replicated data types" (2011); Preguiça et al., "Dotted version vectors" (2012) for `decided`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.management.merge_rules import Kind, Register, TableRules
from appliance.management.row_change import Clock, RowChange, Seen, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A value that some node wrote into a register; `values` in the order of the register's columns."""

    values: tuple[Value, ...]
    clock: Clock
    seen: Seen = field(default_factory=dict)

    def covers(self, other: Candidate) -> bool:
        """Whether its writer had seen that one, or it is that one."""
        if self.clock.origin == other.clock.origin:
            return other.clock.hlc <= self.clock.hlc
        return self.seen.get(other.clock.origin, -1) >= other.clock.hlc


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Who wrote what is in a register.

    Attributes:
        is_weak: It came along with a write of something else.
        seen: Of its writer, for `decided`.
        others: Values that stand beside it; their writers and its own had not seen each other. The latest first.
    """

    clock: Clock
    is_weak: bool = False
    seen: Seen = field(default_factory=dict)
    others: tuple[Candidate, ...] = ()

    def context(self) -> dict[str, int]:
        """What a write from here on has seen: for each node, the greatest clock of all that stands here and of what that had seen."""
        found: dict[str, int] = {}
        for clock, seen in ((self.clock, self.seen), *((each.clock, each.seen) for each in self.others)):
            for origin, hlc in (*seen.items(), (clock.origin, clock.hlc)):
                found[origin] = max(hlc, found.get(origin, -1))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RowState:
    """A row that is there.

    Attributes:
        values: By column.
        written: By register, of all that have a clock.
    """

    values: Mapping[str, Value]
    written: Mapping[str, Written]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyState:
    """What there is of a key.

    Attributes:
        row: None where there is none (any more).
        dead: Generations up to it are over; 0 for none. A row that is there is of the next one.
    """

    row: RowState | None = None
    dead: int = 0


def merge(rules: TableRules, before: KeyState, change: RowChange) -> KeyState:
    """What there is of a key once a change has arrived; the very same object where it changes nothing.

    Args:
        rules: Of the change's table.
        change: Its row has only columns that there are here; some may be missing, where its writer had fewer.
    """
    if change.generation <= before.dead:
        return before
    if change.op == "delete":
        return KeyState(dead=change.generation)
    if before.row is None or change.generation > before.dead + 1:
        return KeyState(row=_fresh(rules, change), dead=change.generation - 1)
    if rules.is_added:
        known = min(each.clock for each in before.row.written.values())
        return replace(before, row=_fresh(rules, change)) if change.clock < known else before
    row = _joined(rules, before.row, change)
    return before if row == before.row else replace(before, row=row)


def contested(row: RowState, register: Register) -> bool:
    """Whether values that differ stand beside each other in a register."""
    written = row.written.get(register.name)
    in_force = tuple(row.values.get(column) for column in register.columns)
    return written is not None and any(each.values != in_force for each in written.others)


def _fresh(rules: TableRules, change: RowChange) -> RowState:
    wrote = None if change.op == "insert" else rules.wrote(change.changed)
    if wrote is None and rules.is_seed(change.row):
        wrote = set()
    written = {
        register.name: Written(
            clock=change.clock,
            is_weak=wrote is not None and register.kind is not Kind.STAMP and register.name not in wrote,
            seen=change.seen.get(register.name, {}),
        )
        for register in rules.registers_of(change.row)
        if register.has_clock
    }
    return RowState(values=rules.settled(change.row), written=written)


def _joined(rules: TableRules, row: RowState, change: RowChange) -> RowState:
    values, written = dict(row.values), dict(row.written)
    came = _fresh(rules, change).written
    for register in rules.registers_of(change.row):
        old = tuple(values.get(column) for column in register.columns)
        new = tuple(change.row.get(column, values.get(column)) for column in register.columns)
        if not register.has_clock:
            _put(values, register, _by_value(register, old, new))
            continue
        by = came[register.name]
        stands = written.get(register.name)
        after = (new, by) if stands is None else _one_of(register, (old, stands), (new, by))
        _put(values, register, after[0])
        written[register.name] = after[1]
    return RowState(values=rules.settled(values), written=written)


_Standing = tuple[tuple[Value, ...], Written]


def _one_of(register: Register, stands: _Standing, came: _Standing) -> _Standing:
    """What stands of a value and one that came."""
    if register.kind is Kind.FENCED:
        return max(stands, came, key=lambda each: (_fence(register, each[0]), each[1].clock))
    if stands[1].is_weak != came[1].is_weak:
        return came if stands[1].is_weak else stands
    if register.kind is Kind.DECIDED and not came[1].is_weak:
        return _decided(register, stands, came)
    return came if stands[1].clock < came[1].clock else stands


def _fence(register: Register, values: tuple[Value, ...]) -> Any:
    row = dict(zip(register.columns, values, strict=True))
    return _ordered(tuple(row.get(column) for column in register.fence))


def _decided(register: Register, stands: _Standing, came: _Standing) -> _Standing:
    values, by = stands
    known = (Candidate(values=values, clock=by.clock, seen=by.seen), *by.others)
    new = Candidate(values=came[0], clock=came[1].clock, seen=came[1].seen)
    ended = [
        each for each in (*known, new) if register.final is not None and each.values[0] == register.final
    ]
    if ended:
        # What can't be undone is in force however late it is heard of, and nothing stands beside it.
        left = [max(ended, key=lambda each: each.clock)]
    elif any(each.covers(new) for each in known):
        return stands
    else:
        left = sorted(
            [each for each in known if not new.covers(each)] + [new],
            key=lambda each: each.clock,
            reverse=True,
        )
    in_force, *others = left
    return in_force.values, Written(clock=in_force.clock, seen=in_force.seen, others=tuple(others))


def _put(values: dict[str, Value], register: Register, new: Iterable[Value]) -> None:
    """Set a register's columns, but for those that its writer, of an earlier release, did not have."""
    for column, value in zip(register.columns, new, strict=True):
        if column in values or value is not None:
            values[column] = value


def _by_value(register: Register, one: tuple[Value, ...], other: tuple[Value, ...]) -> tuple[Value, ...]:
    """The one that stands by value; a NULL in the first column is no value."""
    if one[0] is None or other[0] is None:
        return one if other[0] is None else other
    return (max if register.kind is Kind.GREATEST else min)(one, other, key=_ordered)


def _ordered(values: tuple[Value, ...]) -> tuple[tuple[int, float, str], ...]:
    """Values of any types as something that has one order: NULL, numbers (settings keep theirs as text), texts."""
    return tuple(map(_ordered_one, values))


def _ordered_one(value: Value) -> tuple[int, float, str]:
    if value is None:
        return 0, 0, ""
    if isinstance(value, str) and not value.isdecimal():
        return 2, 0, value
    return 1, int(value) if isinstance(value, str) else value, ""
