"""Devices, an artifact and rollouts for tests, in a catalog or through a node's API."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from appliance.management.audit import Act
from appliance.management.executions import State
from appliance.updates.batches import Request
from appliance.updates.desk import Updates
from appliance.updates.engine import Engine
from appliance.updates.rollout_planner import RolloutPlanner
from appliance.updates.surroundings import Surroundings
from appliance.updates.work import Work
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import Node, running_node
from ui.app import create_app

T = TypeVar("T")
OLD, NEW = "0" * 64, "1" * 64
ARTIFACT: Final = "a1"


def add_artifact(
    catalog: Catalog,
    artifact_id: str = ARTIFACT,
    *,
    sha256: str = NEW,
    version: str = "2.0",
    hw: str = "[]",
    expires_at_ms: int | None = None,
) -> None:
    """A raw image of a thousand bytes, on a site where it need not be signed."""
    with catalog.transaction(ACT):
        catalog.set_unsigned_policy("allow")
        catalog.execute(
            "INSERT INTO artifacts (artifact_id, name, version, sha256, sha1, size_bytes, filename, format, hw, expires_at_ms, "
            "created_by, created_at_ms, updated_at_ms, origin, hlc) VALUES (?, 'fw', ?, ?, ?, 1000, 'fw.bin', 'raw', ?, ?, 'x', "
            "1, 1, ?, ?)",
            (artifact_id, version, sha256, "2" * 40, hw, expires_at_ms, catalog.origin, catalog.hlc),
        )


def add_devices(
    catalog: Catalog,
    device_ids: Sequence[str],
    *,
    groups: Sequence[str] = (),
    hw: str = "rev2",
    digest: str = OLD,
) -> None:
    """Active devices that said what they run."""
    with catalog.transaction(ACT):
        for group in groups:
            if catalog.row("SELECT 1 FROM groups WHERE group_id = ?", (group,)) is None:
                catalog.add_group(group)
        for device_id in device_ids:
            catalog.add_device(device_id, groups=tuple(groups))
            catalog.execute(
                "INSERT INTO device_firmware (device_id, version, digest, hw, is_confirmed, source, reported_at_ms) "
                "VALUES (?, '1.0', ?, ?, 1, 'status', 1)",
                (device_id, digest, hw),
            )


def names(count: int) -> list[str]:
    """d000, d001, …"""
    return [f"d{number:03}" for number in range(count)]


async def prepare(node: Node, count: int, **more: Any) -> None:
    """An artifact, and so many devices in the group `hall`."""

    def write(catalog: Catalog) -> None:
        add_artifact(catalog)
        add_devices(catalog, names(count), groups=("hall",), **more)

    await node.catalog.write(write, by=ACT)


async def made(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    """A draft for the group `hall`."""
    wish = {"name": "May", "artifact_id": ARTIFACT, "targets": {"groups": ["hall"]}, **more}
    answer = await client.post("/api/v1/rollouts", json=wish)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def act(client: httpx.AsyncClient, rollout_id: str, name: str, body: Any = None) -> dict[str, Any]:
    """Do something with a rollout, and give how it stands then."""
    answer = await client.post(f"/api/v1/rollouts/{rollout_id}/{name}", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


class SteppedEngine(Engine):
    """An engine without its task: it works while somebody waits for it."""

    async def do(self, run: Callable[[Work], T], *, by: Act | None = None) -> T:
        request = Request(run, by)
        self.batches.put(request)
        await self.settle()
        if request.error is not None:
            raise request.error
        result: T = request.result
        return result


@asynccontextmanager
async def node_with_updates(
    tmp_path: Path, *, with_pages: bool = False, **changes: Any
) -> AsyncIterator[Node]:
    """A node with an engine and a planner."""
    async with running_node(tmp_path, with_pages=with_pages, **changes) as node:
        surroundings = Surroundings(node.clock, random=lambda: 0.5)
        planner = RolloutPlanner()
        engine = SteppedEngine(node.catalog, clock=node.clock, surroundings=surroundings, planner=planner)
        await engine.load()
        updates = Updates(engine, node.catalog, clock=node.clock)
        services = replace(node.services, updates=updates, wake_updates=engine.look_soon)
        yield replace(node, services=services, app=create_app(services, with_pages=with_pages))


async def started(node: Node, client: httpx.AsyncClient, count: int = 2, **more: Any) -> str:
    """A rollout that runs, for so many devices; its id."""
    await prepare(node, count)
    rollout_id = str((await made(client, **more))["rollout_id"])
    for name in ("submit", "start"):
        await act(client, rollout_id, name)
    return rollout_id


async def put_execution(node: Node, device_id: str, state: State, **columns: Any) -> str:
    """Put a device's execution where a test wants it; its id."""

    def write(catalog: Catalog) -> str:
        values = {"state": state, "started_at_ms": 1, **columns, "origin": catalog.origin, "hlc": catalog.hlc}
        catalog.execute(
            f"UPDATE executions SET {', '.join(f'{name} = ?' for name in values)} WHERE device_id = ?",
            (*values.values(), device_id),
        )
        found = catalog.row("SELECT execution_id FROM executions WHERE device_id = ?", (device_id,))
        assert found
        return str(found[0])

    return await node.catalog.write(write, by=ACT)
