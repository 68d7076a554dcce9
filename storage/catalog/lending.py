"""Lends connections to functions in threads, with a bound on everything: places, waiting, time.

A `Lender` has a fixed number of connections. Who comes waits for a free one, but no longer than the wait limit and
only while the queue has room; then its function runs in a thread until its time limit, which SQLite enforces by
itself (a progress handler looks at the clock every few thousand steps), as it does when the waiting task was cancelled.

What SQLite can't end (a disk that does not answer, a lock that it waits for) does not hold up whoever waits: they are
told `catalog_timeout` CATALOG_GRACE_MS after the limit. The thread keeps its connection and its place until it ends, and
`statistics` says who that is, where they borrowed it and for how long. So a stuck disk uses up a pool, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import trio

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import Unavailable
from appliance.core.limits import CATALOG_CLOSE_TIMEOUT_MS, CATALOG_GRACE_MS
from storage.catalog.catalog import Catalog
from storage.catalog.loans import Borrower, Loan, place_of

T = TypeVar("T")

_STEPS_BETWEEN_LOOKS = 4_000
"""Virtual machine steps, about 0.1 ms: looking costs nothing that can be measured."""

_log = logs.get(__name__)


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
        timeouts_total: Interrupted or left because their time was up.
        left_total: Of them those that SQLite could not end, and that whoever waited for them has left.
        leaks_total: Connections that came back within a transaction, which was then rolled back.
        last_leak: Who that was last; "" for nobody.
        busy_ms_total: Time that connections were in use, up to now.
        borrowers: Who has one now, longest first.
    """

    name: str
    size: int
    borrowed: int
    waiting: int
    borrowed_max: int
    served_total: int
    refused_total: int
    timeouts_total: int
    left_total: int
    leaks_total: int
    last_leak: str
    busy_ms_total: int
    borrowers: tuple[Borrower, ...]

    @property
    def utilization_ratio(self) -> float:
        """Share of the connections in use now, 0..1."""
        return self.borrowed / self.size

    @property
    def overdue(self) -> tuple[Borrower, ...]:
        """Those who have had one for longer than they may."""
        return tuple(each for each in self.borrowers if each.is_overdue)


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
        # Places are the bound: whoever starts a thread has one.
        self._threads = trio.CapacityLimiter(math.inf)
        self._loans: dict[Loan, None] = {}
        self._idle = list(opened)
        self._closed = False
        self._numbered = self._borrowed_max = self._served = self._refused = 0
        self._timeouts = self._left = self._leaks = 0
        self._last_leak = ""
        self._busy_ms = 0
        self._counted_at_mono_ms = clock.mono_ms()

    async def lend(
        self,
        fn: Callable[[Catalog], T],
        *,
        timeout_ms: int,
        who: str = "",
        when_left: Callable[[T], None] | None = None,
    ) -> T:
        """Run a function with a connection in a thread.

        Args:
            fn: Must not keep the connection or a cursor of it.
            timeout_ms: For its queries.
            who: Who borrows, for people; found out from fn if left out.
            when_left: Told the result, in the event loop, if the function ends well after this was given up or cancelled.
        Raises:
            Unavailable: `catalog_busy` (queue full or waited too long), `catalog_timeout`, `catalog_closed`.
        """
        if self._places.statistics().tasks_waiting >= self._queue_depth_max:
            raise self._refuse(f"{self._queue_depth_max} requests are waiting already")
        self._numbered += 1
        loan = Loan(self._numbered, who or place_of(fn), timeout_ms, when_left)
        with trio.move_on_after(self._wait_timeout_ms / 1000) as waiting:
            await self._places.acquire_on_behalf_of(loan)
        if waiting.cancelled_caught:
            raise self._refuse(f"none was free for {self._wait_timeout_ms} ms")
        if self._closed:
            self._places.release_on_behalf_of(loan)
            raise Unavailable(
                "The catalog is closed.", hint="The node is stopping; try again.", code="catalog_closed"
            )
        self._count_busy()
        loan.began_mono_ms = self._clock.mono_ms()
        self._loans[loan] = None
        self._borrowed_max = max(self._borrowed_max, len(self._loans))
        token = trio.lowlevel.current_trio_token()
        has_ended = False
        try:
            with trio.move_on_after((timeout_ms + CATALOG_GRACE_MS) / 1000):
                result = await trio.to_thread.run_sync(
                    self._run, loan, fn, token, limiter=self._threads, abandon_on_cancel=True
                )
                has_ended = True
                return result
        finally:
            if not has_ended:
                self._leave(loan)
        self._timeouts += 1
        self._left += 1
        raise Unavailable(
            f"The catalog did not answer within {timeout_ms} ms, and is still at it.",
            hint="Look again before you repeat it: it may still be done. If it stays so, look at the catalog's disk.",
            code="catalog_timeout",
        )

    def _leave(self, loan: Loan) -> None:
        if loan.claim():
            self._give_back(loan)
        else:
            loan.leave()

    def _give_back(self, loan: Loan) -> None:
        self._count_busy()
        del self._loans[loan]
        self._places.release_on_behalf_of(loan)
        loan.over()

    def _count_busy(self) -> None:
        now_ms = self._clock.mono_ms()
        self._busy_ms += len(self._loans) * (now_ms - self._counted_at_mono_ms)
        self._counted_at_mono_ms = now_ms

    def _refuse(self, why: str) -> Unavailable:
        self._refused += 1
        return Unavailable(
            f"The catalog has no free connection ({self._name}): {why}.",
            hint="Try again in a few seconds; if it stays so, look at db_connection_pool_utilization.",
            code="catalog_busy",
        )

    def _run(self, loan: Loan, fn: Callable[[Catalog], T], token: trio.lowlevel.TrioToken) -> T:
        """In a thread."""
        if not loan.claim():
            # Called off before it began; nobody waits for this.
            raise Unavailable("The loan was called off.", hint="Try again.", code="catalog_timeout")
        try:
            result = self._lent(loan, fn)
            loan.result = (result,)
            return result
        finally:
            try:
                token.run_sync_soon(self._give_back, loan)
            except trio.RunFinishedError:
                # The event loop has ended without this thread (aclose says who it was): nobody counts places any more.
                loan.is_over = True

    def _lent(self, loan: Loan, fn: Callable[[Catalog], T]) -> T:
        try:
            # list.pop and append are atomic; at most `size` threads are here at once.
            catalog = self._idle.pop()
        except IndexError:
            catalog = self._connect()
        connection = catalog.connection

        def time_is_up() -> bool:
            if self._clock.mono_ms() - loan.began_mono_ms > loan.timeout_ms:
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
            try:
                connection.set_progress_handler(None, 0)
                if connection.in_transaction:
                    self._leaks += 1
                    self._last_leak = loan.who
                    _log.error("a connection came back within a transaction", pool=self._name, who=loan.who)
                    connection.rollback()
            finally:
                # Whatever went wrong: the writer's is the only one there is.
                self._idle.append(catalog)

    async def aclose(self) -> None:
        """Wait until every connection is back, for CATALOG_CLOSE_TIMEOUT_MS at most, then close them."""
        self._closed = True
        with trio.CancelScope(shield=True):
            keepers = [object() for _ in range(self._size)]
            with trio.move_on_after(CATALOG_CLOSE_TIMEOUT_MS / 1000) as waiting:
                for keeper in keepers:
                    await self._places.acquire_on_behalf_of(keeper)
            if waiting.cancelled_caught:
                # A disk that does not answer must not keep the node from stopping: SQLite's files stand a SIGKILL too.
                for each in self.statistics().borrowers:
                    _log.error("a connection did not come back", pool=self._name, who=each.who)
            while self._idle:
                await trio.to_thread.run_sync(self._idle.pop().close)
            for keeper in keepers:
                if keeper in self._places.statistics().borrowers:
                    self._places.release_on_behalf_of(keeper)

    def statistics(self) -> LenderStatistics:
        places = self._places.statistics()
        self._count_busy()
        now_ms = self._clock.mono_ms()
        return LenderStatistics(
            name=self._name,
            size=self._size,
            borrowed=len(self._loans),
            waiting=places.tasks_waiting,
            borrowed_max=self._borrowed_max,
            served_total=self._served,
            refused_total=self._refused,
            timeouts_total=self._timeouts,
            left_total=self._left,
            leaks_total=self._leaks,
            last_leak=self._last_leak,
            busy_ms_total=self._busy_ms,
            borrowers=tuple(loan.borrower(now_ms) for loan in self._loans),
        )
