"""Changing rules: a change holds from the log's head on, and no reading is evaluated by two sets.

As for mappings: the change holds reading up at the head, is written with that position, and then lets go with whatever the catalog has by then.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from appliance.core.errors import LimitExceeded
from appliance.core.limits import TRY_OUT_WAITING_COUNT_MAX
from appliance.management.audit import Act
from appliance.management.mapping_history import BEGINNING
from appliance.pipeline.head_gate import Position
from appliance.pipeline.rule_sets import RuleSets
from appliance.pipeline.settled import read_settled
from storage.catalog import AsyncCatalog
from storage.log.head import Head

_BY_NODE: Final = Act(action="rule.take_over")


class RuleSetDesk:
    """Make it with `opened`. From the event loop.

    Args:
        head: Reads the durable head: (epoch, next sequence); may block, so it is called in a thread.
        changed: Told when other rules hold.
    """

    def __init__(
        self,
        catalog: AsyncCatalog,
        head: Callable[[], Position],
        sets: RuleSets,
        *,
        changed: Callable[[], object] = lambda: None,
    ) -> None:
        self._catalog = catalog
        self._head = head
        self.sets = sets
        self._changed = changed
        self._turn = trio.Lock()
        self._limiter = trio.CapacityLimiter(1)

    @staticmethod
    async def opened(catalog: AsyncCatalog, head: Callable[[], Position]) -> RuleSetDesk:
        """With all versions that the catalog has. Raises StorageError, Unavailable."""
        versions = await catalog.read(lambda reader: reader.list_rule_versions())
        return RuleSetDesk(catalog, head, RuleSets(versions))

    def when_changed(self, changed: Callable[[], object]) -> None:
        """Have somebody told when other rules hold."""
        self._changed = changed

    @asynccontextmanager
    async def changing(self) -> AsyncIterator[Position]:
        """Around a transaction that changes rules, one at a time; what was written holds when it is left.

        Yields:
            (epoch, sequence) of the first record that the change may hold for.
        Raises:
            LimitExceeded: `rule_changes_waiting`. LogDamaged: the log's head can't be read; nothing was changed.
        """
        if self._turn.statistics().tasks_waiting >= TRY_OUT_WAITING_COUNT_MAX:
            raise LimitExceeded(
                "Several changes of rules wait for the one that is under way.",
                hint="The disk is slow or busy: change it again in a minute.",
                code="rule_changes_waiting",
            )
        async with self._turn:
            position = await trio.to_thread.run_sync(
                self.sets.gate.hold,
                lambda: max(self._head(), BEGINNING),
                limiter=self._limiter,
                abandon_on_cancel=False,
            )
            try:
                yield position
            finally:
                with trio.CancelScope(shield=True):
                    known = self.sets.newest_number
                    new = await read_settled(
                        self._catalog, lambda writer: writer.list_rule_versions(after=known), by=_BY_NODE
                    )
                    self.sets.gate.release(lambda: self.sets.add(new))
                self._changed()


def position_of(head: Head) -> Position:
    """Of the first record that isn't there yet."""
    return head.epoch, head.next_seq
