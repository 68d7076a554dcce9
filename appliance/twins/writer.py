"""Writes what devices say: all that waits in one transaction, since devices say it often and a commit is a sync of the disk.

Whoever asked is answered after the commit. What is wrong with one change (its version, its size) fails that one only.

Must not know: topics, payloads, who listens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

import trio

from appliance.core.errors import Conflict, HomeportError, LimitExceeded, NotFound, UsageError
from appliance.core.limits_twins import DEVICE_WRITE_BATCH_COUNT_MAX, DEVICE_WRITE_WAITING_COUNT_MAX
from appliance.management.audit import SYSTEM, Act
from storage.catalog import AsyncCatalog, Catalog

BY: Final = Act(action="device.report", actor=SYSTEM)
"""Twins and commands keep their own history of what devices say: nothing of it is in the audit (storage/catalog/auditing.py)."""
_OF_THE_CHANGE: Final = (UsageError, NotFound, Conflict, LimitExceeded)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterStatistics:
    """Since the start.

    Attributes:
        waiting: Changes that wait now.
        written_total, refused_total: Changes. batches_total: Transactions that they took.
    """

    waiting: int
    written_total: int
    refused_total: int
    batches_total: int


@dataclass(slots=True, eq=False)
class _Waiting:
    work: Callable[[Catalog], Any]
    done: trio.Event = field(default_factory=trio.Event)
    result: Any = None
    error: HomeportError | None = None


class BatchWriter:
    """See the module's docstring. Used from one event loop; nothing is written but while `run` runs."""

    def __init__(self, catalog: AsyncCatalog) -> None:
        self._catalog = catalog
        self._waiting: deque[_Waiting] = deque()
        self._has_come = trio.Event()
        self._written = 0
        self._refused = 0
        self._batches = 0

    async def write(self, work: Callable[[Catalog], T]) -> T:
        """Have something written with whatever else waits; its result once that is on disk.

        Args:
            work: In a thread, within a transaction. What it raises undoes what it did, and nothing else.
        Raises:
            LimitExceeded: `writes_waiting`. And what work raises, and AsyncCatalog.write.
        """
        if len(self._waiting) >= DEVICE_WRITE_WAITING_COUNT_MAX:
            raise LimitExceeded(
                f"{DEVICE_WRITE_WAITING_COUNT_MAX} changes by devices wait already.",
                hint="Send it again in some seconds.",
                code="writes_waiting",
            )
        waiting = _Waiting(work)
        self._waiting.append(waiting)
        self._has_come.set()
        # Its deadline is that of the request; `run` answers all within that of a write.
        await waiting.done.wait()
        if waiting.error is not None:
            raise waiting.error
        return cast(T, waiting.result)

    async def run(self) -> None:
        """Write what comes. Runs until cancelled."""
        while True:
            await self._has_come.wait()
            count = min(len(self._waiting), DEVICE_WRITE_BATCH_COUNT_MAX)
            batch = [self._waiting.popleft() for _ in range(count)]
            if not self._waiting:
                self._has_come = trio.Event()
            await self._write(batch)

    async def _write(self, batch: list[_Waiting]) -> None:
        def write(catalog: Catalog) -> None:
            for each in batch:
                _carry_out(catalog, each)

        failed: HomeportError | None = None
        try:
            await self._catalog.write(write, by=BY)
        except HomeportError as error:
            failed = error
        self._batches += 1
        for each in batch:
            each.error = failed or each.error
            if each.error is None:
                self._written += 1
            else:
                self._refused += 1
            each.done.set()

    def statistics(self) -> WriterStatistics:
        return WriterStatistics(
            waiting=len(self._waiting),
            written_total=self._written,
            refused_total=self._refused,
            batches_total=self._batches,
        )


def _carry_out(catalog: Catalog, waiting: _Waiting) -> None:
    try:
        with catalog.part():
            waiting.result = waiting.work(catalog)
    except _OF_THE_CHANGE as error:
        waiting.error = error
