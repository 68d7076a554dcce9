"""The API of backups, over a node whose desk runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import trio

from appliance.core.config import BackupConfig
from appliance.identity import recovery_kit
from storage.log import LogWriter
from tests.backup_kit import write_one
from tests.node_kit import Node, running_node
from ui.backup_desk import BackupDesk

OF_API = "/api/v1/backups"


@asynccontextmanager
async def node_and_admin(tmp_path: Path) -> AsyncIterator[tuple[Node, httpx.AsyncClient]]:
    """A node whose data lies below tmp_path, with a log of three records; backups go below tmp_path/media."""
    (tmp_path / "media").mkdir()
    (tmp_path / "data").mkdir(mode=0o700)
    async with running_node(tmp_path / "data") as first:
        services = first.services
        config = replace(services.config, backup=BackupConfig(directories=(tmp_path / "media",)))
        desk = BackupDesk(config, services.keys, services.catalog, clock=first.clock)
        node = first.with_services(config=config, backups=desk)
        writer = LogWriter.open(
            tmp_path / "data" / "log" / "telemetry",
            stream="telemetry",
            node_id=services.keys.node_id,
            signer=services.keys.signer,
            clock=first.clock,
        )
        for at in range(3):
            write_one(writer, at)
        writer.close()
        async with node.admin() as client, trio.open_nursery() as nursery:
            await nursery.start(desk.run)
            yield node, client
            nursery.cancel_scope.cancel()


async def idle(client: httpx.AsyncClient) -> dict[str, Any]:
    def is_busy(found: dict[str, Any]) -> bool:
        # The list is read before the question whether something runs: it may be of a moment before.
        return found["running"] is not None or any(row["state"] == "running" for row in found["backups"])

    with trio.fail_after(30):
        while is_busy(found := (await client.get(OF_API)).json()):  # noqa: ASYNC110 - asked as a program asks
            await trio.sleep(0.01)
    listed: dict[str, Any] = found
    return listed


async def test_from_the_first_backup_to_its_removal(tmp_path: Path) -> None:
    async with node_and_admin(tmp_path) as (node, client):
        directory = str(tmp_path / "media" / "usb")
        refused = await client.post(OF_API, json={"directory": directory})
        assert (refused.status_code, refused.json()["code"]) == (422, "recovery_kit_unconfirmed")
        recovery_kit.confirm(node.services.config.node.data_dir)
        begun = await client.post(OF_API, json={"directory": directory})
        assert begun.status_code == 202, begun.text
        assert begun.json()["kind"] == "backup"
        found = await idle(client)
        (row,) = found["backups"]
        assert (row["state"], row["directory"]) == ("done", directory)
        one = f"{OF_API}/{row['backup_id']}"
        inside = (await client.get(one)).json()
        assert inside["log_next_seq"] == 4
        assert inside["file_count"] == len(inside["files"]) == row["file_count"]
        for wish in ({}, {"restore_test": True}):
            node.clock.advance(1_000)
            assert (await client.post(f"{one}/verify", json=wish)).status_code == 202
            with trio.fail_after(60):
                # The job may not have begun when the first look finds nobody at work.
                while (await idle(client))["backups"][0]["verified_at_ms"] != node.clock.now_ms():  # noqa: ASYNC110 - there is nothing else to wait for
                    await trio.sleep(0.02)
        assert (await client.delete(one)).status_code == 204
        assert (await client.delete(one)).status_code == 404
        assert (await idle(client))["backups"] == []
        actions = await node.catalog.read(
            lambda catalog: [
                r[0]
                for r in catalog.rows("SELECT action FROM audit WHERE action LIKE 'backup.%' ORDER BY seq")
            ]
        )
        assert actions == ["backup.start", "backup.verify", "backup.verify", "backup.remove"]


async def test_the_schedule_is_chosen_and_used(tmp_path: Path) -> None:
    async with node_and_admin(tmp_path) as (node, client):
        recovery_kit.confirm(node.services.config.node.data_dir)
        assert (await client.post(OF_API, json={})).json()["code"] == "backup_directory_missing"
        directory = str(tmp_path / "media" / "usb")
        answer = await client.put(f"{OF_API}/schedule", json={"directory": directory})
        assert answer.json()["state"] == "away"
        assert (await client.post(OF_API, json={})).status_code == 202
        await idle(client)
        answer = await client.put(f"{OF_API}/schedule", json={"directory": directory})
        assert answer.json() == {
            "directory": directory,
            "state": "waiting",
            "interval_hours": 24,
            "keep": 14,
            "due_at_ms": node.clock.now_ms() + 24 * 3_600_000,
        }
        answer = await client.put(f"{OF_API}/schedule", json={"directory": None})
        assert (answer.json()["state"], answer.json()["directory"]) == ("off", None)


async def test_folders_that_are_not_allowed(tmp_path: Path) -> None:
    async with node_and_admin(tmp_path) as (node, client):
        recovery_kit.confirm(node.services.config.node.data_dir)
        for directory in ("/etc/x", str(tmp_path / "data" / "x"), f"{tmp_path}/media/../x", "media/x"):
            for method, path in (("POST", OF_API), ("PUT", f"{OF_API}/schedule")):
                answer = await client.request(method, path, json={"directory": directory})
                assert answer.status_code == 422, directory
                assert answer.json()["code"] == "backup_directory_refused"


async def test_a_second_job_is_refused_while_one_runs(tmp_path: Path) -> None:
    async with node_and_admin(tmp_path) as (node, client):
        recovery_kit.confirm(node.services.config.node.data_dir)
        node.services.backups.reserve("backup", tmp_path / "media" / "x")
        answer = await client.post(OF_API, json={"directory": str(tmp_path / "media" / "usb")})
        assert (answer.status_code, answer.json()["code"]) == (409, "backup_running")
        node.services.backups.release()


async def test_a_disk_that_was_taken_away_is_said(tmp_path: Path) -> None:
    async with node_and_admin(tmp_path) as (node, client):
        recovery_kit.confirm(node.services.config.node.data_dir)
        await client.post(OF_API, json={"directory": str(tmp_path / "media" / "usb")})
        (row,) = (await idle(client))["backups"]
        (tmp_path / "media" / "usb").rename(tmp_path / "drawer")
        answer = await client.get(f"{OF_API}/{row['backup_id']}")
        assert (answer.status_code, answer.json()["code"]) == (404, "backup_repository_missing")
        assert (await client.delete(f"{OF_API}/{row['backup_id']}")).status_code == 404
        assert len((await idle(client))["backups"]) == 1


async def test_one_that_is_not_known(tmp_path: Path) -> None:
    async with node_and_admin(tmp_path) as (_, client):
        for answer in (
            await client.get(f"{OF_API}/nothing"),
            await client.delete(f"{OF_API}/nothing"),
            await client.post(f"{OF_API}/nothing/verify", json={}),
        ):
            assert (answer.status_code, answer.json()["code"]) == (404, "backup_unknown")
