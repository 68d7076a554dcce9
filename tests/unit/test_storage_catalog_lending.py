"""Lending where SQLite can't end what was begun: nobody waits for it, and it is known who has the connection."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from appliance.core import limits
from appliance.core.clock import Clock, ManualClock, SystemClock
from appliance.core.errors import Unavailable
from storage.catalog import AsyncCatalog, Catalog, Change
from storage.catalog import lending as module
from storage.catalog.lending import Lender
from tests.acts import ACT


class Disk:
    """Holds functions in their threads, as a disk that does not answer would: nothing can interrupt it."""

    def __init__(self) -> None:
        self._answers = threading.Event()

    def __call__(self, catalog: Catalog) -> str:
        assert self._answers.wait(30)
        return "done"

    def answer(self) -> None:
        self._answers.set()


@asynccontextmanager
async def _lender(tmp_path: Path, *, clock: Clock | None = None, **changes: Any) -> AsyncIterator[Lender]:
    path = tmp_path / "catalog.db"
    clock = clock or SystemClock()
    Catalog.open(path, clock=clock, node_id=bytes(16)).close()
    arguments: dict[str, Any] = {"size": 2, "queue_depth_max": 8, "wait_timeout_ms": 50} | changes
    lender = Lender("small", lambda: Catalog.open_read_only(path, clock=clock), clock=clock, **arguments)
    yield lender
    await lender.aclose()


async def _until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - a thread ends, and nothing tells of it
            await trio.sleep(0.001)


async def test_who_waits_for_a_stuck_disk_is_told_so_in_time(tmp_path: Path) -> None:
    disk = Disk()
    async with _lender(tmp_path) as lender:
        with trio.fail_after(60), pytest.raises(Unavailable, match="is still at it") as refused:
            await lender.lend(disk, timeout_ms=20)
        assert refused.value.code == "catalog_timeout"
        numbers = lender.statistics()
        assert (numbers.borrowed, numbers.timeouts_total, numbers.left_total) == (1, 1, 1)
        (borrower,) = numbers.overdue
        assert (borrower.who, borrower.is_left) == ("Disk", True)
        assert borrower.held_ms >= limits.CATALOG_GRACE_MS
        disk.answer()
        await _until(lambda: lender.statistics().borrowed == 0)
        assert await lender.lend(lambda catalog: catalog.schema_version, timeout_ms=2_000) > 0


async def test_a_connection_that_is_not_back_is_lent_to_nobody_else(tmp_path: Path) -> None:
    disk = Disk()
    async with _lender(tmp_path, size=1) as lender:
        with pytest.raises(Unavailable):
            await lender.lend(disk, timeout_ms=1)
        with pytest.raises(Unavailable) as refused:
            await lender.lend(disk, timeout_ms=1)
        assert refused.value.code == "catalog_busy", "the pool is used up, not larger than it was"
        disk.answer()
        await _until(lambda: lender.statistics().borrowed == 0)


async def test_cancelling_does_not_wait_for_a_stuck_disk(tmp_path: Path) -> None:
    disk = Disk()
    async with _lender(tmp_path) as lender:
        with trio.fail_after(60):
            with trio.move_on_after(0.02) as waiting:
                await lender.lend(disk, timeout_ms=30_000)
            assert waiting.cancelled_caught
        assert lender.statistics().borrowed == 1
        disk.answer()
        await _until(lambda: lender.statistics().borrowed == 0)
        assert lender.statistics().timeouts_total == 0


async def test_what_is_cancelled_before_it_began_has_never_borrowed(tmp_path: Path) -> None:
    async with _lender(tmp_path) as lender:
        with trio.CancelScope() as scope:
            scope.cancel()
            await lender.lend(lambda _: pytest.fail("it was cancelled"), timeout_ms=100)
        assert scope.cancelled_caught
        assert lender.statistics().borrowed == 0


async def test_a_write_that_ends_after_it_was_left_is_told_to_subscribers(tmp_path: Path) -> None:
    """Else a cache would go on serving what this write has changed."""
    disk = Disk()
    heard: list[tuple[Change, ...]] = []
    path = tmp_path / "catalog.db"

    def slow(writer: Catalog) -> None:
        writer.add_device("a")
        disk(writer)

    async with AsyncCatalog.opened(path, clock=SystemClock(), node_id=bytes(16)) as catalog:
        catalog.subscribe(heard.append)
        with pytest.raises(Unavailable, match="is still at it") as refused:
            await catalog.write(slow, by=ACT, timeout_ms=20)
        assert "may still be done" in refused.value.hint
        assert heard == []
        disk.answer()
        await _until(lambda: bool(heard))
        assert Change("devices", "a") in heard[0]
        assert await catalog.read(lambda reader: reader.device_ids()) == ["a"]


async def test_a_leak_is_named_in_the_log_and_in_the_statistics(tmp_path: Path) -> None:
    def leaks(catalog: Catalog) -> None:
        catalog.connection.execute("BEGIN")

    async with _lender(tmp_path) as lender:
        with capture_logs() as logged:
            await lender.lend(leaks, timeout_ms=2_000)
        line = leaks.__code__.co_firstlineno
        who = f"leaks (tests/unit/test_storage_catalog_lending.py:{line})"
        assert (lender.statistics().leaks_total, lender.statistics().last_leak) == (1, who)
        assert [(entry["event"], entry["who"]) for entry in logged] == [
            ("a connection came back within a transaction", who)
        ]


async def test_the_time_in_use_counts_what_is_in_use_now(tmp_path: Path) -> None:
    disk, clock = Disk(), ManualClock()
    async with _lender(tmp_path, clock=clock) as lender, trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(lambda: lender.lend(disk, timeout_ms=20_000))
        await trio.testing.wait_all_tasks_blocked()
        clock.advance(700)
        assert lender.statistics().busy_ms_total == 1_400
        assert [each.held_ms for each in lender.statistics().borrowers] == [700, 700]
        disk.answer()


async def test_closing_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CATALOG_CLOSE_TIMEOUT_MS", 20)
    disk = Disk()
    async with _lender(tmp_path) as lender:
        with pytest.raises(Unavailable):
            await lender.lend(disk, timeout_ms=1)
        with trio.fail_after(60), capture_logs() as logged:
            await lender.aclose()
        assert [(entry["event"], entry["who"]) for entry in logged] == [
            ("a connection did not come back", "Disk")
        ]
        disk.answer()
        await _until(lambda: lender.statistics().borrowed == 0)
