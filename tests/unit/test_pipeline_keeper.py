"""The keeper over a real store: days go where they belong, by themselves, whatever is asked or fails meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import duckdb
import pytest
import trio

from appliance.core.errors import Conflict, LimitExceeded, NotFound
from appliance.management.retention import Retention, RetentionClass, default_class
from appliance.pipeline import keeper_requests
from storage.archive import export
from storage.archive.layout import generation_folder
from storage.archive.repairing import leave_to_archive
from storage.telemetry.batch import DAY_MS
from tests.archive_kit import TODAY, Conditions, Filled, kept
from tests.broker_kit import wait_until

SHORT = Retention((), default_class(3, 10))


@pytest.fixture
async def filled(tmp_path: Path) -> AsyncIterator[Filled]:
    made = Filled(tmp_path)
    yield made
    made.store.close()


async def test_days_are_archived_cooled_and_forgotten_as_time_goes_by(filled: Filled) -> None:
    for ago in (0, 1, 5, 100):
        filled.put(TODAY - ago, count=2)
    before = filled.view()
    async with kept(filled, Conditions(SHORT)) as scene:
        await scene.settle()
        assert scene.where() == {0: "hot", 1: "both", 5: "archived"}
        assert filled.view() == [row for row in before if int(str(row[3])) >= (TODAY - 99) * DAY_MS]
        statistics = scene.keeper.statistics()
        assert (statistics.state, statistics.incident) == ("idle", "")
        assert statistics.cooled_total == {"hot_days": 1, "archive_days": 1}
        assert (statistics.archive_days, statistics.archive_rows, statistics.generations_total) == (2, 32, 2)
        filled.clock.advance(6 * DAY_MS)
        await scene.settle()
        assert scene.where() == {0: "archived", 1: "archived"}
        assert not generation_folder(filled.root, TODAY - 5, 1).exists()
        assert len(filled.view()) == 32


async def test_late_readings_make_the_next_generation_and_the_one_before_goes(filled: Filled) -> None:
    filled.put(TODAY - 2)
    async with kept(filled, lateness_ms=DAY_MS) as scene:
        await scene.settle()
        filled.put(TODAY - 2, first=30, count=1)
        await scene.settle()
        assert [(v.generation, v.pending_rows) for v in scene.keeper.days()] == [(1, 8)]
        filled.clock.advance(DAY_MS)
        await scene.settle()
        assert [(v.generation, v.pending_rows) for v in scene.keeper.days()] == [(2, 0)]
        assert not generation_folder(filled.root, TODAY - 2, 1).exists()


async def test_a_class_leaves_before_the_others_and_a_changed_pattern_first_sorts_the_files(
    filled: Filled,
) -> None:
    filled.put(TODAY - 2)
    before = filled.view()
    async with kept(filled) as scene:
        await scene.settle()
        vib = RetentionClass(class_id="vib", metric="vib_*", hot_days=1, archive_days=5)
        scene.conditions.classes = Retention((vib,), default_class(90, 730))
        await scene.settle()
        assert scene.where() == {2: "part"}
        assert filled.view() == before
        assert scene.keeper.days()[0].generation == 2
        filled.clock.advance(5 * DAY_MS)
        await scene.settle()
        assert {row[1] for row in filled.view()} == {"t", "on", "mode"}
        assert scene.where() == {2: "part"}
        assert scene.keeper.days()[0].archived_rows == 60


async def test_nothing_is_done_while_readings_wait(filled: Filled) -> None:
    filled.put(TODAY - 2)
    conditions = Conditions()
    conditions.because = "5 records of the log are stored first."
    async with kept(filled, conditions) as scene:
        await scene.settle()
        assert (scene.keeper.statistics().state, scene.where()) == ("paused", {2: "hot"})
        assert scene.keeper.statistics().paused_because == conditions.because
        conditions.because = ""
        await scene.settle()
        assert scene.where() == {2: "both"}


async def test_a_damaged_file_is_named_and_written_anew_while_the_store_has_the_day(filled: Filled) -> None:
    filled.put(TODAY - 2)
    async with kept(filled) as scene:
        await scene.settle()
        path = generation_folder(filled.root, TODAY - 2, 1) / "default-000.parquet"
        path.write_bytes(path.read_bytes()[:-1])
        faults = await scene.keeper.verify(TODAY - 2)
        assert [(fault.file, fault.generation) for fault in faults] == [("default-000.parquet", 1)]
        await scene.settle()
        (view,) = scene.keeper.days()
        assert (view.generation, view.faults) == (2, ())
        assert await scene.keeper.verify(TODAY - 2) == []


async def test_a_damaged_generation_is_found_before_it_is_all_there_is(filled: Filled) -> None:
    filled.put(TODAY - 2)
    before = filled.view()
    async with kept(filled) as scene:
        await scene.settle()
        path = generation_folder(filled.root, TODAY - 2, 1) / "default-000.parquet"
        path.unlink()
        scene.conditions.classes = Retention((), default_class(1, 10))
        await scene.settle()
        assert scene.keeper.statistics().state == "failing"
        assert "default-000.parquet: it is missing" in scene.keeper.statistics().incident
        assert filled.view() == before
        filled.clock.advance(600_000)
        await scene.settle()
        assert scene.where() == {2: "archived"}
        assert filled.view() == before


async def test_one_day_that_fails_does_not_keep_the_others_from_being_archived(filled: Filled) -> None:
    for ago in (2, 3):
        filled.put(TODAY - ago)
    (filled.root / "2026").mkdir()
    (filled.root / "2026" / "2026-02-22").write_text("in the way")
    async with kept(filled) as scene:
        await scene.settle()
        assert scene.keeper.statistics().failures_total == 1
        await scene.settle()
        assert scene.where() == {2: "both", 3: "hot"}
        (filled.root / "2026" / "2026-02-22").unlink()
        filled.clock.advance(600_000)
        await scene.settle()
        assert scene.where() == {2: "both", 3: "both"}
        assert scene.keeper.statistics().incident == ""


async def test_a_day_is_restored_and_leaves_again_on_its_date(filled: Filled) -> None:
    filled.put(TODAY - 5)
    before = filled.view()
    async with kept(filled, Conditions(SHORT)) as scene:
        await scene.settle()
        assert scene.where() == {5: "archived"}
        assert await scene.keeper.restore(TODAY - 5, TODAY + 1) == 80
        await scene.settle()
        assert scene.where() == {5: "both"}
        with pytest.raises(Conflict) as hot:
            await scene.keeper.restore(TODAY - 5, TODAY + 1)
        assert hot.value.code == "archive_day_hot"
        filled.clock.advance(2 * DAY_MS)
        await scene.settle()
        assert scene.where() == {5: "archived"}
        assert filled.view() == before
        scene.keeper.restore_soon(TODAY - 5, TODAY + 5)
        await scene.settle()
        assert scene.where() == {5: "both"}


async def test_late_readings_of_an_old_day_in_the_store_join_it(filled: Filled) -> None:
    filled.put(TODAY - 120)
    conditions = Conditions(SHORT)
    conditions.classes = Retention((), default_class(3, 400))
    async with kept(filled, conditions) as scene:
        await scene.settle()
        assert await scene.keeper.restore(TODAY - 120, TODAY + 9) == 80
        filled.put(TODAY - 120, ("a", "c"), first=30, count=2)
        before = filled.view()
        await scene.settle()
        assert [(v.where, v.pending_rows, v.archived_rows) for v in scene.keeper.days()] == [("both", 0, 96)]
        assert filled.view() == before
        await scene.work.run(
            lambda store: [None for _ in iter(lambda: store.roll_up(everything=True), False)]
        )
        with filled.store.reading() as connection:
            found = connection.execute("SELECT sum(count)::BIGINT FROM rollup_1h").fetchall()
            assert found == [(72,)]
            assert connection.execute("SELECT count(*) FROM readings_other").fetchall() == [(0,)]


async def test_a_day_that_others_left_to_the_archive_can_be_restored_at_once(filled: Filled) -> None:
    filled.put(TODAY - 2)
    before = filled.view()
    async with kept(filled) as scene:
        await scene.settle()
        await scene.work.run(lambda store: leave_to_archive(store, [TODAY - 2]))
        assert scene.where() == {2: "both"}  # as it was last looked at
        assert await scene.keeper.restore(TODAY - 2, TODAY + 1) == 80
        assert filled.view() == before
        with pytest.raises(NotFound):
            await scene.keeper.restore(TODAY - 9, TODAY + 1)


async def test_under_pressure_days_leave_early_until_the_store_has_room(filled: Filled) -> None:
    for ago in (1, 4, 5):
        filled.put(TODAY - ago, count=2)
    conditions = Conditions()
    async with kept(filled, conditions) as scene:
        await scene.settle()
        await scene.work.run(lambda store: store.tidy())
        conditions.is_short = True
        await scene.settle()
        await wait_until(lambda: scene.keeper.statistics().cooled_total.get("disk_pressure", 0) >= 1)
        await scene.settle()
        assert scene.where()[5] == "archived"
        assert scene.where()[1] == "both"


async def test_what_is_not_there_can_not_be_asked_for(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled.put(TODAY)
    async with kept(filled) as scene:
        await scene.settle()
        with pytest.raises(NotFound):
            await scene.keeper.verify(5)
        with pytest.raises(NotFound):
            await scene.keeper.verify(TODAY)
        monkeypatch.setattr(keeper_requests.Requests, "count_max", 0)
        with pytest.raises(LimitExceeded) as full:
            await scene.keeper.verify(TODAY)
        assert full.value.code == "archive_request_count"


async def test_what_a_crash_left_is_removed_when_it_begins(filled: Filled) -> None:
    filled.put(TODAY - 2)
    async with kept(filled) as scene:
        await scene.settle()
    unfinished = generation_folder(filled.root, TODAY - 2, 2)
    unfinished.mkdir()
    (unfinished / "default-000.parquet").write_bytes(b"half")
    async with kept(filled) as scene:
        await scene.settle()
        assert not unfinished.exists()
        assert scene.where() == {2: "both"}


async def test_it_stops_at_once_in_the_middle_of_a_step(filled: Filled) -> None:
    filled.put(TODAY - 2)
    reached = trio.Event()
    async with kept(filled, at_step=lambda _: reached.set()) as scene:
        with trio.fail_after(60):
            await reached.wait()
        scene.keeper.look()
    with trio.fail_after(20):
        async with kept(filled) as scene:
            await scene.settle()
            assert scene.where() == {2: "both"}


async def test_a_backlog_makes_it_wait(filled: Filled) -> None:
    filled.put(TODAY - 2)
    with filled.store.writing() as connection:
        connection.execute("INSERT INTO backlog VALUES (1, 1, 5, ''::BLOB)").fetchall()
    async with kept(filled) as scene:
        await scene.settle()
        assert scene.keeper.statistics().state == "paused"
        assert "stored first" in scene.keeper.statistics().paused_because
        with filled.store.writing() as connection:
            connection.execute("DELETE FROM backlog").fetchall()
        await scene.settle()
        assert scene.where() == {2: "both"}


async def test_a_store_that_is_opened_anew_is_waited_for_and_no_failure(filled: Filled) -> None:
    filled.put(TODAY - 2)

    def interrupted(*_: object) -> None:
        raise duckdb.InterruptException("INTERRUPT Error: Interrupted!")

    async with kept(filled) as scene:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(export, "check_taken", interrupted)
            await scene.settle()
        found = scene.keeper.statistics()
        assert (found.failures_total, found.incident, found.generations_total) == (0, "", 0)
        filled.clock.advance(DAY_MS // 2)
        await scene.settle()
        assert scene.where() == {2: "both"}
        assert scene.keeper.statistics().state == "idle"


async def test_a_clock_that_is_years_ahead_lets_nothing_go(filled: Filled) -> None:
    filled.put(TODAY - 2)
    before = filled.view()
    async with kept(filled) as scene:
        await scene.settle()
        right_ms = filled.clock.now_ms()
        filled.clock.set_wall(right_ms + 5_000 * DAY_MS)
        await scene.settle()
        assert scene.where() == {2: "both"}
        assert "clock leapt ahead" in scene.keeper.statistics().incident
        # Over a weekend, and longer.
        for _ in range(3):
            filled.clock.advance(DAY_MS)
            await scene.settle()
        assert filled.view() == before
        filled.clock.set_wall(right_ms + 3 * DAY_MS)
        await scene.settle()
        assert (scene.keeper.statistics().incident, filled.view()) == ("", before)
        # As days pass it goes, when its time is over.
        filled.clock.advance(5_000 * DAY_MS)
        await scene.settle()
        assert filled.view() == []
