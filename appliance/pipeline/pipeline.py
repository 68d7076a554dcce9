"""The cursor that fills the time-series store: log → columns → rows, exactly once.

Theory of operation. One task takes turns: read blocks behind the cursor up to the durable head, build a batch of
them, commit it, tell the live view. Reading, decoding and committing run in one worker thread at a time; the event
loop only decides. Exactly once needs nothing but two facts: the cursor moves in the transaction that holds the
rows, and the state in memory is thrown away and read from the store whenever the two might differ.

After a failed commit the store reads its cursor back: if it stands at the batch's end, the commit had happened. Otherwise
the same batch is offered again when the breaker lets it; after RELOAD_FAILURE_COUNT failures, or when the file is in doubt,
the store is opened anew, the state read from it, and a smaller batch built. Devices notice none of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import trio

from appliance.core.clock import Clock
from appliance.core.errors import (
    CursorBeyondHead,
    CursorExpired,
    HomeportError,
    LogDamaged,
    StorageError,
    Unavailable,
)
from appliance.management.mapping import TopicMapping, TopicRouter
from appliance.management.shapes import Shapes
from appliance.management.typed import TypedShapes
from appliance.pipeline.batch import BatchBuilder, LiveUpdate
from appliance.pipeline.breaker import Breaker, BreakerState
from appliance.pipeline.directory import Admissions, DeviceDirectory
from appliance.pipeline.lag import LagWindow
from appliance.pipeline.live import LiveView
from appliance.pipeline.records import devices_of
from appliance.pipeline.sizing import BatchSizer
from appliance.pipeline.source import BlockSource
from appliance.pipeline.statistics import PipelineState, PipelineStatistics
from storage.log.reader import LogReader
from storage.telemetry.batch import Cursor, StoreBatch
from storage.telemetry.database import StoreDamaged
from storage.telemetry.state import StoreState, Totals
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
"""Each failure in a row doubles the deadline, up to 16 times: a disk that is merely slow must get through some day."""


@dataclass(slots=True)
class _Pending:
    """A batch that is to be committed, until it is."""

    batch: StoreBatch
    live: LiveUpdate


class Pipeline:
    """Fills one store from one stream. `run` it once.

    Args:
        reader: For this pipeline alone. store: Open; the caller closes it after `run` has ended.
        mappings: The configuration's, before the default ones.
        directory: Whose readings are kept. live: Told of each commit.
        batch_messages_max, commit_deadline_ms: [store] of the configuration.
        on_cursor: Told, in the pipeline's thread, before which sequence everything is in the store; gives what went wrong.
    """

    def __init__(
        self,
        *,
        reader: LogReader,
        store: TelemetryStore,
        mappings: Sequence[TopicMapping],
        directory: DeviceDirectory,
        clock: Clock,
        live: LiveView,
        batch_messages_max: int = 100_000,
        commit_deadline_ms: int = 3_000,
        on_cursor: Callable[[int], StorageError | None] = lambda _next_seq: None,
    ) -> None:
        self._source = BlockSource(reader)
        self._store = store
        self._router = TopicRouter(mappings)
        self._directory = directory
        self._clock = clock
        self._live = live
        self._deadline_ms = commit_deadline_ms
        self._on_cursor = on_cursor
        self._limiter = trio.CapacityLimiter(1)
        self._sizer = BatchSizer(messages_max=batch_messages_max, deadline_ms=commit_deadline_ms)
        self._breaker = Breaker()
        self._admissions = Admissions()
        self._shapes = Shapes()
        self._typed = TypedShapes()
        self._grew = trio.Event()
        self._ingestion_lag = LagWindow()
        self._pipeline_lag = LagWindow()
        self._state: StoreState | None = None
        self._builder: BatchBuilder | None = None
        self._cursor = Cursor()
        self._totals = Totals()
        self._rebuild_until_seq = 0
        self._pending: _Pending | None = None
        self._incident: HomeportError | None = None
        self._is_stopped = False
        self._next_batch_mono_ms = 0
        self._is_tidy = True
        self._batches_total = 0
        self._failures_total = 0
        self._nulls_total = 0
        self._absurd_total = 0
        self._stage_ns = {"read": 0, "build": 0, "commit": 0}

    def grew(self) -> None:
        """The log has grown: look now. From the event loop."""
        self._grew.set()

    def forget_devices(self) -> None:
        """A device was added, adopted, rejected or removed: ask the directory again."""
        self._admissions.forget()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; a commit that is under way is finished first (bounded by its deadline).

        Started once the store's state is loaded.
        """
        await self._in_thread(self._load)
        self._show_loaded()
        await self._say_cursor()
        task_status.started()
        while True:
            await trio.lowlevel.checkpoint()
            try:
                if not await self._turn():
                    await self._wait_for_growth()
            except (StorageError, Unavailable) as error:
                # Nothing may be skipped or guessed here: shown, and looked at again.
                self._incident = error
                self._is_stopped = isinstance(error, CursorBeyondHead | LogDamaged)
                await trio.sleep(INCIDENT_POLL_MS / 1_000)

    async def _turn(self) -> bool:
        """Commit one batch. False when the cursor is at the head."""
        if wait_ms := self._breaker.wait_ms(self._clock.mono_ms()):
            await self._in_thread(self._source.look)
            await trio.sleep(min(wait_ms, POLL_MS) / 1_000)
            return True
        if self._builder is None:
            await self._reload()
            return True
        if self._pending is None:
            await self._pace()
            began_mono_ms = self._clock.mono_ms()
            self._pending = await self._prepare()
            if self._pending is None:
                return False
            self._next_batch_mono_ms = began_mono_ms + COMMIT_INTERVAL_MS_MIN
        await self._commit(self._pending)
        return True

    async def _say_cursor(self) -> None:
        """Publish the cursor; while that fails the log keeps more than it must, which is shown."""
        next_seq = self._cursor.next_seq
        self._incident = await self._in_thread(lambda: self._on_cursor(next_seq)) or self._incident

    async def _wait_for_growth(self) -> None:
        with trio.move_on_after(POLL_MS / 1_000):
            await self._grew.wait()
        self._grew = trio.Event()
        quiet_ms = self._clock.mono_ms() - self._next_batch_mono_ms
        if not self._is_tidy and quiet_ms > TIDY_AFTER_MS and self._breaker.state is BreakerState.CLOSED:
            self._is_tidy = True
            await self._in_thread(self._store.tidy)

    async def _pace(self) -> None:
        """Let readings gather for a moment, so that a trickle of them isn't a stream of fsyncs."""
        wait_ms = self._next_batch_mono_ms - self._clock.mono_ms()
        if wait_ms > 0 and self._source.head_seq - self._cursor.next_seq < self._sizer.messages:
            await trio.sleep(wait_ms / 1_000)

    async def _prepare(self) -> _Pending | None:
        """The next batch; None at the head, or when only the cursor was moved."""
        while True:
            try:
                read = await self._in_thread(self._read_and_build)
            except CursorExpired as error:
                await self._skip_expired(error)
                continue
            except LogDamaged as error:
                if error.next_seq <= error.first_seq:
                    raise
                await self._skip(error.next_seq, error)
                continue
            if not isinstance(read, list):
                self._is_stopped = False
                return read
            # Asked outside of the thread: the directory is the event loop's. Then the same blocks again.
            known = set(await self._directory.known(read))
            strangers = [device for device in read if device not in known]
            if strangers:
                known.update(await self._directory.first_contact(strangers))
            self._admissions.note(read, known)

    async def _commit(self, pending: _Pending) -> None:
        batch = pending.batch
        started = time.perf_counter_ns()
        failure = await self._commit_within_deadline(batch)
        elapsed_ns = time.perf_counter_ns() - started
        self._stage_ns["commit"] += elapsed_ns
        if failure is not None:
            self._failed(failure)
            return
        self._breaker.succeeded()
        self._sizer.committed(commit_ms=elapsed_ns / 1e6, messages=batch.counts.records)
        self._committed(pending)
        await self._say_cursor()

    async def _commit_within_deadline(self, batch: StoreBatch) -> StorageError | None:
        """None when the batch is in the store, whichever way that came to be known."""
        deadline_ms = self._deadline_ms << min(self._breaker.failures_in_a_row, DEADLINE_DOUBLINGS_MAX)

        async def interrupt_late() -> None:
            await trio.sleep(deadline_ms / 1_000)
            while True:
                # Again and again: an interrupt ends the statement that runs, not the one after it.
                self._store.interrupt()
                await trio.sleep(0.1)

        # Shielded, deadline and all: a commit is never left alone in its thread.
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(interrupt_late)
                failure = await self._in_thread(lambda: _try_commit(self._store, batch))
                nursery.cancel_scope.cancel()
        return failure

    def _failed(self, error: StorageError) -> None:
        self._failures_total += 1
        self._incident = error
        self._breaker.failed(self._clock.mono_ms())
        self._sizer.failed()
        if isinstance(error, StoreDamaged) or self._breaker.failures_in_a_row % RELOAD_FAILURE_COUNT == 0:
            self._builder = None

    def _committed(self, pending: _Pending) -> None:
        batch, counts = pending.batch, pending.batch.counts
        self._pending = None
        self._incident, self._is_stopped = None, False
        self._cursor = batch.after
        self._is_tidy = False
        self._batches_total += 1
        self._nulls_total += counts.nulls
        self._absurd_total += counts.clocks_absurd
        self._totals = self._totals.plus(counts)
        now_ms, now_mono_ms = self._clock.now_ms(), self._clock.mono_ms()
        self._ingestion_lag.add(now_mono_ms, now_ms, pending.live.ages)
        self._pipeline_lag.add(now_mono_ms, now_ms, pending.live.arrivals)
        self._live.apply(pending.live)

    async def _reload(self) -> None:
        """Open the store anew and go on from what it has."""
        self._pending = None
        self._source.forget()
        try:
            await self._in_thread(self._reopen_and_load)
        except StorageError as error:
            self._failed(error)
            return
        self._show_loaded()

    async def _skip_expired(self, error: CursorExpired) -> None:
        first_seq = await self._in_thread(self._source.first_seq)
        if first_seq <= self._cursor.next_seq:
            raise LogDamaged(
                error.message, first_seq=self._cursor.next_seq, next_seq=0, hint=error.hint
            ) from error
        await self._skip(first_seq, error)

    async def _skip(self, next_seq: int, error: StorageError) -> None:
        """Go on behind records that can't be had any more; they are counted, and the incident is shown."""
        before = self._cursor
        after = Cursor(before.epoch, next_seq, b"", before.watermark_ms)
        await self._in_thread(lambda: self._store.skip(before, after))
        self._cursor = after
        self._source.forget()
        self._incident = error
        self._totals = replace(self._totals, skipped=self._totals.skipped + next_seq - before.next_seq)
        await self._say_cursor()

    def _show_loaded(self) -> None:
        """Event loop: hand what the thread has loaded to the live view."""
        assert self._state is not None
        self._live.load(self._state.newest, self._state.presence.all())
        self._state.newest = []

    # --- In the worker thread ---------------------------------------------------------------------------

    def _load(self) -> None:
        state = self._store.read_state()
        head_seq = self._source.look()
        if state.cursor.next_seq == 1 and head_seq > 1:
            self._rebuild_until_seq = head_seq
        self._state = state
        self._cursor, self._totals = state.cursor, state.totals
        self._builder = BatchBuilder(state, self._router, self._shapes, self._typed)

    def _reopen_and_load(self) -> None:
        self._store.reopen()
        self._load()

    def _read_and_build(self) -> _Pending | list[str] | None:
        """The next batch, or the devices that must be asked about first; None at the head."""
        started = time.perf_counter_ns()
        blocks, columns = self._source.read(self._cursor, self._sizer.messages)
        if not blocks:
            return None
        unknown = self._admissions.unknown(devices_of(columns, self._router))
        built = time.perf_counter_ns()
        self._stage_ns["read"] += built - started
        if unknown:
            self._source.give_back(blocks)
            return unknown
        assert self._builder is not None
        batch, live = self._builder.build(blocks, columns, self._cursor, self._admissions.is_accepted)
        self._stage_ns["build"] += time.perf_counter_ns() - built
        return _Pending(batch, live)

    async def _in_thread(self, call: Callable[[], _T]) -> _T:
        return await trio.to_thread.run_sync(call, limiter=self._limiter, abandon_on_cancel=False)

    def statistics(self) -> PipelineStatistics:
        totals, seen = self._totals, self._state.seen if self._state else None
        now_ms, now_mono_ms = self._clock.now_ms(), self._clock.mono_ms()
        behind = max(0, self._source.head_seq - self._cursor.next_seq)
        return PipelineStatistics(
            state=self._state_word(),
            lag_s=max(0, now_ms - self._cursor.watermark_ms) / 1_000
            if behind and self._cursor.watermark_ms
            else 0.0,
            behind_records=behind,
            cursor=self._cursor,
            head_seq=self._source.head_seq,
            breaker=self._breaker.state,
            breaker_opened_total=self._breaker.opened_total,
            records_total=totals.records,
            messages_total=totals.readings,
            rows_total=totals.rows,
            duplicates_total=totals.duplicates,
            dead_letters_total=totals.dead_letters,
            unmapped_total=totals.unmapped,
            skipped_total=totals.skipped,
            nulls_total=self._nulls_total,
            clocks_absurd_total=self._absurd_total,
            dedup_merged_total=seen.merged_total if seen else 0,
            restarts_total=seen.restarts_total if seen else 0,
            batches_total=self._batches_total,
            batch_messages_target=self._sizer.messages,
            commit_failures_total=self._failures_total,
            series_count=len(self._state.series) if self._state else 0,
            ingestion_lag=self._ingestion_lag.statistics(now_mono_ms),
            pipeline_lag=self._pipeline_lag.statistics(now_mono_ms),
            stage_s=tuple((stage, ns / 1e9) for stage, ns in self._stage_ns.items()),
            incident=self._incident.message if self._incident else "",
            hint=self._incident.hint if self._incident else "",
        )

    def _state_word(self) -> PipelineState:
        if self._state is None:
            return PipelineState.STARTING
        if self._is_stopped:
            return PipelineState.STOPPED
        if self._breaker.state is not BreakerState.CLOSED:
            return PipelineState.WAITING
        if self._cursor.next_seq < self._rebuild_until_seq:
            return PipelineState.REBUILDING
        return PipelineState.RUNNING


def _try_commit(store: TelemetryStore, batch: StoreBatch) -> StorageError | None:
    """Commit; why it isn't in the store, or None when it is."""
    try:
        store.commit(batch)
    except StorageError as error:
        return error
    return None
