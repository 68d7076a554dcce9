"""One transaction of the engine: executions are stepped, and what they became is written with the moves that made it.

Whoever changes executions does it here, within the transaction of a batch: reports, timers, people, and the rollouts' planner. For the thread
that has the catalog; made for one batch, and thrown away with it when it fails.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from appliance.core.errors import Conflict
from appliance.management.execution import (
    Answer,
    Came,
    Context,
    Execution,
    FirmwareSeen,
    Happening,
    KnownBadSeen,
    Move,
    Moved,
    Note,
    Reported,
    Terms,
    Wish,
)
from appliance.management.execution_machine import step
from appliance.management.execution_report import Report
from appliance.management.executions import State
from appliance.management.firmware_report import FirmwareReport
from appliance.updates.surroundings import Surroundings
from storage.catalog.catalog import Catalog
from storage.catalog.device_firmware import KnownBad
from storage.catalog.executions import unknown_execution


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A maintenance window of a rollout; `ends_at_ms` is the end of the open or the next one, None without windows."""

    is_open: bool = True
    ends_at_ms: int | None = None


class RolloutPlanner(Protocol):
    """What decides about rollouts, within the engine's transactions."""

    def look(self, work: Work) -> int | None:
        """After the moves of each batch: move rollouts, admit, pause, cancel and roll back executions by `work.step`.

        Returns:
            When it wants to look again at the latest, UTC ms, None for not before something moves.
        """

    def window(self, catalog: Catalog, rollout_id: str, now_ms: int) -> Window:
        """Whether devices of a rollout may install now."""

    def shift(self, catalog: Catalog, by_ms: int) -> None:
        """The wall clock jumped: move the times of rollouts with it."""


class NoPlanner:
    """For an engine without rollouts' planner: executions go on by themselves, nothing is admitted."""

    def look(self, work: Work) -> int | None:
        return None

    def window(self, catalog: Catalog, rollout_id: str, now_ms: int) -> Window:
        return Window()

    def shift(self, catalog: Catalog, by_ms: int) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a batch had come."""

    executions: dict[str, Execution]
    move_count: int
    to_tell: set[str]
    known_bad_count: int


@dataclass(slots=True)
class Work:
    """See the module's docstring.

    Args:
        catalog: Within a transaction.
        now_ms: UTC ms.

    Attributes:
        executions: Those that were touched, as they are now, by id.
        moves: What moved, in order, with the execution after it.
        to_tell: Devices that have to hear what is wanted of them now.
        known_bad: What is known bad since this batch.
        look_at_ms: When the planner wants to look again, once it has looked (has_looked).
    """

    catalog: Catalog
    now_ms: int
    surroundings: Surroundings
    planner: RolloutPlanner
    executions: dict[str, Execution] = field(default_factory=dict)
    moves: list[tuple[Execution, Move]] = field(default_factory=list)
    to_tell: set[str] = field(default_factory=set)
    known_bad: list[KnownBad] = field(default_factory=list)
    look_at_ms: int | None = None
    has_looked: bool = False
    _terms: dict[str, Terms] = field(default_factory=dict)
    _firmware: dict[str, FirmwareReport | None] = field(default_factory=dict)

    def get(self, execution_id: str) -> Execution:
        """The execution as it is now.

        Raises:
            NotFound: `execution_unknown`.
        """
        found = self.executions.get(execution_id)
        return self.catalog.get_execution(execution_id) if found is None else found

    def _ours(self, execution_id: str) -> Execution:
        """The execution as it is now, if this node is its home: of two that drive one, each would undo what the other does."""
        known = self.executions.get(execution_id)
        if known is not None:
            return known
        found = self.catalog.get_execution(execution_id)
        if not self.catalog.drives_execution(execution_id):
            raise Conflict(
                "Another node of the site drives this update.",
                hint="Ask there; when that node is gone, this one takes it over once the device connects here.",
                code="driven_elsewhere",
            )
        return found

    def take_on(self, execution_id: str) -> None:
        """This node has just become its home: its deadlines are armed here, and its device is told what is wanted."""
        execution = self._ours(execution_id)
        self.executions[execution_id] = execution
        self.to_tell.add(execution.device_id)

    def get_of(self, device_id: str, execution_id: str) -> Execution:
        """The execution, if it is that device's.

        Raises:
            NotFound: `execution_unknown`: none of that id, or another device's, which is the same to who asks.
        """
        execution = self.get(execution_id)
        if execution.device_id != device_id:
            raise unknown_execution(execution_id)
        return execution

    def step(self, execution_id: str, happening: Happening) -> Moved:
        """Let something happen to an execution, and write what came of it.

        Raises:
            NotFound: `execution_unknown`. Conflict: `driven_elsewhere`.
        """
        before = self._ours(execution_id)
        moved = step(before, happening, self.now_ms, self.context(before))
        self._write(before, moved)
        return moved

    def report(self, device_id: str, execution_id: str, report: Report) -> Moved:
        """A device reports about its job.

        Raises:
            NotFound: `execution_unknown`.
        """
        self.get_of(device_id, execution_id)
        moved = self.step(execution_id, Reported(report))
        is_stale = moved.is_double or any(
            move.event in (Note.OUT_OF_ORDER, Note.LOWER_FENCE) for move in moved.moves
        )
        if report.running is not None and moved.answer is Answer.ACCEPTED and not is_stale:
            self.firmware_seen(report.running)
            moved = replace(moved, execution=self.get(execution_id))
        return moved

    def insert(self, execution: Execution) -> None:
        """Begin a new execution."""
        self.catalog.insert_execution(execution)
        self.executions[execution.execution_id] = execution

    def admit(self, execution_id: str, *, push_due_at_ms: int | None = None) -> Execution:
        """Open the wave for one that is QUEUED; its device is told when it listens.

        Args:
            push_due_at_ms: Not before then, UTC ms; now by default.
        """
        before = self._ours(execution_id)
        if before.state is not State.QUEUED or before.is_admitted:
            return before
        due_ms = self.now_ms if push_due_at_ms is None else push_due_at_ms
        after = replace(before, is_admitted=True, push_due_at_ms=due_ms, updated_at_ms=self.now_ms)
        self._write(before, Moved(after, wishes=frozenset({Wish.TELL})))
        return after

    def change(self, before: Execution, **changes: object) -> Execution:
        """Change columns that the machine leaves to the planner (wave, health)."""
        assert changes.keys() <= {"wave", "health", "is_admitted", "end_by_at_ms", "push_due_at_ms"}
        self._ours(before.execution_id)
        after: Execution = replace(before, updated_at_ms=self.now_ms, **changes)  # type: ignore[arg-type]
        self._write(before, Moved(after))
        return after

    def firmware_seen(self, report: FirmwareReport) -> bool:
        """Keep what a device says that it runs, and hold its executions against it.

        Returns:
            False for a report that is known or older than what is known.
        """
        kept = self.catalog.device_firmware(report.device_id)
        # What was received before the clock went back has a time to come: taken as it is, it would outdo all that is said until then.
        is_of_later = report.at_ms > self.now_ms
        if is_of_later:
            report = replace(report, at_ms=self.now_ms)
        if kept is not None:
            known = kept.report
            is_same = replace(report, at_ms=0, self_test="", source=known.source) == replace(known, at_ms=0)
            if report.at_ms < known.at_ms or (is_same and (is_of_later or report.at_ms == known.at_ms)):
                return False
            if not report.hw and known.hw:
                report = replace(report, hw=known.hw)
            is_same_boot = bool(report.boot_id) and report.boot_id == known.boot_id
            if report.source == "job" and is_same_boot and known.runs(report.version, report.digest):
                # A job's report says less than the status of the same boot.
                return False
        else:
            is_same_boot = False
        booted_at_ms = kept.booted_at_ms if kept and is_same_boot and kept.booted_at_ms else report.at_ms
        self.catalog.save_device_firmware(report, booted_at_ms)
        self._firmware[report.device_id] = report
        for execution in self._reconciled(report.device_id):
            self.step(execution.execution_id, FirmwareSeen(report))
        return True

    def came(self, device_id: str) -> None:
        """A device can be told something again."""
        for execution in self.catalog.executions_alive_of(device_id):
            self.step(execution.execution_id, Came())
        self.to_tell.add(device_id)

    def refuse_known_bad(self, execution: Execution) -> bool:
        """End an execution that has not begun when its image is known bad for the device; whether it is."""
        known = self.catalog.known_bad(execution.device_id, execution.to_digest)
        if known is None or execution.state not in (State.QUEUED, State.NOTIFIED):
            return False
        self.step(execution.execution_id, KnownBadSeen(known.reason))
        return True

    def context(self, execution: Execution) -> Context:
        """What the machine has to know besides the execution."""
        device_id = execution.device_id
        return Context(
            terms=self._terms_of(execution.rollout_id),
            is_reachable=self.surroundings.is_reachable(device_id),
            firmware=self._firmware_of(device_id),
            health=self.surroundings.health(device_id, execution),
            random=self.surroundings.random(),
        )

    def checkpoint(self) -> Checkpoint:
        """What `restore` goes back to when a part of the transaction is undone."""
        return Checkpoint(dict(self.executions), len(self.moves), set(self.to_tell), len(self.known_bad))

    def restore(self, kept: Checkpoint) -> None:
        """Forget what was done since; the catalog has undone it already."""
        self.executions, self.to_tell = kept.executions, kept.to_tell
        del self.moves[kept.move_count :]
        del self.known_bad[kept.known_bad_count :]
        self._terms.clear()
        self._firmware.clear()

    def forget_terms(self, rollout_id: str) -> None:
        """The rollout's row was changed in this transaction."""
        self._terms.pop(rollout_id, None)

    def _terms_of(self, rollout_id: str) -> Terms:
        found = self._terms.get(rollout_id)
        if found is None:
            terms = self.catalog.execution_terms(rollout_id)
            if terms is None:
                found = Terms()
            else:
                window = self.planner.window(self.catalog, rollout_id, self.now_ms)
                found = Terms(
                    confirm_ms=terms.confirm_ms,
                    reboot_ms=terms.reboot_ms,
                    deadline_at_ms=terms.deadline_at_ms,
                    fence=terms.fence,
                    may_install=window.is_open,
                    window_ends_at_ms=window.ends_at_ms,
                )
            self._terms[rollout_id] = found
        return found

    def _firmware_of(self, device_id: str) -> FirmwareReport | None:
        if device_id not in self._firmware:
            kept = self.catalog.device_firmware(device_id)
            self._firmware[device_id] = kept.report if kept else None
        return self._firmware[device_id]

    def _reconciled(self, device_id: str) -> list[Execution]:
        """Those that what a device runs may move: not ended, watched, or failed and the last one that began."""
        found = self.catalog.executions_alive_of(device_id)
        last = self.catalog.last_started_execution(device_id)
        if last is not None and last.state is State.FAILED and last.is_over:
            found.append(last)
        return found

    def _write(self, before: Execution, moved: Moved) -> None:
        after = moved.execution
        # That something came late is in the history, which is bounded; the row of what has ended stays as it is.
        is_late = before.is_over and replace(after, **_place_of(before)) == before
        is_changed = not is_late and self.catalog.save_execution(before, after)
        self.catalog.add_execution_moves(after.execution_id, moved.moves)
        if is_late:
            after = before
        self.executions[after.execution_id] = after
        self.moves.extend((after, move) for move in moved.moves)
        if before.started_at_ms is None and after.started_at_ms is not None:
            self._end_watches(after)
        if is_changed and after.push_due_at_ms is not None and after.push_due_at_ms <= self.now_ms:
            self.to_tell.add(after.device_id)
        for wish in moved.wishes:
            match wish:
                case Wish.TELL:
                    self.to_tell.add(after.device_id)
                case Wish.KNOWN_BAD:
                    self.known_bad += self.catalog.add_known_bad(
                        after.device_id,
                        after.to_digest,
                        execution_id=after.execution_id,
                        reason=f"The device went back from it ({after.error}).",
                        now_ms=self.now_ms,
                    )
                case Wish.FORGIVE:
                    self.catalog.forgive_device(after.device_id, after.to_digest)

    def _end_watches(self, begun: Execution) -> None:
        """A device that begins another update may leave the version that an earlier one ended with."""
        for other in self.catalog.executions_alive_of(begun.device_id):
            if other.state is State.SUCCEEDED and other.execution_id != begun.execution_id:
                after = replace(other, watch_until_at_ms=None, updated_at_ms=self.now_ms)
                self._write(other, Moved(after))


def _place_of(execution: Execution) -> dict[str, Any]:
    """Which report was the last one."""
    names = ("report_key", "report_seq", "updated_at_ms")
    return {name: getattr(execution, name) for name in names}
