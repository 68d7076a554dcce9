"""An execution on its way through one step of the machine: moves are taken one after the other, and each is noted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from appliance.core.limits_updates import EXECUTION_TRANSITION_COUNT_MAX
from appliance.management.execution import Answer, Context, Execution, Move, Moved, Note, Wish
from appliance.management.execution_states import entered, is_retried
from appliance.management.executions import ENDED, SOURCE_OF, Event, Source, State, target
from appliance.management.firmware_report import FirmwareReport
from appliance.management.reconcile import Seen, event_of, seen

_NOT_ITS_FAULT: Final = frozenset({"", "ordered", "rollout"})
"""Reasons to go back that say nothing against the image on this device."""
_BEFORE: Final = (State.QUEUED, State.NOTIFIED)
_BOOTS_COUNT: Final = frozenset(
    {State.INSTALLING, State.REBOOTING, State.TESTING, State.UNCONFIRMED, State.LOST, State.ROLLBACK_PENDING,
     State.ROLLING_BACK, State.SUCCEEDED}
)  # fmt: skip
"""Where another boot means something; before that a device may restart as often as it likes, and no row is written for it."""


class Walk:
    """See the module's docstring.

    Args:
        execution: As it was.
        now_ms: UTC ms.
        context: What else is known.
    """

    def __init__(self, execution: Execution, now_ms: int, context: Context) -> None:
        self.execution = execution
        self.now_ms = now_ms
        self.context = context
        self.answer = Answer.ACCEPTED
        self._moves: list[Move] = []
        self._wishes: set[Wish] = set()

    def moved(self, *, is_double: bool = False) -> Moved:
        """What came of it."""
        return Moved(self.execution, tuple(self._moves), frozenset(self._wishes), self.answer, is_double)

    def change(self, **changes: Any) -> None:
        """Change what is no state."""
        self.execution = replace(self.execution, updated_at_ms=self.now_ms, **changes)

    def wish(self, wish: Wish) -> None:
        self._wishes.add(wish)

    def note(self, note: Note, detail: Mapping[str, Any]) -> None:
        """Keep a report that moved nothing."""
        execution = self.execution
        self._moves.append(
            Move(
                at_ms=self.now_ms,
                source=Source.REPORT,
                event=note,
                from_state=execution.state,
                to_state=execution.state,
                attempt=execution.attempt,
                detail=detail,
            )
        )

    def take(self, event: Event, detail: Mapping[str, Any] | None = None, *, actor: str = "") -> bool:
        """Move by an event, if the table says so.

        Returns:
            False when it moves this state nowhere.
        """
        before = self.execution
        to = target(before.state, event)
        if to is None:
            return False
        is_circle = (
            before.transition_count >= EXECUTION_TRANSITION_COUNT_MAX
            and SOURCE_OF[event] is not Source.OPERATOR
            and to not in ENDED
            and target(before.state, Event.GOES_IN_CIRCLES) is not None
        )
        if is_circle and event is not Event.GOES_IN_CIRCLES:
            return self.take(
                Event.GOES_IN_CIRCLES, {"instead_of": event.value, "moves": before.transition_count}
            )
        if before.state is State.QUEUED:
            self._note_beginning()
        execution = entered(self.execution, to, event, self.now_ms, self.context)
        self.execution = execution
        self._moves.append(
            Move(
                at_ms=self.now_ms,
                source=SOURCE_OF[event],
                event=event,
                from_state=before.state,
                to_state=to,
                attempt=before.attempt,
                actor=actor,
                detail=detail or {},
            )
        )
        self._after(before, event)
        return True

    def reconcile(self, report: FirmwareReport) -> None:
        """Hold what the device runs against what it should run."""
        if self.execution.state in _BEFORE or self._is_of_before(report):
            self._note_old_version(report)
        is_news = report.at_ms >= self.execution.state_since_ms
        event = event_of(self.execution, report)
        if event is not None:
            found = {"version": report.version, "digest": report.digest, "boot_id": report.boot_id}
            is_news = self.take(event, {**found, "source": report.source})
        if report.boot_id and is_news and self.execution.state in _BOOTS_COUNT and not self.execution.is_over:
            self._note_boot(report.boot_id)

    def _note_boot(self, boot_id: str) -> None:
        """In which boot it speaks; boots are counted while the target is tested."""
        execution = self.execution
        if boot_id == execution.boot_id:
            return
        health = dict(execution.health)
        if execution.state is State.TESTING:
            if boot_id == execution.install_boot_id:
                return
            health["boots"] = int(health.get("boots", 0)) + 1
        self.change(boot_id=boot_id, health=health)

    def _note_beginning(self) -> None:
        """What it was like before anything was done to it: its version, and what can be asked of its health."""
        context, seen_health = self.context, self.context.health
        if context.firmware is not None:
            self._note_old_version(context.firmware)
        self.change(
            health={
                **self.execution.health,
                "has_readings": seen_health.has_readings,
                "has_session": seen_health.has_session,
            }
        )

    def _is_of_before(self, report: FirmwareReport) -> bool:
        """Whether a report is of the time before the execution began, and only comes now."""
        started_ms = self.execution.started_at_ms
        return started_ms is not None and report.at_ms < started_ms

    def _note_old_version(self, report: FirmwareReport) -> None:
        if seen(self.execution, report) in (Seen.OLD, Seen.THIRD):
            self.execution = replace(self.execution, from_version=report.version, from_digest=report.digest)

    def _after(self, before: Execution, event: Event) -> None:
        """What follows from a move at once."""
        execution = self.execution
        if execution.is_over != before.is_over or execution.state in (State.PAUSED, State.FAILED):
            self._wishes.add(Wish.TELL)
        if event is Event.RETRY:
            self._wishes.add(Wish.FORGIVE)
        match execution.state:
            case State.FAILED if execution.slot_touched and not is_retried(execution):
                self.take(Event.SLOT_TOUCHED)
            case State.ROLLBACK_PENDING if (
                execution.rollback_attempt_count >= execution.max_rollback_attempts
            ):
                self.take(Event.ROLLBACK_ATTEMPTS_USED_UP)
            case State.ROLLED_BACK if execution.error not in _NOT_ITS_FAULT:
                self._wishes.add(Wish.KNOWN_BAD)
            case _:
                pass
