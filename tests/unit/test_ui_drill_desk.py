"""Drills as pages and API begin them: one at a time, in a process that may do anything, kept, and begun by themselves."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from appliance.core.clock import ManualClock
from appliance.core.errors import Conflict, NotFound, Unavailable
from appliance.core.limits_replication import DRILL_KEPT_COUNT
from appliance.management.drill import DrillReport
from storage.catalog import AsyncCatalog
from tests.fleet_kit import until
from ui import drill_desk
from ui.drill_desk import DrillDesk, DrillPlaces

DAY_MS = 86_400_000
GOOD = """
import json, os, sys
print(json.dumps({"t": "progress", "step": "log", "done": 1, "total": 2}), flush=True)
report = {"drill_id": sys.argv[2], "outcome": "good", "is_scheduled": "--scheduled" in sys.argv, "begun_at_ms": 5,
          "ended_at_ms": 6, "source": "cloud" if "--cloud" in sys.argv else "peers", "problem": " ".join(sys.argv[3:])}
print(json.dumps({"t": "report", "report": report}), flush=True)
"""
LASTS = """
import json, sys
print(json.dumps({"t": "progress", "step": "log", "done": 1, "total": 2}), flush=True)
sys.stdin.read()
"""


class Rig:
    def __init__(self, folder: Path, catalog: AsyncCatalog, *, days: int = 0, cloud_days: int = 0) -> None:
        self.cloud_days = cloud_days
        self.program = folder / "program.py"
        self.program.write_text(GOOD)
        self.clock = ManualClock(1_000 * DAY_MS)
        self.places = DrillPlaces(
            command=[sys.executable, str(self.program)],
            reports=folder / "drills.json",
            scratch=folder / "drill",
            fleet=folder / "fleet",
        )
        self.catalog = catalog
        self.days = days
        self.desk = self.made()

    def made(self) -> DrillDesk:
        return DrillDesk(
            self.places, self.catalog, days=self.days, cloud_days=self.cloud_days, clock=self.clock
        )

    async def drilled(self, program: str) -> DrillReport:
        self.program.write_text(program)
        before = len(self.desk.now().kept)
        self.desk.reserve(by="anna")
        self.desk.begin()
        await until(lambda: len(self.desk.now().kept) > before or self.desk.now().running is None)
        return self.desk.now().kept[0]


@asynccontextmanager
async def running(folder: Path, *, days: int = 0, cloud_days: int = 0) -> AsyncIterator[Rig]:
    (folder / "fleet").mkdir(exist_ok=True)
    clock = ManualClock(1_000 * DAY_MS)
    async with AsyncCatalog.opened(folder / "catalog.db", clock=clock, node_id=b"n" * 16) as catalog:
        rig = Rig(folder, catalog, days=days, cloud_days=cloud_days)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.desk.run)
            yield rig
            nursery.cancel_scope.cancel()


async def test_what_a_drill_found_is_kept_and_there_again_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        report = await rig.drilled(GOOD)
        assert (report.outcome, report.by, report.is_scheduled) == ("good", "anna", False)
        again = rig.made()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(again.run)
            await until(lambda: again.now().kept)
            nursery.cancel_scope.cancel()
        assert again.now().kept == (report,)
        assert rig.desk.now().due_at_ms is None


async def test_one_at_a_time_and_it_can_be_called_off(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        with pytest.raises(NotFound):
            rig.desk.call_off()
        rig.program.write_text(LASTS)
        begun = rig.desk.reserve(by="anna")
        with pytest.raises(Conflict):
            rig.desk.reserve(by="bert")
        rig.desk.begin()
        await until(lambda: (now := rig.desk.now().running) is not None and now.step == "log")
        rig.places.scratch.mkdir()
        (rig.places.scratch / "left").write_bytes(b"")
        assert rig.desk.call_off().drill_id == begun.drill_id
        await until(lambda: rig.desk.now().running is None)
        assert rig.desk.now().kept[0].outcome == "called_off"
        assert not rig.places.scratch.exists()
        rig.desk.reserve(by="anna")
        rig.desk.call_off()
        rig.desk.begin()
        await until(lambda: rig.desk.now().running is None)
        assert len(rig.desk.now().kept) == 2


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("import os; os._exit(3)", "ended before it was done"),
        ("print('{')", "can't be understood"),
        ('print(\'{"t": "report", "report": {}}\')', "can't be understood"),
        ("print('x' * 3_000_000)", "can't be understood"),
    ],
)
async def test_a_process_that_fails_is_a_drill_that_failed(
    tmp_path: Path, program: str, problem: str
) -> None:
    async with running(tmp_path) as rig:
        report = await rig.drilled(program)
        assert report.outcome == "failed"
        assert problem in report.problem
        assert rig.desk.now().running is None


async def test_a_program_that_is_not_there_is_said(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.desk._places = replace(rig.places, command=["/nonexistent"])
        assert "can't be started" in (await rig.drilled(GOOD)).problem


async def test_a_box_without_a_fleet_has_nothing_to_try(tmp_path: Path) -> None:
    async with running(tmp_path, days=7) as rig:
        rig.places.fleet.rmdir()
        with pytest.raises(NotFound):
            rig.desk.reserve(by="anna")
        await rig.desk._begin_if_due()
        assert rig.desk.now().running is None


async def test_one_is_begun_by_itself_when_it_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill_desk, "DRILL_LOOK_INTERVAL_S", 0.01)
    async with running(tmp_path, days=7) as rig:
        await until(lambda: rig.desk.now().kept)
        assert rig.desk.now().kept[0].is_scheduled
        entries = await rig.catalog.read(lambda catalog: catalog.rows("SELECT action, actor_kind FROM audit"))
        assert ("drill.start", "system") in [tuple(row) for row in entries]


async def test_a_catalog_that_is_away_puts_it_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path, days=7) as rig:

        async def away(*_: Any, **__: Any) -> None:
            raise Unavailable("The catalog is locked.", code="catalog_locked")

        monkeypatch.setattr(rig.catalog, "write", away)
        await rig.desk._begin_if_due()
        assert rig.desk.now().running is None


async def test_only_the_newest_are_kept_and_a_file_of_nonsense_is_none(tmp_path: Path) -> None:
    (tmp_path / "drills.json").write_bytes(b"nonsense")
    async with running(tmp_path) as rig:
        for _ in range(2):
            await rig.drilled("import os; os._exit(3)")
        rig.desk._kept = rig.desk._kept[:1] * DRILL_KEPT_COUNT
        rig.desk.reserve(by="anna")
        rig.desk.begin()
        await until(lambda: rig.desk.now().running is None)
        assert len(rig.desk.now().kept) == DRILL_KEPT_COUNT


async def test_a_disk_that_takes_no_report_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as rig:
        rig.places.reports.mkdir()
        assert (await rig.drilled(GOOD)).outcome == "good"
        assert (await rig.drilled(GOOD)).outcome == "good"


async def test_one_from_the_cloud_is_begun_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill_desk, "DRILL_LOOK_INTERVAL_S", 0.01)
    async with running(tmp_path, cloud_days=7) as rig:
        await until(lambda: rig.desk.now().kept)
        now = rig.desk.now()
        assert (now.kept[-1].source, now.kept[-1].problem) == ("cloud", "--scheduled --cloud --region ")
        assert (now.days, now.due_at_ms, now.cloud_days) == (0, None, 7)


async def test_the_region_that_was_named_is_asked(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.desk.reserve(by="anna", source="cloud", region="eu-1")
        rig.desk.begin()
        await until(lambda: rig.desk.now().kept)
        assert rig.desk.now().kept[0].problem == "--cloud --region eu-1"


async def test_those_from_peers_do_not_push_out_the_one_from_the_cloud(tmp_path: Path) -> None:
    async with running(tmp_path) as rig:
        rig.desk.reserve(by="anna", source="cloud")
        rig.desk.begin()
        await until(lambda: rig.desk.now().kept)
        peers = DrillReport(drill_id="p", outcome="good", is_scheduled=False, begun_at_ms=7, ended_at_ms=8)
        rig.desk._kept = (
            tuple(replace_id(peers, f"p{number}") for number in range(DRILL_KEPT_COUNT)) + rig.desk.now().kept
        )
        await rig.drilled(GOOD)
        kept = rig.desk.now().kept
        assert len(kept) == DRILL_KEPT_COUNT + 1
        assert kept[-1].source == "cloud"


def replace_id(report: DrillReport, drill_id: str) -> DrillReport:
    return msgspec.structs.replace(report, drill_id=drill_id)
