"""Coroutines on the virtual clock: what asks regions of the tier is written for trio, and runs here unchanged.

A coroutine waits by giving a number of ms to whoever drives it; what drives it calls it again then, if the process whose it is still lives, or
ends its wait where its time is up. Guarantees: no step is taken but by the scheduler, so a seed decides the order; a coroutine of a process
that ended runs no further than its own cleaning up.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import trio

from replication.tier.waiting import CURRENT

Result = TypeVar("Result")
THREAD_MS: Final = 2
"""What is done in a thread takes so long."""


class Clock(Protocol):
    """When to go on (scheduler.py, or a body while it lives)."""

    def after(self, delay_ms: int, call: Callable[[], None]) -> None: ...


@dataclass(eq=False)
class _Deadline:
    at_ms: int


class _TimeIsUp(BaseException):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self.deadline = deadline


class Killed(BaseException):
    """The process ended."""


class Task:
    """One coroutine on its way; it waits as `Waits` (replication/tier/waiting.py) says.

    Args:
        clock: Calls back only while the process lives; a process that stands still is called later.
        now_ms: The time.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, None], clock: Clock, now_ms: Callable[[], int]) -> None:
        self._coroutine = coroutine
        self._clock = clock
        self._now_ms = now_ms
        self._deadlines: list[_Deadline] = []
        self.is_over = False

    def step(self, error: BaseException | None = None) -> None:
        """Run on until it waits again, or ends."""
        token = CURRENT.set(self)
        try:
            delay_ms = self._coroutine.throw(error) if error is not None else self._coroutine.send(None)
        except StopIteration:
            self.is_over = True
            return
        finally:
            CURRENT.reset(token)
        at_ms = self._now_ms() + delay_ms
        first = min(self._deadlines, key=lambda each: each.at_ms, default=None)
        if first is not None and first.at_ms <= at_ms:
            self._clock.after(max(0, first.at_ms - self._now_ms()), lambda: self.step(_TimeIsUp(first)))
        else:
            self._clock.after(delay_ms, self.step)

    def kill(self) -> None:
        """Its process is gone: it ends here and now."""
        token = CURRENT.set(self)
        try:
            while not self.is_over:
                self._coroutine.throw(Killed())
        except (Killed, StopIteration):
            self.is_over = True
        finally:
            CURRENT.reset(token)

    # --- As Waits -------------------------------------------------------------------------------------------------

    def now_s(self) -> float:
        return self._now_ms() / 1000

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        deadline = _Deadline(self._now_ms() + int(seconds * 1000))
        self._deadlines.append(deadline)
        try:
            yield
        except _TimeIsUp as up:
            if up.deadline is deadline:
                raise trio.TooSlowError from None
            raise
        finally:
            self._deadlines.remove(deadline)

    async def sleep(self, seconds: float) -> None:
        await _pause(int(seconds * 1000))

    async def in_thread(
        self, work: Callable[[], Result], limiter: trio.CapacityLimiter | None = None
    ) -> Result:
        await _pause(THREAD_MS)
        return work()

    async def together(self, calls: Sequence[Callable[[], Awaitable[None]]]) -> None:
        for call in calls:
            await call()


@types.coroutine
def _pause(delay_ms: int) -> Generator[int, None, None]:
    yield delay_ms
