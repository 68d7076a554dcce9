"""The alarm desk: takes over what rules found, ends what ends by itself, and tells pages that something has changed.

Theory of operation. One task. It reads what waits in the store's outbox, applies it in one transaction of the catalog, and then lets the outbox
forget it: a crash in between applies it again, which changes nothing. Between that it looks at what is due (shelving that ends, a
maintenance that begins or ends, an explanation that came or went, rules and devices that changed), in pieces of ALARM_APPLY_COUNT_MAX alarms, so that
nobody waits for the catalog's writer. What people do goes through AlarmBook in transactions of their own.

Nothing is kept here that is not in the catalog, but when a device's last urgent alarm began (`has_new`): it is asked by many at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from appliance.alarms.book import AlarmBook
from appliance.alarms.outbox import NoOutbox, Outbox
from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import HomeportError, LimitExceeded, StorageError, Unavailable
from appliance.core.limits_alarms import (
    ALARM_APPLY_COUNT_MAX,
    ALARM_EVENT_AGE_MS_MAX,
    ALARM_LOOK_INTERVAL_MS,
    ALARM_OUTBOX_LOOK_MS,
    ALARM_OUTBOX_TIMEOUT_MS,
    ALARM_RETRY_MS,
    ALARM_TIDY_INTERVAL_MS,
    MAINTENANCE_AGE_MS_MAX,
)
from appliance.management.alarm import alarm_id_of
from appliance.management.audit import Act
from appliance.management.rule_transition import Transition
from appliance.tracing.links import alarm_context, rule_context
from appliance.tracing.recorder import Recorder, wall_us
from storage.catalog import AsyncCatalog
from storage.catalog.alarm_lists import AlarmCounts
from storage.catalog.alarm_surroundings import is_urgent
from storage.catalog.alarms import AlarmCursor
from storage.catalog.catalog import Catalog
from storage.catalog.database import Change

Subscriber = Callable[[Collection[str]], None]
"""Gets the ids of alarms that changed, or nothing where anything may have."""
APPLY: Final = Act(action="alarms.apply")
SETTLE: Final = Act(action="alarms.settle")
TIDY: Final = Act(action="alarms.tidy")
_JUDGED_BY: Final = frozenset({"rules", "devices", "erasures", "maintenances"})
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmStatistics:
    """Numbers since the start.

    Attributes:
        moves: Of alarms, written. taken_over: Transitions from the outbox.
        applied, known, without_rule, unchanged, refused_full: Transitions that came to nothing, and why (BookTally).
        removed: Alarms that went since there were too many, and events that were too old.
        failures: Transactions that failed and were tried again.
        failing: What is wrong now, "" for nothing.
    """

    moves: int
    taken_over: int
    applied: int
    known: int
    without_rule: int
    unchanged: int
    refused_full: int
    removed: int
    failures: int
    failing: str


class AlarmDesk:
    """See the module's docstring.

    Args:
        book: Moves alarms; people's acts go through it too.
        outbox: What rules found; may be set later, before `run`. So may `are_rules_caught_up`: whether rules have seen all there is.
    """

    def __init__(
        self, catalog: AsyncCatalog, book: AlarmBook, *, clock: Clock, outbox: Outbox | None = None
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self.book = book
        self.outbox: Outbox = outbox or NoOutbox()
        self.recorder: Recorder | None = None
        """Takes what traced readings did to alarms; set before `run`."""
        self.are_rules_caught_up: Callable[[], bool] = lambda: True
        self.tidies_by = clock.now_ms
        """How late it is where what is old goes, UTC ms; a clock that can't leap is set before `run`."""
        self._subscribers: list[Subscriber] = []
        self._wake = trio.Event()
        self._cursor = AlarmCursor()
        self._urgent: dict[str, int] = {}
        self._changed: set[str] = set()
        self._is_to_sweep = True
        self._sweep_after: str | None = None
        self._suppressors: frozenset[str] = frozenset()
        self._tidied_mono_ms: int | None = None
        self._judged_ms = 0
        self._is_found = True
        self._looked_mono_ms = 0
        self._taken_over = 0
        self._removed = 0
        self._failures = 0
        self._failing = ""
        self._stop_listening = catalog.subscribe(self._note_changes)

    # --- What others ask -----------------------------------------------------------------------------------

    def has_new(self, device_id: str, since_ms: int) -> bool:
        """Whether an alarm of priority 1 or 2 of that device began since then (UTC ms) that people are told of. From any thread."""
        return self._urgent.get(device_id, -1) >= since_ms

    async def counts(self) -> AlarmCounts:
        """How many there are, of the whole site. Raises what the catalog raises."""
        return await self._catalog.read(lambda catalog: catalog.alarm_counts())

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Be told of alarms that changed, after each commit, in the event loop; returns how to end it.

        Args:
            subscriber: Quick, must not raise.
        """
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def wake(self) -> None:
        """Something was found."""
        self._is_found = True
        self._wake.set()

    def statistics(self) -> AlarmStatistics:
        tally = self.book.tally
        return AlarmStatistics(
            moves=tally.moves,
            taken_over=self._taken_over,
            applied=tally.applied,
            known=tally.known,
            without_rule=tally.without_rule,
            unchanged=tally.unchanged,
            refused_full=tally.refused_full,
            removed=tally.removed + self._removed,
            failures=self._failures,
            failing=self._failing,
        )

    # --- The loop ------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Work until cancelled; started once it knows how far the outbox is applied.

        Raises:
            HomeportError: the catalog can't be read at the start.
        """
        try:
            await self.load()
            task_status.started()
            while True:
                self._wake = trio.Event()
                if await self.work_once():
                    continue
                if self._failing:
                    await trio.sleep(ALARM_RETRY_MS / 1_000)
                else:
                    await self._rest()
        finally:
            self._stop_listening()

    async def load(self) -> None:
        """Read what is kept here."""
        self._cursor = await self._catalog.read(lambda catalog: catalog.alarm_cursor())
        self._urgent = await self._catalog.read(lambda catalog: catalog.newest_urgent_alarms())

    async def settle(self) -> None:
        """Work until nothing is left that can be done now."""
        while await self.work_once():
            pass

    async def work_once(self) -> bool:
        """One step, if there is anything to do; whether there was. What fails waits to be tried again, and holds nothing else up."""
        failing, did = "", False
        for step in (self._take_over, self._settle_some, self._tidy):
            try:
                did = await step()
            except HomeportError as error:
                if not isinstance(error, Unavailable | StorageError | LimitExceeded):
                    raise
                # What was found waits in the outbox: rather alarms that stand still, and say so, than a node that ends.
                self._failures += 1
                if self._failing != error.message:
                    _log.error("alarms could not be moved on", code=error.code, error=error.message)
                failing = error.message
            if did:
                break
        self._failing = failing
        await self._refresh()
        return did

    async def _take_over(self) -> bool:
        now_mono_ms, cursor = self._clock.mono_ms(), self._cursor
        if not self._is_found and now_mono_ms - self._looked_mono_ms < ALARM_OUTBOX_LOOK_MS:
            return False
        with trio.move_on_after(ALARM_OUTBOX_TIMEOUT_MS / 1_000) as waiting:
            found = await self.outbox.read_after(cursor.store_id, cursor.number, ALARM_APPLY_COUNT_MAX)
        if waiting.cancelled_caught:
            raise Unavailable(
                "The store did not say in time what rules have found.",
                hint="It waits there; look at the state of the store.",
                code="alarm_outbox_timeout",
            )
        self._looked_mono_ms = now_mono_ms
        if not found.rows:
            self._is_found = False
            return False
        began_us = wall_us()
        await self._catalog.write(
            lambda catalog: self.book.take_over(catalog, found.store_id, found.rows), by=APPLY
        )
        self._trace([each for _, each in found.rows if each.trace_id], began_us)
        number = found.rows[-1][0]
        self._cursor = AlarmCursor(store_id=found.store_id, number=number)
        self._taken_over += len(found.rows)
        await self.outbox.forget_through(found.store_id, number)
        return True

    def _trace(self, found: Sequence[Transition], began_us: int) -> None:
        """Say what was taken over of traced readings."""
        for each in found if self.recorder is not None else ():
            assert self.recorder is not None
            alarm_id = alarm_id_of(each.key)
            self.recorder.record(
                rule_context(each),
                "apply alarm",
                began_us,
                wall_us(),
                {
                    "homeport.alarm.id": alarm_id,
                    "homeport.alarm.raised": each.is_raised,
                    "homeport.rule.id": each.key.rule_id,
                },
                span_id=alarm_context(each.trace_id, alarm_id).span_id,
            )
            _log.info("an alarm was moved", alarm=alarm_id, raised=each.is_raised, trace_id=each.trace_id)

    async def _settle_some(self) -> bool:
        is_caught_up = self.are_rules_caught_up()
        if is_caught_up and not self.book.is_caught_up:
            self._is_to_sweep = True
        self.book.is_caught_up = is_caught_up
        due = await self._catalog.read(self._due, pool="pipeline")
        if not due:
            return self._sweep_after is not None
        await self._catalog.write(lambda catalog: self.book.judge_and_save(catalog, due), by=SETTLE)
        return True

    def _due(self, catalog: Catalog) -> list[str]:
        """Alarms that are to be judged again: those whose time is up, whose suppressor is gone, and all open ones after a change. In a thread."""
        now_ms = self._clock.now_ms()
        found = [
            *catalog.alarms_shelved_until(now_ms, limit=ALARM_APPLY_COUNT_MAX),
            *catalog.alarms_waiting_until(now_ms, limit=ALARM_APPLY_COUNT_MAX),
        ]
        is_carried_over = self.book.rules(catalog).is_carried_over(self._judged_ms, now_ms)
        self._judged_ms = now_ms
        suppressors = self.book.suppressors(catalog)
        gone = catalog.alarm_suppressors() - suppressors
        if gone:
            found += catalog.alarms_suppressed_by(gone, limit=ALARM_APPLY_COUNT_MAX)
        if suppressors - self._suppressors or self._is_to_sweep or is_carried_over:
            self._is_to_sweep = False
            self._sweep_after = ""
        self._suppressors = suppressors
        if not found and self._sweep_after is not None:
            some = catalog.open_alarms(after=self._sweep_after, limit=ALARM_APPLY_COUNT_MAX)
            self._sweep_after = some[-1].alarm_id if len(some) == ALARM_APPLY_COUNT_MAX else None
            found += some
        # Most of them are as they should be: the writer is asked for the rest only.
        moved = {move.after.alarm_id for move in self.book.judge_again(catalog, found)}
        return list(moved)[:ALARM_APPLY_COUNT_MAX]

    async def _tidy(self) -> bool:
        now_mono_ms = self._clock.mono_ms()
        if self._tidied_mono_ms is not None and now_mono_ms - self._tidied_mono_ms < ALARM_TIDY_INTERVAL_MS:
            return False
        now_ms = self.tidies_by()

        def tidy(catalog: Catalog) -> int:
            catalog.remove_old_maintenances(now_ms - MAINTENANCE_AGE_MS_MAX)
            return catalog.remove_old_alarm_events(
                now_ms - ALARM_EVENT_AGE_MS_MAX, count=ALARM_APPLY_COUNT_MAX
            )

        removed = await self._catalog.write(tidy, by=TIDY)
        self._removed += removed
        if removed < ALARM_APPLY_COUNT_MAX:
            self._tidied_mono_ms = now_mono_ms
        return True

    async def _refresh(self) -> None:
        """Take over when the urgent alarms that changed began; what can't be read now is read again."""
        while self._changed:
            some = list(self._changed)[:ALARM_APPLY_COUNT_MAX]
            try:
                found = await self._catalog.read(
                    partial(Catalog.alarms_of_ids, alarm_ids=some), pool="pipeline"
                )
            except Unavailable:
                return
            self._changed.difference_update(some)
            for alarm in found.values():
                if alarm.device_id and is_urgent(alarm.severity) and alarm.stands_since_ms is not None:
                    began_at_ms = max(
                        alarm.episode_began_at_ms,
                        self._urgent.get(alarm.device_id, alarm.episode_began_at_ms),
                    )
                    self._urgent[alarm.device_id] = began_at_ms

    async def _rest(self) -> None:
        with trio.move_on_after(ALARM_LOOK_INTERVAL_MS / 1_000):
            await self._wake.wait()

    def _note_changes(self, changes: tuple[Change, ...]) -> None:
        tables = {change.table for change in changes}
        if tables & _JUDGED_BY:
            if "rules" in tables:
                self.book.rules_changed()
            self._is_to_sweep = True
            self._wake.set()
        ids = {change.key for change in changes if change.table == "alarms"}
        if ids or tables & {"maintenances"}:
            self._changed |= ids
            self._wake.set()
            for subscriber in tuple(self._subscribers):
                subscriber(ids)
