"""`homeport alarm` and `homeport maintenance`: against a node, and on the catalog of a stopped one, with the same answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
from click.testing import CliRunner, Result
from hypercorn.config import Config as ServerConfig
from hypercorn.trio import serve

from appliance.alarms.book import AlarmBook
from appliance.cli import main
from appliance.core.clock import SystemClock
from appliance.identity import SiteKeys
from storage.catalog.catalog import Catalog
from tests.acts import ACT
from tests.alarm_kit import FLAP_MS, WAIT_MS, definition, found, id_of, put_rule
from tests.node_kit import running_node
from ui.auth import LocalTrust


class Box:
    """A box's command line."""

    def __init__(self, folder: Path, now_ms: int) -> None:
        self.now_ms = now_ms
        self.config = folder / "homeport.toml"
        self.config.write_text(f'[node]\ndata_dir = "{folder / "data"}"\nrun_dir = "{folder / "run"}"\n')

    async def run(self, *arguments: str) -> Result:
        return await trio.to_thread.run_sync(
            lambda: CliRunner().invoke(
                main, [*arguments, "--config", str(self.config)], catch_exceptions=False
            )
        )

    async def answer(self, *arguments: str) -> Any:
        result = await self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


def put(catalog: Catalog, now_ms: int, book: AlarmBook) -> None:
    put_rule(catalog)
    put_rule(catalog, "urgent", definition(severity="P1"))
    catalog.add_device("d1")
    book.apply(
        catalog,
        [
            found("d1", at_ms=now_ms + 1),
            found("d2", at_ms=now_ms),
            found("d3", "urgent", at_ms=now_ms, text="hot\x1b[2J"),
        ],
    )


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Box]:
    (folder / "data").mkdir(mode=0o700)
    (folder / "run").mkdir(mode=0o700)
    async with running_node(folder / "data") as node, trio.open_nursery() as nursery:
        box = Box(folder, node.clock.now_ms())
        await node.catalog.write(lambda catalog: put(catalog, box.now_ms, node.services.alarms.book), by=ACT)
        server = ServerConfig()
        server.bind = [f"unix:{folder / 'run' / 'node.sock'}"]
        server.errorlog = None
        stop = trio.Event()
        await nursery.start(partial(serve, LocalTrust(node.app), server, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
        yield box
        stop.set()


@asynccontextmanager
async def stopped(folder: Path) -> AsyncIterator[Box]:
    (folder / "data").mkdir(mode=0o700)
    clock, keys = SystemClock(), SiteKeys.load_or_create(folder / "data")
    box = Box(folder, clock.now_ms())
    catalog = Catalog.open(folder / "data" / "catalog.db", clock=clock, node_id=keys.node_id)
    with catalog.transaction():
        put(catalog, box.now_ms, AlarmBook(clock=clock, flap_ms=FLAP_MS, wait_ms=WAIT_MS))
    catalog.close()
    yield box


@pytest.mark.parametrize("way", [running, stopped])
async def test_alarms(tmp_path: Path, way: Any) -> None:
    async with way(tmp_path) as box:
        listed = await box.answer("alarm", "list")
        assert [each["device_id"] for each in listed["alarms"]] == ["d3", "d1", "d2"]
        text = (await box.run("alarm", "list", "--severity", "P1")).stdout
        assert "d3" in text
        assert "d1" not in text
        assert "\x1b" not in text, "what a device said is no command to the terminal"
        assert (await box.answer("alarm", "list", "--device", "d9"))["alarms"] == []
        assert "Nothing is wrong." in (await box.run("alarm", "list", "--state", "normal")).stdout
        first = id_of("d1")
        done = await box.answer("alarm", "acknowledge", first, id_of("d2"), "none", "--note", "on it")
        assert (done["changed_count"], done["unchanged_count"], done["unknown_count"]) == (2, 0, 1)
        assert {each["acknowledged_by"] for each in done["alarms"]} == {"local"}
        again = (await box.run("alarm", "acknowledge", first)).stdout
        assert "0 acknowledged; 1 had been so already." in again
        done = await box.answer("alarm", "shelve", first, "--for", "8h", "--reason", "part is ordered")
        assert done["alarms"][0]["shelved_until_ms"] - box.now_ms in range(
            8 * 3_600_000, 8 * 3_600_000 + 120_000
        )
        shown = (await box.run("alarm", "show", first)).stdout
        for words in ("Rule: Rule hot", "part is ordered", "shelved until", "acknowledge", "local"):
            assert words in shown, words
        assert "1 taken off the shelf." in (await box.run("alarm", "unshelve", first)).stdout
        assert (await box.run("alarm", "show", "none")).exit_code != 0
        assert "alarm_unknown" in (await box.run("alarm", "acknowledge", "none", "--json")).stdout
        for wrong in ("8", "9d", "x"):
            refused = await box.run("alarm", "shelve", first, "--for", wrong, "--reason", "x")
            assert refused.exit_code != 0, wrong


async def test_who_is_to_be_told_knows_of_it_when_the_node_starts(tmp_path: Path) -> None:
    """An alarm that was acknowledged while the node was stopped must not be told every 15 minutes afterwards."""
    async with stopped(tmp_path) as box:
        await box.answer("alarm", "acknowledge", id_of("d3", "urgent"))
        catalog = Catalog.open_read_only(tmp_path / "data" / "catalog.db", clock=SystemClock())
        known = catalog.escalations_of({id_of("d3", "urgent"), id_of("d1")})
        catalog.close()
        assert {alarm_id: each.is_acknowledged for alarm_id, each in known.items()} == {
            id_of("d3", "urgent"): True
        }


@pytest.mark.parametrize("way", [running, stopped])
async def test_maintenances(tmp_path: Path, way: Any) -> None:
    async with way(tmp_path) as box:
        assert "There is none." in (await box.run("maintenance", "list")).stdout
        made = await box.answer(
            "maintenance", "add", "--device", "d1", "--reason", "new boiler", "--for", "2h"
        )
        assert (made["state"], made["scope"]["devices"], made["created_by"]) == ("running", ["d1"], "local")
        planned = await box.answer(
            "maintenance",
            "add",
            "--all",
            "--except",
            "d1",
            "--reason",
            "shutdown",
            "--in",
            "2d",
            "--for",
            "8h",
        )
        assert planned["state"] == "planned"
        assert planned["until_at_ms"] - planned["from_at_ms"] == 8 * 3_600_000
        text = (await box.run("maintenance", "list", "--state", "planned")).stdout
        assert "all, not d1" in text
        assert "new boiler" not in text
        await trio.lowlevel.checkpoint()
        ended = await box.run("maintenance", "end", planned["maintenance_id"])
        assert "over" in ended.stdout
        assert (await box.run("maintenance", "end", "none")).exit_code != 0
        for wrong in (
            ("--reason", "x", "--for", "2h"),
            ("--device", "d9", "--reason", "x", "--for", "2h"),
            ("--all", "--reason", "x", "--for", "40d"),
        ):
            assert (await box.run("maintenance", "add", *wrong)).exit_code != 0, wrong
