"""Lends connections to functions in threads, with a bound on everything: places, waiting, time.

A `Lender` has a fixed number of connections. Who comes waits for a free one, but no longer than the wait limit and
only while the queue has room; then its function runs in a thread until its time limit, which SQLite enforces by
itself (a progress handler looks at the clock every few thousand steps), as it does when the waiting task was cancelled.
So no thread is ever abandoned with a connection in its hands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import trio

from appliance.core.clock import Clock
from appliance.core.errors import Unavailable
from storage.catalog.catalog import Catalog

T = TypeVar("T")

_STEPS_BETWEEN_LOOKS = 4_000
"""Virtual machine steps, about 0.1 ms: looking costs nothing that can be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LenderStatistics:
    """Numbers of one pool since the start.

    Attributes:
        size: Connections.
        borrowed: Of them in use now.
        waiting: Functions waiting for one now.
        borrowed_max: Most in use at once.
        served_total: Functions that ran.
        refused_total: Turned away because the queue was full or waiting took too long.
        timeouts_total: Interrupted because their time was up.
        leaks_total: Connections that came back within a transaction, which was then rolled back.
        busy_ms_total: Time that connections were in use.
    """

    name: str
    size: int
    borrowed: int
    waiting: int
    borrowed_max: int
    served_total: int
    refused_total: int
    timeouts_total: int
    leaks_total: int
    busy_ms_total: int

    @property
    def utilization_ratio(self) -> float:
        """Share of the connections in use now, 0..1."""
        return self.borrowed / self.size


class Lender:
    """See the module's docstring.

    Args:
        connect: Opens one connection; called in a thread when one more is needed.
        size: Most connections.
        queue_depth_max: Most functions waiting.
        wait_timeout_ms: Longest wait for a connection.
        opened: Connections to begin with, at most `size`.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Catalog],
        *,
        clock: Clock,
        size: int,
        queue_depth_max: int,
        wait_timeout_ms: int,
        opened: Sequence[Catalog] = (),
    ) -> None:
        self._name = name
        self._connect = connect
        self._clock = clock
        self._size = size
        self._queue_depth_max = queue_depth_max
        self._wait_timeout_ms = wait_timeout_ms
        self._places = trio.CapacityLimiter(size)
        self._threads = trio.CapacityLimiter(size)
        self._idle = list(opened)
        self._closed = False
        self._borrowed_max = self._served = self._refused = self._timeouts = self._leaks = self._busy_ms = 0

    async def lend(self, fn: Callable[[Catalog], T], *, timeout_ms: int) -> T:
        """Run a function with a connection in a thread.

        Args:
            fn: Must not keep the connection or a cursor of it.
            timeout_ms: For its queries.
        Raises:
            Unavailable: `catalog_busy` (queue full or waited too long), `catalog_timeout`, `catalog_closed`.
        """
        if self._places.statistics().tasks_waiting >= self._queue_depth_max:
            raise self._refuse(f"{self._queue_depth_max} requests are waiting already")
        borrower = object()
        with trio.move_on_after(self._wait_timeout_ms / 1000) as waiting:
            await self._places.acquire_on_behalf_of(borrower)
        if waiting.cancelled_caught:
            raise self._refuse(f"none was free for {self._wait_timeout_ms} ms")
        try:
            if self._closed:
                raise Unavailable(
                    "The catalog is closed.", hint="The node is stopping; try again.", code="catalog_closed"
                )
            self._borrowed_max = max(self._borrowed_max, self._places.borrowed_tokens)
            return await trio.to_thread.run_sync(self._run, fn, timeout_ms, limiter=self._threads)
        finally:
            self._places.release_on_behalf_of(borrower)

    def _refuse(self, why: str) -> Unavailable:
        self._refused += 1
        return Unavailable(
            f"The catalog has no free connection ({self._name}): {why}.",
            hint="Try again in a few seconds; if it stays so, look at homeport_catalog_pool_utilization.",
            code="catalog_busy",
        )

    def _run(self, fn: Callable[[Catalog], T], timeout_ms: int) -> T:
        started_ms = self._clock.mono_ms()
        try:
            # list.pop and append are atomic; at most `size` threads are here at once.
            catalog = self._idle.pop()
        except IndexError:
            catalog = self._connect()
        connection = catalog.connection

        def time_is_up() -> bool:
            if self._clock.mono_ms() - started_ms > timeout_ms:
                return True
            try:
                trio.from_thread.check_cancelled()
            except trio.Cancelled:
                return True
            return False

        connection.set_progress_handler(time_is_up, _STEPS_BETWEEN_LOOKS)
        try:
            result = fn(catalog)
            self._served += 1
            return result
        except Unavailable as error:
            # If it was cancelled rather than too slow, this raises trio.Cancelled instead.
            trio.from_thread.check_cancelled()
            self._timeouts += error.code == "catalog_timeout"
            raise
        finally:
            connection.set_progress_handler(None, 0)
            if connection.in_transaction:
                self._leaks += 1
                connection.rollback()
            self._busy_ms += self._clock.mono_ms() - started_ms
            self._idle.append(catalog)

    async def aclose(self) -> None:
        """Wait until every connection is back, then close them."""
        self._closed = True
        # What has begun ends within its time limit, so this wait does too.
        with trio.CancelScope(shield=True):
            keepers = [object() for _ in range(self._size)]
            for keeper in keepers:
                await self._places.acquire_on_behalf_of(keeper)
            while self._idle:
                await trio.to_thread.run_sync(self._idle.pop().close)
            for keeper in keepers:
                self._places.release_on_behalf_of(keeper)

    def statistics(self) -> LenderStatistics:
        places = self._places.statistics()
        return LenderStatistics(
            name=self._name,
            size=self._size,
            borrowed=places.borrowed_tokens,
            waiting=places.tasks_waiting,
            borrowed_max=self._borrowed_max,
            served_total=self._served,
            refused_total=self._refused,
            timeouts_total=self._timeouts,
            leaks_total=self._leaks,
            busy_ms_total=self._busy_ms,
        )
