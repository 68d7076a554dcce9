"""How the tier's coroutines wait: for time, for a thread, for each other. Trio's way as a rule; a simulation has its own.

As trio itself does, whoever runs a coroutine says so around it, and what waits in it asks here. So what asks regions, audits them and restores from
them is one code on a real clock and on a virtual one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Final, Protocol, TypeVar

import trio

Result = TypeVar("Result")


class Waits(Protocol):
    """One way of waiting."""

    def now_s(self) -> float:
        """The monotonic time, s."""
        ...

    def within(self, seconds: float) -> AbstractContextManager[object]:
        """What takes longer ends with `trio.TooSlowError`."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let so much time pass; 0 lets others go on."""
        ...

    async def in_thread(
        self, work: Callable[[], Result], limiter: trio.CapacityLimiter | None = None
    ) -> Result:
        """Have something done that blocks, and give what it returns or raises."""
        ...

    async def together(self, calls: Sequence[Callable[[], Awaitable[None]]]) -> None:
        """Do several things, at the same time if that can be."""
        ...


class TrioWaits:
    """Trio's way."""

    def now_s(self) -> float:
        return trio.current_time()

    def within(self, seconds: float) -> AbstractContextManager[object]:
        return trio.fail_after(seconds)

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def in_thread(
        self, work: Callable[[], Result], limiter: trio.CapacityLimiter | None = None
    ) -> Result:
        return await trio.to_thread.run_sync(work, limiter=limiter)

    async def together(self, calls: Sequence[Callable[[], Awaitable[None]]]) -> None:
        async with trio.open_nursery() as nursery:
            for call in calls:
                nursery.start_soon(call)


CURRENT: Final[ContextVar[Waits]] = ContextVar("tier_waits", default=TrioWaits())  # noqa: B039 - it has no state
"""Set around each step of a coroutine by whoever runs it otherwise than trio."""


def waits() -> Waits:
    """As whoever runs this coroutine waits."""
    return CURRENT.get()
