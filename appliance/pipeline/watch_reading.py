"""The reader of the log for rules and anomalies, beside the store's: what a batch brings when it is built, or records read once more.

In the pipeline's thread, but for `turn`, which asks about devices.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Protocol

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import CursorExpired, LogDamaged
from appliance.core.limits import BACKLOG_BATCH_MESSAGES_MAX
from appliance.management.shapes import Shapes
from appliance.management.typed import TypedShapes
from appliance.pipeline.batch import LiveUpdate
from appliance.pipeline.directory import Admissions
from appliance.pipeline.records import devices_of, heard_elsewhere
from appliance.pipeline.rules import LogRules
from appliance.pipeline.source import BlockSource
from appliance.pipeline.traces import PipelineTraces
from appliance.pipeline.watch_feed import WatchFeed
from appliance.pipeline.watch_replay import WatchReplay, reader_state
from appliance.pipeline.watching import Watched
from storage.log.source import LogSource
from storage.telemetry.batch import Cursor, StoreBatch
from storage.telemetry.state import StoreState
from storage.telemetry.store import TelemetryStore

_log = logs.get(__name__)


class Admitting(Protocol):
    """Whose readings are kept."""

    admissions: Admissions

    async def admit(self, devices: list[str]) -> None:
        """Ask about devices. Raises StorageError, Unavailable."""


class WatchReading:
    """See the module's docstring."""

    def __init__(
        self,
        watched: Watched,
        store: TelemetryStore,
        reader: LogSource,
        rules: LogRules,
        shapes: Shapes,
        typed: TypedShapes,
        clock: Clock,
        traces: PipelineTraces,
    ) -> None:
        rules.watched_by = watched.rules
        self.feed = WatchFeed(watched.watch, store, rules, clock, may_tick=watched.may_tick, traces=traces)
        self._watched = watched
        self._reader = reader
        self._source = BlockSource(reader)
        self._rules = rules
        self._shapes = shapes
        self._typed = typed
        self._state: StoreState | None = None
        self._replay: WatchReplay | None = None
        self._replay_at: Cursor | None = None

    def load(self, state: StoreState) -> None:
        """The store was opened. Raises StorageError."""
        self.forget()
        self._state = state
        self.feed.load(state, self._reader.first_seq())

    def forget(self) -> None:
        """The store is about to be opened anew."""
        self._state = self._replay = None
        self._source.forget()
        self.feed.forget()

    def built(self, batch: StoreBatch, live: LiveUpdate) -> None:
        """A batch of the store was built: show what it brought."""
        state, arrived, live.arrived = self._state, live.arrived, None
        assert state is not None
        assert arrived is not None
        if batch.behind is not None:
            self.feed.arrived_late(arrived)
        else:
            self.feed.see(batch, arrived, partial(_reader_of, state), live.traced)

    async def turn(
        self, who: Admitting, in_thread: Callable[[Callable[[], Any]], Awaitable[Any]], *, is_quiet: bool
    ) -> bool:
        """Between two batches: read some more of what the watch has not seen, or else what the clock says.

        Args:
            is_quiet: There is nothing to read for the store.
        Returns:
            Whether records were read; there may be more.
        Raises:
            StorageError, Unavailable: the store must be opened anew, or the directory can't say.
        """
        while True:
            read = await in_thread(lambda: self._step(who.admissions, is_quiet=is_quiet))
            if not isinstance(read, list):
                return bool(read)
            await who.admit(read)

    def _step(self, admissions: Admissions, *, is_quiet: bool) -> bool | list[str]:
        state, feed = self._state, self.feed
        if state is None:
            return False
        if not feed.may_go_on(state.cursor, self._reader.first_seq):
            self._replay = None
            if is_quiet:
                feed.tick(state.cursor, partial(_reader_of, state))
            return False
        at = feed.at
        assert at is not None
        if self._replay is None or self._replay_at != at:
            self._begin(state, at)
        try:
            return self._read(state, at, admissions)
        except CursorExpired:
            return self._skip(at, self._reader.first_seq())
        except LogDamaged as error:
            return self._skip(at, min(error.next_seq, state.cursor.next_seq))

    def _begin(self, state: StoreState, at: Cursor) -> None:
        """Windows and presence of the checkpoint; without one they are found again as the log is read."""
        checkpoint = self.feed.checkpoint
        reader = checkpoint.reader if checkpoint is not None and checkpoint.cursor == at else b""
        router = self._rules.mappings.newest_router()
        try:
            self._replay = WatchReplay(state, at, reader, router, self._shapes, self._typed)
        except ValueError as error:
            # What is missing is which of the next readings were sent before: those are late, or there twice.
            _log.warning("windows of the watch's checkpoint can't be read", reason=str(error))
            self._replay = WatchReplay(state, at, b"", router, self._shapes, self._typed)
        self._source.forget()

    def _read(self, state: StoreState, at: Cursor, admissions: Admissions) -> bool | list[str]:
        replay, source = self._replay, self._source
        assert replay is not None
        with self._rules.reading(at.epoch, at.next_seq) as rules:
            until_seq = min(each for each in (rules.until_seq, state.cursor.next_seq) if each is not None)
            blocks, columns = source.read(at, BACKLOG_BATCH_MESSAGES_MAX, until_seq)
        if not blocks:
            return False
        unknown = admissions.unknown(devices_of(columns, rules.router))
        if unknown:
            source.give_back(blocks)
            admissions.elsewhere = heard_elsewhere(blocks, columns, rules.router)
            return unknown
        arrived, after = replay.arrived(blocks, columns, at, admissions.is_accepted, rules)
        self.feed.catch_up(arrived, at, after, replay.reader)
        self._replay_at = self.feed.at
        return True

    def _skip(self, at: Cursor, next_seq: int) -> bool:
        """Go on behind records that can't be read any more."""
        if next_seq <= at.next_seq:
            return False
        after = Cursor(at.epoch, next_seq, b"", at.watermark_ms)
        self.feed.skipped(after)
        self._replay_at = after
        self._source.forget()
        return True

    def say_found(self) -> None:
        """A transaction has ended: tell whoever applies what was found. From the event loop."""
        if self.feed.take_found():
            self._watched.when_found()

    def stop(self) -> None:
        """The node ends in order."""
        if self._state is not None:
            self.feed.stop(self._state.cursor, partial(_reader_of, self._state))


def _reader_of(state: StoreState) -> bytes:
    return reader_state(state.seen, state.live_presence)
