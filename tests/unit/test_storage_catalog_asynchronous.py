"""The catalog in an event loop: bulkheads, bounded queues, time limits, and who is told of changes."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.core.clock import SystemClock
from appliance.core.errors import Conflict, Unavailable, UsageError
from appliance.core.limits import CATALOG_READER_COUNT
from storage.catalog import AsyncCatalog, Catalog, Change
from storage.catalog.lending import Lender
from tests.acts import ACT

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@asynccontextmanager
async def _catalog(tmp_path: Path) -> AsyncIterator[AsyncCatalog]:
    async with AsyncCatalog.opened(
        tmp_path / "catalog.db", clock=SystemClock(), node_id=bytes(16)
    ) as catalog:
        yield catalog


class Gate:
    """Holds functions in their threads until it is opened."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self, catalog: Catalog) -> None:
        assert self._event.wait(30)

    def open(self) -> None:
        self._event.set()


async def test_what_was_written_is_read_in_every_pool(tmp_path: Path) -> None:
    async with _catalog(tmp_path) as catalog:
        await catalog.write(lambda writer: writer.add_device("d"), by=ACT)
        assert await catalog.read(lambda reader: reader.device_ids()) == ["d"]
        assert await catalog.read(lambda reader: reader.device_ids(), pool="pipeline") == ["d"]
        assert await catalog.read(lambda reader: reader.device_ids(), pool="auth") == ["d"]


async def test_a_write_is_one_transaction(tmp_path: Path) -> None:
    def two(writer: Catalog) -> None:
        writer.add_device("a")
        writer.add_device("a")

    async with _catalog(tmp_path) as catalog:
        with pytest.raises(Conflict):
            await catalog.write(two, by=ACT)
        assert await catalog.read(lambda reader: reader.device_ids()) == []


async def test_reading_functions_can_not_write(tmp_path: Path) -> None:
    async with _catalog(tmp_path) as catalog:
        with pytest.raises(UsageError):
            await catalog.read(lambda reader: reader.add_device("a"))


async def test_subscribers_hear_of_committed_changes_only(tmp_path: Path) -> None:
    heard: list[tuple[Change, ...]] = []

    def failing(writer: Catalog) -> None:
        writer.add_device("b")
        raise ZeroDivisionError

    async with _catalog(tmp_path) as catalog:
        end = catalog.subscribe(heard.append)
        await catalog.write(lambda writer: writer.add_device("a"), by=ACT)
        with pytest.raises(ZeroDivisionError):
            await catalog.write(failing, by=ACT)
        await catalog.write(lambda writer: writer.has_admin(), by=ACT)
        end()
        await catalog.write(lambda writer: writer.add_device("c"), by=ACT)
        assert heard == [(Change("devices", "a"),)]
        assert catalog.statistics().changes_total == 2


async def test_a_query_that_takes_too_long_is_interrupted_and_the_connection_works_on(tmp_path: Path) -> None:
    async with _catalog(tmp_path) as catalog:
        for _ in range(CATALOG_READER_COUNT + 1):
            with pytest.raises(Unavailable) as refused:
                await catalog.read(lambda reader: reader.rows(ENDLESS), timeout_ms=30)
            assert refused.value.code == "catalog_timeout"
        assert await catalog.read(lambda reader: reader.device_ids()) == []
        assert catalog.statistics().pools["api"].timeouts_total == CATALOG_READER_COUNT + 1


async def test_a_write_that_takes_too_long_is_undone(tmp_path: Path) -> None:
    def slow(writer: Catalog) -> None:
        writer.add_device("a")
        writer.rows(ENDLESS)

    async with _catalog(tmp_path) as catalog:
        with pytest.raises(Unavailable):
            await catalog.write(slow, timeout_ms=30, by=ACT)
        assert await catalog.write(lambda writer: writer.device_ids(), by=ACT) == []


async def test_cancelling_interrupts_the_query(tmp_path: Path) -> None:
    async with _catalog(tmp_path) as catalog:
        with trio.fail_after(60):
            with trio.move_on_after(0.05) as waiting:
                await catalog.read(lambda reader: reader.rows(ENDLESS), timeout_ms=60_000)
            assert waiting.cancelled_caught
            # Whoever cancels is not held up by it; the thread hears of it at its next look at the clock.
            while catalog.statistics().pools["api"].borrowed:  # noqa: ASYNC110 - nothing tells of it
                await trio.sleep(0.001)


async def test_a_pool_that_is_used_up_holds_no_other_up(tmp_path: Path) -> None:
    gate = Gate()
    async with _catalog(tmp_path) as catalog, trio.open_nursery() as nursery:
        for _ in range(CATALOG_READER_COUNT):
            nursery.start_soon(catalog.read, gate)
        await trio.testing.wait_all_tasks_blocked()
        assert catalog.statistics().pools["api"].utilization_ratio == 1.0
        with trio.fail_after(20):
            assert await catalog.read(lambda reader: reader.device_ids(), pool="auth") == []
            await catalog.write(lambda writer: writer.add_device("a"), by=ACT)
        gate.open()


async def test_a_full_queue_refuses_at_once(tmp_path: Path) -> None:
    gate = Gate()
    path = tmp_path / "catalog.db"
    clock = SystemClock()
    Catalog.open(path, clock=clock, node_id=bytes(16)).close()
    lender = Lender(
        "small",
        lambda: Catalog.open_read_only(path, clock=clock),
        clock=clock,
        size=1,
        queue_depth_max=1,
        wait_timeout_ms=20_000,
    )
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(lambda: lender.lend(gate, timeout_ms=1000))
        await trio.testing.wait_all_tasks_blocked()
        assert lender.statistics().waiting == 1
        with trio.fail_after(20), pytest.raises(Unavailable) as refused:
            await lender.lend(gate, timeout_ms=1000)
        assert refused.value.code == "catalog_busy"
        assert refused.value.hint
        gate.open()
    assert (lender.statistics().served_total, lender.statistics().refused_total) == (2, 1)
    await lender.aclose()


async def test_waiting_for_a_connection_ends(tmp_path: Path) -> None:
    gate = Gate()
    path = tmp_path / "catalog.db"
    clock = SystemClock()
    Catalog.open(path, clock=clock, node_id=bytes(16)).close()
    lender = Lender(
        "small",
        lambda: Catalog.open_read_only(path, clock=clock),
        clock=clock,
        size=1,
        queue_depth_max=9,
        wait_timeout_ms=30,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: lender.lend(gate, timeout_ms=1000))
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(20), pytest.raises(Unavailable, match="none was free for 30 ms"):
            await lender.lend(gate, timeout_ms=1000)
        gate.open()
    await lender.aclose()


async def test_a_connection_that_comes_back_within_a_transaction_is_a_counted_leak(tmp_path: Path) -> None:
    async with _catalog(tmp_path) as catalog:
        await catalog.read(lambda reader: reader.connection.execute("BEGIN"))
        assert catalog.statistics().pools["api"].leaks_total == 1
        assert await catalog.read(lambda reader: reader.connection.in_transaction) is False


async def test_closing_waits_for_what_has_begun_and_refuses_what_comes_after(tmp_path: Path) -> None:
    gate = Gate()
    catalog = await AsyncCatalog.open(tmp_path / "catalog.db", clock=SystemClock(), node_id=bytes(16))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(catalog.read, gate)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(catalog.aclose)
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
    with pytest.raises(Unavailable) as refused:
        await catalog.read(lambda reader: reader.device_ids())
    assert refused.value.code == "catalog_closed"
