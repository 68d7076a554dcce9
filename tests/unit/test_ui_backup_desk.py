"""Jobs one at a time, their rows, and the schedule."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.core.errors import Conflict, StorageError, Unavailable
from storage.catalog import AsyncCatalog
from storage.catalog.backups import BackupRow
from tests.acts import ACT
from tests.backup_kit import Box, make_box
from ui import backup_desk as module
from ui import backup_work
from ui.backup_desk import DIRECTORY_SETTING, BackupDesk

HOUR_MS = 3_600_000


@pytest.fixture
def box(tmp_path: Path) -> Box:
    made = make_box(tmp_path / "box")
    made.publish(5)
    return replace(
        made,
        config=replace(made.config, backup=replace(made.config.backup, directories=(tmp_path,))),
    )


@asynccontextmanager
async def desk_of(box: Box) -> AsyncIterator[tuple[BackupDesk, AsyncCatalog]]:
    async with AsyncCatalog.opened(
        box.data_dir / "catalog.db", clock=box.clock, node_id=box.keys.node_id
    ) as catalog:
        desk = BackupDesk(box.config, box.keys, catalog, clock=box.clock)
        async with trio.open_nursery() as nursery:
            await nursery.start(desk.run)
            yield desk, catalog
            nursery.cancel_scope.cancel()


async def until_idle(desk: BackupDesk) -> None:
    with trio.fail_after(30):
        while desk.statistics().running is not None:  # noqa: ASYNC110 - the desk tells nobody
            await trio.sleep(0.01)


async def back_up(desk: BackupDesk, catalog: AsyncCatalog, directory: Path) -> BackupRow:
    job = desk.reserve("backup", directory)
    await catalog.write(lambda writer: writer.begin_backup(job.row_id, str(directory)), by=ACT)
    desk.begin_backup(job)
    await until_idle(desk)
    return (await catalog.read(lambda reader: reader.backups()))[0]


async def test_a_backup_is_made_and_its_row_says_so(box: Box, tmp_path: Path) -> None:
    async with desk_of(box) as (desk, catalog):
        row = await back_up(desk, catalog, tmp_path / "usb")
        assert (row.state, row.directory) == ("done", str(tmp_path / "usb"))
        assert row.file_count > 10
        assert row.detail == "It lies on the same disk as the data: it does not help when that disk dies."
        made = await desk.contents(tmp_path / "usb", row.backup_id)
        assert made.total_bytes == row.bytes
        await desk.look()
        now = desk.statistics()
        assert (now.made_total, now.failed_total, now.last_problem) == (1, 0, "")
        assert now.newest == row


async def test_one_that_fails_says_why_and_the_next_one_clears_it(box: Box, tmp_path: Path) -> None:
    async with desk_of(box) as (desk, catalog):
        row = await back_up(desk, catalog, tmp_path / "none" / "usb")
        assert row.state == "failed"
        assert "There is no folder" in row.detail
        now = desk.statistics()
        assert now.failed_total == 1
        assert now.last_problem == row.detail
        box.clock.advance(1)
        assert (await back_up(desk, catalog, tmp_path / "usb")).state == "done"
        assert desk.statistics().last_problem == ""


async def test_a_second_job_is_refused(box: Box, tmp_path: Path) -> None:
    async with desk_of(box) as (desk, _):
        desk.reserve("backup", tmp_path / "usb")
        with pytest.raises(Conflict, match="under way"):
            desk.reserve("verify", tmp_path / "usb")
        desk.release()
        desk.reserve("verify", tmp_path / "usb")
        desk.release()


async def test_it_is_verified_restored_for_a_test_and_removed(box: Box, tmp_path: Path) -> None:
    async with desk_of(box) as (desk, catalog):
        row = await back_up(desk, catalog, tmp_path / "usb")

        async def again() -> BackupRow:
            await until_idle(desk)
            return (await catalog.read(lambda reader: reader.backups()))[0]

        box.clock.advance(1_000)
        desk.begin_verify(desk.reserve("verify", tmp_path / "usb"), row.backup_id)
        assert (await again()).verified_at_ms == box.clock.now_ms()
        box.clock.advance(1_000)
        desk.begin_restore_test(desk.reserve("restore test", tmp_path / "usb"), row.backup_id)
        assert (await again()).verified_at_ms == box.clock.now_ms()
        assert not list(box.data_dir.glob("restore-test-*"))
        chunk = next(path for path in (tmp_path / "usb" / "chunks").rglob("*") if path.is_file())
        chunk.write_bytes(b"rotten")
        desk.begin_verify(desk.reserve("verify", tmp_path / "usb"), row.backup_id)
        found = await again()
        assert found.detail
        assert desk.statistics().verify_failed_total == 1
        desk.begin_restore_test(desk.reserve("restore test", tmp_path / "usb"), row.backup_id)
        assert "is missing" in (await again()).detail
        await desk.remove(tmp_path / "usb", row.backup_id)
        assert not list((tmp_path / "usb" / "backups").iterdir())


async def test_what_a_node_left_running_failed(box: Box, tmp_path: Path) -> None:
    async with AsyncCatalog.opened(
        box.data_dir / "catalog.db", clock=box.clock, node_id=box.keys.node_id
    ) as catalog:
        await catalog.write(lambda writer: writer.begin_backup("running-x", "/x"), by=ACT)
    async with desk_of(box) as (_, catalog):
        (row,) = await catalog.read(lambda reader: reader.backups())
        assert (row.state, row.detail) == ("failed", "Homeport ended while it was made.")


async def test_a_node_that_stops_leaves_a_job_within_a_piece(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def work(*_: Any, stop: Any, **__: Any) -> None:
        begun.set()
        while not stop():
            stopped.wait(0.01)
        stopped.set()
        raise StorageError("left")

    monkeypatch.setattr(backup_work, "back_up", work)
    async with desk_of(box) as (desk, catalog):
        job = desk.reserve("backup", tmp_path / "usb")
        await catalog.write(lambda writer: writer.begin_backup(job.row_id, "/x"), by=ACT)
        desk.begin_backup(job)
        await trio.to_thread.run_sync(begun.wait, 10)
    assert stopped.is_set()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The schedule looks all the time."""
    monkeypatch.setattr(module, "BACKUP_SCHEDULE_INTERVAL_MS", 10)


async def count(catalog: AsyncCatalog, wanted: int) -> list[BackupRow]:
    with trio.fail_after(30):
        while True:
            rows = await catalog.read(lambda reader: reader.backups())
            if len(rows) >= wanted and rows[0].state != "running":
                return rows
            await trio.sleep(0.01)


@pytest.mark.usefixtures("quick")
async def test_the_schedule_makes_one_when_it_is_due(box: Box, tmp_path: Path) -> None:
    async with desk_of(box) as (desk, catalog):
        await back_up(desk, catalog, tmp_path / "usb")
        text = str(tmp_path / "usb")
        await catalog.write(lambda writer: writer.set_setting(DIRECTORY_SETTING, text), by=ACT)
        await desk.look()
        assert desk.statistics().state == "waiting"
        box.clock.advance(24 * HOUR_MS)
        rows = await count(catalog, 2)
        assert [row.state for row in rows] == ["done", "done"]
        await desk.look()
        assert desk.statistics().state == "waiting"
        assert desk.statistics().due_at_ms == box.clock.now_ms() + 24 * HOUR_MS


@pytest.mark.usefixtures("quick")
async def test_a_disk_that_is_away_is_a_state_and_no_storm(box: Box, tmp_path: Path) -> None:
    """Its empty mount point is left behind: nothing is made there."""
    (tmp_path / "usb").mkdir()
    async with desk_of(box) as (desk, catalog):
        text = str(tmp_path / "usb")
        await catalog.write(lambda writer: writer.set_setting(DIRECTORY_SETTING, text), by=ACT)
        with trio.fail_after(60):
            while desk.statistics().state != "away":  # noqa: ASYNC110 - the desk tells nobody
                await trio.sleep(0.01)
        for _ in range(20):
            await desk.look()
        assert await catalog.read(lambda reader: reader.backups()) == []
        assert not list((tmp_path / "usb").iterdir())


@pytest.mark.usefixtures("quick")
async def test_one_that_failed_is_tried_again_an_hour_later(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with desk_of(box) as (desk, catalog):
        await back_up(desk, catalog, tmp_path / "usb")
        text = str(tmp_path / "usb")
        await catalog.write(lambda writer: writer.set_setting(DIRECTORY_SETTING, text), by=ACT)

        def fail(*_: Any, **__: Any) -> None:
            raise StorageError("The disk is full.")

        with monkeypatch.context() as patched:
            patched.setattr(backup_work, "back_up", fail)
            box.clock.advance(24 * HOUR_MS)
            assert (await count(catalog, 2))[0].state == "failed"
            for _ in range(10):
                await desk.look()
            assert desk.statistics().state == "waiting"
            assert len(await catalog.read(lambda reader: reader.backups())) == 2
        box.clock.advance(HOUR_MS)
        assert (await count(catalog, 3))[0].state == "done"


@pytest.mark.usefixtures("quick")
async def test_a_clock_that_was_ahead_keeps_no_backup_back(box: Box, tmp_path: Path) -> None:
    async with desk_of(box) as (desk, catalog):
        box.clock.advance(5_000 * HOUR_MS)
        await back_up(desk, catalog, tmp_path / "usb")
        box.clock.advance(-5_000 * HOUR_MS)
        text = str(tmp_path / "usb")
        await catalog.write(lambda writer: writer.set_setting(DIRECTORY_SETTING, text), by=ACT)
        rows = await count(catalog, 2)
        assert rows[0].started_at_ms == box.clock.now_ms()
        for _ in range(5):
            await desk.look()
        assert desk.statistics().state in ("waiting", "running")
        assert len(await catalog.read(lambda reader: reader.backups())) == 2


async def test_a_catalog_that_is_away_at_the_start_ends_nothing(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BACKUP_SCHEDULE_INTERVAL_MS", 10)
    async with AsyncCatalog.opened(
        box.data_dir / "catalog.db", clock=box.clock, node_id=box.keys.node_id
    ) as catalog:
        await catalog.write(lambda writer: writer.begin_backup("running-x", "/x"), by=ACT)
        write = catalog.write
        refused: list[int] = []

        async def away(*arguments: Any, **named: Any) -> Any:
            if len(refused) < 3:
                refused.append(1)
                raise Unavailable("The catalog is locked.", code="catalog_locked")
            return await write(*arguments, **named)

        monkeypatch.setattr(catalog, "write", away)
        desk = BackupDesk(box.config, box.keys, catalog, clock=box.clock)
        async with trio.open_nursery() as nursery:
            await nursery.start(desk.run)
            assert (await count(catalog, 1))[0].state == "failed"
            nursery.cancel_scope.cancel()
        assert len(refused) == 3
