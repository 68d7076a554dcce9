"""The cursor that fills the time-series store: log → columns → rows, exactly once.

Theory of operation. One task takes turns: read blocks behind the cursor up to the durable head, build a batch of
them, commit it, tell the live view. Reading, decoding and committing run in one worker thread at a time; the event
loop only decides. Exactly once needs nothing but two facts: the cursor moves in the transaction that holds the
rows, and the state in memory is thrown away and read from the store whenever the two might differ.

After a failed commit the store reads its cursor back: if it stands at the batch's end, the commit had happened. Otherwise
the same batch is offered again when the breaker lets it; after RELOAD_FAILURE_COUNT failures, or when the file is in doubt,
the store is opened anew, the state read from it, and a smaller batch built. Devices notice none of it.

When more than `backlog_records_min` records wait, the cursor passes over them and new readings go first; the backlog is
worked off whenever there is nothing new (reading.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Final, TypeVar

import trio

from appliance.core.clock import Clock
from appliance.core.errors import CursorBeyondHead, HomeportError, LogDamaged, StorageError, Unavailable
from appliance.core.limits import BACKLOG_BATCH_MESSAGES_MAX, BACKLOG_RECORDS_MIN
from appliance.management.mapping import TopicMapping
from appliance.pipeline.backlog import BacklogPace
from appliance.pipeline.batch import LiveUpdate
from appliance.pipeline.breaker import Breaker, BreakerState
from appliance.pipeline.committing import commit_within
from appliance.pipeline.directory import DeviceDirectory
from appliance.pipeline.kept_messages import KeptMessage
from appliance.pipeline.lag import LagWindow
from appliance.pipeline.live import LiveView
from appliance.pipeline.mapping_sets import MappingSets
from appliance.pipeline.needed import NeededOfLog
from appliance.pipeline.reading import Pending, Reading
from appliance.pipeline.reading_statistics import of_reading, state_word
from appliance.pipeline.rebuild import Rebuild
from appliance.pipeline.rules import LogRules
from appliance.pipeline.sizing import BatchSizer
from appliance.pipeline.statistics import PipelineStatistics
from appliance.pipeline.store_work import StoreWork
from appliance.pipeline.traces import PipelineTraces
from appliance.pipeline.watching import Watched
from storage.log.source import LogSource
from storage.telemetry.database import StoreDamaged
from storage.telemetry.letters import ReplayPart
from storage.telemetry.store import TelemetryStore

_T = TypeVar("_T")

POLL_MS: Final = 250
"""How often the head is looked at when nobody says that the log grew."""
COMMIT_INTERVAL_MS_MIN: Final = 200
"""Between the beginnings of two batches, unless a batch is full: a commit costs about 5 ms and an fsync however small."""
INCIDENT_POLL_MS: Final = 5_000
TIDY_AFTER_MS: Final = 5_000
"""Quiet time after which the store is folded and checkpointed, so that a start finds little to replay."""
RELOAD_FAILURE_COUNT: Final = 3
DEADLINE_DOUBLINGS_MAX: Final = 4
"""Up to 16 times the deadline."""


class Pipeline:
    """Fills one store from one stream. `run` it once.

    Args:
        reader: For this pipeline alone. store: Open; the caller closes it after `run` has ended.
        mappings: By which records are read; a plain list is one set for all of them.
        directory: Whose readings are kept. live: Told of each commit.
        batch_messages_max, commit_deadline_ms: [store] of the configuration.
        on_cursor: Told, in the pipeline's thread, before which sequence nothing of the log is needed; gives what went wrong.
        rebuild: How a store that was begun anew is filled; without it, from the log alone, and nothing is needed
            that is in the store.
        backlog_records_min: From how many waiting records on new ones go first.
        watch: Who is shown what is read. traces: Takes the way of traced messages.
    """

    def __init__(
        self,
        *,
        reader: LogSource,
        store: TelemetryStore,
        mappings: MappingSets | Sequence[TopicMapping],
        directory: DeviceDirectory,
        clock: Clock,
        live: LiveView,
        batch_messages_max: int = 100_000,
        commit_deadline_ms: int = 3_000,
        on_cursor: Callable[[int], StorageError | None] = lambda _next_seq: None,
        rebuild: Rebuild | None = None,
        backlog_records_min: int = BACKLOG_RECORDS_MIN,
        watch: Watched | None = None,
        traces: PipelineTraces | None = None,
    ) -> None:
        self._store = store
        self.rules = LogRules(mappings if isinstance(mappings, MappingSets) else MappingSets.always(mappings))
        self._reading = Reading(reader, store, self.rules, directory, self._in_thread, watch, clock, traces)
        self._rebuild = rebuild
        self._backlog_records_min = backlog_records_min
        self._clock = clock
        self._live = live
        self._deadline_ms = commit_deadline_ms
        self._needed = NeededOfLog(rebuild, on_cursor, clock)
        self._limiter = trio.CapacityLimiter(1)
        self._sizer = BatchSizer(messages_max=batch_messages_max, deadline_ms=commit_deadline_ms)
        self._breaker = Breaker()
        self._grew = trio.Event()
        self.work = StoreWork(self.grew)
        self._ingestion_lag = LagWindow()
        self._pipeline_lag = LagWindow()
        self._rebuild_until_seq = 0
        self._pace = BacklogPace()
        self._pending: Pending | None = None
        self._incident: HomeportError | None = None
        self._is_stopped = False
        self._must_reload = self._sets_aside = False
        self._next_batch_mono_ms = 0
        self._is_tidy = True
        self._batches_total = 0
        self._failures_total = 0
        self._nulls_total = 0
        self._absurd_total = 0

    def grew(self) -> None:
        """The log has grown: look now. From the event loop."""
        self._grew.set()

    def forget_devices(self) -> None:
        """A device was added, adopted, rejected or removed: ask the directory again."""
        self._reading.admissions.forget()

    def start_anew(self) -> None:
        """The store's state was changed by others: throw away what is in memory, and read it again. From the event loop."""
        self._must_reload = True

    def begin_anew(self, error: StorageError) -> None:
        """The store is damaged where nothing else can mend it: set it aside, and fill a new one. From the event loop."""
        self._must_reload = self._sets_aside = True
        self._incident = error

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; a commit that is under way is finished first (bounded by its deadline).

        Started once the store's state is loaded.
        """
        try:
            await self._in_thread(self._load)
            self._show_loaded()
            await self._say_cursor()
        except StorageError as error:
            # Devices and pages don't wait for the store: it is opened anew when the breaker lets it.
            self._failed(error)
            self._reading.forget()
        task_status.started()
        try:
            await self._turns()
        finally:
            if self._reading.watch is not None and self._pending is None:
                with trio.CancelScope(shield=True):
                    await self._in_thread(self._reading.watch.stop)

    async def _turns(self) -> None:
        while True:
            await trio.lowlevel.checkpoint()
            try:
                if not await self._turn():
                    await self._wait_for_growth()
            except (StorageError, Unavailable) as error:
                if isinstance(error, StoreDamaged):
                    self._failed(error)
                    continue
                # Nothing may be skipped or guessed here: shown, and looked at again.
                self._incident = error
                self._is_stopped = isinstance(error, CursorBeyondHead | LogDamaged)
                await trio.sleep(INCIDENT_POLL_MS / 1_000)

    async def _turn(self) -> bool:
        """Commit one batch. False when there is nothing to read."""
        reading = self._reading
        if wait_ms := self._breaker.wait_ms(self._clock.mono_ms()):
            await self._in_thread(reading.look)
            await trio.sleep(min(wait_ms, POLL_MS) / 1_000)
            return True
        if reading.is_stale or self._must_reload:
            await self._reload()
            return True
        if await self.work.turn(self._in_thread, self._store):
            return True
        if self._pending is None:
            self._pending = await self._prepare()
            if self._pending is None:
                return await self._watch(is_quiet=True) or await self._roll_up()
        if await self._commit(self._pending):
            await self._watch(is_quiet=False)
        await self._roll_up()
        return True

    async def _watch(self, *, is_quiet: bool) -> bool:
        """A step of the watch where it is behind; what the clock decides. Returns whether there may be more."""
        reading, watch = self._reading, self._reading.watch
        if watch is None or self._breaker.failures_in_a_row or reading.is_stale:
            return False
        at_head = is_quiet and reading.behind is None and not reading.waiting()
        try:
            return await watch.turn(reading, self._in_thread, is_quiet=at_head)
        except StorageError as error:
            self._failed(error)
            reading.forget()
            return False
        finally:
            watch.say_found()

    async def _roll_up(self) -> bool:
        """A step of the store's rollups, behind a commit: whatever comes of it, readings come first. Returns whether one was due."""
        if self._breaker.state is not BreakerState.CLOSED:
            return False
        try:
            return await self._in_thread(self._store.roll_up)
        except StorageError as error:
            self._failed(error)
            return False

    async def _prepare(self) -> Pending | None:
        """The next batch: of new readings, or of the backlog while there are none or they are still gathering."""
        reading = self._reading
        if reading.waiting() >= self._backlog_records_min:
            await self._in_thread(self._pass_over)
        wait_ms = self._next_batch_mono_ms - self._clock.mono_ms()
        is_gathering = wait_ms > 0 and reading.waiting() < self._sizer.messages
        if is_gathering and reading.behind is None:
            # So that a trickle of readings isn't a stream of fsyncs.
            await trio.sleep(wait_ms / 1_000)
        if not is_gathering or reading.behind is None:
            began_mono_ms = self._clock.mono_ms()
            pending = await self._read(self._sizer.messages)
            if pending is not None:
                self._next_batch_mono_ms = began_mono_ms + COMMIT_INTERVAL_MS_MIN
                return pending
        if reading.behind is None:
            return None
        return await self._read(min(self._sizer.messages, BACKLOG_BATCH_MESSAGES_MAX), is_behind=True)

    async def _read(self, messages: int, *, is_behind: bool = False) -> Pending | None:
        try:
            pending = await self._reading.prepare(messages, is_behind=is_behind)
        finally:
            self._incident, self._reading.incident = self._reading.incident or self._incident, None
        self._is_stopped = False
        return pending

    async def _say_cursor(self) -> None:
        if self._needed.is_due():
            complete_seq = self._reading.complete_seq
            failure = await self._in_thread(lambda: self._needed.say(self._store, complete_seq))
            self._incident = failure or self._incident

    async def _wait_for_growth(self) -> None:
        with trio.move_on_after(POLL_MS / 1_000):
            await self._grew.wait()
        self._grew = trio.Event()
        quiet_ms = self._clock.mono_ms() - self._next_batch_mono_ms
        if not self._is_tidy and quiet_ms > TIDY_AFTER_MS and self._breaker.state is BreakerState.CLOSED:
            self._is_tidy = True
            await self._in_thread(self._store.tidy)
        if self._needed.follows_days and self._breaker.state is BreakerState.CLOSED:
            await self._say_cursor()

    async def _commit(self, pending: Pending) -> bool:
        batch = pending.batch
        started = time.perf_counter_ns()
        # Each failure in a row doubles the deadline: a disk that is merely slow must get through some day.
        deadline_ms = self._deadline_ms << min(self._breaker.failures_in_a_row, DEADLINE_DOUBLINGS_MAX)
        failure = await commit_within(deadline_ms, self._store, batch, self._in_thread)
        elapsed_ns = time.perf_counter_ns() - started
        self._reading.stage_ns["commit"] += elapsed_ns
        if failure is not None:
            self._failed(failure)
            return False
        self._breaker.succeeded()
        self._sizer.committed(commit_ms=elapsed_ns / 1e6, messages=batch.counts.records)
        self._committed(pending)
        if pending.live.traced is not None:
            self._reading.traces.committed(pending.live.traced, started, batch.counts.rows)
        await self._say_cursor()
        return True

    def _failed(self, error: StorageError) -> None:
        self._failures_total += 1
        self._incident = error
        self._breaker.failed(self._clock.mono_ms())
        self._sizer.failed()
        # A full disk leaves no doubt and nothing to build anew: questions are answered while it is.
        gives_up = self._breaker.failures_in_a_row % RELOAD_FAILURE_COUNT == 0 and error.code != "store_full"
        if isinstance(error, StoreDamaged) or gives_up:
            self._reading.forget()

    def _committed(self, pending: Pending) -> None:
        counts = pending.batch.counts
        self._pending = None
        self._incident, self._is_stopped = None, False
        self._reading.committed(pending)
        self._is_tidy = False
        self._batches_total += 1
        self._nulls_total += counts.nulls
        self._absurd_total += counts.clocks_absurd
        now_ms, now_mono_ms = self._clock.now_ms(), self._clock.mono_ms()
        self._ingestion_lag.add(now_mono_ms, now_ms, pending.live.ages)
        self._pipeline_lag.add(now_mono_ms, now_ms, pending.live.arrivals)
        self._live.apply(pending.live)
        if self._reading.watch is not None:
            self._reading.watch.say_found()

    async def replay(
        self, messages: Sequence[KeptMessage], known: Collection[str], part: ReplayPart
    ) -> ReplayPart:
        """Read dead letters again, between two batches. As Reading.replay; raises as that, and as StoreWork.run."""

        def call(_store: TelemetryStore) -> tuple[ReplayPart, LiveUpdate | None]:
            if self._pending is not None:
                raise Unavailable("Readings come first.", hint="It goes on by itself.", code="replay_waits")
            return self._reading.replay(messages, known, part)

        done, live = await self.work.run(call)
        if live is not None:
            self._live.apply(live)
        return done

    @property
    def reading(self) -> Reading:
        return self._reading

    async def _reload(self) -> None:
        """Open the store anew and go on from what it has."""
        self._pending, self._must_reload = None, False
        self._reading.forget()
        try:
            await self._in_thread(self._reopen_and_load)
        except StorageError as error:
            self._failed(error)
            return
        self._show_loaded()

    def _show_loaded(self) -> None:
        """Event loop: hand what the thread has loaded to the live view."""
        state = self._reading.state
        assert state is not None
        self._live.load(state.newest, state.live_presence.all())
        state.newest = []

    # --- In the worker thread ---------------------------------------------------------------------------

    def _load(self) -> None:
        reading = self._reading
        head_seq = reading.look()
        if self._rebuild is not None and self._rebuild.begin(self._store, head_seq, reading.links):
            self._rebuild_until_seq = head_seq
        state = reading.load()
        if state.cursor.next_seq == 1 and head_seq > 1:
            self._rebuild_until_seq = head_seq

    def _reopen_and_load(self) -> None:
        self._store.reopen(anew=self._sets_aside)
        self._sets_aside = False
        self._load()

    def _pass_over(self) -> None:
        """Let new readings go first. Raises StorageError."""
        self._reading.look()
        self._reading.pass_over(is_rebuild=self._reading.cursor.next_seq < self._rebuild_until_seq)

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        return await trio.to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=False)

    def statistics(self) -> PipelineStatistics:
        """For pages, metrics, health and the support bundle."""
        reading = self._reading
        now_mono_ms = self._clock.mono_ms()
        return of_reading(
            reading,
            self._clock.now_ms(),
            state=state_word(
                reading, self._breaker.state, self._rebuild_until_seq, is_stopped=self._is_stopped
            ),
            backlog=self._pace.of(reading.behind, reading.cursor.next_seq, now_mono_ms),
            breaker=self._breaker.state,
            breaker_opened_total=self._breaker.opened_total,
            dead_letters=self._store.dead_letters,
            nulls_total=self._nulls_total,
            clocks_absurd_total=self._absurd_total,
            batches_total=self._batches_total,
            batch_messages_target=self._sizer.messages,
            commit_failures_total=self._failures_total,
            ingestion_lag=self._ingestion_lag.statistics(now_mono_ms),
            pipeline_lag=self._pipeline_lag.statistics(now_mono_ms),
            incident=self._incident.message if self._incident else "",
            hint=self._incident.hint if self._incident else "",
        )
