"""Mends what questions find damaged, and brings days back into the store that a rebuild or a repair has left to the archive.

Theory of operation. A question that meets a block which can't be read notes it (storage/telemetry/damage.py). All tables are then read
through, beside everything else. Days that the archive has all of are left to it: they can be asked for at once, and no other day
is touched. Anything else means that the store is begun anew, which pages and API show as a rebuild. Days that belong into the
store are then brought back one at a time, the newest first, while nothing else waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import Conflict, HomeportError, NotFound, StorageError
from appliance.pipeline.store_work import StoreWork
from storage.archive.adopting import days_to_bring_back, note_brought_back
from storage.archive.layout import day_text
from storage.archive.repairing import days_to_leave, leave_to_archive
from storage.telemetry.batch import DAY_MS
from storage.telemetry.damage import damaged_tables
from storage.telemetry.store import TelemetryStore

LOOK_MS: Final = 5_000
RETRY_MS: Final = 60_000

_log = logs.get(__name__)


class Restorer(Protocol):
    """Brings a day back (appliance.pipeline.keeper.Keeper)."""

    async def restore(self, day: int, until_day: int) -> int:
        """Returns its rows. Raises Conflict: it is there. NotFound, StorageError, Unavailable."""


class DayRepair:
    """See the module. `run` it once.

    Args:
        hot_days: How many days belong into the store. is_quiet: Whether nothing more urgent waits.
        begin_anew: Has the store set aside and filled again.
    Attributes:
        mended_total: Days that were left to the archive. brought_back_total: Days that are in the store again.
    """

    def __init__(
        self,
        store: TelemetryStore,
        work: StoreWork,
        restorer: Restorer,
        *,
        hot_days: int,
        clock: Clock,
        is_quiet: Callable[[], bool],
        begin_anew: Callable[[StorageError], None],
    ) -> None:
        self._store = store
        self._work = work
        self._restorer = restorer
        self._hot_days = hot_days
        self._clock = clock
        self._is_quiet = is_quiet
        self._begin_anew = begin_anew
        self._limiter = trio.CapacityLimiter(1)
        self.mended_total = 0
        self.brought_back_total = 0

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            wait_ms = LOOK_MS
            try:
                if damage := self._store.damage.take():
                    await self._mend(damage)
                if self._is_quiet():
                    await self._bring_back()
            except (HomeportError, OSError) as error:
                _log.warning("days of the store not repaired yet", reason=str(error))
                wait_ms = RETRY_MS
            await trio.sleep(wait_ms / 1_000)

    async def _mend(self, damage: StorageError) -> None:
        def look() -> tuple[list[str], list[int] | None]:
            with self._store.reading() as connection:
                tables = damaged_tables(connection)
                return tables, days_to_leave(connection, tables, self._store)

        tables, days = await trio.to_thread.run_sync(look, limiter=self._limiter)
        if days is None:
            _log.error("the store is begun anew", damaged=", ".join(tables)[:500], reason=damage.message)
            self._begin_anew(damage)
            return
        if days:
            await self._work.run(lambda store: leave_to_archive(store, days))
            self.mended_total += len(days)
            _log.warning("damaged days are left to the archive", days=", ".join(map(day_text, days))[:500])

    async def _bring_back(self) -> None:
        """One day, the newest that is wanted."""
        since = self._clock.now_ms() // DAY_MS - self._hot_days

        def look() -> list[int]:
            with self._store.reading() as connection:
                return days_to_bring_back(connection, since)

        wanted = await trio.to_thread.run_sync(look, limiter=self._limiter)
        if not wanted:
            return
        day = wanted[-1]
        try:
            await self._restorer.restore(day, day + self._hot_days)
            self.brought_back_total += 1
        except (Conflict, NotFound) as error:
            # It is there already, or not in the archive any more: nothing to bring.
            _log.info("a day was not brought back", day=day_text(day), reason=error.message)
        await self._work.run(lambda store: note_brought_back(store, day))
