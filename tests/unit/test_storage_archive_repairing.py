"""Days that are damaged in the store are left to the archive, if it has all of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio

from appliance.core.clock import SystemClock
from appliance.core.errors import Conflict, StorageError
from appliance.pipeline.day_repair import DayRepair
from appliance.pipeline.store_work import StoreWork
from storage.archive.adopting import days_to_bring_back
from storage.archive.export import Exporter
from storage.archive.layout import generation_folder
from storage.archive.registering import register
from storage.archive.repairing import days_to_leave, leave_to_archive
from storage.archive.taking import take
from storage.telemetry.damage import damaged_tables
from storage.telemetry.database import StoreDamaged, run
from storage.telemetry.reader import TelemetryReader
from tests.archive_kit import DEFAULT, TODAY, Filled, now_ms

DAY_MS = 86_400_000
BLOCK_BYTES = 262_144


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    """Three days, of which the first two are in the archive; the first is damaged on the disk."""
    made = Filled(tmp_path)
    for day in (TODAY - 2, TODAY - 1, TODAY):
        for part in range(3):
            made.put(day, [f"d{n}" for n in range(20)], count=200, first=200 * part)
    for day in (TODAY - 2, TODAY - 1):
        with made.store.reading() as connection:
            taken = take(connection, day, with_other=False)
            assert taken is not None
            manifest = Exporter(made.root, clock=SystemClock(), retention=DEFAULT).export(connection, taken)
        register(made.store, taken, manifest)
    made.store.tidy()
    with made.store.reading() as connection:
        blocks = run(
            connection,
            "SELECT DISTINCT block_id FROM pragma_storage_info('readings_20260223') WHERE block_id >= 0",
        )
        others = run(
            connection,
            "SELECT DISTINCT block_id FROM pragma_storage_info('readings_20260225') WHERE block_id >= 0",
        )
    (block, *_) = sorted({row[0] for row in blocks} - {row[0] for row in others})
    made.store.close()
    with made.store.path.open("r+b") as file:
        file.seek(3 * 4096 + block * BLOCK_BYTES + 5_000)
        file.write(os.urandom(2_000))
    made.store.reopen()
    return made


def test_a_damaged_day_is_left_to_the_archive_and_no_reading_is_missing(filled: Filled) -> None:
    with filled.store.reading() as connection:
        tables = damaged_tables(connection)
        assert tables == ["readings_20260223"]
        assert days_to_leave(connection, tables, filled.store) == [TODAY - 2]
    leave_to_archive(filled.store, [TODAY - 2])
    assert len(filled.view()) == 3 * 20 * 600 * 4
    assert filled.day_row(TODAY - 2)[0] is False
    assert filled.day_row(TODAY - 1)[0] is True
    with filled.store.reading() as connection:
        assert damaged_tables(connection) == []
        assert days_to_bring_back(connection, TODAY - 90) == [TODAY - 2]
        assert days_to_bring_back(connection, TODAY - 1) == []
    filled.store.close()


@pytest.mark.parametrize("why", ["late rows", "archive damaged", "not archived", "no table of a day"])
def test_what_the_archive_has_not_is_not_left_to_it(filled: Filled, why: str) -> None:
    tables = ["readings_20260223"]
    if why == "late rows":
        filled.put(TODAY - 2, first=5_000)
    elif why == "archive damaged":
        (file, *_) = generation_folder(filled.root, TODAY - 2, 1).glob("*.parquet")
        file.write_bytes(file.read_bytes()[:-1])
    elif why == "not archived":
        tables = ["readings_20260225"]
    else:
        tables = ["readings_20260223", "newest"]
    with filled.store.reading() as connection:
        assert days_to_leave(connection, tables, filled.store) is None
    filled.store.close()


class Restorer:
    def __init__(self, store_has: bool = False) -> None:
        self.asked: list[tuple[int, int]] = []
        self._store_has = store_has

    async def restore(self, day: int, until_day: int) -> int:
        await trio.lowlevel.checkpoint()
        self.asked.append((day, until_day))
        if self._store_has:
            raise Conflict("It is there.", hint="Nothing to do.")
        return 1


async def mend(filled: Filled, restorer: Restorer, anew: list[StorageError]) -> DayRepair:
    """A question meets the damage; run until somebody has done something about it."""
    work = StoreWork(lambda: None)
    repair = DayRepair(
        filled.store, work, restorer, hot_days=90, clock=filled.clock, is_quiet=lambda: True, begin_anew=anew.append
    )  # fmt: skip
    reader = TelemetryReader(filled.store)
    begin = (TODAY - 2) * DAY_MS
    with pytest.raises(StoreDamaged):
        await reader.query("d0", ["t"], begin, begin + DAY_MS, limit=10_000)

    async def writer() -> None:
        while True:
            if not await work.turn(trio.to_thread.run_sync, filled.store):
                await trio.sleep(0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(writer)
        nursery.start_soon(repair.run)
        with trio.fail_after(60):
            while not anew and not restorer.asked:  # noqa: ASYNC110 - nobody is told; a page would ask too
                await trio.sleep(0.01)
            while not anew:
                with filled.store.reading() as connection:
                    if not days_to_bring_back(connection, 0):
                        break
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    if not anew:
        (data,) = await reader.query("d0", ["t"], begin, begin + DAY_MS, limit=10_000)
        assert len(data.at_ms) == 600
    return repair


@pytest.mark.parametrize("store_has", [False, True])
async def test_a_question_that_met_damage_has_it_mended_and_brought_back(
    filled: Filled, store_has: bool
) -> None:
    restorer = Restorer(store_has)
    anew: list[StorageError] = []
    repair = await mend(filled, restorer, anew)
    assert (repair.mended_total, repair.brought_back_total) == (1, 0 if store_has else 1)
    assert restorer.asked[0] == (TODAY - 2, TODAY - 2 + 90)
    assert not anew
    assert now_ms()
    filled.store.close()


async def test_damage_that_the_archive_can_not_mend_begins_the_store_anew(filled: Filled) -> None:
    filled.put(TODAY - 2, first=5_000)
    anew: list[StorageError] = []
    repair = await mend(filled, Restorer(), anew)
    assert repair.mended_total == 0
    assert [type(error) for error in anew] == [StoreDamaged]
    filled.store.reopen(anew=True)
    assert filled.store.set_aside_path is not None
    assert filled.store.read_cursor().next_seq == 1
    filled.store.close()
