"""Updates, as the rest of the node sees them: what devices ask and report, what people do.

Every change goes through the engine's transactions; what is only read comes from the catalog directly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from appliance.core.clock import Clock
from appliance.core.errors import Conflict
from appliance.management.audit import Act, Actor
from appliance.management.execution import Answer, Execution, Moved, Note, Ordered, Taken
from appliance.management.execution_report import Report
from appliance.management.executions import Event, State, target
from appliance.management.firmware_report import FirmwareReport
from appliance.management.reconcile import Seen, seen
from appliance.updates.documents import Link, job_document, plain_link
from appliance.updates.engine import Engine
from appliance.updates.offers import next_of, offered
from appliance.updates.statistics import UpdatesStatistics
from appliance.updates.work import Work
from storage.catalog import AsyncCatalog
from storage.catalog.catalog import Catalog
from storage.catalog.device_firmware import DeviceFirmware, KnownBad
from storage.catalog.executions import unknown_execution

T = TypeVar("T")


class Operation(StrEnum):
    """What a person may do to an execution."""

    RETRY = "retry"
    RETRY_ROLLBACK = "retry_rollback"
    MARK_RECOVERED = "mark_recovered"
    REPLACE_DEVICE = "replace_device"
    IGNORE = "ignore"
    ACCEPT = "accept"
    CANCEL = "cancel"
    ROLLBACK = "rollback"


_DOWNLOADING: Final = "downloading"
_EVENTS: Final[dict[Operation, Event]] = {
    Operation.RETRY: Event.RETRY,
    Operation.RETRY_ROLLBACK: Event.RETRY_ROLLBACK,
    Operation.REPLACE_DEVICE: Event.REMOVE,
    Operation.IGNORE: Event.IGNORE,
    Operation.ACCEPT: Event.ACCEPT,
    Operation.CANCEL: Event.CANCEL,
    Operation.ROLLBACK: Event.ROLL_BACK,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportAnswer:
    """What a report is answered with; `execution` is as it is now."""

    execution: Execution
    answer: Answer
    is_double: bool = False


class Updates:
    """See the module's docstring.

    Args:
        link: Where devices get bytes over HTTPS.
    Attributes:
        on_fetched: Called with a device that reports something else than that it is downloading; set by whoever gives out the bytes.
    """

    on_fetched: Callable[[str], None] = staticmethod(lambda _device_id: None)

    def __init__(
        self, engine: Engine, catalog: AsyncCatalog, *, clock: Clock, link: Link = plain_link
    ) -> None:
        self.engine = engine
        self._clock = clock
        self._catalog = catalog
        self._link = link

    # --- Devices -------------------------------------------------------------------------------------------

    async def report(self, device_id: str, execution_id: str, report: Report) -> Execution:
        """A device reports about its job.

        Returns:
            The execution after it; the same report twice gives the same.
        Raises:
            NotFound: `execution_unknown`. Conflict: `execution_version`, `execution_ended`, `execution_not_now`.
            Unavailable: as Engine.do.
        """
        answered = await self.answer_report(device_id, execution_id, report)
        if answered.answer is not Answer.ACCEPTED:
            raise _conflict(answered)
        return answered.execution

    async def answer_report(self, device_id: str, execution_id: str, report: Report) -> ReportAnswer:
        """The same, with the refusal as a value, for who has to answer with the current state.

        Raises:
            NotFound: `execution_unknown`. Unavailable: as Engine.do.
        """
        self.engine.asked(device_id)
        if report.phase != _DOWNLOADING:
            # At once, and not when it is on disk: others wait for its place.
            self.on_fetched(device_id)
        moved = await self.engine.do(lambda work: work.report(device_id, execution_id, report))
        self.engine.batches.tally.reports[_outcome(moved)] += 1
        return ReportAnswer(execution=moved.execution, answer=moved.answer, is_double=moved.is_double)

    async def firmware_reported(self, report: FirmwareReport) -> None:
        """A device says what it runs; kept and reconciled soon, whoever says it twice."""
        self.engine.firmware_reported(report)

    async def next_execution(self, device_id: str) -> Execution | None:
        """What a device has to do next, None for nothing."""
        self.engine.asked(device_id)
        return await self.next_to_tell(device_id)

    async def next_to_tell(self, device_id: str) -> Execution | None:
        """The same, without the device having asked."""
        while True:  # Each turn ends one of the few executions that a device has.
            found = await self._read(lambda catalog: next_of(catalog, device_id, self._clock.now_ms()))
            if found is None or not await self._is_refused(found):
                return found

    async def pending(self, device_id: str) -> list[Execution]:
        """All that a device has to do, in the order in which it will be asked to."""
        self.engine.asked(device_id)
        return await self.offered(device_id)

    async def offered(self, device_id: str) -> list[Execution]:
        """The same, without the device having asked."""
        return await self._read(lambda catalog: offered(catalog, device_id, self._clock.now_ms()))

    async def get(self, device_id: str, execution_id: str) -> Execution:
        """One of a device's executions.

        Raises:
            NotFound: `execution_unknown`.
        """
        self.engine.asked(device_id)
        return await self._read(lambda catalog: _get_of(catalog, device_id, execution_id))

    async def taken(self, device_id: str, execution_id: str) -> Execution:
        """A device has got the description of a job that it has to do.

        Raises:
            NotFound: `execution_unknown`.
        """
        return await self.engine.do(lambda work: _take(work, device_id, execution_id, Taken()))

    async def start_next(
        self, device_id: str, *, step_timeout_minutes: int | None = None
    ) -> Execution | None:
        """A device begins with what it has to do next, None for nothing."""
        found = await self.next_execution(device_id)
        if found is None:
            return None
        taken = Taken(is_started=True, step_timeout_minutes=step_timeout_minutes)
        return await self.engine.do(lambda work: _take(work, device_id, found.execution_id, taken))

    async def document(self, execution: Execution) -> dict[str, Any]:
        """The job document.

        Raises:
            Conflict: `execution_without_artifact`.
        """
        return await self._read(lambda catalog: job_document(catalog, execution, self._link))

    async def note_blocks(self, device_id: str, execution_id: str, bytes_done: int, bytes_total: int) -> None:
        """A device got so much of its file."""
        self.engine.asked(device_id)
        self.engine.blocks_taken(device_id, execution_id, bytes_done, bytes_total)

    # --- People --------------------------------------------------------------------------------------------

    async def operate(
        self, execution_id: str, operation: Operation, actor: Actor, *, reason: str = ""
    ) -> Execution:
        """A person's decision about an execution.

        Args:
            reason: A sentence, for its history.
        Raises:
            NotFound: `execution_unknown`. Conflict: `execution_state`: not from where it is; `execution_not_recovered`.
        """
        act = Act(action=f"execution.{operation.value}", actor=actor)
        return await self.engine.do(
            lambda work: _operate(work, execution_id, operation, actor, reason), by=act
        )

    async def forgive(self, known_bad_id: str, actor: Actor, *, reason: str) -> KnownBad:
        """Let an image that is known bad be offered again.

        Raises:
            NotFound: `known_bad_unknown`.
        """

        def run(work: Work) -> KnownBad:
            found = work.catalog.forgive_known_bad(known_bad_id)
            work.catalog.note(
                "known_bad.forgive", object_kind="known_bad", object_id=known_bad_id, detail=reason
            )
            return found

        return await self.engine.do(run, by=Act(action="known_bad.forgive", actor=actor))

    async def firmware_of(self, device_id: str) -> DeviceFirmware | None:
        """What a device last said that it runs."""
        return await self._read(lambda catalog: catalog.device_firmware(device_id))

    def statistics(self) -> UpdatesStatistics:
        """Numbers of the engine."""
        return self.engine.statistics()

    async def _read(self, fn: Callable[[Catalog], T]) -> T:
        return await self._catalog.read(fn, pool="devices")

    async def _is_refused(self, execution: Execution) -> bool:
        """Whether its image is known bad for its device; then it has ended with that."""
        if execution.state not in (State.QUEUED, State.NOTIFIED):
            return False
        known = await self._read(lambda catalog: catalog.known_bad(execution.device_id, execution.to_digest))
        if known is None:
            return False
        return await self.engine.do(lambda work: work.refuse_known_bad(work.get(execution.execution_id)))


def possible(execution: Execution) -> Sequence[Operation]:
    """What a person may do to an execution as it is."""
    found = [operation for operation, event in _EVENTS.items() if target(execution.state, event) is not None]
    if any(target(execution.state, event) is not None for event in _RECOVERED.values()):
        found.append(Operation.MARK_RECOVERED)
    return found


_RECOVERED: Final = {
    Seen.OLD: Event.MARK_RECOVERED_OLD,
    Seen.TARGET: Event.MARK_RECOVERED_TARGET,
    Seen.TARGET_UNCONFIRMED: Event.MARK_RECOVERED_TARGET,
}


def _operate(work: Work, execution_id: str, operation: Operation, actor: Actor, reason: str) -> Execution:
    execution = work.get(execution_id)
    if operation not in possible(execution):
        raise Conflict(
            f"This can't be done while the execution is {execution.state.value}.",
            hint="Look at it again; the work queue says what is possible.",
            code="execution_state",
        )
    if operation in (Operation.RETRY, Operation.ROLLBACK):
        _check_is_last(work, execution)
    event = _recovered(work, execution) if operation is Operation.MARK_RECOVERED else _EVENTS[operation]
    return work.step(execution_id, Ordered(event, reason, actor.name)).execution


def _check_is_last(work: Work, execution: Execution) -> None:
    """An update that a later one has followed must not bring its device back to an older version by the way."""
    later = work.catalog.changed_since(execution.execution_id)
    if later is not None:
        raise Conflict(
            f"The device has begun a later update since, {later}.",
            hint="Act on that one, or make a rollout of the version that the device is to run.",
            code="execution_followed",
        )


def _recovered(work: Work, execution: Execution) -> Event:
    """By what the device itself says that it runs, since it got stuck."""
    kept = work.catalog.device_firmware(execution.device_id)
    is_since = kept is not None and kept.report.at_ms >= execution.state_since_ms
    event = _RECOVERED.get(seen(execution, kept.report)) if kept is not None and is_since else None
    if event is None:
        raise Conflict(
            "The device has not said since then that it runs the old or the new version.",
            hint="Have it connect, look at what it reports, and mark it then; or ignore the execution.",
            code="execution_not_recovered",
        )
    return event


def _take(work: Work, device_id: str, execution_id: str, taken: Taken) -> Execution:
    work.get_of(device_id, execution_id)
    return work.step(execution_id, taken).execution


def _get_of(catalog: Catalog, device_id: str, execution_id: str) -> Execution:
    execution = catalog.find_execution(execution_id)
    if execution is None or execution.device_id != device_id:
        raise unknown_execution(execution_id)
    return execution


def _outcome(moved: Moved) -> str:
    """What became of a report, for the numbers."""
    if moved.is_double:
        return "double"
    notes = {move.event for move in moved.moves if isinstance(move.event, Note)}
    for note in (Note.LATE_REPORT, Note.OUT_OF_ORDER, Note.LOWER_FENCE):
        if note in notes:
            return note.value
    return "new" if moved.answer is Answer.ACCEPTED else "refused"


def _conflict(answered: ReportAnswer) -> Conflict:
    state = answered.execution.state.value
    match answered.answer:
        case Answer.VERSION_MISMATCH:
            text, code = f"The execution has version {answered.execution.version}.", "execution_version"
        case Answer.TERMINAL_STATE_REACHED:
            text, code = f"The execution has ended as {state}.", "execution_ended"
        case _:
            text, code = f"This is not to be done while the execution is {state}.", "execution_not_now"
    return Conflict(text, hint="Ask for the job's description, and go on from there.", code=code)
