"""A change of mappings: one set per change, from the log's head on, whatever happens to the write."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from appliance.core.clock import SystemClock
from appliance.core.errors import LimitExceeded, Unavailable
from appliance.management.audit import Act
from appliance.management.mapping import DEFAULT_MAPPINGS, TopicMapping
from appliance.pipeline import mapping_desk as module
from appliance.pipeline import settled
from appliance.pipeline.mapping_desk import MappingDesk
from storage.catalog import AsyncCatalog
from storage.log.reader import LogReader
from storage.log.writer import LogWriter
from tests.log_kit import Record, append, open_log

ACT = Act(action="mapping.add")
MINE = TopicMapping(pattern="mine/{device}")


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[AsyncCatalog]:
    async with AsyncCatalog.opened(tmp_path / "catalog.db", clock=SystemClock(), node_id=bytes(16)) as found:
        yield found


@pytest.fixture
def writer(tmp_path: Path) -> LogWriter:
    return open_log(tmp_path / "log")


async def desk_of(catalog: AsyncCatalog, tmp_path: Path, *configured: TopicMapping) -> MappingDesk:
    return await MappingDesk.opened(catalog, LogReader(tmp_path / "log"), configured)


async def add(desk: MappingDesk, catalog: AsyncCatalog, mapping: TopicMapping = MINE) -> None:
    async with desk.changing() as record:
        await catalog.write(lambda c: (c.add_mapping(mapping), record(c)), by=ACT)


async def test_a_changed_configuration_is_a_new_set_from_the_head_on(
    catalog: AsyncCatalog, writer: LogWriter, tmp_path: Path
) -> None:
    first = await desk_of(catalog, tmp_path)
    assert (first.sets.newest.position, first.sets.newest.mappings) == ((0, 1), DEFAULT_MAPPINGS)
    append(writer, [Record(b"{}"), Record(b"{}")])
    assert (await desk_of(catalog, tmp_path)).sets.count == 1
    again = await desk_of(catalog, tmp_path, MINE)
    assert again.sets.newest.mappings == (MINE, *DEFAULT_MAPPINGS)
    assert again.sets.newest.position == (1, 3)


async def test_a_change_holds_from_the_head_and_stands_before_the_configuration(
    catalog: AsyncCatalog, writer: LogWriter, tmp_path: Path
) -> None:
    configured = TopicMapping(pattern="config/{device}")
    desk = await desk_of(catalog, tmp_path, configured)
    append(writer, [Record(b"{}")])
    await add(desk, catalog)
    assert desk.sets.newest.mappings == (MINE, configured, *DEFAULT_MAPPINGS)
    assert desk.sets.newest.position == (1, 2)
    assert (await desk_of(catalog, tmp_path, configured)).sets.count == 2


async def test_a_change_that_fails_leaves_everything_as_it_was(
    catalog: AsyncCatalog, writer: LogWriter, tmp_path: Path
) -> None:
    desk = await desk_of(catalog, tmp_path)
    with pytest.raises(RuntimeError):
        async with desk.changing():
            raise RuntimeError
    assert desk.sets.count == 1
    with desk.sets.reading(1, 1) as (_, until):
        assert until is None


async def test_a_write_that_is_left_and_done_all_the_same_is_followed(
    catalog: AsyncCatalog, writer: LogWriter, tmp_path: Path
) -> None:
    desk = await desk_of(catalog, tmp_path)

    async def late() -> None:
        async with desk.changing() as record:
            await catalog.write(lambda c: (c.add_mapping(MINE), record(c)), by=ACT)
            raise trio.TooSlowError

    with pytest.raises(trio.TooSlowError):
        await late()
    assert desk.sets.newest.mappings[0] == MINE


async def test_while_the_catalog_can_t_say_what_holds_nothing_is_read_on(
    catalog: AsyncCatalog, writer: LogWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settled, "SETTLE_INTERVAL_S", 0)
    desk = await desk_of(catalog, tmp_path)
    append(writer, [Record(b"{}")])
    whole, seen = catalog.write, []

    async def busy(*args: object, **options: object) -> object:
        with desk.sets.reading(1, 1) as (_, until):
            seen.append(until)
        if len(seen) < 3:
            raise Unavailable("busy", hint="", code="catalog_busy")
        return await whole(*args, **options)  # type: ignore[arg-type]

    async with desk.changing():
        monkeypatch.setattr(catalog, "write", busy)
    assert seen == [2, 2, 2]
    with desk.sets.reading(1, 1) as (_, until):
        assert until is None


async def test_two_changes_at_once_are_two_sets(
    catalog: AsyncCatalog, writer: LogWriter, tmp_path: Path
) -> None:
    desk = await desk_of(catalog, tmp_path)
    async with trio.open_nursery() as nursery:
        for name in "ab":
            nursery.start_soon(add, desk, catalog, TopicMapping(pattern=f"{name}/{{device}}"))
    assert desk.sets.count == 3
    assert len(desk.sets.newest.mappings) == 2 + len(DEFAULT_MAPPINGS)


async def test_few_changes_wait_for_the_one_under_way(
    catalog: AsyncCatalog, writer: LogWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = await desk_of(catalog, tmp_path)
    monkeypatch.setattr(module, "TRY_OUT_WAITING_COUNT_MAX", 0)
    with pytest.raises(LimitExceeded) as full:
        await add(desk, catalog)
    assert full.value.code == "mapping_changes_waiting"
