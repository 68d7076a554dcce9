"""The page Backups, without JavaScript."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import trio

from appliance.core.config import BackupConfig
from appliance.identity import recovery_kit
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import Node, running_node
from ui.app import create_app
from ui.backup_desk import BackupDesk


async def settled(node: Node) -> None:
    with trio.fail_after(30):
        while node.services.backups.statistics().running is not None:  # noqa: ASYNC110 - the desk tells nobody
            await trio.sleep(0.01)


def with_media(first: Node, media: Path) -> Node:
    services = first.services
    config = replace(services.config, backup=BackupConfig(directories=(media,)))
    desk = BackupDesk(config, services.keys, services.catalog, clock=first.clock)
    services = replace(services, config=config, backups=desk)
    return replace(first, services=services, app=create_app(services, with_pages=True))


async def post(client: httpx.AsyncClient, path: str, **fields: str) -> httpx.Response:
    return await client.post(path, data={**fields, "csrf_token": client.headers["x-csrf-token"]})


async def test_a_whole_visit(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    (tmp_path / "data").mkdir(mode=0o700)
    async with running_node(tmp_path / "data", with_pages=True) as first:
        node = with_media(first, media)
        async with node.admin() as client, trio.open_nursery() as nursery:
            await nursery.start(node.services.backups.run)
            empty = (await client.get("/backups")).text
            assert "No backup yet" in empty
            assert "No folder is chosen" in empty
            early = await post(client, "/backups", directory=str(media / "usb"))
            assert early.status_code == 422
            assert "nobody has said that it is kept" in early.text
            recovery_kit.confirm(tmp_path / "data")
            begun = await post(client, "/backups", directory=str(media / "usb"))
            assert begun.headers["location"] == "/backups?done=begun"
            await settled(node)
            assert "It has begun" in (await client.get("/backups?done=begun")).text
            (row,) = await node.catalog.read(lambda catalog: catalog.backups())
            listed = (await client.get("/backups")).text
            assert f"/backups/one?id={row.backup_id}" in listed
            assert str(media / "usb") in listed
            one = (await client.get(f"/backups/one?id={row.backup_id}")).text
            assert "Keys and certificates" in one
            assert "Catalog: devices" in one
            for wish in ({}, {"restore_test": "1"}):
                asked = await post(client, "/backups/verify", id=row.backup_id, **wish)
                assert asked.status_code == 303
                await settled(node)
            assert "not verified yet" not in (await client.get("/backups")).text
            saved = await post(client, "/backups/schedule", directory=str(media / "usb"))
            assert saved.headers["location"] == "/backups?done=scheduled"
            assert "made by themselves." in (await client.get("/backups")).text
            refused = await post(client, "/backups/schedule", directory="/etc/x")
            assert refused.status_code == 422
            assert "/etc/x" in refused.text
            off = await post(client, "/backups/schedule", directory="")
            assert off.headers["location"] == "/backups?done=off"
            wrong = await post(client, "/backups/remove", id=row.backup_id, confirm="yes")
            assert wrong.status_code == 422
            gone = await post(client, "/backups/remove", id=row.backup_id, confirm=row.backup_id)
            assert gone.headers["location"] == "/backups?done=removed"
            assert (await client.get(f"/backups/one?id={row.backup_id}")).status_code == 404
            nursery.cancel_scope.cancel()


async def test_what_runs_and_what_failed_is_said(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    async with running_node(tmp_path / "data", with_pages=True) as first:
        node = with_media(first, tmp_path)
        job = node.services.backups.reserve("backup", tmp_path / "<b>usb</b>")
        job.progress(25, 100)

        def write(catalog: Catalog) -> None:
            catalog.begin_backup("x", "/<i>")
            catalog.fail_backup("x", "<u>full</u>")

        await node.catalog.write(write, by=ACT)
        async with node.admin() as client:
            text = (await client.get("/backups")).text
            assert 'value="25"' in text
            assert "A backup is being made" in text
            assert "&lt;u&gt;full&lt;/u&gt;" in text
            assert "<b>usb" not in text
            again = await post(client, "/backups", directory=str(tmp_path / "usb"))
            assert again.status_code in (409, 422)


async def test_a_disk_that_is_away_is_said_on_the_backups_page(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    async with running_node(tmp_path / "data", with_pages=True) as first:
        node = with_media(first, tmp_path)

        def write(catalog: Catalog) -> None:
            catalog.begin_backup("x", str(tmp_path / "usb"))
            catalog.finish_backup("x", backup_id="b1", file_count=1, bytes_count=1, new_bytes=1)

        await node.catalog.write(write, by=ACT)
        async with node.admin() as client:
            text = (await client.get("/backups/one?id=b1")).text
            assert "There is no backup of Homeport in" in text
