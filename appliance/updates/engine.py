"""The engine: one task that takes all that waits, applies it in one transaction of the catalog, and then has devices told.

Theory of operation. Whatever happens (a report, a version seen, a deadline, a person) waits in `Batches`. The loop takes what waits, at most
UPDATES_BATCH_COUNT_MAX at a time, and writes what comes of it with one fsync; then whoever asked gets the answer, and devices that have something
to hear are handed to the teller. A transaction that fails is tried again with all but the requests, whose askers are told. The loop sleeps
until the next deadline by the monotonic clock, and never longer than UPDATES_LOOK_INTERVAL_MS, so that a jump of the wall clock is
seen. At the start all deadlines are armed from the catalog, and what the pipeline's store knows of devices is reconciled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, TypeVar

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import HomeportError, StorageError, Unavailable
from appliance.core.limits_executions import (
    UPDATES_ANSWER_TIMEOUT_MS,
    UPDATES_LOOK_INTERVAL_MS,
    UPDATES_RETRY_MS,
)
from appliance.management.audit import Act
from appliance.management.firmware_report import FirmwareReport
from appliance.updates.batches import STEP_ACT, Batches, Request
from appliance.updates.statistics import UpdatesStatistics
from appliance.updates.surroundings import Surroundings
from appliance.updates.work import NoPlanner, RolloutPlanner, Work
from storage.catalog import AsyncCatalog
from storage.catalog.catalog import Catalog

T = TypeVar("T")
LOAD_ACT: Final = Act(action="updates.start")
_log = logs.get(__name__)


class Engine:
    """See the module's docstring.

    Args:
        surroundings: Who can be reached, and how they are.
        planner: Of rollouts; without one nothing is admitted.
        tell: Gets devices that have something to hear, after each batch; quick, must not raise.
    """

    def __init__(
        self,
        catalog: AsyncCatalog,
        *,
        clock: Clock,
        surroundings: Surroundings,
        planner: RolloutPlanner | None = None,
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self.surroundings = surroundings
        self.batches = Batches(clock=clock, surroundings=surroundings, planner=planner or NoPlanner())
        self.tell: Callable[[Iterable[str]], None] = _tell_nobody
        self._wake = trio.Event()

    # --- What happens --------------------------------------------------------------------------------------

    async def do(self, run: Callable[[Work], T], *, by: Act | None = None) -> T:
        """Do something within a transaction of the engine.

        Args:
            run: Gets the Work; in a thread. What it raises is raised here, and nothing of it is kept.
            by: A person's act, which the audit then has; it gets a transaction of its own.
        Returns:
            What `run` gave, once it is on disk.
        Raises:
            Unavailable: `updates_busy`, `updates_timeout`; what the catalog raises, and `run`.
        """
        ready = trio.Event()
        request = Request(run, by, ready.set)
        self.batches.put(request)
        self.wake()
        with trio.move_on_after(UPDATES_ANSWER_TIMEOUT_MS / 1_000) as scope:
            await ready.wait()
        if scope.cancelled_caught:
            raise Unavailable(
                "The updates' engine did not answer in time; it may still be done.",
                hint="Look again, and repeat it if it is not.",
                code="updates_timeout",
            )
        if request.error is not None:
            raise request.error
        result: T = request.result
        return result

    def put(self, request: Request) -> None:
        """Have something done that nobody waits for. Raises Unavailable: `updates_busy`."""
        self.batches.put(request)
        self.wake()

    def firmware_reported(self, report: FirmwareReport) -> None:
        """A device said what it runs; kept and reconciled soon."""
        self.batches.put_firmware(report)
        self.wake()

    def listening(self, device_id: str, is_listening: bool) -> None:
        """A device listens to what is said to it, or is gone."""
        self.surroundings.note_listening(device_id, is_listening)
        if is_listening:
            # Whatever was said before it listened did not arrive.
            self._came(device_id)

    def online(self, device_id: str, is_online: bool) -> None:
        """A device's presence changed."""
        if self.surroundings.note_online(device_id, is_online):
            self._came(device_id)

    def asked(self, device_id: str) -> None:
        """A device has just asked something."""
        if self.surroundings.note_asked(device_id):
            self._came(device_id)

    def blocks_taken(self, device_id: str, execution_id: str, bytes_done: int, bytes_total: int) -> None:
        """A device got so much of its file."""
        self.batches.put_blocks(device_id, execution_id, bytes_done, bytes_total)
        self.wake()

    def look_soon(self) -> None:
        """Rollouts were changed by other means: have the planner look."""
        self.batches.look_soon()
        self.wake()

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def statistics(self) -> UpdatesStatistics:
        """Numbers since the start."""
        batches, tally = self.batches, self.batches.tally
        return UpdatesStatistics(
            moves=dict(tally.moves),
            notes=dict(tally.notes),
            reports=dict(tally.reports),
            firmware=dict(tally.firmware),
            pushes=dict(tally.pushes),
            waiting=batches.waiting_count(),
            deadlines=len(batches.deadlines),
            listening=self.surroundings.listening_count,
            batches=tally.batches,
            batches_failed=tally.batches_failed,
            parts_failed=tally.parts_failed,
            refused_busy=tally.refused_busy,
            jumps=tally.jumps,
        )

    # --- The loop ------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; started once the deadlines are armed.

        Raises:
            HomeportError: the catalog can't be read at the start.
        """
        await self.load()
        task_status.started()
        while True:
            self._wake = trio.Event()
            if not await self.work_once():
                await self._rest()

    async def load(self) -> None:
        """Arm all deadlines from the catalog."""
        await self._catalog.write(self.batches.load, by=LOAD_ACT)

    async def work_once(self) -> bool:
        """One batch, if there is anything to do; whether there was."""
        batch = self.batches.take()
        if batch is None:
            self._hand_on()
            return False
        apply: Callable[[Catalog], Any] = partial(self.batches.apply, batch=batch)
        try:
            work = await self._catalog.write(apply, by=batch.act)
        except HomeportError as error:
            self.batches.failed(batch, error)
            if batch.act is STEP_ACT or isinstance(error, Unavailable | StorageError):
                # What is not a request waits again: rather updates that stand still, and say so, than a node that ends.
                _log.error("updates could not be written", code=error.code, error=error.message)
                await trio.sleep(UPDATES_RETRY_MS / 1_000)
            return True
        self.batches.committed(batch, work)
        self._hand_on()
        return True

    async def settle(self) -> None:
        """Work until nothing is left that can be done now."""
        while await self.work_once():
            pass

    def _hand_on(self) -> None:
        devices = self.batches.take_to_tell()
        if devices:
            self.tell(devices)

    async def _rest(self) -> None:
        next_ms = self.batches.next_ms()
        rest_ms = math.inf if next_ms is None else next_ms - self._clock.now_ms()
        rest_ms = max(0, min(rest_ms, UPDATES_LOOK_INTERVAL_MS))
        with trio.move_on_after(rest_ms / 1_000):
            await self._wake.wait()

    def _came(self, device_id: str) -> None:
        self.batches.put_came(device_id)
        self.wake()


def _tell_nobody(devices: Iterable[str]) -> None:
    """Before the teller is there."""
