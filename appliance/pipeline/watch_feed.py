"""Shows what is read to rules and anomalies, and keeps their state with the log's position: exactly once.

Theory of operation. The watch has a position of its own. While that is the cursor's, what a batch brings is shown to it when the batch is
built, and what it finds is in the batch's transaction. Where it isn't (after a start; after it was held up), a reader of its own goes through
the log from there, with windows and presence as they were (`WatchReplay`), and catches up; readings are stored meanwhile as ever. What it finds there was
found before, or not: the outbox knows (`found_since`), and only what is new is added.

The state in memory is always at the end of the batch that is offered to the store. When that is given up, everything is thrown away
with the store's state, and read from the checkpoint.

A mistake in a rule or a detector must never stop readings: here, and nowhere else, anything that goes wrong is caught, noted and
shown. The watch then goes on from its checkpoint; if that fails too, behind what it came upon (watch_failures.py).

In the pipeline's thread, but for `statistics`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.clock_jumps import ClockJumps
from appliance.core.errors import StorageError
from appliance.core.limits_watch import WATCH_CLOCK_AHEAD_MS, WATCH_OUTBOX_COUNT_MAX
from appliance.management.arrived import Arrived
from appliance.management.rule_transition import Transition
from appliance.management.watched import SeriesNames
from appliance.pipeline.checkpoints import Checkpoints
from appliance.pipeline.rules import LogRules
from appliance.pipeline.traces import PipelineTraces, TracedBatch
from appliance.pipeline.watch_failures import WatchFailures
from appliance.pipeline.watch_statistics import WatchFeedStatistics, WatchState
from appliance.pipeline.watching import Watching
from storage.telemetry.alarm_outbox import AlarmOutbox
from storage.telemetry.batch import Cursor, StoreBatch, WatchCheckpoint, WatchPart
from storage.telemetry.series import SeriesCatalog
from storage.telemetry.state import StoreState
from storage.telemetry.store import TelemetryStore
from storage.telemetry.watch_state import found_since, last_number, read_checkpoint, waiting_count

TICK_INTERVAL_MS: Final = 1_000
TICK_BEHIND_MS: Final = 1_000
"""What arrived so long ago is in the log: its block was being written."""
OUTBOX_LOOK_MS: Final = 1_000

_log = logs.get(__name__)
Identity = tuple[object, int, int, bool]


def identity(transition: Transition) -> Identity:
    """What makes two transitions one, however the batches were cut in which they were found."""
    return transition.key, transition.rule_version, transition.at_ms, transition.is_raised


class Names(SeriesNames):
    """What the store's series are called."""

    def __init__(self, series: SeriesCatalog) -> None:
        self._series = series

    def __len__(self) -> int:
        return len(self._series) + 1

    def name_of(self, series_id: int, /) -> tuple[str, str]:
        return self._series.name_of(series_id)


class WatchFeed:
    """See the module's docstring.

    Args:
        may_tick: Whether somebody would have brought what devices send: the broker is there.
        traces: Says which traced reading decided.
    """

    def __init__(
        self,
        watch: Watching,
        store: TelemetryStore,
        rules: LogRules,
        clock: Clock,
        *,
        may_tick: Callable[[], bool] = lambda: True,
        traces: PipelineTraces,
    ) -> None:
        self._traces = traces
        self._watch = watch
        self._store = store
        self._outbox = AlarmOutbox(store)
        self._rules = rules
        self._clock = clock
        self._may_tick = may_tick
        self._jumps = ClockJumps(clock, jump_ms_min=WATCH_CLOCK_AHEAD_MS)
        self._is_clock_ahead = False
        self.checkpoints = Checkpoints(clock)
        self.at: Cursor | None = None
        self.checkpoint: WatchCheckpoint | None = None
        self._names: SeriesNames | None = None
        self._rule_number = -1
        self._known: set[Identity] = set()
        self._base_number = self._last_number = 0
        self._waiting = 0
        self._looked_mono_ms = self._ticked_mono_ms = 0
        self.failures = WatchFailures(clock)
        self._told = 0
        self.began_seq = 0
        self._began_mono_ms = 0
        self._totals = {"found": 0, "again": 0, "lost": 0, "late": 0}
        self.watch_ns = 0
        self.rebuild_s: float | None = None

    # --- Where it is ------------------------------------------------------------------------------------

    def load(self, state: StoreState, first_seq: int) -> None:
        """The store was opened: go on from its checkpoint.

        Args:
            first_seq: The oldest record of the log; without a checkpoint everything from there on is read.
        Raises:
            StorageError: the store can't say.
        """
        self._names = Names(state.series)
        self._begin(state.cursor, first_seq)

    def _begin(self, cursor: Cursor, first_seq: int) -> None:
        """From the checkpoint; where it can't be had, from the log's first record; after failures, at the cursor."""
        self.at = None
        with self._store.transaction() as connection:
            self.checkpoint = read_checkpoint(connection)
            self._base_number = self.checkpoint.found_number if self.checkpoint else 0
            self._known = {identity(each) for each in found_since(connection, self._base_number)}
            self._last_number = last_number(connection)
            self._waiting = waiting_count(connection)
        checkpoint = None if self.failures.forgets else self.checkpoint
        start = Cursor(cursor.epoch, min(first_seq, cursor.next_seq), b"", 0)
        if self.checkpoint is not None:
            start = self.checkpoint.cursor
        # The state is of the rules that held where it was saved.
        state_at = cursor if self.failures.forgets else start
        with self._rules.watched_by.reading(state_at.epoch, state_at.next_seq) as (rules, _):
            found = rules
        if self.failures.passes_over:
            is_learned = checkpoint is not None
            self.failures.passed_over(start.next_seq, cursor.next_seq, is_learned=is_learned)
            start = cursor
        names = self._names
        assert names is not None

        def begin() -> None:
            try:
                self._watch.begin(names, found.rules, checkpoint.watch if checkpoint else None)
            except StorageError as error:
                _log.warning("state of rules and anomalies begun anew", reason=error.message)
                self._watch.begin(names, found.rules, None)

        if self._guarded(begin) is None:
            return
        self._rule_number = found.number
        self.at = start
        self.began_seq, self._began_mono_ms = start.next_seq, self._clock.mono_ms()
        self.rebuild_s = 0.0 if start.next_seq == cursor.next_seq else None
        self.checkpoints.begun()

    def forget(self) -> None:
        """The store is about to be opened anew."""
        self.at = None

    def is_live(self, cursor: Cursor) -> bool:
        """Whether the watch stands where the store's reader does."""
        return self.at is not None and self.at.next_seq == cursor.next_seq

    def moved(self, before: Cursor, after: Cursor, *, is_rebuild: bool = False) -> None:
        """The store's reader passed over records: they can't be read, or are read later, when it is too late for an alarm.

        Args:
            is_rebuild: The store was begun anew: then the watch goes through all of it, in order.
        """
        if self.is_live(before) or (self.at is not None and not is_rebuild):
            self.skipped(after)

    def skipped(self, after: Cursor) -> None:
        """The watch goes on behind records that it doesn't see."""
        if self.at is not None:
            self._totals["lost"] += max(0, after.next_seq - self.at.next_seq)
            self.at = after
            self.checkpoints.wanted = True

    def arrived_late(self, arrived: Arrived | None) -> None:
        """What the reader of a backlog brought."""
        if arrived is not None:
            self._totals["late"] += len(arrived)

    # --- What it sees -----------------------------------------------------------------------------------

    def see(
        self,
        batch: StoreBatch,
        arrived: Arrived,
        reader: Callable[[], bytes],
        traced: TracedBatch | None = None,
    ) -> None:
        """A batch of the store's reader was built: show what it brought, if the watch stands at its beginning.

        Args:
            reader: Gives windows and presence as of the batch's end, for a checkpoint. traced: Of its messages.
        """
        if not self.is_live(batch.before):
            return
        if self._has_room():
            if self._names is not None:
                self._traces.show(traced, self._names)
            batch.watch = self._see(arrived, batch.before, batch.after, reader)
        else:
            # From the checkpoint, when there is: windows and presence go on without the watch.
            self.at = None

    def catch_up(self, arrived: Arrived, before: Cursor, after: Cursor, reader: Callable[[], bytes]) -> None:
        """Records that are in the store already. Raises StorageError: what was found is not stored; everything is to be read anew."""
        part = self._see(arrived, before, after, reader)
        if part:
            self._outbox.put(part)

    def _see(
        self, arrived: Arrived, before: Cursor, after: Cursor, reader: Callable[[], bytes]
    ) -> WatchPart | None:
        started_ns = self.checkpoints.clock_ns()

        def see() -> WatchPart:
            found = self._use(before)
            found += self._watch.see(arrived, epoch=after.epoch, seq=after.next_seq)
            return self._part(found, after, len(arrived), reader)

        part: WatchPart | None = self._guarded(see)
        self.watch_ns += self.checkpoints.clock_ns() - started_ns
        self.at = after if part is not None else None
        return part

    def tick(self, cursor: Cursor, reader: Callable[[], bytes]) -> None:
        """There is nothing to read: decide what the clock decides.

        Raises StorageError: what was found is not stored; everything is to be read anew.
        """
        mono_ms = self._clock.mono_ms()
        if mono_ms - self._ticked_mono_ms < TICK_INTERVAL_MS or not self._may_tick():
            return
        if not self.is_live(cursor) or not self._has_room():
            return
        self._ticked_mono_ms = mono_ms
        self._caught_up()
        if self._jumps.measure() > 0:
            # What arrived by the old time may still be under way, as may be the broker's own word: a tick later both are there.
            self._is_clock_ahead = True
            return
        now_ms = self._clock.now_ms() - TICK_BEHIND_MS
        is_ahead, self._is_clock_ahead = self._is_clock_ahead, False

        def tick() -> WatchPart:
            found = self._use(cursor)
            if is_ahead:
                # Nobody was silent while no time passed; the broker's own word may have no place yet, as on a full disk.
                border = Arrived(broker_starts=(now_ms,))
                found += self._watch.see(border, epoch=cursor.epoch, seq=cursor.next_seq)
            found += self._watch.tick(now_ms, epoch=cursor.epoch, seq=cursor.next_seq)
            if found:
                # The log alone doesn't tell what the clock decided.
                self.checkpoints.wanted = True
            return self._part(found, cursor, 0, reader)

        part = self._guarded(tick)
        if part is None:
            self.at = None
        elif part:
            self._outbox.put(part)

    def _use(self, at: Cursor) -> list[Transition]:
        """By the rules that hold from here on."""
        with self._rules.watched_by.reading(at.epoch, at.next_seq) as (rules, _):
            now = rules
        if now.number == self._rule_number:
            return []
        found = self._watch.use(now.rules, epoch=at.epoch, seq=at.next_seq)
        self._rule_number = now.number
        self.checkpoints.wanted = True
        return found

    def _part(
        self, found: list[Transition], after: Cursor, count: int, reader: Callable[[], bytes]
    ) -> WatchPart:
        new = [each for each in found if identity(each) not in self._known]
        if self._known:
            self._known.difference_update(map(identity, found))
            self._totals["again"] += len(found) - len(new)
        new = self._traces.linked(new)
        self._last_number += len(new)
        self._waiting += len(new)
        self._totals["found"] += len(new)
        self.checkpoints.seen(count, has_changed=bool(count or found))
        checkpoint = None
        if self.checkpoints.is_due():
            checkpoint = self.checkpoints.make(lambda: self._checkpoint(after, reader))
            # The state of one that was written is a state to go on from.
            self.failures.over()
        return WatchPart(transitions=tuple(new), checkpoint=checkpoint)

    def _checkpoint(self, after: Cursor, reader: Callable[[], bytes]) -> WatchCheckpoint:
        if not self._known:
            self._base_number = self._last_number
        return WatchCheckpoint(
            cursor=after, found_number=self._base_number, reader=reader(), watch=self._watch.save()
        )

    def stop(self, cursor: Cursor, reader: Callable[[], bytes]) -> None:
        """The node ends in order: the next start goes on from here; if that can't be written, from the checkpoint before."""
        if not self.is_live(cursor) or not self.checkpoints.has_changed:
            return
        part = self._guarded(lambda: WatchPart(checkpoint=self._checkpoint(cursor, reader)))
        try:
            if part is not None:
                self._outbox.put(part)
        except StorageError as error:
            _log.warning("state of rules and anomalies not saved", reason=error.message)

    # --- When it can't go on ----------------------------------------------------------------------------

    def _has_room(self) -> bool:
        """Whether what is found can be stored; otherwise the watch waits where it is, and goes on from the log."""
        if self._waiting < WATCH_OUTBOX_COUNT_MAX // 2:
            return True
        mono_ms = self._clock.mono_ms()
        if mono_ms - self._looked_mono_ms >= OUTBOX_LOOK_MS:
            self._looked_mono_ms = mono_ms
            self._waiting = self._outbox.waiting()
        return self._waiting < WATCH_OUTBOX_COUNT_MAX

    def may_go_on(self, cursor: Cursor, first_seq: Callable[[], int]) -> bool:
        """Whether there is something to catch up with now; begins anew after a failure, when it is time."""
        if self.at is None:
            if self._names is None or not self.failures.may_retry() or not self._has_room():
                return False
            self._begin(cursor, first_seq())
        return self.at is not None and self.at.next_seq < cursor.next_seq and self._has_room()

    def _caught_up(self) -> None:
        if self.rebuild_s is None:
            self.rebuild_s = (self._clock.mono_ms() - self._began_mono_ms) / 1_000
            _log.info("rules and anomalies are up to date", after_s=self.rebuild_s, from_seq=self.began_seq)

    def _guarded(self, call: Callable[[], Any]) -> Any:
        """The call's answer, or None when it failed, whatever it was: see the module's docstring."""
        try:
            answer = call()
        except Exception as error:  # noqa: BLE001 - readings go on; it is noted, counted, shown, and tried again
            self.failures.note(error)
            self.checkpoints.begun()
            return None
        return True if answer is None else answer

    def take_found(self) -> bool:
        """Whether something was found since the last call."""
        before, self._told = self._told, self._totals["found"]
        return before != self._told

    def statistics(self, cursor: Cursor) -> WatchFeedStatistics:
        """From the event loop."""
        at = self.at
        if at is None:
            is_full = self._waiting >= WATCH_OUTBOX_COUNT_MAX
            state = WatchState.WAITING if is_full else WatchState.STARTING
            state = WatchState.FAILED if self.failures.in_a_row else state
        elif at.next_seq >= cursor.next_seq:
            state = WatchState.UP_TO_DATE
        else:
            state = WatchState.WAITING if self._waiting >= WATCH_OUTBOX_COUNT_MAX else WatchState.REBUILDING
        return WatchFeedStatistics(
            state=state,
            behind_records=max(0, cursor.next_seq - at.next_seq) if at else 0,
            rebuild_records=max(0, cursor.next_seq - self.began_seq),
            rebuild_s=self.rebuild_s,
            found_total=self._totals["found"],
            found_again_total=self._totals["again"],
            backlog_late_total=self._totals["late"],
            lost_records_total=self._totals["lost"] + self.failures.unseen,
            outbox=self._waiting,
            failures_total=self.failures.total,
            incident=self.failures.incident,
            checkpoint=self.checkpoints.statistics(),
            watch_s=self.watch_ns / 1e9,
            watch=self._watch.statistics(),
        )
