"""The roster of the process that writes it: in memory at once, on the disk soon after, told to whoever must act on it.

A power cut may lose the newest entries; the next link brings them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeAlias

import structlog
import trio

from appliance.core.errors import StorageError
from appliance.management.fleet import NodeEntry, Roster
from storage.fleet import write_roster

RETRY_S: Final = 30
OnChange: TypeAlias = Callable[[list[NodeEntry]], None]
log = structlog.get_logger(__name__)


class RosterKeeper:
    """See the module's docstring.

    Args:
        roster: As it was read.
    """

    def __init__(self, data_dir: Path, roster: Roster) -> None:
        self._data_dir = data_dir
        self.roster = roster
        self._written = roster
        self._changed = trio.Event()
        self._saved = trio.Event()
        self._subscribers: list[OnChange] = []

    def subscribe(self, told: OnChange) -> None:
        """Call something quick with what changed, whenever something did."""
        self._subscribers.append(told)

    def merge(self, entries: Iterable[NodeEntry]) -> list[NodeEntry]:
        """Take verified entries in.

        Returns:
            Those that were new.
        Raises:
            LimitExceeded: `roster_full`.
        """
        self.roster, changed = self.roster.merged(entries)
        if changed:
            self._changed.set()
            for told in self._subscribers:
                told(changed)
        return changed

    async def saved(self) -> None:
        """Wait until everything that was merged before is on the disk."""
        while self._written is not self.roster:
            saved = self._saved
            await saved.wait()

    async def run(self) -> None:
        """Write what changed, until cancelled."""
        while True:
            self._changed = trio.Event()
            if self._written is not self.roster:
                await self._write(self.roster)
                continue
            await self._changed.wait()

    async def _write(self, roster: Roster) -> None:
        try:
            await trio.to_thread.run_sync(write_roster, self._data_dir, roster)
        except StorageError as error:
            log.error("the roster was not written", error=error.message, hint=error.hint, retry_s=RETRY_S)
            await trio.sleep(RETRY_S)
            return
        self._written = roster
        self._saved.set()
        self._saved = trio.Event()
