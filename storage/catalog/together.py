"""Short reads of many tasks in one thread: what waits while a thread is away goes with the next, so nothing waits longer than by itself.

A thread and back costs a short read several times what it takes itself, and a thousand devices that come back ask two thousand times. A lone
read goes at once. Whoever is first in the queue sends the thread off; if it is cancelled, what the thread found counts for
nothing and the next in the queue asks anew: reads can be repeated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar, cast

import trio

from appliance.core.errors import HomeportError, Unavailable
from appliance.core.limits import CATALOG_READER_QUEUE_DEPTH_MAX
from storage.catalog.catalog import Catalog

T = TypeVar("T")
TOGETHER_MAX: Final = 64
"""Read by one thread: at 20 to 100 µs each, up to 6 ms."""


class Lend(Protocol):
    """Runs a function with a connection in a thread (lending.Lender.lend)."""

    def __call__(self, fn: Callable[[Catalog], list[Any]], *, timeout_ms: int) -> Awaitable[list[Any]]: ...


@dataclass(frozen=True, slots=True)
class _Found:
    """What a read gave, or raised."""

    value: Any
    error: HomeportError | None = None


@dataclass(slots=True, eq=False)
class _Read:
    """One that waits; `found` is there when `woken` is set, or it is this one's turn to ask."""

    fn: Callable[[Catalog], Any]
    found: _Found | None = None
    woken: trio.Event = field(default_factory=trio.Event)


class ReadTogether:
    """See the module's docstring."""

    def __init__(self, lend: Lend) -> None:
        self._lend = lend
        self._waiting: deque[_Read] = deque()
        self._is_reading = False

    async def read(self, fn: Callable[[Catalog], T], *, timeout_ms: int) -> T:
        """Run a short reading function.

        Args:
            timeout_ms: For all that go together.
        Raises:
            Unavailable: as `Lender.lend`; and what fn raises.
        """
        if len(self._waiting) >= CATALOG_READER_QUEUE_DEPTH_MAX:
            raise Unavailable(
                f"The catalog is asked too much: {len(self._waiting)} requests are waiting already.",
                hint="Try again in a few seconds.",
                code="catalog_busy",
            )
        read = _Read(fn)
        self._waiting.append(read)
        try:
            while read.found is None:
                if self._is_reading:
                    await read.woken.wait()
                    read.woken = trio.Event()
                else:
                    await self._read_some(timeout_ms)
        finally:
            if read.found is None:
                self._waiting.remove(read)
            self._wake_first()
        if read.found.error is not None:
            raise read.found.error
        return cast("T", read.found.value)

    async def _read_some(self, timeout_ms: int) -> None:
        """Read for the first in the queue; they stay in it until there are answers."""
        asked = [self._waiting[index] for index in range(min(len(self._waiting), TOGETHER_MAX))]
        self._is_reading = True
        try:
            found = await self._lend(lambda catalog: _read_all(asked, catalog), timeout_ms=timeout_ms)
        except HomeportError as error:
            found = [_Found(None, error)] * len(asked)
        finally:
            self._is_reading = False
        for read, each in zip(asked, found, strict=True):
            # Who has given up meanwhile is not in the queue any more.
            read.found = each
            read.woken.set()
        while self._waiting and self._waiting[0].found is not None:
            self._waiting.popleft()

    def _wake_first(self) -> None:
        """Somebody has to send off the next thread."""
        if self._waiting and not self._is_reading:
            self._waiting[0].woken.set()


def _read_all(asked: Sequence[_Read], catalog: Catalog) -> list[_Found]:
    """In a thread. What is not one of our errors is a mistake of ours, and ends whoever sent the thread."""
    found = []
    for read in asked:
        try:
            found.append(_Found(read.fn(catalog)))
        except HomeportError as error:
            if error.code == "catalog_timeout":
                raise  # The time was for all of them.
            found.append(_Found(None, error))
    return found
