"""Changing by what the log is read: the catalog gets a new set, the pipeline follows it, and no record is read twice over.

Theory of operation. A change holds the pipeline up at the log's head, writes the set that holds from there in the
same transaction as the change itself, and then lets go, with whatever sets the catalog has by then (settled.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import trio

from appliance.core.errors import LimitExceeded
from appliance.core.limits import TRY_OUT_WAITING_COUNT_MAX
from appliance.management.audit import Act
from appliance.management.mapping import DEFAULT_MAPPINGS, TopicMapping
from appliance.management.mapping_history import BEGINNING, MappingHistory, MappingSet
from appliance.pipeline.mapping_sets import MappingSets
from appliance.pipeline.settled import read_settled
from storage.catalog import AsyncCatalog, Catalog
from storage.log.source import LogSource

_BY_NODE: Final = Act(action="mapping.take_over")


class MappingDesk:
    """Make it with `opened`. From the event loop.

    Args:
        reader: Of the log, for this desk alone.
        configured: The configuration's mappings; with the default ones behind them they come after the operators'.
    """

    def __init__(
        self,
        catalog: AsyncCatalog,
        reader: LogSource,
        configured: Sequence[TopicMapping],
        sets: MappingSets,
    ) -> None:
        self._catalog = catalog
        self._reader = reader
        self.configured = tuple(configured)
        self.sets = sets
        self._limiter = trio.CapacityLimiter(1)
        self._turn = trio.Lock()

    @staticmethod
    async def opened(
        catalog: AsyncCatalog, reader: LogSource, configured: Sequence[TopicMapping]
    ) -> MappingDesk:
        """Before the pipeline runs: a configuration that was changed is a new set, from the log's head on.

        Raises:
            StorageError, Unavailable: the catalog or the log's head can't be read.
        """
        fixed = (*configured, *DEFAULT_MAPPINGS)

        def take_over(writer: Catalog, position: tuple[int, int], first_seq: int) -> list[MappingSet]:
            writer.put_mapping_set(position, (*writer.mappings_in_force(), *fixed), first_seq=first_seq)
            return writer.list_mapping_sets()

        head = await trio.to_thread.run_sync(reader.head)
        first_seq = await trio.to_thread.run_sync(reader.first_seq)
        position = max((head.epoch, head.next_seq), BEGINNING)
        found = await catalog.write(lambda writer: take_over(writer, position, first_seq), by=_BY_NODE)
        return MappingDesk(catalog, reader, configured, MappingSets(MappingHistory(found)))

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[Callable[[Catalog], None]]:
        """Around a transaction that changes mappings; one at a time.

        Yields:
            What to call at the end of the transaction: it adds the set that the mappings are then.
        Raises:
            LogDamaged: the log's head can't be read; nothing was changed. LimitExceeded: `mapping_changes_waiting`.
        """
        if self._turn.statistics().tasks_waiting >= TRY_OUT_WAITING_COUNT_MAX:
            raise LimitExceeded(
                "Several changes of mappings wait for the one that is under way.",
                hint="The disk is slow or busy: change it again in a minute.",
                code="mapping_changes_waiting",
            )
        async with self._turn:
            first_seq = await trio.to_thread.run_sync(self._reader.first_seq, limiter=self._limiter)
            position = await trio.to_thread.run_sync(
                self.sets.hold, self._head, limiter=self._limiter, abandon_on_cancel=False
            )

            def record(writer: Catalog) -> None:
                mappings = (*writer.mappings_in_force(), *self.configured, *DEFAULT_MAPPINGS)
                writer.put_mapping_set(position, mappings, first_seq=first_seq)

            try:
                yield record
            finally:
                with trio.CancelScope(shield=True):
                    self.sets.release(await self._new_sets())

    def _head(self) -> tuple[int, int]:
        head = self._reader.head()
        return max((head.epoch, head.next_seq), BEGINNING)

    async def _new_sets(self) -> list[MappingSet]:
        """The sets that the pipeline doesn't know yet."""
        known = self.sets.newest.number
        return await read_settled(
            self._catalog, lambda writer: writer.list_mapping_sets(after=known), by=_BY_NODE
        )
