"""`homeport rollout`, `work-queue` and `device executions` against a node with an engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result
from hypercorn.config import Config as ServerConfig
from hypercorn.trio import serve

from appliance.cli import main
from appliance.management.executions import State
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import Node
from tests.rollout_kit import ARTIFACT, NEW, node_with_updates, prepare, put_execution
from ui.auth import LocalTrust


class Box:
    """A node on its socket, and its command line."""

    def __init__(self, folder: Path, node: Node) -> None:
        self.node = node
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

    async def started(self, *arguments: str) -> str:
        made = await self.answer("rollout", "create", "May", ARTIFACT, "--group", "hall", *arguments)
        rollout_id = str(made["rollout_id"])
        for verb in ("submit", "start"):
            await self.answer("rollout", verb, rollout_id)
        return rollout_id


@asynccontextmanager
async def a_box(folder: Path, count: int = 3) -> AsyncIterator[Box]:
    for name in ("run", "data"):
        (folder / name).mkdir()
    async with node_with_updates(folder) as node, trio.open_nursery() as nursery:
        await prepare(node, count)
        server = ServerConfig()
        server.bind = [f"unix:{folder / 'run' / 'node.sock'}"]
        server.errorlog = None
        stop = trio.Event()
        await nursery.start(partial(serve, LocalTrust(node.app), server, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
        yield Box(folder, node)
        stop.set()


async def test_a_rollout_from_the_preview_to_the_end(tmp_path: Path) -> None:
    async with a_box(tmp_path) as box:
        preview = await box.run(
            "rollout", "preview", ARTIFACT, "--group", "hall", "--except", "d002", "--wave", "100%"
        )
        assert "2 devices to update, by wave: 2; 0 run it already." in preview.stdout
        assert "Left out by you." in preview.stdout
        rollout_id = await box.started(
            "--wave", "1", "--wave", "100%", "--window", "00:00-23:59", "--soak-s", "5"
        )
        shown = await box.answer("rollout", "show", rollout_id)
        assert (shown["state"], shown["plan"]["gate"]["soak_s"]) == ("running", 5)
        assert shown["plan"]["window"]["from"] == "00:00"
        text = (await box.run("rollout", "show", rollout_id)).stdout
        assert "May: fw 2.0, running" in text
        assert "pause, abort, roll back" in text
        assert rollout_id in (await box.run("rollout", "list", "--state", "running")).stdout
        listed = (await box.run("rollout", "executions", rollout_id)).stdout
        assert "1 of 3" in listed
        assert (await box.answer("rollout", "pause", rollout_id, "--reason", "Wait."))["reason"] == "Wait."
        assert (await box.answer("rollout", "resume", rollout_id))["state"] == "running"
        assert (await box.answer("rollout", "abort", rollout_id, "--yes"))["state"] == "stopping"


async def test_what_is_typed_is_checked(tmp_path: Path) -> None:
    async with a_box(tmp_path) as box:
        for arguments, code, exit_code in (
            (("--group", "hall", "--window", "late"), "window_invalid", 2),
            (("--group", "hall", "--wave", "5%"), "wave_invalid", 2),
            ((), "targets_invalid", 2),
            (("--group", "nowhere"), "group_unknown", 3),
            (("--group", "hall", "--plan-file", str(tmp_path / "none")), "not_found", 3),
            (("--group", "hall", "--plan-file", str(box.config)), "plan_file", 2),
        ):
            result = await box.run("rollout", "create", "May", ARTIFACT, *arguments, "--json")
            assert (result.exit_code, json.loads(result.stdout)["error"]["code"]) == (exit_code, code), (
                result.output
            )
        plan = tmp_path / "plan.json"
        plan.write_text('{"concurrency_max": 7, "gate": {"health": false}}')
        made = await box.answer(
            "rollout", "create", "May", ARTIFACT, "--all", "--plan-file", str(plan), "--soak-s", "9"
        )  # fmt: skip
        assert (made["plan"]["concurrency_max"], made["plan"]["gate"]["soak_s"], made["plan"]["gate"]["health"]) == (
            7, 9, False,
        )  # fmt: skip
        asked = await box.run("rollout", "abort", made["rollout_id"])
        assert asked.exit_code == 2
        assert "Nobody is there to confirm it" in asked.stderr


async def test_the_work_queue(tmp_path: Path) -> None:
    async with a_box(tmp_path) as box:
        assert "Nobody needs a hand." in (await box.run("work-queue", "list")).stdout
        await box.started()
        execution_id = await put_execution(
            box.node, "d000", State.MANUAL, manual_reason="It runs a third version.", rollback_attempt_count=3
        )
        listed = (await box.run("work-queue", "list")).stdout
        for text in ("It runs a third version.", "3 of 3", "retry", execution_id):
            assert text in listed
        assert "manual" in (await box.run("device", "executions", "d000")).stdout
        assert "It has had no update." not in (await box.run("device", "executions", "d001")).stdout
        done = await box.run("work-queue", "retry", execution_id, "--reason", "New antenna.")
        assert "d000 tries again; it is queued now." in done.stdout
        lost = await put_execution(box.node, "d001", State.LOST)
        assert (await box.run("work-queue", "ignore", lost)).exit_code == 2
        assert (await box.answer("work-queue", "ignore", lost, "--yes"))["state"] == "canceled"
        assert (
            "Every device runs what its last update ended with."
            in (await box.run("work-queue", "drift")).stdout
        )
        await put_execution(box.node, "d002", State.SUCCEEDED, ended_at_ms=1)
        assert "d002" in (await box.run("work-queue", "drift")).stdout


async def test_what_is_known_bad_is_let_be_offered_again(tmp_path: Path) -> None:
    async with a_box(tmp_path) as box:
        assert "Every image may be offered" in (await box.run("work-queue", "known-bad")).stdout
        await box.started()

        def write(catalog: Catalog) -> None:
            catalog.add_known_bad("d000", NEW, execution_id="e0", reason="It fell back.", now_ms=1)

        await box.node.catalog.write(write, by=ACT)
        listed = (await box.run("work-queue", "known-bad")).stdout
        for text in ("d000", "It fell back.", f"d000/{NEW}"):
            assert text in listed
        assert (await box.run("work-queue", "forgive", f"d000/{NEW}")).exit_code == 2, "a reason is wanted"
        done = await box.run("work-queue", "forgive", f"d000/{NEW}", "--reason", "The sensor was broken.")
        assert "It may be offered to d000 again." in done.stdout
        assert (await box.answer("work-queue", "known-bad"))["known_bad"] == []


@pytest.mark.parametrize(("wave", "count"), [("1", 3), ("2", 2)])
async def test_rolling_back(tmp_path: Path, wave: str, count: int) -> None:
    async with a_box(tmp_path) as box:
        rollout_id = await box.started()
        for device_id in ("d000", "d001", "d002"):
            await put_execution(box.node, device_id, State.SUCCEEDED, ended_at_ms=1)
        back = await box.answer("rollout", "rollback", rollout_id, "--from-wave", wave, "--yes")
        assert (back["state"], back["waves"][int(wave) - 1]["rollback_count"]) == ("rolling_back", count)


async def test_retrying_and_the_fence(tmp_path: Path) -> None:
    async with a_box(tmp_path) as box:
        rollout_id = await box.started()
        await put_execution(box.node, "d000", State.TIMED_OUT, ended_at_ms=1)
        assert (
            "1 devices try again, 0 could not."
            in (await box.run("rollout", "retry-failed", rollout_id)).stdout
        )
        assert (await box.answer("rollout", "raise-fence", "--yes"))["fence"] > 0
        draft = await box.answer("rollout", "create", "June", ARTIFACT, "--device", "d001")
        await box.answer("rollout", "submit", draft["rollout_id"])
        refused = await box.answer("rollout", "refuse", draft["rollout_id"], "--reason", "No.")
        assert (refused["state"], refused["reason"]) == ("draft", "No.")
        approved = await box.run("rollout", "approve", draft["rollout_id"], "--json")
        assert json.loads(approved.stdout)["error"]["code"] == "rollout_state"
