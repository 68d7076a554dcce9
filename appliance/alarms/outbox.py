"""Where what rules found waits until the catalog has it: the store's outbox, as the desk sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from appliance.management.rule_transition import Transition


@dataclass(frozen=True, slots=True)
class OutboxRows:
    """What waits.

    Attributes:
        store_id: Whose numbers these are; another one after a store was begun anew.
        rows: Number and transition, in their order.
    """

    store_id: str
    rows: Sequence[tuple[int, Transition]]


class Outbox(Protocol):
    """Written in the transaction of the readings that were found to be so."""

    async def read_after(self, store_id: str, number: int, limit: int) -> OutboxRows:
        """What waits after a number.

        Args:
            store_id, number: The last row that was taken over; of another store all rows wait.
        Raises:
            Unavailable: the store is away, or rebuilt: later is right.
        """

    async def forget_through(self, store_id: str, number: int) -> None:
        """Rows up to that number are in the catalog. Nothing happens where the store is another one. Raises as `read_after`."""


class NoOutbox:
    """Of a node whose rules are switched off: nothing is ever found."""

    async def read_after(self, store_id: str, number: int, limit: int) -> OutboxRows:
        return OutboxRows(store_id, ())

    async def forget_through(self, store_id: str, number: int) -> None:
        return None
