"""A loop of asyncio in a thread of its own, for a library that wants one; asked from trio.

What is cancelled in trio is cancelled there, and waited for: no call outlives its asker, and no thread the `async with`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from threading import Thread
from typing import Any, TypeVar, cast

import outcome
import trio

T = TypeVar("T")


class AsyncioThread:
    """Runs coroutines of asyncio for tasks of trio."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await in the loop's thread what `work` gives there, and return it.

        Raises:
            whatever it raises.
        """
        asker, token = trio.lowlevel.current_task(), trio.lowlevel.current_trio_token()
        begun: list[asyncio.Task[T]] = []

        async def awaited() -> T:
            return await work()

        def begin() -> None:
            task = self._loop.create_task(awaited())
            begun.append(task)
            task.add_done_callback(tell)

        def tell(task: asyncio.Task[T]) -> None:
            token.run_sync_soon(trio.lowlevel.reschedule, asker, _outcome_of(task, cancelled))

        cancelled: list[Callable[[], Any]] = []

        def give_up(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            cancelled.append(raise_cancel)
            self._loop.call_soon_threadsafe(lambda: begun[0].cancel())
            return trio.lowlevel.Abort.FAILED

        await trio.lowlevel.checkpoint_if_cancelled()
        self._loop.call_soon_threadsafe(begin)
        return cast(T, await trio.lowlevel.wait_task_rescheduled(give_up))


def _outcome_of(task: asyncio.Task[T], cancelled: list[Callable[[], Any]]) -> outcome.Outcome[Any]:
    if task.cancelled():
        # Only who gave up cancels.
        told: outcome.Outcome[Any] = outcome.capture(cancelled[0])
        return told
    error = task.exception()
    return outcome.Value(task.result()) if error is None else outcome.Error(error)


@asynccontextmanager
async def asyncio_thread(name: str) -> AsyncIterator[AsyncioThread]:
    """Run the loop until the end of the `async with`; nobody may be asking any more then.

    Args:
        name: Of the thread, for who looks at a process.
    """
    loop = asyncio.new_event_loop()
    thread = Thread(target=_serve, args=(loop,), name=name, daemon=True)
    thread.start()
    try:
        yield AsyncioThread(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(thread.join)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(_end_rest())
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _end_rest() -> Coroutine[Any, Any, None]:
    """End what the library began by itself."""
    rest = [task for task in asyncio.all_tasks(asyncio.get_event_loop()) if not task.done()]

    async def ended() -> None:
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    return ended()
