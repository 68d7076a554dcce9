"""Commands to devices: what becomes of each, by the table of management/commands.py.

Each move names the states it comes from in its WHERE, so that two that meet (an answer and the deadline, a cancel and the push) can't both
have their way. Order is that of insertion.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from appliance.core.errors import Conflict, LimitExceeded, NotFound, UsageError
from appliance.core.limits import PAGE_ITEM_COUNT_DEFAULT, PAGE_ITEM_COUNT_MAX
from appliance.core.limits_twins import (
    COMMAND_ANSWER_GRACE_MS,
    COMMAND_KEPT_COUNT_MAX,
    COMMAND_OPEN_COUNT_MAX,
)
from appliance.management.commands import (
    CommandAnswer,
    CommandEvent,
    CommandState,
    CommandWish,
    WhenAway,
    sources,
    target,
)
from appliance.management.twin_json import text_of
from storage.catalog.device_queries import DeviceQueries
from storage.catalog.homes import OWN_HOME

_S, _E = CommandState, CommandEvent
_AWAY: Final = "The device went away before it was told."
GONE: Final = "The device is no longer in use."


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command as it stands. Times are UTC ms.

    Attributes:
        expires_at_ms: From then on it is not to be begun.
        answered_at_ms: When the answer came, after `ended_at_ms` if it was late.
    """

    command_id: str
    device_id: str
    method: str
    params: Any
    when_away: WhenAway
    state: CommandState
    created_by: str
    created_at_ms: int
    expires_at_ms: int
    sent_at_ms: int | None
    ended_at_ms: int | None
    answered_at_ms: int | None
    result: Any
    error: str
    version: int

    @property
    def is_late(self) -> bool:
        """Whether it was answered after it had been given up."""
        return self.state is _S.UNANSWERED and self.answered_at_ms is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPage:
    """Commands, the newest first; `next_before` is where the next page begins, None at the end."""

    commands: tuple[Command, ...]
    next_before: int | None


class CommandTable(DeviceQueries):
    """Methods of the catalog about commands. Who may see the device is the caller's to ask, within its scope."""

    def add_command(self, command_id: str, device_id: str, wish: CommandWish, *, created_by: str) -> Command:
        """Queue a command.

        Raises:
            NotFound: `device_unknown`. UsageError: as CommandWish.check. LimitExceeded: `commands_open`.
            Conflict: `device_waiting`, `device_rejected`, `device_decommissioned`.
        """
        wish.check()
        now_ms = self._clock.now_ms()
        with self.transaction():
            device = self.get_device(device_id)
            if device.state != "active":
                raise Conflict(
                    f"The device “{device_id}” is {device.state}; only one that is active can be commanded.",
                    hint="Adopt it first." if device.state != "decommissioned" else "It was ended for good.",
                    code=f"device_{device.state}",
                )
            found = self.row(
                "SELECT count(*) FROM commands WHERE device_id = ? AND state IN ('queued', 'sent')",
                (device_id,),
            )
            assert found is not None
            if found[0] >= COMMAND_OPEN_COUNT_MAX:
                raise LimitExceeded(
                    f"{found[0]} commands to “{device_id}” are open already.",
                    hint="Wait for answers, or cancel what is still queued.",
                    code="commands_open",
                )
            self.execute(
                "INSERT INTO commands (command_id, device_id, method, params, when_away, state, created_by, created_at_ms, "
                "expires_at_ms, home, origin, hlc) VALUES (?, ?, ?, ?, ?, 'queued', ?, ?, ?, ?, ?, ?)",
                (
                    command_id,
                    device_id,
                    wish.method,
                    text_of(wish.params),
                    wish.when_away,
                    created_by,
                    now_ms,
                    now_ms + wish.expires_in_ms,
                    self.origin,
                    self.origin,
                    self.hlc,
                ),
            )
            return self.get_command(device_id, command_id)

    def get_command(self, device_id: str, command_id: str) -> Command:
        """The device's command of that id.

        Raises:
            NotFound: `command_unknown`.
        """
        found = self.row(
            "SELECT rowid, * FROM commands WHERE command_id = ? AND device_id = ?", (command_id, device_id)
        )
        if found is None:
            raise NotFound(
                f"There is no command “{command_id[:80]}” to this device.",
                hint="Look at the list of its commands; they are kept for 90 days.",
                code="command_unknown",
            )
        return _command(found)

    def list_commands(
        self,
        device_id: str,
        *,
        states: Sequence[CommandState] = (),
        before: int | None = None,
        limit: int = PAGE_ITEM_COUNT_DEFAULT,
    ) -> CommandPage:
        """A page of the device's commands, the newest first.

        Args:
            states: In any of these; empty for all.
            before: The last page's `next_before`.
            limit: 1..1000.
        """
        if not 1 <= limit <= PAGE_ITEM_COUNT_MAX:
            raise UsageError(
                f"A page has 1 to {PAGE_ITEM_COUNT_MAX} items, not {limit}.", hint="Ask for fewer at a time."
            )
        wanted = [str(state) for state in states or CommandState]
        found = self.rows(
            "SELECT rowid, * FROM commands WHERE device_id = ? AND rowid < ? AND state IN (SELECT value FROM json_each(?)) "
            "ORDER BY rowid DESC LIMIT ?",
            (device_id, 2**62 if before is None else before, json.dumps(wanted), limit + 1),
        )
        page = found[:limit]
        return CommandPage(
            commands=tuple(map(_command, page)),
            next_before=page[-1]["rowid"] if len(found) > limit else None,
        )

    def cancel_command(self, device_id: str, command_id: str) -> Command:
        """Take back a command that was not said yet.

        Raises:
            NotFound: `command_unknown`. Conflict: `command_sent`, `command_ended`.
        """
        with self.transaction():
            command = self.get_command(device_id, command_id)
            if not self._move_command(command_id, _E.CANCELED):
                is_sent = command.state is _S.SENT
                raise Conflict(
                    "The device has been told already." if is_sent else f"The command is {command.state}.",
                    hint="Send a command that undoes it, if there is one."
                    if is_sent
                    else "Nothing is left to cancel.",
                    code="command_sent" if is_sent else "command_ended",
                )
            return self.get_command(device_id, command_id)

    def send_due_commands(self, device_ids: Sequence[str], *, limit: int) -> list[Command]:
        """Mark commands that wait for these devices as sent, and return them in their order: they are to be said now, once.

        Args:
            limit: In this transaction; the oldest of all.
        """
        now_ms = self._clock.now_ms()
        with self.transaction():
            found = self.rows(
                f"SELECT rowid, * FROM commands WHERE state = 'queued' AND expires_at_ms > ? AND {OWN_HOME} "  # noqa: S608
                "AND device_id IN (SELECT value FROM json_each(?)) ORDER BY rowid LIMIT ?",
                (now_ms, json.dumps(list(device_ids)), limit),
            )
            due = [_command(row) for row in found]
            for command in due:
                self._move_command(command.command_id, _E.PUSHED)
            return due

    def put_back_commands(self, command_ids: Sequence[str]) -> None:
        """Say that nobody got these: they wait again, or are refused, as each was to be."""
        with self.transaction():
            for row in self.rows(
                "SELECT command_id, when_away FROM commands WHERE command_id IN (SELECT value FROM json_each(?))",
                (json.dumps(list(command_ids)),),
            ):
                event = _E.PUT_BACK if row["when_away"] == "queue" else _E.UNDELIVERED
                self._move_command(row["command_id"], event, error="" if event is _E.PUT_BACK else _AWAY)

    def answer_command(self, device_id: str, command_id: str, answer: CommandAnswer) -> Command:
        """Keep what the device says came of a command. The first answer counts; one that comes late is kept beside the state.

        Raises:
            NotFound: `command_unknown`. Conflict: `command_not_sent`.
        """
        now_ms = self._clock.now_ms()
        with self.transaction():
            command = self.get_command(device_id, command_id)
            if command.sent_at_ms is None:
                raise Conflict(
                    f"The command was never sent: it is {command.state}.",
                    hint="Answer only what was asked.",
                    code="command_not_sent",
                )
            if command.answered_at_ms is None:
                self._move_command(command_id, answer.event, error=answer.error)
                self._set_command(
                    command_id,
                    "answer = ?, answered_at_ms = ?, error = ?",
                    (text_of(answer.result), now_ms, answer.error),
                )
            return self.get_command(device_id, command_id)

    def end_overdue_commands(self, *, limit: int) -> list[str]:
        """End what has waited too long, and what waits for a device that is no longer in use; the devices, one for each command."""
        now_ms = self._clock.now_ms()
        with self.transaction():
            overdue = self.rows(
                f"SELECT command_id, device_id FROM commands WHERE {OWN_HOME} AND ((state = 'queued' AND expires_at_ms <= ?) "  # noqa: S608
                "OR (state = 'sent' AND expires_at_ms <= ?)) ORDER BY rowid LIMIT ?",
                (now_ms, now_ms - COMMAND_ANSWER_GRACE_MS, limit),
            )
            for row in overdue:
                self._move_command(row["command_id"], _E.DEADLINE)
            orphans = self.rows(
                f"SELECT command_id, device_id FROM commands WHERE state = 'queued' AND {OWN_HOME} AND device_id NOT IN "  # noqa: S608
                "(SELECT device_id FROM devices WHERE state = 'active') LIMIT ?",
                (limit,),
            )
            for row in orphans:
                self._move_command(row["command_id"], _E.CANCELED, error=GONE)
            return [row["device_id"] for row in (*overdue, *orphans)]

    def next_command_deadline_ms(self) -> int | None:
        """When `end_overdue_commands` next has something to do by the clock, UTC ms; None for nothing."""
        found = self.row(
            "SELECT min(expires_at_ms + CASE state WHEN 'sent' THEN ? ELSE 0 END) FROM commands "  # noqa: S608
            f"WHERE state IN ('queued', 'sent') AND {OWN_HOME}",
            (COMMAND_ANSWER_GRACE_MS,),
        )
        assert found is not None
        return None if found[0] is None else int(found[0])

    def has_queued_commands(self, device_ids: Sequence[str]) -> bool:
        """Whether something waits for any of these devices, without writing."""
        found = self.row(
            f"SELECT EXISTS (SELECT 1 FROM commands WHERE state = 'queued' AND {OWN_HOME} "  # noqa: S608
            "AND device_id IN (SELECT value FROM json_each(?)))",
            (json.dumps(list(device_ids)),),
        )
        assert found is not None
        return bool(found[0])

    def remove_old_commands(self, device_ids: Sequence[str], *, before_ms: int, limit: int) -> int:
        """Remove ended commands of before then, and of these devices more than are kept; how many these were."""
        with self.transaction():
            # Rows are in the order of their making: where the first one is young, none needs to be looked at.
            first = self.row("SELECT created_at_ms FROM commands ORDER BY rowid LIMIT 1")
            count = 0
            if first is not None and first[0] < before_ms:
                count = self.execute(
                    "DELETE FROM commands WHERE command_id IN (SELECT command_id FROM commands WHERE created_at_ms < ? "
                    "AND state NOT IN ('queued', 'sent') ORDER BY rowid LIMIT ?)",
                    (before_ms, limit),
                )
            for device_id in device_ids:
                count += self.execute(
                    "DELETE FROM commands WHERE command_id IN (SELECT command_id FROM commands WHERE device_id = ? "
                    "AND state NOT IN ('queued', 'sent') ORDER BY rowid DESC LIMIT ? OFFSET ?)",
                    (device_id, max(0, limit - count), COMMAND_KEPT_COUNT_MAX),
                )
            return count

    def count_commands(self) -> dict[CommandState, int]:
        """How many commands are in each state; every state has an entry."""
        counts = dict(self.rows("SELECT state, count(*) FROM commands GROUP BY state"))
        return {state: counts.get(state, 0) for state in CommandState}

    def _move_command(self, command_id: str, event: CommandEvent, *, error: str = "") -> bool:
        """Let an event move a command; whether it did."""
        now_ms = self._clock.now_ms()
        for source in sources(event):
            after = target(source, event)
            assert after is not None
            column, at_ms = {
                _E.PUSHED: ("sent_at_ms", now_ms),
                _E.PUT_BACK: ("sent_at_ms", None),
            }.get(event, ("ended_at_ms", now_ms))
            moved = self.execute(
                f"UPDATE commands SET state = ?, error = ?, {column} = ?, origin = ?, hlc = ? WHERE command_id = ? AND state = ?",  # noqa: S608
                (str(after), error, at_ms, self.origin, self.hlc, command_id, str(source)),
            )
            if moved:
                return True
        return False

    def _set_command(self, command_id: str, assignments: str, values: tuple[str | int, ...]) -> None:
        self.execute(
            f"UPDATE commands SET {assignments}, origin = ?, hlc = ? WHERE command_id = ?",  # noqa: S608
            (*values, self.origin, self.hlc, command_id),
        )


def _command(row: Any) -> Command:
    return Command(
        command_id=row["command_id"],
        device_id=row["device_id"],
        method=row["method"],
        params=json.loads(row["params"]),
        when_away=row["when_away"],
        state=CommandState(row["state"]),
        created_by=row["created_by"],
        created_at_ms=row["created_at_ms"],
        expires_at_ms=row["expires_at_ms"],
        sent_at_ms=row["sent_at_ms"],
        ended_at_ms=row["ended_at_ms"],
        answered_at_ms=row["answered_at_ms"],
        result=None if row["answer"] is None else json.loads(row["answer"]),
        error=row["error"],
        version=row["hlc"],
    )
