"""From the log to a batch that can be committed, for one of two readers of the same log.

Theory of operation. Usually there is one reader, at the cursor. When too many records wait, the cursor passes over them to the
head, so that new readings needn't wait (`pass_over`), and a second reader goes through the log in order from there
(storage/telemetry/behind.py): first what nobody has read, then once more what the first has read meanwhile, of which it
takes what was left to it (duplicates.Pass), until it stands where the cursor is. Both share series and windows, and one
batch is under way at a time, so no two of them can differ about what is stored.

Everything here runs in the pipeline's worker thread but `prepare`, which asks the directory.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from appliance.core.clock import Clock, SystemClock
from appliance.core.errors import CursorExpired, LogDamaged, StorageError, Unavailable
from appliance.core.limits import BACKLOG_RANGE_COUNT_MAX
from appliance.management.mapping import RouteKind
from appliance.management.shapes import Shapes
from appliance.management.typed import TypedShapes
from appliance.pipeline.batch import BatchBuilder, LiveUpdate
from appliance.pipeline.directory import Admissions, DeviceDirectory
from appliance.pipeline.duplicates import Pass
from appliance.pipeline.kept_messages import KeptMessage
from appliance.pipeline.records import devices_of, heard_elsewhere
from appliance.pipeline.rules import LogRules
from appliance.pipeline.source import BlockSource
from appliance.pipeline.traces import PipelineTraces
from appliance.pipeline.watch_reading import WatchReading
from appliance.pipeline.watching import Watched
from appliance.tracing.recorder import Recorder
from storage.log.source import LogSource
from storage.telemetry.batch import BehindMove, Counts, Cursor, StoreBatch
from storage.telemetry.behind import Behind
from storage.telemetry.letters import ReplayPart, parts
from storage.telemetry.recovery import archived_until, pass_over
from storage.telemetry.replaying import store_replay
from storage.telemetry.state import StoreState, Totals
from storage.telemetry.store import TelemetryStore

InThread = Callable[[Callable[[], Any]], Awaitable[Any]]
NOT_YET: Final = Cursor()


@dataclass(slots=True)
class Pending:
    """A batch that is to be committed, until it is."""

    batch: StoreBatch
    live: LiveUpdate


class Reading:
    """Both readers, and what they go on from.

    Args:
        rules: What holds by position; its `archived` is set when the state is loaded.
        in_thread: Runs a call in the worker thread. watched, clock: Who is shown what is read. traces: Takes the way of traced messages.
    Attributes:
        state: None until it is loaded. is_stale: The store must be opened anew, and the state read, before anything else.
        incident: What the last skipped range was skipped for; taken by whoever shows it.
    """

    def __init__(
        self,
        reader: LogSource,
        store: TelemetryStore,
        rules: LogRules,
        directory: DeviceDirectory,
        in_thread: InThread,
        watched: Watched | None = None,
        clock: Clock | None = None,
        traces: PipelineTraces | None = None,
    ) -> None:
        self._reader = reader
        self._live = BlockSource(reader)
        self._behind = BlockSource(reader)
        self._store = store
        self._rules = rules
        self._directory = directory
        self._in_thread = in_thread
        self.admissions = Admissions()
        self._shapes = Shapes()
        self._typed = TypedShapes()
        self.state: StoreState | None = None
        self.is_stale = False
        self._builder: BatchBuilder | None = None
        self.incident: StorageError | None = None
        self.watch: WatchReading | None = None
        self.traces = traces or PipelineTraces(Recorder())
        if watched is not None:
            clock = clock or SystemClock()
            self.watch = WatchReading(
                watched, store, reader, rules, self._shapes, self._typed, clock, self.traces
            )
        self.stage_ns = {"read": 0, "build": 0, "commit": 0}

    @property
    def head_seq(self) -> int:
        return self._live.head_seq

    @property
    def cursor(self) -> Cursor:
        return self.state.cursor if self.state else NOT_YET

    @property
    def complete_seq(self) -> int:
        """All records before it were read in order."""
        return self.behind.cursor.next_seq if self.behind else self.cursor.next_seq

    @property
    def totals(self) -> Totals:
        return self.state.totals if self.state else Totals()

    @property
    def behind(self) -> Behind | None:
        return self.state.behind if self.state else None

    @property
    def position(self) -> tuple[int, int] | None:
        """Where the reader in order stands: (epoch, next sequence); None while the store is being opened."""
        if self.state is None or self.is_stale:
            return None
        cursor = self.behind.cursor if self.behind else self.cursor
        return cursor.epoch, cursor.next_seq

    def look(self) -> int:
        """Look at the durable head; gives its next sequence."""
        return self._live.look()

    def forget(self) -> None:
        """The store is about to be opened anew."""
        self.is_stale, self._builder = True, None
        self._live.forget()
        self._behind.forget()
        if self.watch is not None:
            self.watch.forget()

    def load(self) -> StoreState:
        """Go on from what the store has. Raises StorageError."""
        state = self._store.read_state()
        self.look()
        with self._store.transaction() as connection:
            self._rules.mappings.loaded(parts(connection))
        at = state.behind.cursor if state.behind else state.cursor
        self._rules.archived = archived_until(self._store, at.next_seq)
        # Days in the archive from records that the reader in order comes to: the same for as long as there is a backlog.
        held = archived_until(self._store, state.behind.began_seq) if state.behind else ()
        self._rules.held = frozenset(held)
        self._builder = BatchBuilder(state, self._rules.mappings.newest_router(), self._shapes, self._typed)
        self.state, self.is_stale = state, False
        if self.watch is not None:
            self.watch.load(state)
        return state

    def links(self, cursor: Cursor) -> bool:
        """Whether the log goes on from a cursor."""
        try:
            self._behind.read(cursor, 1)
        except (StorageError, Unavailable):
            return False
        finally:
            self._behind.forget()
        head = self._reader.head()
        return cursor.next_seq < head.next_seq or cursor.hash in (b"", head.hash)

    def waiting(self) -> int:
        """Records that the first reader has not read."""
        return max(0, self.head_seq - self.cursor.next_seq)

    def behind_since_ms(self) -> int | None:
        """When what is stored in full ends, UTC ms; None while nothing is behind."""
        if self.behind is not None:
            return self.behind.cursor.watermark_ms or None
        return self.cursor.watermark_ms or None if self.waiting() else None

    def pass_over(self, *, is_rebuild: bool) -> None:
        """Let the cursor go to the head; what is between follows. Raises StorageError: nothing has changed."""
        state = self.state
        assert state is not None
        if state.behind is not None and len(state.behind.ranges) >= BACKLOG_RANGE_COUNT_MAX:
            return
        before = state.cursor
        if not self.links(before):
            return  # reading on will say what is wrong
        head = self._reader.head()
        with self._rules.reading(head.epoch, head.next_seq) as rules:
            if rules.until_seq is not None and rules.until_seq <= head.next_seq:
                return  # mappings are being changed: nobody reads beyond where that began
        after = Cursor(head.epoch, head.next_seq, head.hash, before.watermark_ms)
        began_seq = state.behind.began_seq if state.behind else before.next_seq
        held = archived_until(self._store, began_seq)
        pass_over(self._store, after, state.presence.all(), is_rebuild=is_rebuild)
        if state.behind is None:
            state.begin_backlog(Behind(before, before.next_seq, is_rebuild))
        assert state.behind is not None
        state.behind.ranges.append((before.next_seq, after.next_seq))
        state.cursor = after
        self._rules.held = frozenset(held)
        self._live.forget()
        if self.watch is not None:
            self.watch.feed.moved(before, after, is_rebuild=is_rebuild)

    async def prepare(self, messages: int, *, is_behind: bool = False) -> Pending | None:
        """The next batch of one of the readers; None where it has nothing to read.

        Raises:
            StorageError, Unavailable: the log, the store or the directory can't say what comes next.
        """
        while True:
            try:
                read = await self._in_thread(lambda: self._read_and_build(messages, is_behind=is_behind))
            except CursorExpired as error:
                await self._skip_expired(error, is_behind=is_behind)
                continue
            except LogDamaged as error:
                if error.next_seq <= error.first_seq:
                    raise
                await self._skip(error.next_seq, error, is_behind=is_behind)
                continue
            if not isinstance(read, list):
                found: Pending | None = read
                return found
            # Asked outside of the thread: the directory is the event loop's. Then the same blocks again.
            await self.admit(read)

    async def admit(self, devices: list[str]) -> None:
        """Ask whose readings are kept. Raises StorageError, Unavailable."""
        known = set(await self._directory.known(devices))
        strangers = [device for device in devices if device not in known]
        if mates := self.admissions.elsewhere.intersection(strangers):
            known.update(await self._directory.of_site(sorted(mates)))
            strangers = [device for device in strangers if device not in mates]
        if strangers:
            known.update(await self._directory.first_contact(strangers))
        self.admissions.note(devices, known)

    def committed(self, pending: Pending) -> None:
        """The batch is in the store: its reader has moved."""
        state, batch = self.state, pending.batch
        assert state is not None
        state.totals = state.totals.plus(batch.counts)
        if batch.behind is None:
            state.cursor = batch.after
        elif batch.behind.ends:
            state.end_backlog()
            self._rules.held = frozenset()
            self._behind.forget()
        else:
            assert state.behind is not None
            state.behind.cursor = batch.after
            state.behind.ranges = [each for each in state.behind.ranges if each[1] > batch.after.next_seq]

    def replay(
        self, messages: Sequence[KeptMessage], known: Collection[str], part: ReplayPart
    ) -> tuple[ReplayPart, LiveUpdate | None]:
        """Read dead letters again by the mappings that hold where the reader in order stands, and store what comes of it.

        Args:
            messages: In the order of the log, whole. known: Of their devices, those whose readings are kept.
            part: Which letters these are; its place and its numbers are filled in here.
        Returns:
            The part as it was stored, and what the live view must learn, if anything.
        Raises:
            Unavailable: `replay_waits`: the state isn't loaded, or the place isn't the part's. StorageError: as the store's commit.
        """
        state, builder = self.state, self._builder
        if state is None or builder is None or self.is_stale:
            raise Unavailable("The store is being opened.", hint="It goes on by itself.", code="replay_waits")
        cursor = state.behind.cursor if state.behind else state.cursor
        if part.at_seq and (part.epoch, part.at_seq) != (cursor.epoch, cursor.next_seq):
            raise Unavailable(
                f"The replay is for record {part.at_seq}, the store is at {cursor.next_seq}.",
                hint="It goes on by itself.",
                code="replay_waits",
            )
        with self._rules.reading(cursor.epoch, cursor.next_seq) as rules:
            router = rules.router
        read = [each for each in messages if router.route(each.topic).kind is RouteKind.TELEMETRY]
        batch, live = StoreBatch(before=cursor, after=cursor, counts=Counts(), blocks=()), None
        if read:
            blocks, columns = zip(*(each.as_block() for each in read), strict=True)
            accepted = frozenset(known).__contains__
            batch, live = builder.build(blocks, columns, cursor, accepted, Pass.IN_ORDER, rules, read)
            batch.after, live.ages, live.arrivals, live.arrived = cursor, [], [], None
        counts = batch.counts
        done = replace(
            part,
            epoch=cursor.epoch,
            at_seq=cursor.next_seq,
            messages=counts.readings,
            duplicates=counts.duplicates,
            rows=counts.rows,
            still_dead=part.letters - counts.readings - counts.duplicates,
        )
        try:
            store_replay(self._store, batch, [each.position for each in read], done)
        except StorageError:
            self.forget()  # What was built from is not what is stored.
            raise
        state.totals = state.totals.plus(
            Counts(readings=counts.readings, duplicates=counts.duplicates, rows=counts.rows)
        )
        return done, live

    async def _skip_expired(self, error: CursorExpired, *, is_behind: bool) -> None:
        first_seq = await self._in_thread(self._live.first_seq)
        cursor = self._cursor_of(is_behind=is_behind)
        if first_seq <= cursor.next_seq:
            raise LogDamaged(error.message, first_seq=cursor.next_seq, next_seq=0, hint=error.hint) from error
        await self._skip(first_seq, error, is_behind=is_behind)

    async def _skip(self, next_seq: int, error: StorageError, *, is_behind: bool) -> None:
        """Go on behind records that can't be had any more; they are counted, and the incident is shown."""
        state = self.state
        assert state is not None
        before = self._cursor_of(is_behind=is_behind)
        if is_behind:
            # Never beyond what the other reader has read, and to a border of what nobody has.
            assert state.behind is not None
            next_seq = min(next_seq, state.behind.until_seq() or state.cursor.next_seq)
        after = Cursor(before.epoch, next_seq, b"", before.watermark_ms)
        await self._in_thread(lambda: self._store.skip(before, after, is_behind=is_behind))
        if is_behind:
            assert state.behind is not None
            state.behind.cursor = after
            self._behind.forget()
        else:
            state.cursor = after
            self._live.forget()
            if self.watch is not None and self.watch.feed.is_live(before):
                self.watch.feed.skipped(after)
        self.incident = error
        state.totals = replace(state.totals, skipped=state.totals.skipped + next_seq - before.next_seq)

    def _cursor_of(self, *, is_behind: bool) -> Cursor:
        behind = self.behind
        return behind.cursor if is_behind and behind is not None else self.cursor

    def _read_and_build(self, messages: int, *, is_behind: bool) -> Pending | list[str] | None:
        """The next batch, or the devices that must be asked about first; None where there is nothing to read."""
        started = time.perf_counter_ns()
        state, behind = self.state, self.behind
        assert state is not None
        if is_behind and behind is not None:
            cursor, source = behind.cursor, self._behind
            which = Pass.IN_ORDER if behind.is_unread() else Pass.SECOND
            border = behind.until_seq() or state.cursor.next_seq
            if cursor.next_seq >= state.cursor.next_seq:
                return self._end(state, behind)
        else:
            cursor, source, border = state.cursor, self._live, None
            which = Pass.IN_ORDER if behind is None else Pass.AHEAD
        with self._rules.reading(cursor.epoch, cursor.next_seq) as rules:
            borders = [seq for seq in (border, rules.until_seq) if seq is not None]
            blocks, columns = source.read(cursor, messages, min(borders, default=None))
        if not blocks:
            return None
        unknown = self.admissions.unknown(devices_of(columns, rules.router))
        built = time.perf_counter_ns()
        self.stage_ns["read"] += built - started
        if unknown:
            source.give_back(blocks)
            self.admissions.elsewhere = heard_elsewhere(blocks, columns, rules.router)
            return unknown
        assert self._builder is not None
        batch, live = self._builder.build(blocks, columns, cursor, self.admissions.is_accepted, which, rules)
        if is_behind:
            self._make_behind(state, batch, live)
        decoded = time.perf_counter_ns()
        if self.watch is not None:
            self.watch.built(batch, live)
        shown = time.perf_counter_ns()
        self.stage_ns["build"] += shown - built
        if live.traced is not None:
            self.traces.built(live.traced, started, built, decoded, shown)
        return Pending(batch, live)

    def _make_behind(self, state: StoreState, batch: StoreBatch, live: LiveUpdate) -> None:
        """The batch moves the reader in order. What it says of presence is shown when it has come to the cursor."""
        ends = batch.after.next_seq == state.cursor.next_seq
        has_changed = bool(batch.presences)
        presences = state.presence.all() if has_changed or ends else None
        batch.presences = live.presences = presences if ends and presences is not None else []
        batch.behind = BehindMove(None if ends else presences, ends)
        live.ages, live.arrivals = [], []

    def _end(self, state: StoreState, behind: Behind) -> Pending:
        """It stands where the cursor is, after a skip to there: a batch of nothing ends it."""
        at = replace(behind.cursor, hash=state.cursor.hash)
        batch = StoreBatch(before=at, after=at, counts=Counts(), blocks=())
        live = LiveUpdate()
        self._make_behind(state, batch, live)
        return Pending(batch, live)
