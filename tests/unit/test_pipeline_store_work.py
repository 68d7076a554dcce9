"""Work for the store's writer between two batches: in order, answered, refused when there is too much."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from appliance.core.errors import LimitExceeded, StorageError
from appliance.core.limits import STORE_WORK_COUNT_MAX
from appliance.pipeline.store_work import StoreWork
from storage.telemetry.store import TelemetryStore


async def at_once(call: Callable[[], None]) -> None:
    call()


async def test_in_order_and_answered(tmp_path: Path) -> None:
    woken: list[int] = []
    store = TelemetryStore.open(tmp_path / "t.duckdb")
    work = StoreWork(lambda: woken.append(1))
    answers: list[Any] = []

    async def ask(number: int) -> None:
        answers.append(await work.run(lambda given: (number, given is store)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 1)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, 2)
        await trio.testing.wait_all_tasks_blocked()
        assert len(work) == 2
        assert await work.turn(at_once, store)
        await trio.testing.wait_all_tasks_blocked()
        assert await work.turn(at_once, store)
        assert not await work.turn(at_once, store)
    assert answers == [(1, True), (2, True)]
    assert (len(woken), work.done_total) == (2, 2)
    store.close()


async def test_an_error_is_the_askers(tmp_path: Path) -> None:
    store = TelemetryStore.open(tmp_path / "t.duckdb")
    work = StoreWork(lambda: None)

    def fail(_: TelemetryStore) -> None:
        raise StorageError("no", hint="none")

    async def ask() -> None:
        with pytest.raises(StorageError, match="no"):
            await work.run(fail)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert await work.turn(at_once, store)
    store.close()


async def test_what_nobody_waits_for_is_not_done(tmp_path: Path) -> None:
    store = TelemetryStore.open(tmp_path / "t.duckdb")
    work = StoreWork(lambda: None)
    done: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work.run, lambda _: done.append(1))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert not await work.turn(at_once, store)
    assert done == []
    store.close()


async def test_too_much_is_refused() -> None:
    work = StoreWork(lambda: None)
    async with trio.open_nursery() as nursery:
        for _ in range(STORE_WORK_COUNT_MAX):
            nursery.start_soon(work.run, lambda _: None)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LimitExceeded) as caught:
            await work.run(lambda _: None)
        assert caught.value.code == "store_work_count_max"
        nursery.cancel_scope.cancel()
