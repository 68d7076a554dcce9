"""What waits for the engine, taken in batches: one transaction for all that has happened. No tasks and no waiting in here.

    take() -> Batch            in the event loop; what waits, and whose deadlines have come
    apply(catalog, batch)      in the thread of the catalog, within the batch's transaction
    committed(batch, applied)  in the event loop; deadlines are armed, whoever asked is told, devices are to be told
    failed(batch, error)       the same when it could not be written: requests get the error, all else waits again

So a simulation can drive it without tasks, and a node that dies anywhere has either the whole batch or nothing of it. Everything that is to be said
to devices can be derived from the catalog.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.clock_jumps import ClockJumps
from appliance.core.errors import HomeportError, StorageError, Unavailable
from appliance.core.limits_executions import (
    BLOCK_NOTE_INTERVAL_MS,
    BROKEN_AGAIN_MS,
    CLOCK_JUMP_MS_MIN,
    START_GRACE_MS,
    UPDATES_BATCH_COUNT_MAX,
    UPDATES_QUEUE_DEPTH_MAX,
)
from appliance.management.audit import Act
from appliance.management.execution import BlocksTaken, Execution, TimeCame
from appliance.management.execution_states import next_ms
from appliance.management.executions import State
from appliance.management.firmware_report import FirmwareReport
from appliance.updates.clock_jump import jump_while_away
from appliance.updates.deadlines import Deadlines
from appliance.updates.statistics import Tally
from appliance.updates.surroundings import Surroundings
from appliance.updates.work import RolloutPlanner, Work
from storage.catalog.catalog import Catalog

_log = logs.get(__name__)
STEP_ACT: Final = Act(action="updates.step")


@dataclass(slots=True, eq=False)
class Request:
    """Something that somebody wants done in a transaction, and waits for.

    Attributes:
        by: Whose act it is, for the audit: then it has a transaction of its own. None for devices and Homeport itself.
        done: Called in the event loop once it is on disk, or failed: exactly one of `result` and `error` counts then.
    """

    run: Callable[[Work], Any]
    by: Act | None = None
    done: Callable[[], None] | None = None
    result: Any = None
    error: Exception | None = None


@dataclass(slots=True)
class Batch:
    """What is done in one transaction.

    Attributes:
        broken: Executions of which nobody could make anything when their time came.
    """

    now_ms: int
    jump_ms: int = 0
    act: Act = STEP_ACT
    requests: list[Request] = field(default_factory=list)
    firmware: list[FirmwareReport] = field(default_factory=list)
    came: list[str] = field(default_factory=list)
    blocks: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    due: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    must_look: bool = False

    @property
    def is_empty(self) -> bool:
        """Nothing is to be done."""
        happened = (self.requests, self.firmware, self.came, self.blocks, self.due)
        return not (any(happened) or self.jump_ms or self.must_look)


class Batches:
    """See the module's docstring.

    Args:
        planner: Of rollouts.
    """

    def __init__(self, *, clock: Clock, surroundings: Surroundings, planner: RolloutPlanner) -> None:
        self._clock = clock
        self.surroundings = surroundings
        self.planner = planner
        self.tally = Tally()
        self.deadlines = Deadlines()
        self.testing: dict[str, str] = {}
        """Devices that test their target, by execution."""
        self._jumps = ClockJumps(clock, jump_ms_min=CLOCK_JUMP_MS_MIN)
        self._pending_jump_ms = 0
        self._requests: deque[Request] = deque()
        self._firmware: dict[str, FirmwareReport] = {}
        self._came: dict[str, None] = {}
        self._blocks: dict[str, tuple[str, int, int]] = {}
        self._noted_blocks: dict[str, int] = {}
        self._look_at_ms: int | None = None
        self._must_look = True
        self._to_tell: dict[str, None] = {}
        self._pushes: dict[str, tuple[str, int]] = {}

    # --- What waits ----------------------------------------------------------------------------------------

    def load(self, catalog: Catalog) -> None:
        """At start, within a transaction: arm what the catalog has; a clock that went back meanwhile moves all times back."""
        now_ms = self._clock.now_ms()
        jump_ms = jump_while_away(catalog.newest_execution_change_ms(), now_ms)
        if jump_ms:
            self._shift(catalog, jump_ms)
        earliest_ms = now_ms + START_GRACE_MS
        for execution in catalog.executions_alive():
            self._arm(execution, earliest_ms=earliest_ms)
        self._must_look = True

    def put(self, request: Request) -> None:
        """Wait to be done.

        Raises:
            Unavailable: `updates_busy`.
        """
        if len(self._requests) >= UPDATES_QUEUE_DEPTH_MAX:
            self.tally.refused_busy += 1
            raise Unavailable(
                f"{UPDATES_QUEUE_DEPTH_MAX} requests about updates wait already.",
                hint="Ask again in a minute; if it stays so, look at the disk.",
                code="updates_busy",
            )
        self._requests.append(request)

    def put_firmware(self, report: FirmwareReport) -> None:
        """A device said what it runs; of several that wait, the newest of each device counts."""
        waiting = self._firmware.get(report.device_id)
        if waiting is None or report.at_ms >= waiting.at_ms:
            self._firmware[report.device_id] = report

    def put_came(self, device_id: str) -> None:
        """A device can be reached again."""
        self._came[device_id] = None

    def put_blocks(self, device_id: str, execution_id: str, bytes_done: int, bytes_total: int) -> None:
        """How far a download is; the first of an execution counts at once, later ones every BLOCK_NOTE_INTERVAL_MS."""
        self._blocks[execution_id] = (device_id, bytes_done, bytes_total)

    def waiting_count(self) -> int:
        """How much waits, without deadlines."""
        return len(self._requests) + len(self._firmware) + len(self._came) + len(self._blocks)

    def is_idle(self) -> bool:
        """Nothing can be done now; what waits for its time is in `next_ms`."""
        return not (
            self._requests
            or self._firmware
            or self._came
            or self._pending_jump_ms
            or self._must_look
            or self._ripe_blocks()
        )

    def next_ms(self) -> int | None:
        """When there is something to do without anybody asking, UTC ms as it is now; None for never."""
        times = (
            self.deadlines.next_ms(),
            self._look_at_ms,
            min((at_ms for _, at_ms in self._pushes.values()), default=None),
        )
        return min((each for each in times if each is not None), default=None)

    def look_soon(self) -> None:
        """Rollouts changed by other means than a batch: have the planner look."""
        self._must_look = True

    # --- One batch -----------------------------------------------------------------------------------------

    def take(self) -> Batch | None:
        """What is to be done now, None for nothing."""
        self._pending_jump_ms += self._jumps.measure()
        now_ms = self._clock.now_ms()
        batch = Batch(now_ms=now_ms)
        if self._pending_jump_ms:
            # First and alone: what comes after it is compared with times that have moved.
            batch.jump_ms = self._pending_jump_ms
            return batch
        self._take_requests(batch)
        if batch.act is not STEP_ACT:
            return batch
        room = UPDATES_BATCH_COUNT_MAX - len(batch.requests)
        while self._firmware and room > 0:
            device_id = next(iter(self._firmware))
            batch.firmware.append(self._firmware.pop(device_id))
            room -= 1
        while self._came and room > 0:
            device_id = next(iter(self._came))
            del self._came[device_id]
            batch.came.append(device_id)
            room -= 1
        for execution_id in self._ripe_blocks()[: max(0, room)]:
            batch.blocks[execution_id] = self._blocks.pop(execution_id)
            room -= 1
        batch.due = self.deadlines.due(now_ms, max(0, room))
        batch.must_look = self._must_look or (self._look_at_ms is not None and self._look_at_ms <= now_ms)
        self._must_look = False
        return None if batch.is_empty else batch

    def apply(self, catalog: Catalog, batch: Batch) -> Work:
        """Do it, within the batch's transaction: what the rows say after it is what happened."""
        work = Work(catalog, batch.now_ms, self.surroundings, self.planner)
        if batch.jump_ms:
            self._shift(catalog, batch.jump_ms)
        for report in batch.firmware:
            self._alone(work, report.device_id, partial(self._seen, work, report))
        for request in batch.requests:
            self._run(work, request)
        for device_id in batch.came:
            self._alone(work, device_id, partial(work.came, device_id))
        for execution_id, blocks in batch.blocks.items():
            self._alone(work, execution_id, partial(_blocks_taken, work, execution_id, *blocks))
        for execution_id in batch.due:
            if not self._alone(work, execution_id, partial(_time_came, work, execution_id)):
                batch.broken.append(execution_id)
        # What a person does is one thing in the audit, what follows from it another.
        if batch.act is STEP_ACT and (work.moves or batch.must_look):
            work.look_at_ms = self.planner.look(work)
            work.has_looked = True
        return work

    def committed(self, batch: Batch, work: Work) -> None:
        """It is on disk."""
        if batch.jump_ms:
            self._pending_jump_ms = 0
            self.deadlines.shift(batch.jump_ms)
            self._pushes = {
                key: (device_id, at_ms + batch.jump_ms) for key, (device_id, at_ms) in self._pushes.items()
            }
            self._must_look = True
            self.tally.jumps += 1
        if work.has_looked:
            self._look_at_ms = work.look_at_ms
        elif batch.act is not STEP_ACT:
            self._must_look = True
        for execution in work.executions.values():
            self._arm(execution)
        for execution_id in batch.broken:
            self.deadlines.set(execution_id, batch.now_ms + BROKEN_AGAIN_MS)
        mono_ms = self._clock.mono_ms()
        for execution_id in batch.blocks:
            self._noted_blocks[execution_id] = mono_ms
        for _, move in work.moves:
            self.tally.count_move(move)
        for device_id in work.to_tell:
            self._to_tell[device_id] = None
        self.tally.batches += 1
        for request in batch.requests:
            if request.done is not None:
                request.done()

    def failed(self, batch: Batch, error: HomeportError) -> None:
        """Nothing of it is on disk: who asked is told, all else waits again."""
        self.tally.batches_failed += 1
        self._must_look = True
        for report in batch.firmware:
            if report.device_id not in self._firmware:
                self._firmware[report.device_id] = report
        for device_id in batch.came:
            self._came[device_id] = None
        for execution_id, blocks in batch.blocks.items():
            self._blocks.setdefault(execution_id, blocks)
        for execution_id in batch.due:
            self.deadlines.set(execution_id, batch.now_ms)
        for request in batch.requests:
            request.error = error
            if request.done is not None:
                request.done()

    # --- What is to be told --------------------------------------------------------------------------------

    def take_to_tell(self) -> list[str]:
        """Devices that listen and have to hear what is wanted of them, each once."""
        now_ms = self._clock.now_ms()
        for execution_id, (device_id, at_ms) in list(self._pushes.items()):
            if at_ms <= now_ms:
                del self._pushes[execution_id]
                self._to_tell[device_id] = None
        found = [device_id for device_id in self._to_tell if self.surroundings.is_listening(device_id)]
        # Who does not listen is told when it comes.
        self._to_tell.clear()
        return found

    def tell_later(self, device_id: str) -> None:
        """It could not be told now."""
        self._to_tell[device_id] = None

    # --- Inside --------------------------------------------------------------------------------------------

    def _take_requests(self, batch: Batch) -> None:
        """The requests up to the first that is a person's; that one alone, when it is the first."""
        while self._requests and len(batch.requests) < UPDATES_BATCH_COUNT_MAX:
            if self._requests[0].by is not None:
                if not batch.requests:
                    request = self._requests.popleft()
                    assert request.by is not None
                    batch.requests, batch.act = [request], request.by
                return
            batch.requests.append(self._requests.popleft())

    def _run(self, work: Work, request: Request) -> None:
        """One request, which may fail without the others."""
        kept = work.checkpoint()
        try:
            with work.catalog.part():
                request.result = request.run(work)
        except HomeportError as error:
            work.restore(kept)
            request.error = error
        except Exception as error:  # noqa: BLE001 - see tests/test_tidy.py
            # Whoever asked has it, if anybody waits; all others go on.
            _log.error("something asked of updates could not be worked out, and is left", exc_info=error)
            work.restore(kept)
            self.tally.parts_failed += 1
            request.error = error

    def _alone(self, work: Work, about: str, do: Callable[[], object]) -> bool:
        """One thing of many; whether it could be done. A row that makes no sense must not stop the updates of all devices."""
        kept = work.checkpoint()
        try:
            with work.catalog.part():
                do()
        except (Unavailable, StorageError):
            raise
        except Exception as error:  # noqa: BLE001 - see tests/test_tidy.py
            work.restore(kept)
            self.tally.parts_failed += 1
            _log.error(
                "what happened to a device could not be worked out, and is left", about=about, exc_info=error
            )
            return False
        return True

    def _seen(self, work: Work, report: FirmwareReport) -> None:
        self.tally.count_firmware(is_new=work.firmware_seen(report))

    def _arm(self, execution: Execution, *, earliest_ms: int = 0) -> None:
        at_ms = next_ms(execution)
        self.deadlines.set(execution.execution_id, None if at_ms is None else max(at_ms, earliest_ms))
        if execution.push_due_at_ms is None or execution.is_over:
            self._pushes.pop(execution.execution_id, None)
        else:
            self._pushes[execution.execution_id] = (execution.device_id, execution.push_due_at_ms)
        if execution.state is State.TESTING:
            self.testing[execution.execution_id] = execution.device_id
        else:
            self.testing.pop(execution.execution_id, None)
        if execution.is_over:
            self._noted_blocks.pop(execution.execution_id, None)

    def _shift(self, catalog: Catalog, by_ms: int) -> None:
        catalog.shift_executions(by_ms)
        catalog.shift_device_firmware(by_ms)
        self.planner.shift(catalog, by_ms)

    def _ripe_blocks(self) -> list[str]:
        mono_ms = self._clock.mono_ms()
        return [
            execution_id
            for execution_id in self._blocks
            if execution_id not in self._noted_blocks
            or mono_ms - self._noted_blocks[execution_id] >= BLOCK_NOTE_INTERVAL_MS
        ]


def _blocks_taken(work: Work, execution_id: str, device_id: str, bytes_done: int, bytes_total: int) -> None:
    found = work.catalog.find_execution(execution_id)
    if found is not None and found.device_id == device_id and work.catalog.drives_execution(execution_id):
        work.step(execution_id, BlocksTaken(bytes_done, bytes_total))


def _time_came(work: Work, execution_id: str) -> None:
    # One that another node has taken over meanwhile is no longer a matter of this one's time.
    if work.executions.get(execution_id) or work.catalog.drives_execution(execution_id):
        work.step(execution_id, TimeCame())
