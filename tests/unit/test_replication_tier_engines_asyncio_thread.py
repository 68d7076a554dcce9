"""A loop of asyncio beside trio: what it gives and raises comes over, what is cancelled ends there, and nothing is left of it."""

from __future__ import annotations

import asyncio
import threading

import pytest
import trio

from replication.tier.engines.asyncio_thread import asyncio_thread


async def test_what_it_gives_and_raises_comes_over() -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return 2 * number

    async def fail() -> None:
        raise ValueError("no")

    async with asyncio_thread("test-loop") as thread:
        assert await thread.run(lambda: double(4)) == 8
        with pytest.raises(ValueError, match="no"):
            await thread.run(fail)
        assert await thread.run(lambda: double(5)) == 10


async def test_who_gives_up_ends_the_work_and_waits_for_its_end() -> None:
    ended: list[str] = []
    begun = threading.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("here")

    async with asyncio_thread("test-loop") as thread:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(thread.run, work)
            await trio.to_thread.run_sync(begun.wait)
            nursery.cancel_scope.cancel()
        assert ended == ["here"]
        with trio.CancelScope() as scope:
            scope.cancel()
            await thread.run(work)
        assert scope.cancelled_caught


async def test_what_was_done_before_it_was_given_up_is_not_lost() -> None:
    release = threading.Event()
    begun = threading.Event()

    async def work() -> int:
        begun.set()
        release.wait()  # the loop is busy: the cancelling comes after the end
        return 7

    got: list[int] = []
    async with asyncio_thread("test-loop") as thread:

        async def ask() -> None:
            got.append(await thread.run(work))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.to_thread.run_sync(begun.wait)
            nursery.cancel_scope.cancel()
            release.set()
    assert got == [7]


async def test_nothing_is_left_of_it() -> None:
    rest: list[asyncio.Task[None]] = []

    async def leave() -> None:
        rest.append(asyncio.ensure_future(asyncio.sleep(3_600)))

    async with asyncio_thread("test-loop") as thread:
        await thread.run(leave)
    assert rest[0].cancelled()
    assert "test-loop" not in {one.name for one in threading.enumerate()}
