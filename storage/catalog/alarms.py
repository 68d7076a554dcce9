"""Alarms and their events in the catalog: rows as they are, many written within somebody's transaction; and how far the outbox is applied.

What becomes of an alarm is appliance/management/alarm_steps.py's; here nothing is decided.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import msgspec

from appliance.core.limits_alarms import ALARM_EVENT_COUNT_MAX
from appliance.management.alarm import Alarm, AlarmMove
from appliance.management.alarms import AlarmEvent, AlarmState
from appliance.management.hlc import wall_ms
from storage.catalog.database import CatalogDatabase, Value

COLUMNS: Final = tuple(each.name for each in fields(Alarm) if each.name != "version")
"""What a row has to have for `alarm_of`, and then its hlc."""
SELECT: Final = f"SELECT {', '.join(COLUMNS)}, hlc FROM alarms"  # noqa: S608 - our own names
_INSERT: Final = (
    f"INSERT INTO alarms ({', '.join(COLUMNS)}, origin, hlc) VALUES ({', '.join('?' * (len(COLUMNS) + 2))})"  # noqa: S608
)
_INSERT_EVENT: Final = (
    "INSERT INTO alarm_events (event_id, alarm_id, number, at_ms, noted_at_ms, event, from_state, to_state, episode, actor, note, "
    "value, explanation, rule_version, origin, hlc) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_MS_PER_S: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmCursor:
    """How far this node has taken over what its rules found.

    Attributes:
        store_id, number: Of which store's outbox, and up to which row of it.
        epoch, seq: The latest position in the log at which anything that was applied had been found. noted_at_ms: When that was, UTC ms.
        began_epoch, began_seq, began_noted_at_ms: The same as it was when this store was begun: it finds what is before that once more.
    """

    store_id: str = ""
    number: int = 0
    epoch: int = 0
    seq: int = 0
    noted_at_ms: int = 0
    began_epoch: int = 0
    began_seq: int = 0
    began_noted_at_ms: int = 0


_CURSOR: Final = tuple(each.name for each in fields(AlarmCursor))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmEventRow:
    """One row of an alarm's history; `event` is an AlarmEvent or a Word, `actor` "" for Homeport itself. Times are UTC ms."""

    alarm_id: str
    number: int
    at_ms: int
    noted_at_ms: int
    event: str
    from_state: str
    to_state: str
    episode: int
    actor: str
    note: str
    value: float | None
    explanation: Mapping[str, Any]
    rule_version: int


class AlarmTable(CatalogDatabase):
    """Methods of the catalog about alarms and their events."""

    def alarms_of_ids(self, alarm_ids: Collection[str]) -> dict[str, Alarm]:
        """Those that are there, by their id."""
        found = self.rows(
            f"{SELECT} WHERE alarm_id IN (SELECT value FROM json_each(?))",  # noqa: S608
            (json.dumps(list(alarm_ids)),),
        )
        return {alarm.alarm_id: alarm for alarm in map(alarm_of, found)}

    def save_alarm_moves(self, moves: Sequence[AlarmMove]) -> None:
        """Write what moves made of alarms, and the moves as their events, in one go.

        Args:
            moves: In their order; several of one alarm follow each other.
        """
        first: dict[str, AlarmMove] = {}
        last: dict[str, Alarm] = {}
        for move in moves:
            first.setdefault(move.after.alarm_id, move)
            last[move.after.alarm_id] = move.after
        for alarm_id, alarm in last.items():
            before = first[alarm_id].before
            if before is None:
                values = [_value(alarm, name) for name in COLUMNS]
                self.execute(_INSERT, (*values, self.origin, self.hlc))
                continue
            # Only what changed: of the indexes then, too. There are few different sets, so that the statements stay prepared.
            names = [name for name in COLUMNS if getattr(alarm, name) != getattr(before, name)]
            self.execute(
                f"UPDATE alarms SET {''.join(f'{name} = ?, ' for name in names)}origin = ?, hlc = ? WHERE alarm_id = ?",  # noqa: S608
                (*(_value(alarm, name) for name in names), self.origin, self.hlc, alarm_id),
            )
        for move in moves:
            self.execute(_INSERT_EVENT, (*_event_values(move, self.origin), self.origin, self.hlc))
            number = move.after.event_number
            if number > ALARM_EVENT_COUNT_MAX:
                self.execute(
                    "DELETE FROM alarm_events WHERE alarm_id = ? AND number <= ?",
                    (move.after.alarm_id, number - ALARM_EVENT_COUNT_MAX),
                )

    def alarm_events_known(self, keys: Collection[tuple[str, int]]) -> set[tuple[str, int, str]]:
        """Which raises and clears are in the history already.

        Args:
            keys: Alarm ids, and when it happened (at_ms).
        Returns:
            Alarm id, at_ms and event of each.
        """
        found = self.rows(
            "SELECT DISTINCT e.alarm_id, e.at_ms, e.event FROM json_each(?) AS k JOIN alarm_events AS e "
            "ON e.alarm_id = k.value ->> 0 AND e.at_ms = k.value ->> 1 WHERE e.event IN (?, ?)",
            (json.dumps([list(key) for key in keys]), AlarmEvent.RAISE.value, AlarmEvent.CLEAR.value),
        )
        return {(row[0], row[1], row[2]) for row in found}

    def alarm_events(self, alarm_id: str, *, after: int = 0, limit: int) -> tuple[AlarmEventRow, ...]:
        """An alarm's history in order.

        Args:
            after: The number of the last event that is known.
        """
        found = self.rows(
            "SELECT alarm_id, number, at_ms, noted_at_ms, event, from_state, to_state, episode, actor, note, value, explanation, "
            "rule_version FROM alarm_events WHERE alarm_id = ? AND number > ? ORDER BY number LIMIT ?",
            (alarm_id, after, limit),
        )
        return tuple(
            AlarmEventRow(**{**dict(row), "explanation": json.loads(row["explanation"])}) for row in found
        )

    def first_alarm_episode(self, alarm_id: str) -> int:
        """The number of the first episode of an alarm that isn't there: above all that it had before its row was removed.

        What people were told is named by alarm and episode, so a number never comes twice.
        """
        found = self.row(
            "SELECT hlc FROM tombstones WHERE table_name = 'alarms' AND row_key = ?", (alarm_id,)
        )
        return 1 if found is None else wall_ms(found["hlc"]) // _MS_PER_S

    # --- The outbox ----------------------------------------------------------------------------------------

    def alarm_cursor(self) -> AlarmCursor:
        """How far the outbox is applied."""
        found = self.row(f"SELECT {', '.join(_CURSOR)} FROM alarm_cursor")  # noqa: S608 - our own names
        assert found is not None, "the migration made it"
        return AlarmCursor(**dict(found))

    def set_alarm_cursor(self, cursor: AlarmCursor) -> None:
        """Note how far it is."""
        self.execute(
            f"UPDATE alarm_cursor SET {', '.join(f'{name} = ?' for name in _CURSOR)}",  # noqa: S608 - our own names
            tuple(getattr(cursor, name) for name in _CURSOR),
        )

    # --- Keeping it small ----------------------------------------------------------------------------------

    def count_all_alarms(self) -> int:
        """Rows of alarms, in whatever state."""
        found = self.row("SELECT count(*) FROM alarms")
        assert found is not None
        return int(found[0])

    def count_open_alarms_of(self, device_ids: Collection[str]) -> dict[str, int]:
        """How many alarms of each of these devices aren't normal."""
        found = self.rows(
            "SELECT device_id, count(*) FROM alarms WHERE device_id IN (SELECT value FROM json_each(?)) AND state <> ? "
            "GROUP BY device_id",
            (json.dumps(list(device_ids)), AlarmState.NORMAL.value),
        )
        return {row[0]: int(row[1]) for row in found}

    def remove_old_alarms(self, count: int) -> int:
        """Remove that many of those that are over, with their events: first what was acknowledged, then what was not; the oldest first.

        Returns:
            How many went; what is active never does.
        """
        found = self.rows(
            "SELECT alarm_id FROM alarms WHERE state IN (?, ?) ORDER BY place DESC, raised_at_ms LIMIT ?",
            (AlarmState.NORMAL.value, AlarmState.CLEARED_UNACKNOWLEDGED.value, count),
        )
        ids = json.dumps([row[0] for row in found])
        self.execute("DELETE FROM alarm_events WHERE alarm_id IN (SELECT value FROM json_each(?))", (ids,))
        return self.execute("DELETE FROM alarms WHERE alarm_id IN (SELECT value FROM json_each(?))", (ids,))

    def remove_old_alarm_events(self, before_ms: int, *, count: int) -> int:
        """Remove at most so many events of before then, by the readings; returns how many went."""
        return self.execute(
            "DELETE FROM alarm_events WHERE event_id IN (SELECT event_id FROM alarm_events WHERE at_ms < ? "
            "ORDER BY at_ms LIMIT ?)",
            (before_ms, count),
        )


def alarm_of(row: Any) -> Alarm:
    """The alarm of a row of SELECT."""
    *columns, version = row
    values = dict(zip(COLUMNS, columns, strict=True))
    values["state"] = AlarmState(values["state"])
    values["explanation"] = json.loads(values["explanation"])
    return Alarm(**values, version=version)


def _value(alarm: Alarm, name: str) -> Value:
    value: Value = getattr(alarm, name)
    if name == "explanation":
        return _json(alarm.explanation)
    return alarm.state.value if name == "state" else value


def _event_values(move: AlarmMove, origin: str) -> tuple[Value, ...]:
    after = move.after
    return (
        f"{after.alarm_id}/{after.event_number}/{origin[:8]}",
        after.alarm_id,
        after.event_number,
        move.at_ms,
        move.noted_at_ms,
        str(move.event),
        move.from_state.value,
        after.state.value,
        after.episode,
        move.actor,
        move.note,
        move.value,
        _json(move.explanation),
        move.rule_version,
    )


def _json(explanation: Mapping[str, Any]) -> str:
    """Compact; a number that JSON doesn't know becomes null."""
    return msgspec.json.encode(explanation).decode()
