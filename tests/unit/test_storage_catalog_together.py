"""Short reads go together, each with its own answer; whoever gives up takes nobody with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
import trio.testing

from appliance.core.errors import HomeportError, NotFound, Unavailable
from storage.catalog import together as module
from storage.catalog.catalog import Catalog
from storage.catalog.together import TOGETHER_MAX, ReadTogether

CATALOG = cast("Catalog", object())


class Pool:
    """Lends a catalog; is held up for as long as `gate` is shut."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.gate = trio.Event()
        self.error: HomeportError | None = None

    async def lend(self, fn: Callable[[Catalog], list[Any]], *, timeout_ms: int) -> list[Any]:
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        found = fn(CATALOG)
        self.counts.append(len(found))
        return found


async def test_those_that_wait_go_together_and_each_gets_its_own() -> None:
    pool, got = Pool(), dict[int, int]()
    reads = ReadTogether(pool.lend)

    async def read(number: int) -> None:
        got[number] = await reads.read(lambda _catalog: number * 2, timeout_ms=1000)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, 0)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(1, 101):
            nursery.start_soon(read, number)
        await trio.testing.wait_all_tasks_blocked()
        pool.gate.set()
    assert got == {number: number * 2 for number in range(101)}
    assert pool.counts == [1, TOGETHER_MAX, 36]


async def test_an_error_is_whose_it_is() -> None:
    pool, got = Pool(), list[str]()
    pool.gate.set()
    reads = ReadTogether(pool.lend)

    def fail(_catalog: Catalog) -> str:
        raise NotFound("No.", hint="Look.", code="twin_unknown")

    async def read(fn: Callable[[Catalog], str]) -> None:
        try:
            got.append(await reads.read(fn, timeout_ms=1000))
        except NotFound as error:
            got.append(error.code)

    async with trio.open_nursery() as nursery:
        for fn in (fail, lambda _catalog: "a", fail, lambda _catalog: "b"):
            nursery.start_soon(read, fn)
    assert sorted(got) == ["a", "b", "twin_unknown", "twin_unknown"]


async def test_the_time_is_for_all_of_them() -> None:
    pool, got = Pool(), list[str]()
    reads = ReadTogether(pool.lend)

    def slow(_catalog: Catalog) -> str:
        raise Unavailable("Late.", hint="Look.", code="catalog_timeout")

    async def read(fn: Callable[[Catalog], str]) -> None:
        with pytest.raises(Unavailable) as late:
            await reads.read(fn, timeout_ms=1000)
        got.append(late.value.code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: reads.read(lambda _catalog: "first", timeout_ms=1000))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(read, slow)
        nursery.start_soon(read, lambda _catalog: "never")
        await trio.testing.wait_all_tasks_blocked()
        pool.gate.set()
    assert got == ["catalog_timeout"] * 2
    pool.error = Unavailable("Busy.", hint="Look.", code="catalog_busy")
    with pytest.raises(Unavailable, match="Busy"):
        await reads.read(lambda _catalog: 1, timeout_ms=1000)


async def test_whoever_gives_up_takes_nobody_with_it() -> None:
    pool, got = Pool(), list[str]()
    reads = ReadTogether(pool.lend)

    async def read(name: str, scope: trio.CancelScope) -> None:
        with scope:
            got.append(await reads.read(lambda _catalog: name, timeout_ms=1000))

    first, second, third = trio.CancelScope(), trio.CancelScope(), trio.CancelScope()
    async with trio.open_nursery() as nursery:
        for name, scope in (("a", first), ("b", second), ("c", third)):
            nursery.start_soon(read, name, scope)
            await trio.testing.wait_all_tasks_blocked()
        first.cancel()
        await trio.testing.wait_all_tasks_blocked()
        third.cancel()
        await trio.testing.wait_all_tasks_blocked()
        pool.gate.set()
    assert got == ["b"]
    assert not reads._waiting


async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CATALOG_READER_QUEUE_DEPTH_MAX", 1)
    pool = Pool()
    reads = ReadTogether(pool.lend)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: reads.read(lambda _catalog: 1, timeout_ms=1000))
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(Unavailable) as busy:
            await reads.read(lambda _catalog: 1, timeout_ms=1000)
        assert busy.value.code == "catalog_busy"
        pool.gate.set()
