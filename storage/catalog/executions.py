"""Executions and their events in the catalog: rows as they are, written in batches within somebody's transaction.

What becomes of an execution is appliance/management/execution_machine.py's; here nothing is decided.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

from appliance.core.errors import NotFound, UsageError
from appliance.core.limits import PAGE_ITEM_COUNT_DEFAULT, PAGE_ITEM_COUNT_MAX
from appliance.core.limits_executions import EXECUTION_NOTE_COUNT_MAX
from appliance.management.execution import Execution, Move, Note
from appliance.management.executions import State
from storage.catalog.database import CatalogDatabase, Value
from storage.catalog.homes import OWN_HOME

COLUMNS: Final = tuple(field.name for field in fields(Execution))
"""What a row has to have for `execution_of`."""
_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM executions"  # noqa: S608
_INSERT: Final = (
    f"INSERT INTO executions ({', '.join(COLUMNS)}, home, origin, hlc) "  # noqa: S608
    f"VALUES ({', '.join('?' * (len(COLUMNS) + 3))})"
)
_TRUTHS: Final = ("is_admitted", "needs_manual_intervention", "slot_touched")
_TIMES: Final = (
    "deadline_at_ms",
    "end_by_at_ms",
    "push_due_at_ms",
    "watch_until_at_ms",
    "state_since_ms",
    "started_at_ms",
    "created_at_ms",
    "updated_at_ms",
)
"""What is compared with the clock, or tells which of two is the newer: these move with it when it jumps."""
_ALIVE: Final = "(ended_at_ms IS NULL OR watch_until_at_ms IS NOT NULL)"
_OURS: Final = f"{_ALIVE} AND {OWN_HOME}"
_NOTES: Final = frozenset(note.value for note in Note)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionEvent:
    """One row of an execution's history; `event` is an Event, or a Note where nothing moved. Times are UTC ms."""

    execution_id: str
    number: int
    at_ms: int
    source: str
    event: str
    from_state: str
    to_state: str
    attempt: int
    actor: str
    detail: Mapping[str, Any]

    @property
    def is_move(self) -> bool:
        """Whether it went from one state to another, and is no report that moved nothing."""
        return self.event not in _NOTES


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionPage:
    """Executions in the order asked for; `next_cursor` is where the next page begins, None at the end."""

    executions: tuple[Execution, ...]
    next_cursor: str | None


class ExecutionTable(CatalogDatabase):
    """Methods of the catalog about executions."""

    def insert_execution(self, execution: Execution) -> None:
        """Write a new one.

        Raises:
            Conflict: `constraint_failed`: its device has one of that number in that rollout.
        """
        values = [_value(execution, name) for name in COLUMNS]
        self.execute(_INSERT, (*values, self.origin, self.origin, self.hlc))

    def save_execution(self, before: Execution, after: Execution) -> bool:
        """Write what changed.

        Returns:
            False when nothing did.
        """
        names = [name for name in COLUMNS if getattr(before, name) != getattr(after, name)]
        if not names or names == ["updated_at_ms"]:
            return False
        assigned = "".join(f"{name} = ?, " for name in names)
        self.execute(
            f"UPDATE executions SET {assigned}origin = ?, hlc = ? WHERE execution_id = ?",  # noqa: S608
            (*(_value(after, name) for name in names), self.origin, self.hlc, after.execution_id),
        )
        return True

    def find_execution(self, execution_id: str) -> Execution | None:
        """The execution, None when there is none of that id."""
        found = self.row(f"{_SELECT} WHERE execution_id = ?", (execution_id,))
        return execution_of(found) if found else None

    def get_execution(self, execution_id: str) -> Execution:
        """The execution.

        Raises:
            NotFound: `execution_unknown`.
        """
        found = self.find_execution(execution_id)
        if found is None:
            raise unknown_execution(execution_id)
        return found

    def executions_alive_of(self, device_id: str) -> list[Execution]:
        """Those of a device that this node drives and that have not ended, or are watched; in the order in which they were made."""
        found = self.rows(
            f"{_SELECT} WHERE device_id = ? AND {_OURS} ORDER BY created_at_ms, execution_id", (device_id,)
        )
        return [execution_of(row) for row in found]

    def last_started_execution(self, device_id: str) -> Execution | None:
        """The one of a device that began last, ended or not."""
        found = self.row(
            f"{_SELECT} WHERE device_id = ? AND started_at_ms IS NOT NULL "
            "ORDER BY started_at_ms DESC, created_at_ms DESC LIMIT 1",
            (device_id,),
        )
        return execution_of(found) if found else None

    def executions_alive(self) -> Iterator[Execution]:
        """All of this node that have not ended, or are watched: what deadlines are armed from."""
        last = ""
        while found := self.rows(
            f"{_SELECT} WHERE execution_id > ? AND {_OURS} ORDER BY execution_id LIMIT ?",
            (last, PAGE_ITEM_COUNT_MAX),
        ):
            yield from map(execution_of, found)
            last = found[-1]["execution_id"]

    def executions_of_rollout(
        self,
        rollout_id: str,
        *,
        wave: int | None = None,
        states: Collection[State] = (),
        cursor: str | None = None,
        limit: int = PAGE_ITEM_COUNT_DEFAULT,
    ) -> ExecutionPage:
        """A page of a rollout's executions, by their id.

        Args:
            states: Only those in one of them; all with none.
            cursor: The last page's `next_cursor`.
            limit: 1..1000.
        """
        if not 1 <= limit <= PAGE_ITEM_COUNT_MAX:
            raise UsageError(
                f"A page has 1 to {PAGE_ITEM_COUNT_MAX} items, not {limit}.",
                hint="Ask for fewer at a time.",
            )
        where, parameters = "rollout_id = ?", [rollout_id] + [str(state) for state in states]
        values: list[Value] = [*parameters]
        if states:
            where += f" AND state IN ({', '.join('?' * len(states))})"
        if wave is not None:
            where += " AND wave = ?"
            values.append(wave)
        if cursor is not None:
            where += " AND execution_id > ?"
            values.append(cursor)
        found = self.rows(f"{_SELECT} WHERE {where} ORDER BY execution_id LIMIT ?", (*values, limit + 1))
        executions = tuple(execution_of(row) for row in found[:limit])
        more = len(found) > limit
        return ExecutionPage(executions=executions, next_cursor=executions[-1].execution_id if more else None)

    def count_executions(self) -> dict[str, int]:
        """How many there are in each state that occurs."""
        return dict(self.rows("SELECT state, count(*) FROM executions GROUP BY state"))

    def shift_executions(self, by_ms: int) -> int:
        """Move all times that the machine compares with the clock; returns how many executions have any.

        Args:
            by_ms: How far the wall clock jumped.
        """
        assigned = "".join(f"{name} = {name} + ?, " for name in _TIMES)
        return self.execute(
            f"UPDATE executions SET {assigned}origin = ?, hlc = ? WHERE {_OURS}",  # noqa: S608
            (*(by_ms for _ in _TIMES), self.origin, self.hlc),
        )

    def newest_execution_change_ms(self) -> int:
        """When the last of those that have not ended changed, UTC ms; 0 without any."""
        found = self.row(f"SELECT coalesce(max(updated_at_ms), 0) FROM executions WHERE {_OURS}")  # noqa: S608
        assert found
        return int(found[0])

    # --- Events --------------------------------------------------------------------------------------------

    def add_execution_moves(self, execution_id: str, moves: Sequence[Move]) -> int:
        """Append moves to the history.

        Returns:
            How many were kept: of reports that moved nothing not the same twice in a row, and none once there are
            EXECUTION_NOTE_COUNT_MAX events.
        """
        if not moves:
            return 0
        found = self.row(
            "SELECT coalesce(max(number), 0) FROM execution_events WHERE execution_id = ?", (execution_id,)
        )
        assert found
        number, kept = int(found[0]), 0
        for move in moves:
            if isinstance(move.event, Note) and not self._is_worth_noting(execution_id, number, move):
                continue
            number, kept = number + 1, kept + 1
            self.execute(
                "INSERT INTO execution_events (event_id, execution_id, number, at_ms, source, event, from_state, to_state, "
                "attempt, actor, detail, origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    f"{execution_id}/{number}/{self.origin[:8]}",
                    execution_id,
                    number,
                    move.at_ms,
                    move.source.value,
                    move.event.value,
                    move.from_state.value,
                    move.to_state.value,
                    move.attempt,
                    move.actor,
                    json.dumps(dict(move.detail), ensure_ascii=False),
                    self.origin,
                    self.hlc,
                ),
            )
        return kept

    def _is_worth_noting(self, execution_id: str, number: int, move: Move) -> bool:
        """Whether there is room for it, and it is not what was noted last."""
        last = self.row(
            "SELECT event, detail FROM execution_events WHERE execution_id = ? AND number = ?",
            (execution_id, number),
        )
        said = json.dumps(dict(move.detail), ensure_ascii=False)
        is_said = last is not None and (last["event"], last["detail"]) == (move.event.value, said)
        return number < EXECUTION_NOTE_COUNT_MAX and not is_said

    def execution_events(
        self, execution_id: str, *, after: int = 0, limit: int = PAGE_ITEM_COUNT_MAX
    ) -> list[ExecutionEvent]:
        """An execution's history in order.

        Args:
            after: The number of the last event that is known.
        """
        found = self.rows(
            "SELECT execution_id, number, at_ms, source, event, from_state, to_state, attempt, actor, detail "
            "FROM execution_events WHERE execution_id = ? AND number > ? ORDER BY number LIMIT ?",
            (execution_id, after, limit),
        )
        return [ExecutionEvent(**{**dict(row), "detail": json.loads(row["detail"])}) for row in found]


def unknown_execution(execution_id: str) -> NotFound:
    """The error for an id that names none, or another device's."""
    return NotFound(
        f"There is no execution “{execution_id[:100]}”.",
        hint="Look at the rollout's list of devices.",
        code="execution_unknown",
    )


def _value(execution: Execution, name: str) -> Value:
    value = getattr(execution, name)
    if name == "health":
        return json.dumps(dict(value), ensure_ascii=False)
    if name == "state":
        return str(value)
    return int(value) if name in _TRUTHS else value


def execution_of(row: Any) -> Execution:
    """The execution of a row that has COLUMNS."""
    values = dict(zip(COLUMNS, row, strict=True))
    values["state"] = State(values["state"])
    values["health"] = json.loads(values["health"])
    for name in _TRUTHS:
        values[name] = bool(values[name])
    return Execution(**values)
