"""Erasures as the keeper carries them out: the store, the archive's files, the live view; later, the log by itself.

`requested` ones are done before anything else is due. `erased` ones become `complete` when the log's first record is past
them: its segments go by its own retention. Whatever ends the process, a requested one is begun again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from appliance.core import logs
from appliance.pipeline.keeper_steps import Steps
from appliance.pipeline.store_work import StoreWork
from storage.archive import erasing
from storage.catalog.erasures import Erasure, ErasureState

_log = logs.get(__name__)


class ErasureCatalog(Protocol):
    """What is asked of the catalog."""

    async def erasures_in(self, state: ErasureState) -> list[Erasure]:
        """Those in a state, the oldest first. Raises Unavailable."""

    async def note_erased(self, erasure_id: str, *, epoch: int, before_seq: int, reading_count: int) -> None:
        """Store and archive are done. Raises Unavailable."""

    async def note_complete(self, erasure_id: str) -> None:
        """The log is done too. Raises Unavailable."""

    async def first_seq(self) -> int:
        """The oldest record that the log has. Raises StorageError."""


class Erasing:
    """See the module. From the event loop.

    Args:
        forget: Told when a device's readings are gone: what others keep of them in memory goes too.
    """

    def __init__(
        self, steps: Steps, work: StoreWork, catalog: ErasureCatalog, forget: Callable[[], None]
    ) -> None:
        self._steps = steps
        self._work = work
        self._catalog = catalog
        self._forget = forget
        self.erased_total = 0

    async def next(self) -> Erasure | None:
        """The erasure that is due."""
        return next(iter(await self._catalog.erasures_in("requested")), None)

    async def erase(self, erasure: Erasure) -> None:
        """Carry one out.

        Raises:
            ArchiveDamaged: files can't be rewritten; the store has nothing of the device any more. StorageError, Unavailable, OSError.
        """
        device = erasure.device_id
        series, days = await self._work.run(partial(erasing.held_by, device=device))
        count = 0
        for day in days:
            count += await self._work.run(partial(erasing.remove_day, day=day, series=series))
            self._steps.at_step("day erased")
        # The store first: it has nothing of the device any more even where a file of the archive can't be rewritten.
        cursor, last = await self._work.run(partial(erasing.finish, device=device))
        self._steps.at_step("erased")
        try:
            count += await self._steps.erase_from_files(device)
        finally:
            # Last: the store is opened anew for it, which would interrupt what reads the files.
            self._forget()
        await self._catalog.note_erased(
            erasure.erasure_id, epoch=cursor.epoch, before_seq=cursor.next_seq, reading_count=count + last
        )
        self.erased_total += 1
        _log.info("a device's readings were erased", device=device, readings=count + last)

    async def complete(self) -> None:
        """Note those whose records the log has let go. Raises Unavailable, StorageError."""
        waiting = await self._catalog.erasures_in("erased")
        if not waiting:
            return
        first_seq = await self._catalog.first_seq()
        for erasure in waiting:
            if first_seq >= erasure.before_seq:
                await self._catalog.note_complete(erasure.erasure_id)
