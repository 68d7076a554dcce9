"""The stream follows the catalog on a box of a fleet; a box without peers has none."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.core.clock import SystemClock
from appliance.core.config import Config, NodeConfig
from appliance.core.errors import LogFull
from appliance.management.audit import Act
from appliance.run import catalog_streaming, writing_permit
from appliance.run.catalog_streaming import CatalogStreaming
from appliance.run.writing_permit import WritingPermit
from storage.catalog import AsyncCatalog
from storage.fleet.epoch_files import Behind, read_behind, write_behind
from storage.log.reader import LogReader
from tests.catalog_stream_kit import positions_in
from tests.storage_log_kit import NODE_ID, KitSigner

ACT = Act(action="device.register")

ALONE = WritingPermit(
    dataclasses.replace(Config(), node=NodeConfig(data_dir=Path("/nowhere"))), clock=SystemClock()
)
"""Nobody is asked: its data folder belongs to no fleet."""


@asynccontextmanager
async def streamed(
    tmp_path: Path, permit: WritingPermit = ALONE
) -> AsyncIterator[tuple[AsyncCatalog, CatalogStreaming]]:
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=SystemClock(), node_id=NODE_ID) as catalog:
        streaming = CatalogStreaming(
            catalog,
            tmp_path / "log",
            data_dir=tmp_path,
            node_id=NODE_ID,
            signer=KitSigner(),
            clock=SystemClock(),
            permit=permit,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(streaming.run)
            yield catalog, streaming
            nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - what is waited for is in files and numbers
            await trio.sleep(0.01)


async def add(catalog: AsyncCatalog, name: str) -> None:
    await catalog.write(lambda writer: writer.add_device(name), by=ACT)


async def test_a_box_without_peers_has_no_stream(tmp_path: Path) -> None:
    async with streamed(tmp_path) as (catalog, streaming):
        await add(catalog, "a")
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert not (tmp_path / "log").exists()
        assert streaming.statistics()["position"] == 0
        assert await catalog.read(lambda reader: reader.outbox_count()) > 0


async def test_what_was_there_and_what_comes_is_in_the_stream_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_streaming, "IDLE_S", 0.1)
    (tmp_path / "fleet").mkdir()
    async with streamed(tmp_path) as (catalog, streaming):
        await until(lambda: streaming._writer is not None)
        await add(catalog, "a")
        await until(lambda: streaming.statistics()["position"] >= 2)
        await add(catalog, "b")
        await until(lambda: streaming.statistics()["position"] >= 4)
        with trio.fail_after(60):
            while await catalog.read(lambda reader: reader.outbox_count()):  # noqa: ASYNC110 - nobody is told
                await trio.sleep(0.01)
    async with streamed(tmp_path) as (catalog, streaming):
        await add(catalog, "c")
        await until(lambda: streaming.statistics()["position"] >= 6)
    found = positions_in(tmp_path / "log")
    assert found == list(range(1, len(found) + 1))


async def test_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_streaming, "RETRY_S", 0.01)
    (tmp_path / "fleet").mkdir()
    async with streamed(tmp_path) as (catalog, streaming):
        await until(lambda: streaming._writer is not None)
        writer = streaming._writer
        assert writer is not None
        append = writer.append

        def full(*args: object, **options: object) -> list[tuple[int, str]]:
            raise LogFull("no room")

        monkeypatch.setattr(writer, "append", full)
        await add(catalog, "a")
        await until(lambda: streaming.statistics()["failures_total"] >= 3)
        monkeypatch.setattr(writer, "append", append)
        await until(lambda: streaming.statistics()["position"] >= 2)
    assert positions_in(tmp_path / "log")


async def test_an_older_catalog_takes_back_what_its_log_has_more(tmp_path: Path) -> None:
    (tmp_path / "fleet").mkdir()
    async with streamed(tmp_path) as (catalog, streaming):
        await add(catalog, "a")
        await until(lambda: streaming.statistics()["position"] >= 2)
    shutil.copy(tmp_path / "catalog.db", tmp_path / "older.db")
    from_seq = LogReader(tmp_path / "log", stream="catalog").head().next_seq
    async with streamed(tmp_path) as (catalog, streaming):
        await add(catalog, "b")
        await until(lambda: streaming.statistics()["position"] >= 4)
    (tmp_path / "older.db").rename(tmp_path / "catalog.db")
    write_behind(tmp_path, Behind(from_seq=from_seq))
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=SystemClock(), node_id=NODE_ID) as catalog:
        await add(catalog, "c")  # Its number in the outbox is one that the log has used.
    async with streamed(tmp_path) as (catalog, streaming):
        await until(lambda: streaming.statistics()["position"] >= 6)
        found = await catalog.read(lambda reader: reader.list_devices())
        assert sorted(device.device_id for device in found.devices) == ["a", "b", "c"]
        assert await catalog.read(lambda reader: reader.list_followed()) == []
    assert read_behind(tmp_path) is None
    found_positions = positions_in(tmp_path / "log")
    assert found_positions == sorted(set(found_positions))


async def test_it_ends_writing_when_it_may_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing_permit, "WATCH_S", 0.02)
    monkeypatch.setattr(writing_permit, "WAIT_STEP_S", 0.02)
    (tmp_path / "fleet").mkdir()
    says = {"state": "yes", "problem": ""}

    async def ask(path: Path, question: str) -> dict[str, str]:
        await trio.lowlevel.checkpoint()
        return says

    monkeypatch.setattr(writing_permit, "ask", ask)
    permit = WritingPermit(
        dataclasses.replace(Config(), node=NodeConfig(data_dir=tmp_path)), clock=SystemClock()
    )
    async with streamed(tmp_path, permit) as (catalog, streaming):
        await until(lambda: streaming._writer is not None)
        says = {"state": "no", "problem": "an old one"}
        await until(lambda: streaming._writer is None)
        await add(catalog, "a")
        says = {"state": "yes", "problem": ""}
        await until(lambda: streaming.statistics()["position"] >= 2)
