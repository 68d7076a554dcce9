"""The keeper: archives days that are over, lets go what is kept no longer, and checks what is in the archive.

Theory of operation. One task looks every TICK_MS, or when told, for the first step that is due (keeping.py), does it and looks
again. Long work (writing and reading files) runs in a thread of low priority with a connection of its own; the store is
changed in short pieces between two batches. A step changes the store in one transaction, after its files are
durable, so that the process may end at any moment: what was begun is begun again, what it left is rubbish and removed. Nothing
is done while readings wait to be stored, for they come first. What people ask for (a check, a restored day) waits its turn
and comes before what is due.

Must not know pages, the API or who asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, Protocol

import trio

from appliance.core import logs
from appliance.core.believed_time import BelievedTime, ClockDoubt
from appliance.core.clock import Clock
from appliance.core.errors import Conflict, HomeportError, NotFound, Unavailable
from appliance.management.retention import FOR_EVER, Retention, default_class, is_expired
from appliance.pipeline.keeper_erasing import Erasing, ErasureCatalog
from appliance.pipeline.keeper_forecast import RATE_DAYS, Forecast, forecast
from appliance.pipeline.keeper_requests import Requests
from appliance.pipeline.keeper_statistics import DayView, KeeperState, KeeperStatistics
from appliance.pipeline.keeper_steps import Steps
from appliance.pipeline.keeper_views import Generations, view_of
from appliance.pipeline.keeping import Lateness, Situation, Step, is_false_day, next_step, step_text
from appliance.pipeline.store_work import StoreWork
from storage.archive.checking import Fault
from storage.archive.days import DayState
from storage.archive.export import Progress
from storage.archive.layout import day_text
from storage.archive.sizes import StoreSize
from storage.telemetry.batch import DAY_MS
from storage.telemetry.store import TelemetryStore

TICK_MS: Final = 60_000
RETRY_MS: Final = 60_000
RETRY_DAY_MS: Final = 600_000
PAUSE_MS: Final = 5_000
CLOCK_AHEAD: Final = "The clock leapt ahead: days are let go by the time that can be believed."
FREE_SHARE_MIN: Final = 10
"""While a tenth of the store's file is free, it doesn't grow: nothing is gained by taking more days out of it."""
CHECK_AGAIN_MS: Final = 30 * DAY_MS
"""Each generation is read back at least so often."""

_log = logs.get(__name__)


class Conditions(Protocol):
    """What the keeper asks before each step. From the event loop."""

    async def retention(self) -> Retention:
        """The classes now. Raises Unavailable: the catalog is away."""

    def wait_because(self) -> str:
        """Why nothing may be done now, in words; "" when it may."""

    def is_disk_short(self) -> bool:
        """Whether the disk is filling up."""


class Keeper:
    """See the module. `run` it once.

    Args:
        store: Open; the caller closes it after `run` has ended. work: To its writer.
        forget: As Erasing's.
        lateness_ms: How long a day waits after its end. at_step: For tests, see Steps.
        believed: By which days are let go; None to begin one here.
    """

    def __init__(
        self,
        store: TelemetryStore,
        work: StoreWork,
        *,
        conditions: Conditions,
        erasures: ErasureCatalog,
        forget: Callable[[], None] = lambda: None,
        clock: Clock,
        lateness_ms: int,
        believed: BelievedTime | None = None,
        at_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._steps = Steps(store, work, clock=clock, on_progress=self._note_progress, at_step=at_step)
        self._erasing = Erasing(self._steps, work, erasures, forget)
        self._conditions = conditions
        self._clock = clock
        self._lateness = Lateness(lateness_ms)
        self._believed = believed or BelievedTime(clock)
        self._wake = trio.Event()
        self._requests = Requests(self.look)
        self._states: list[DayState] = []
        self._not_before_ms: dict[int, int] = {}
        """Days whose step failed, and when it is tried again: the others go on meanwhile."""
        self._erase_at_ms = 0
        self._has_begun = False
        self._retention = Retention((), default_class(1, FOR_EVER))
        """As last read; the one here holds until then."""
        self._statistics = KeeperStatistics(state="starting")
        self.looks_total = 0
        """How often it has been looked for what is due, to the end."""

    @property
    def steps(self) -> Steps:
        """For what is done between two steps, by `ask`."""
        return self._steps

    @property
    def believed(self) -> BelievedTime:
        """The time by which days are let go."""
        return self._believed

    def look(self) -> None:
        """Something changed (retention classes, a request): look now. From the event loop."""
        self._wake.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; what is under way is stopped and begun again next time."""
        task_status.started()
        try:
            while True:
                self._wake = trio.Event()
                wait_ms = await self._turn()
                self.looks_total += 1
                with trio.move_on_after(wait_ms / 1_000):
                    await self._wake.wait()
        finally:
            self._steps.close()

    async def _turn(self) -> int:
        """Do what is due, and say for how long nothing will be, ms."""
        words = ""
        try:
            words = "beginning"
            retention = await self._begin()
            while True:
                because = self._conditions.wait_because()
                self._show(
                    state="paused" if because else "working", paused_because=because, step="", progress=(0, 0)
                )
                if because:
                    return PAUSE_MS
                if asked := self._requests.take():
                    words = asked.words
                    self._show(state="working", step=words, progress=(0, 0))
                    if error := await self._requests.answer(asked):
                        incident = f"{words}: {error.message}"
                        self._show(state="working", incident=incident, hint=error.hint)
                    self._states = await self._steps.days()
                    continue
                self._retention = retention = await self._conditions.retention()
                self._states = await self._steps.days()
                if self._steps.has_backlog:
                    self._show(state="paused", paused_because="Older readings from the log are stored first.")
                    return PAUSE_MS
                erasure = await self._erasing.next()
                if erasure is not None and self._clock.now_ms() >= self._erase_at_ms:
                    words = f"erasing the readings of {erasure.device_id}"
                    self._show(state="working", step=words, progress=(0, 0))
                    # Tried again later if it fails: retention goes on meanwhile.
                    self._erase_at_ms = self._clock.now_ms() + RETRY_DAY_MS
                    await self._erasing.erase(erasure)
                    self._erase_at_ms = 0
                    continue
                step = self._next(retention)
                if step is not None:
                    words = step_text(step)
                    await self._carry_out(step, retention)
                    continue
                due = self._unchecked()
                if due is None:
                    await self._erasing.complete()
                    self._show(state="idle", step="", progress=(0, 0))
                    if not self._not_before_ms and erasure is None:
                        is_held = self._believed.doubt is ClockDoubt.AHEAD
                        self._show(
                            state="idle",
                            incident=CLOCK_AHEAD if is_held else "",
                            hint="See that the time is right." if is_held else "",
                        )
                    return TICK_MS
                words = f"verifying {day_text(due.day)}"
                await self._verify(due)
        except Unavailable as error:
            # Not now: readings came to the day meanwhile, the store is busy or the catalog is away.
            self._show(state="paused", paused_because=error.message, step="")
            return PAUSE_MS
        except (HomeportError, OSError) as error:
            self._failed(words, error)
            return RETRY_MS

    async def _begin(self) -> Retention:
        retention = await self._conditions.retention()
        if not self._has_begun:
            today = self._believed.look() // DAY_MS
            await self._steps.begin(
                lambda day: (
                    not is_false_day(day) and all(is_expired(day, today, each) for each in retention.all())
                )
            )
            self._states = await self._steps.days()
            self._has_begun = True
        return retention

    def _next(self, retention: Retention) -> Step | None:
        now_ms = self._clock.now_ms()
        self._lateness.note(self._states, now_ms)
        generations = Generations(self._steps.newest, retention)
        faulty = {view.day for view in self.days() if view.faults}
        states = [each for each in self._states if self._not_before_ms.get(each.day, 0) <= now_ms]
        situation = Situation(
            now_ms=now_ms,
            retention=retention,
            lateness=self._lateness,
            classes_of=generations.classes_of,
            is_current=generations.is_current,
            is_faulty=faulty.__contains__,
            made_at_ms=generations.made_at_ms,
            believed_ms=self._believed.look(),
            is_short=self._conditions.is_disk_short()
            and self._steps.size.free_bytes * FREE_SHARE_MIN <= self._steps.size.total_bytes,
        )
        return next_step(states, situation)

    async def _carry_out(self, step: Step, retention: Retention) -> None:
        self._show(state="working", step=step_text(step), progress=(0, 0))
        state = next(each for each in self._states if each.day == step.day)
        try:
            rows = await self._steps.carry_out(step, state, retention)
        except Unavailable:
            self._not_before_ms[step.day] = self._clock.now_ms() + RETRY_MS
            raise
        except (HomeportError, OSError):
            self._not_before_ms[step.day] = self._clock.now_ms() + RETRY_DAY_MS
            raise
        self._not_before_ms.pop(step.day, None)
        now = self._statistics
        cooled = dict(now.cooled_total)
        if step.kind == "cool" or (step.kind == "forget" and rows):
            cooled[step.rule] = cooled.get(step.rule, 0) + 1
        self._statistics = replace(
            now,
            generations_total=now.generations_total + (step.needs_generation or step.kind == "expire"),
            expired_total=now.expired_total + (step.kind in ("expire", "forget")),
            cooled_total=cooled,
        )
        _log.info("a day was kept", step=step_text(step), rows_out_of_store=rows)

    def _unchecked(self) -> DayState | None:
        """The day in the archive whose last check is the oldest, if that is too long ago."""
        views = [
            (view.verified_at_ms or 0, state)
            for state, view in zip(self._states, self.days(), strict=True)
            if state.generation is not None
        ]
        if not views:
            return None
        at_ms, state = min(views, key=lambda each: each[0])
        return state if self._clock.now_ms() - at_ms >= CHECK_AGAIN_MS else None

    async def _verify(self, state: DayState) -> list[Fault]:
        self._show(state="working", step=f"verifying {day_text(state.day)}", progress=(0, 0))
        faults = await self._steps.verify(state)
        self._statistics = replace(self._statistics, verified_total=self._statistics.verified_total + 1)
        for fault in faults:
            _log.error(
                "the archive is damaged",
                day=day_text(fault.day),
                generation=fault.generation,
                file=fault.file,
                problem=fault.problem,
                hint="Where the store still has the day it is archived again by itself; otherwise put the file back from a backup.",
            )
        return faults

    # --- What people ask for ------------------------------------------------------------------------------

    async def ask(self, words: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Have something done between two steps, and wait for it. Raises LimitExceeded: `archive_request_count`, and as the call."""
        return await self._requests.put(words, call).wait()

    def state_of(self, day: int) -> DayState:
        """How a day stood when it was last looked at. Raises NotFound: `archive_day_unknown`."""
        for state in self._states:
            if state.day == day:
                return state
        raise NotFound(
            f"There is nothing of {day_text(day)} here.",
            hint="Look at the list of days; they are UTC days.",
            code="archive_day_unknown",
        )

    async def verify(self, day: int) -> list[Fault]:
        """Read a day's generation back. Raises as `ask`, NotFound."""

        async def work() -> list[Fault]:
            return await self._verify(await self._look_at(day))

        faults: list[Fault] = await self.ask(f"verifying {day_text(day)}", work)
        return faults

    async def restore(self, day: int, until_day: int) -> int:
        """Bring a day back into the store until a day. Returns its rows. Raises as `ask`, NotFound, Conflict: `archive_day_hot`."""
        rows: int = await self.ask(*self._restoring(day, until_day))
        return rows

    def restore_soon(self, day: int, until_day: int) -> None:
        """As restore, without waiting for it: what goes wrong is shown as the incident.

        Raises:
            LimitExceeded, NotFound, Conflict: `archive_day_hot`: as the day was when it was last looked at.
        """
        if self.state_of(day).is_whole:
            raise Conflict(
                f"{day_text(day)} is in the store.", hint="It need not be restored.", code="archive_day_hot"
            )
        self._requests.put(*self._restoring(day, until_day))

    def _restoring(self, day: int, until_day: int) -> tuple[str, Callable[[], Awaitable[int]]]:
        async def work() -> int:
            return await self._steps.restore(await self._look_at(day), until_day)

        return f"restoring {day_text(day)}", work

    async def _look_at(self, day: int) -> DayState:
        """How a day stands now: others may have changed it since the last look. Raises NotFound."""
        self._states = await self._steps.days()
        return self.state_of(day)

    # --- What is shown ------------------------------------------------------------------------------------

    def days(self) -> list[DayView]:
        """All days, the oldest first, as they were last looked at."""
        return [
            view_of(state, self._steps.newest.get(state.day), self._steps.checked.days)
            for state in self._states
        ]

    def statistics(self) -> KeeperStatistics:
        views = self.days()
        today = self._clock.now_ms() // DAY_MS
        return replace(
            self._statistics,
            archive_bytes=sum(view.archived_bytes for view in views),
            archive_rows=sum(view.archived_rows for view in views),
            archive_days=sum(view.generation is not None for view in views),
            faulty_days=sum(bool(view.faults) for view in views),
            unarchived_days=sum(view.generation is None and view.day < today for view in views),
        )

    @property
    def size(self) -> StoreSize:
        """The store's file, free blocks counted."""
        return self._steps.size

    def forecast(self, disk_room_bytes: int) -> Forecast:
        """What each class takes, and how long the disk lasts.

        Args:
            disk_room_bytes: What may still be written to the disk.
        """
        manifests = [each.manifest for _, each in sorted(self._steps.newest.items(), reverse=True)]
        size = self._steps.size
        return forecast(
            [each for each in manifests if each is not None][:RATE_DAYS],
            self._retention,
            used_bytes=size.used_bytes,
            hot_rows=sum(state.hot + state.other for state in self._states),
            room_bytes=disk_room_bytes + size.free_bytes,
        )

    def _show(self, state: KeeperState, **changes: Any) -> None:
        self._statistics = replace(self._statistics, state=state, **{"paused_because": "", **changes})

    def _note_progress(self, progress: Progress) -> None:
        self._statistics = replace(self._statistics, progress=(progress.done, progress.count))

    def _failed(self, words: str, error: HomeportError | OSError) -> None:
        if isinstance(error, HomeportError):
            message, hint = error.message, error.hint
        else:
            message, hint = (
                str(error).splitlines()[0],
                "It is tried again by itself; look at the disk's room and health.",
            )
        _log.error("the archive's work failed", step=words, error=message, hint=hint)
        self._show(
            state="failing",
            step="",
            incident=f"{words}: {message}" if words else message,
            hint=hint,
            failures_total=self._statistics.failures_total + 1,
        )
