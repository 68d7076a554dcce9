"""The engine's task: it answers who asks, sleeps until a deadline, and outlives a catalog that fails."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.core.clock import SystemClock
from appliance.core.errors import HomeportError, NotFound, StorageError, Unavailable
from appliance.management.audit import Act, Actor
from appliance.management.executions import State
from appliance.updates.batches import Request
from appliance.updates.engine import Engine
from appliance.updates.surroundings import Surroundings
from appliance.updates.work import NoPlanner, Work
from storage.catalog import AsyncCatalog
from tests.broker_kit import wait_until
from tests.execution_kit import MINUTE_MS, NEW_DIGEST, OLD_DIGEST, an_execution, firmware
from tests.updates_kit import NODE_ID, a_bench, a_rollout, queued

PERSON = Act(action="execution.cancel", actor=Actor(name="ada", kind="user"))


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[Engine]:
    clock = SystemClock()
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=clock, node_id=NODE_ID) as catalog:
        engine = Engine(catalog, clock=clock, surroundings=Surroundings(clock, random=lambda: 0.5))
        async with trio.open_nursery() as nursery:
            await nursery.start(engine.run)
            yield engine
            nursery.cancel_scope.cancel()


async def test_who_asks_is_answered_once_it_is_on_disk(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        now_ms = SystemClock().now_ms()
        await engine.do(lambda work: work.insert(queued(now_ms)))
        assert await engine.do(lambda work: work.get("e1").device_id) == "pump-1"
        with pytest.raises(NotFound):
            await engine.do(lambda work: work.get("e9"))
        assert await engine.do(lambda work: work.now_ms, by=PERSON) >= now_ms


async def test_a_deadline_wakes_it(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        now_ms = SystemClock().now_ms()
        await engine.do(lambda work: work.insert(queued(now_ms, end_by_at_ms=now_ms + 50)))
        await wait_until(lambda: engine.statistics().moves.get("deadline"))
        assert await engine.do(lambda work: work.get("e1").state) is State.TIMED_OUT


async def test_what_is_put_without_waiting_is_done(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        done = trio.Event()
        engine.put(Request(lambda work: None, done=done.set))
        with trio.fail_after(20):
            await done.wait()
        looks = engine.batches.tally.batches
        engine.look_soon()
        await wait_until(lambda: engine.batches.tally.batches > looks)


async def test_a_thousand_at_once_are_few_transactions(tmp_path: Path) -> None:
    async with running(tmp_path) as engine:
        before = engine.statistics().batches

        async def ask() -> None:
            await engine.do(lambda work: work.now_ms)

        async with trio.open_nursery() as nursery:
            for _ in range(1_000):
                nursery.start_soon(ask)
        assert engine.statistics().batches - before <= 10


async def test_it_outlives_a_catalog_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await a_rollout(bench)
        await bench.make(queued(bench.clock.now_ms()))
        write = bench.catalog.write
        failures = [StorageError("The disk is full.", code="disk_full")]

        async def failing(fn: Any, *, by: Act, **more: Any) -> Any:
            if failures:
                raise failures.pop()
            return await write(fn, by=by, **more)

        monkeypatch.setattr(bench.catalog, "write", failing)
        request = Request(lambda work: None)
        bench.engine.batches.put(request)
        await bench.runs(NEW_DIGEST)
        assert isinstance(request.error, HomeportError)
        assert request.error.code == "disk_full"
        assert await bench.state() is State.NOOP, "what the device said was not lost"
        assert bench.engine.statistics().batches_failed == 1


async def test_a_planner_that_contradicts_what_is_there_ends_no_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.updates.engine.UPDATES_RETRY_MS", 1)

    class Wrong(NoPlanner):
        failures = 2

        def look(self, work: Work) -> int | None:
            if self.failures:
                self.failures -= 1
                work.insert(queued(1, execution_id="same"))
                work.insert(queued(1, execution_id="same"))
            return None

    async with a_bench(tmp_path / "catalog.db", planner=Wrong()) as bench:
        await bench.runs(OLD_DIGEST)
        assert bench.engine.statistics().batches_failed == 2
        assert await bench.updates.firmware_of("pump-1") is not None


async def test_a_person_s_request_that_contradicts_what_is_there(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await bench.make(queued(bench.clock.now_ms()))
        request = Request(lambda work: work.insert(queued(1)), by=PERSON)
        bench.engine.batches.put(request)
        await bench.settle()
        assert isinstance(request.error, HomeportError)
        assert request.error.code == "constraint_failed"


async def test_nobody_waits_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.updates.engine.UPDATES_ANSWER_TIMEOUT_MS", 10)
    async with a_bench(tmp_path / "catalog.db") as bench:
        with pytest.raises(Unavailable) as error:
            await bench.engine.do(lambda work: None)
        assert error.value.code == "updates_timeout"


async def test_what_is_seen_of_devices_makes_them_come(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await a_rollout(bench)
        waiting = queued(bench.clock.now_ms(), push_due_at_ms=None)
        await bench.make(waiting)
        bench.engine.online("pump-1", True)
        bench.engine.online("pump-1", True)
        bench.engine.asked("pump-1")
        await bench.settle()
        assert await bench.get() == waiting
        assert bench.told == [], "it does not listen"
        bench.engine.listening("pump-1", True)
        await bench.settle()
        assert bench.told == ["pump-1"]
        bench.engine.listening("pump-1", False)
        assert bench.engine.statistics().listening == 0


async def test_a_device_that_asks_is_there(tmp_path: Path) -> None:
    async with a_bench(tmp_path / "catalog.db") as bench:
        await bench.make(an_execution(State.NOTIFIED))
        bench.engine.asked("pump-1")
        await bench.settle()
        assert (await bench.get()).deadline_at_ms == bench.clock.now_ms() + 15 * MINUTE_MS
        bench.engine.blocks_taken("pump-1", "e1", 5, 10)
        bench.engine.firmware_reported(firmware(OLD_DIGEST))
        await bench.settle()
        assert await bench.state() is State.DOWNLOADING
