"""An engine over a real catalog, driven by hand: a clock that tests turn, devices that are told, rollouts as rows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import trio

from appliance.core.clock import ManualClock
from appliance.management.execution import Execution, HealthSeen
from appliance.management.execution_report import Report, ReportStatus
from appliance.management.executions import State
from appliance.management.firmware_report import FirmwareReport
from appliance.updates.batches import Request
from appliance.updates.desk import Updates
from appliance.updates.engine import Engine
from appliance.updates.surroundings import Alarms, Surroundings
from appliance.updates.work import RolloutPlanner, Work
from storage.catalog import AsyncCatalog
from storage.catalog.catalog import Catalog
from storage.catalog.executions import ExecutionEvent
from tests.acts import ACT
from tests.execution_kit import NEW_DIGEST, OLD_DIGEST, firmware

T = TypeVar("T")
NODE_ID = b"n" * 16


class SeenHealth:
    """Health that a test says."""

    def __init__(self) -> None:
        self.by_device: dict[str, HealthSeen] = {}

    def seen(self, device_id: str, since_ms: int) -> HealthSeen:
        return self.by_device.get(device_id, HealthSeen())


@dataclass
class Bench:
    """A node's updates without its processes."""

    clock: ManualClock
    catalog: AsyncCatalog
    engine: Engine
    updates: Updates
    health: SeenHealth
    told: list[str] = field(default_factory=list)

    async def settle(self) -> None:
        """Until nothing is left to do now."""
        await self.engine.settle()

    async def after(self, ms: int) -> None:
        """So much later."""
        self.clock.advance(ms)
        await self.settle()

    async def runs(self, digest: str, device_id: str = "pump-1", **changes: Any) -> None:
        """A device says what it runs, now."""
        report = firmware(digest, **{"at_ms": self.clock.now_ms(), "device_id": device_id, **changes})
        self.engine.firmware_reported(report)
        await self.settle()

    async def report(self, execution_id: str, phase: str = "", **changes: Any) -> Execution:
        """A device reports; answered once the engine has worked."""
        report = Report(
            status=changes.pop("status", ReportStatus.IN_PROGRESS),
            phase=phase,
            boot_id=changes.pop("boot_id", "A"),
            **changes,
        )
        return await self.do(
            lambda work: work.report(work.get(execution_id).device_id, execution_id, report).execution
        )

    async def do(self, run: Callable[[Work], T]) -> T:
        """Something within the engine's transaction."""
        done: list[T] = []
        request = Request(lambda work: done.append(run(work)))
        self.engine.batches.put(request)
        await self.settle()
        if request.error is not None:
            raise request.error
        return done[0]

    async def get(self, execution_id: str = "e1") -> Execution:
        """As it is on disk."""
        return await self.catalog.read(lambda catalog: catalog.get_execution(execution_id))

    async def state(self, execution_id: str = "e1") -> State:
        """Where it is."""
        return (await self.get(execution_id)).state

    async def events(self, execution_id: str = "e1") -> list[ExecutionEvent]:
        """Its history."""
        return await self.catalog.read(lambda catalog: catalog.execution_events(execution_id))

    async def make(self, *executions: Execution) -> None:
        """Put executions into the catalog, and have the engine know them."""

        def put(work: Work) -> None:
            for execution in executions:
                work.insert(execution)

        await self.do(put)

    def tell(self, devices: Iterable[str]) -> None:
        self.told.extend(devices)


def put_rollout(catalog: Catalog, rollout_id: str = "r1", **changes: Any) -> None:
    """A running rollout and its artifact, as rows."""
    row: dict[str, Any] = {
        "rollout_id": rollout_id,
        "name": rollout_id,
        "artifact_id": f"a-{rollout_id}",
        "state": "running",
        "targets": "{}",
        "plan": "{}",
        "policy": json.dumps(changes.pop("policy", {})),
        "created_by": "u1",
        "created_at_ms": 1,
        "updated_at_ms": 1,
        **changes,
    }
    artifact: dict[str, Any] = {
        "artifact_id": row["artifact_id"],
        "name": f"pump-{rollout_id}",
        "version": "2.0",
        "sha256": NEW_DIGEST,
        "sha1": "1" * 40,
        "size_bytes": 1_000,
        "filename": "pump.bin",
        "format": "raw",
        "created_by": "u1",
        "created_at_ms": 1,
        "updated_at_ms": 1,
    }
    for table, values in (("artifacts", artifact), ("rollouts", row)):
        named = {**values, "origin": catalog.origin, "hlc": catalog.hlc}
        catalog.execute(
            f"INSERT INTO {table} ({', '.join(named)}) VALUES ({', '.join('?' * len(named))})",
            tuple(named.values()),
        )


def queued(bench_now_ms: int, device_id: str = "pump-1", **changes: Any) -> Execution:
    """An execution whose wave is open."""
    made = Execution(
        execution_id="e1",
        rollout_id="r1",
        device_id=device_id,
        wave=0,
        number=1,
        to_version="2.0",
        to_digest=NEW_DIGEST,
        is_admitted=True,
        push_due_at_ms=bench_now_ms,
        state_since_ms=bench_now_ms,
        created_at_ms=bench_now_ms,
        updated_at_ms=bench_now_ms,
    )
    return replace(made, **changes)


@asynccontextmanager
async def a_bench(
    path: Path,
    *,
    clock: ManualClock | None = None,
    planner: RolloutPlanner | None = None,
    alarms: Callable[[AsyncCatalog], Alarms] | None = None,
) -> AsyncIterator[Bench]:
    """An engine that is loaded; the catalog's file may be there already."""
    clock = clock or ManualClock()
    async with AsyncCatalog.opened(path, clock=clock, node_id=NODE_ID) as catalog:
        health = SeenHealth()
        surroundings = Surroundings(
            clock, health=health, alarms=alarms(catalog) if alarms else None, random=lambda: 0.5
        )
        engine = Engine(catalog, clock=clock, surroundings=surroundings, planner=planner)
        await engine.load()
        bench = Bench(clock, catalog, engine, Updates(engine, catalog, clock=clock), health)
        engine.tell = bench.tell
        yield bench


@asynccontextmanager
async def a_running_bench(path: Path) -> AsyncIterator[Bench]:
    """The same with the engine's task going."""
    async with a_bench(path) as bench, trio.open_nursery() as nursery:
        await nursery.start(bench.engine.run)
        yield bench
        nursery.cancel_scope.cancel()


async def a_rollout(bench: Bench, rollout_id: str = "r1", **changes: Any) -> None:
    """Its row."""
    await bench.catalog.write(lambda catalog: put_rollout(catalog, rollout_id, **changes), by=ACT)


def report_of(device_id: str, digest: str = OLD_DIGEST, **changes: Any) -> FirmwareReport:
    """What a device says that it runs."""
    return firmware(digest, device_id=device_id, **changes)
