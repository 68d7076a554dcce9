"""An erased device is nowhere: not in the store, its rollups and state, not in the archive; the others are as they were."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.management.retention import Retention, RetentionClass, default_class
from storage.archive.checking import check_generation
from storage.archive.index import read_archive
from storage.archive.layout import generation_folder
from storage.telemetry.batch import DAY_MS
from storage.telemetry.database import run
from storage.telemetry.store import TelemetryStore
from tests.archive_kit import TODAY, Conditions, Filled, kept, rows_of

CLASSED = Retention(
    (RetentionClass(class_id="vib", metric="vib_*", hot_days=1, archive_days=30),), default_class(3, 400)
)
_TABLES_WITH_NAMES = ("newest n JOIN series s ON s.id = n.series", "dedup", "presence", "dead_letters")


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[Filled]:
    made = Filled(tmp_path)
    yield made
    made.store.close()


async def test_a_device_is_erased_from_store_and_archive(filled: Filled) -> None:
    for ago in (0, 2, 5, 200):
        filled.put(TODAY - ago)
    aside = filled.store.path.with_name("telemetry.duckdb.set-aside-1")
    aside.write_bytes(b"a damaged store")
    async with kept(filled, Conditions(CLASSED)) as scene:
        await scene.settle()
        assert scene.where() == {0: "hot", 2: "part", 5: "archived", 200: "archived"}
        before = filled.view()
        scene.erasures.request("a")
        await scene.settle()
        erasure = scene.erasures.found["a"]
        # Of 200 days ago one class was not kept any more.
        assert (erasure.state, erasure.reading_count) == ("erased", 40 * 3 + 30)
        assert erasure.before_seq == filled.store.read_cursor().next_seq
        assert filled.view() == [row for row in before if row[0] != "a"]
        for generation in read_archive(filled.root):
            assert generation.manifest is not None
            assert {row[0] for row in rows_of(filled.root, generation.day, generation.manifest)} == {"b"}
            assert check_generation(filled.root, generation.day, generation.generation) == []
        with filled.store.reading() as connection:
            for table in _TABLES_WITH_NAMES:
                assert run(connection, f"SELECT count(*) FROM {table} WHERE device = 'a'") == [(0,)]
            hours = run(
                connection,
                "SELECT s.device, sum(count)::BIGINT FROM rollup_1h r JOIN series s ON s.id = r.series GROUP BY ALL ORDER BY ALL",
            )
            assert [device for device, _ in hours] == ["b"]
        assert not aside.exists()
        filled.put(TODAY, ("a",), first=50, count=1)
        assert len(filled.view()) == len(before) // 2 + 4
        scene.erasures.log_first_seq = erasure.before_seq - 1
        await scene.settle()
        assert [each.device_id for each in await scene.erasures.erasures_in("erased")] == ["a"]
        scene.erasures.log_first_seq = erasure.before_seq
        await scene.settle()
        assert [each.device_id for each in await scene.erasures.erasures_in("complete")] == ["a"]


async def test_a_damaged_file_holds_neither_the_rest_nor_retention_up(filled: Filled) -> None:
    for ago in (0, 1, 5, 6):
        filled.put(TODAY - ago)
    async with kept(filled, Conditions(CLASSED), lateness_ms=DAY_MS) as scene:
        await scene.settle()
        assert scene.where() == {0: "hot", 1: "hot", 5: "archived", 6: "archived"}
        path = generation_folder(filled.root, TODAY - 6, 1) / "default-000.parquet"
        path.write_bytes(path.read_bytes()[:-8] + b"\0\0\0\0PAR1")
        scene.erasures.request("a")
        await scene.settle()
        assert scene.keeper.statistics().state == "failing"
        assert "erasing the readings of a" in scene.keeper.statistics().incident
        filled.clock.advance(DAY_MS // 2)
        await scene.settle()
        await scene.settle()
        assert scene.where()[1] == "part"
        assert scene.erasures.found["a"].state == "requested"
        assert "erasing the readings of a" in scene.keeper.statistics().incident
        five = next(each for each in read_archive(filled.root) if each.day == TODAY - 5)
        assert five.manifest is not None
        assert {row[0] for row in rows_of(filled.root, TODAY - 5, five.manifest)} == {"b"}


async def test_a_device_without_readings_is_erased_too(filled: Filled) -> None:
    filled.put(TODAY - 2)
    before = filled.view()
    async with kept(filled) as scene:
        await scene.settle()
        scene.erasures.request("z")
        await scene.settle()
        assert (scene.erasures.found["z"].state, scene.erasures.found["z"].reading_count) == ("erased", 0)
    assert filled.view() == before


async def test_nothing_of_it_comes_back_when_the_store_is_opened_again(filled: Filled) -> None:
    forgotten: list[bool] = []
    filled.put(TODAY)
    async with kept(filled, forget=lambda: forgotten.append(True)) as scene:
        scene.erasures.request("a")
        await scene.settle()
    filled.store.close()
    filled.store = TelemetryStore.open(filled.store.path)
    state = filled.store.read_state()
    assert {each.device for each in state.newest} == {"b"}
    assert forgotten == [True]
