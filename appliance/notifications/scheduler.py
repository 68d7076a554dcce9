"""Looks at what has come due, when it does: later steps of alarms, their end, digests. And keeps the list of notifications small.

It sleeps until the next of them by the wall clock, never longer than NOTIFICATION_LOOK_INTERVAL_S, so that a clock that is set is seen; changes
of lists, targets, settings and alarms wake it. It reads before it writes: a site without alarms writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import StorageError, Unavailable
from appliance.core.limits_notifications import (
    NOTIFICATION_AGE_MS_MAX,
    NOTIFICATION_COUNT_MAX,
    NOTIFICATION_LOOK_INTERVAL_S,
)
from appliance.management.audit import Act
from appliance.notifications.telling import Looked, Telling
from storage.catalog import AsyncCatalog
from storage.catalog.catalog import Catalog
from storage.catalog.database import Change

TELL_ACT: Final = Act(action="notification.tell")
TIDY_ACT: Final = Act(action="notification.tidy")
_CHANGES_WHOM: Final = frozenset({"on_call_lists", "notification_targets", "settings"})
_RETRY_S: Final = 1.0
_TIDY_INTERVAL_MS: Final = 3_600_000
_TIDY_COUNT: Final = 1_000
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerStatistics:
    """Numbers since the start: notifications that it made, looks that failed, rows that were removed."""

    made: int
    failures: int
    removed: int


class Scheduler:
    """See the module's docstring."""

    def __init__(self, catalog: AsyncCatalog, telling: Telling, *, clock: Clock) -> None:
        self._catalog = catalog
        self._telling = telling
        self._clock = clock
        self.tidies_by = clock.now_ms
        """As of AlarmDesk."""
        self._wake = trio.Event()
        self._is_to_look_at_all = False
        self._tidied_mono_ms: int | None = None
        self._made = self._failures = self._removed = 0

    def note(self, changes: tuple[Change, ...]) -> None:
        """Rows have changed (AsyncCatalog.subscribe)."""
        tables = {change.table for change in changes}
        if tables & _CHANGES_WHOM:
            self._is_to_look_at_all = True
        if tables & _CHANGES_WHOM or "alarms" in tables:
            self._wake.set()

    def statistics(self) -> SchedulerStatistics:
        return SchedulerStatistics(made=self._made, failures=self._failures, removed=self._removed)

    async def run(self) -> None:
        """Look when something is due. Runs until cancelled."""
        while True:
            self._wake = trio.Event()
            wait_s = _RETRY_S
            try:
                wait_s = await self._look()
                await self._tidy()
            except (Unavailable, StorageError) as error:
                self._failures += 1
                _log.warning("what is to be told can't be looked at; tried again", reason=str(error))
            with trio.move_on_after(wait_s):
                await self._wake.wait()

    async def _look(self) -> float:
        """Look until nothing more is due; returns how long to wait, seconds."""
        if self._is_to_look_at_all:
            await self._catalog.write(self._telling.look_at_all, by=TELL_ACT)
            self._is_to_look_at_all = False
        found = Looked(0, True)
        while found.is_more:
            if not await self._catalog.read(self._telling.is_due):
                break
            found = await self._catalog.write(self._telling.look, by=TELL_ACT)
            self._made += found.made_count
        next_at_ms = await self._catalog.read(self._telling.next_at_ms)
        wait_ms = NOTIFICATION_LOOK_INTERVAL_S * 1000
        if next_at_ms is not None:
            wait_ms = min(wait_ms, max(0, next_at_ms - self._clock.now_ms()))
        return wait_ms / 1000

    async def _tidy(self) -> None:
        now_mono_ms = self._clock.mono_ms()
        if self._tidied_mono_ms is not None and now_mono_ms - self._tidied_mono_ms < _TIDY_INTERVAL_MS:
            return
        before_ms = self.tidies_by() - NOTIFICATION_AGE_MS_MAX
        count = _TIDY_COUNT
        while count == _TIDY_COUNT:
            count = await self._catalog.write(
                lambda catalog: catalog.remove_old_notifications(
                    before_ms, keep_count=NOTIFICATION_COUNT_MAX, limit=_TIDY_COUNT
                ),
                by=TIDY_ACT,
            )
            self._removed += count
        await self._catalog.write(Catalog.remove_escalations_without_alarm, by=TIDY_ACT)
        self._tidied_mono_ms = now_mono_ms
