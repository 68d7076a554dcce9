"""Questions in SQL: what useful ones answer, and what ends the others."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
import trio
import trio.testing

from appliance.core.errors import LimitExceeded, StorageError, Unavailable
from appliance.core.limits import SQL_NICENESS, SQL_WAITING_COUNT_MAX
from storage.archive.export import Exporter
from storage.archive.layout import generation_folder
from storage.archive.registering import cool
from storage.archive.taking import take
from storage.telemetry import sql_box as module
from storage.telemetry.database import StoreUnavailable, as_store_error, lacks_memory
from storage.telemetry.sql_box import SqlBox
from storage.telemetry.sql_refused import SqlRefused
from storage.telemetry.store import TelemetryStore
from tests.archive_kit import DEFAULT, TODAY, Filled
from tests.broker_kit import wait_until
from tests.log_kit import Record
from tests.pipeline_kit import Bench
from tests.sql_kit import NOW, store_with_readings

SLOW = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TelemetryStore]:
    opened = store_with_readings(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def box(store: TelemetryStore) -> Iterator[SqlBox]:
    opened = SqlBox(store, timeout_ms=10_000, rows_max=50)
    yield opened
    opened.close()


async def _rows(box: SqlBox, text: str) -> list[list[object]]:
    return [list(row) for row in (await box.ask(text)).rows]


async def test_an_answer_has_columns_types_and_rows(box: SqlBox) -> None:
    answer = await box.ask(
        "SELECT device, metric, observed_at, value, text, quality, kind FROM readings"
        " WHERE observed_at >= TIMESTAMP '2026-11-18 11:06:41' AND observed_at < TIMESTAMP '2026-11-18 11:06:42'"
        " ORDER BY metric"
    )
    assert [name for name, _ in answer.columns] == [
        "device",
        "metric",
        "observed_at",
        "value",
        "text",
        "quality",
        "kind",
    ]
    assert answer.columns[2] == ("observed_at", "TIMESTAMP")
    assert answer.rows == (
        ("d", "mode", "2026-11-18T11:06:41.000Z", None, "m1", "good", "text"),
        ("d", "on", "2026-11-18T11:06:41.000Z", 1.0, None, "good", "boolean"),
        ("d", "t", "2026-11-18T11:06:41.000Z", 1.0, None, "good", "number"),
    )
    assert (answer.cut_by, answer.duration_ms > 0) == ("", True)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("SELECT metric, count(*) FROM readings WHERE device = 'd' GROUP BY ALL ORDER BY ALL", [["mode", 10], ["on", 10], ["t", 10]]),
        ("SELECT DISTINCT quality FROM readings ORDER BY 1", [["bad"], ["good"]]),
        (
            "SELECT time_bucket(INTERVAL 5 SECONDS, observed_at) AS t, avg(value) FROM readings"
            " WHERE device = 'd' AND metric = 't' GROUP BY t ORDER BY t",
            [["2026-11-18T11:06:40.000Z", 2.0], ["2026-11-18T11:06:45.000Z", 7.0]],
        ),
        ("SELECT quantile_cont(value, [0.5, 1]) FROM readings WHERE metric = 't' AND device = 'd'", [[[4.5, 9.0]]]),
        (
            "SELECT sum(value) OVER (ORDER BY observed_at) FROM readings WHERE device = 'd' AND metric = 't' ORDER BY 1 LIMIT 3",
            [[0.0], [1.0], [3.0]],
        ),
        (
            "SELECT a.value, b.text FROM readings a ASOF JOIN readings b ON a.device = b.device AND b.metric = 'mode'"
            " AND a.observed_at >= b.observed_at WHERE a.metric = 't' ORDER BY 1 LIMIT 2",
            [[0.0, "m0"], [1.0, "m1"]],
        ),
        (
            "WITH t AS (FROM readings WHERE metric = 't'), o AS (FROM readings WHERE metric = 'on')"
            " SELECT sum(t.value) FROM t JOIN o USING (device, observed_at) WHERE o.value = 1",
            [[25.0]],
        ),
        ("SELECT max(value) FILTER (metric = 't') AS t, max(value) FILTER (metric = 'on') AS o FROM readings WHERE device = 'd'", [[9.0, 1.0]]),
        ("SELECT device, metric, kind FROM series WHERE device = 'e'", [["e", "t", "number"]]),
        ("SELECT 1.5, 2::HUGEINT ** 3, 170141183460469231731687303715884105727, INTERVAL 90 MINUTES, DATE '2026-01-02', TIME '10:00', NULL, true",
         [[1.5, 8.0, "170141183460469231731687303715884105727", "1:30:00", "2026-01-02", "10:00:00", None, True]]),
        ("SELECT TIMESTAMP '2026-01-02 03:04:05.000006', TIMESTAMP '200000-01-01'", [["2026-01-02T03:04:05.000006Z", "200000-01-01 00:00:00"]]),
        ("SELECT now() BETWEEN TIMESTAMP '2026-01-01' AND TIMESTAMP '2200-01-01', current_date > DATE '2026-01-01'", [[True, True]]),
        ("SELECT count(*) FROM readings r WHERE r.observed_at < now() - INTERVAL 100 YEARS", [[0]]),
    ],
)  # fmt: skip
async def test_useful_questions(box: SqlBox, text: str, rows: list[list[object]]) -> None:
    assert await _rows(box, text) == rows


async def test_a_question_sees_what_was_committed_since(store: TelemetryStore, box: SqlBox) -> None:
    assert await _rows(box, "SELECT count(*) FROM newest") == [[0]]
    store.tidy()
    assert await _rows(box, "SELECT device, value FROM newest WHERE metric = 't' ORDER BY ALL") == [
        ["d", 9.0],
        ["e", 100.0],
    ]


async def test_hours_and_days_are_added_up(store: TelemetryStore, box: SqlBox) -> None:
    while store.roll_up(everything=True):
        pass
    for table, begins_at in (
        ("rollup_1h", "2026-11-18T11:00:00.000Z"),
        ("rollup_1d", "2026-11-18T00:00:00.000Z"),
    ):
        # Of bad quality is all that `e` sent.
        assert await _rows(box, f"SELECT * FROM {table} ORDER BY metric") == [
            ["d", "on", begins_at, 10, 0.5, 0.0, 1.0, 0.0, 1.0],
            ["d", "t", begins_at, 10, 4.5, 0.0, 9.0, 0.0, 9.0],
        ]
        assert await _rows(
            box, f"SELECT count(*) FROM {table} WHERE begins_at >= now() - INTERVAL 100 YEARS"
        ) == [[2]]
        assert await _rows(box, f"SELECT count(*) FROM {table} WHERE begins_at < TIMESTAMP '2026-11-18'") == [
            [0]
        ]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("SELECT valu\nFROM readings", "sql_invalid", 'Line 1: Referenced column "valu" not found in FROM clause! Candidate bindings: "value"'),
        ("SELECT 1,\n'x'::INTEGER", "sql_invalid", "Could not convert string 'x'"),
        ("SELECT observed_at AT TIME ZONE 'Europe/Berlin' FROM readings", "sql_refused", "End it with AT TIME ZONE"),
        ("SELECT a.*, b.*, c.*, d.* FROM " + ", ".join(f"(SELECT {', '.join(['1'] * 60)}) {name}" for name in "abcd"), "sql_too_large", "240 columns"),
        ("SELECT * FROM nowhere", "sql_refused", "There is no table"),
    ],
)  # fmt: skip
async def test_a_mistake_is_told(box: SqlBox, text: str, code: str, words: str) -> None:
    with pytest.raises(SqlRefused) as caught:
        await box.ask(text)
    assert caught.value.code == code
    assert words in str(caught.value)
    assert await _rows(box, "SELECT 1") == [[1]]
    assert box.statistics().refused_total == 1


async def test_rows_beyond_the_limit_are_cut_off(box: SqlBox) -> None:
    answer = await box.ask("SELECT i FROM range(100000000) t(i)")
    assert (len(answer.rows), answer.cut_by) == (50, "rows")
    whole = await box.ask("SELECT i FROM range(50) t(i)")
    assert (len(whole.rows), whole.cut_by) == (50, "")


async def test_bytes_beyond_the_limit_are_cut_off(store: TelemetryStore) -> None:
    box = SqlBox(store, answer_bytes_max=100)
    answer = await box.ask("SELECT text, [1, 2] FROM readings WHERE text IS NOT NULL")
    assert (len(answer.rows), answer.cut_by) == (2, "bytes")
    box.close()


def _list_of(levels: int, width: int) -> str:
    """A list of lists of lists …: `width` to the power of `levels` values."""
    table = "(SELECT 1) t(c0)"
    for at in range(levels):
        table = f"(SELECT [{', '.join([f'c{at}'] * width)}] FROM {table}) t{at}(c{at + 1})"
    return f"SELECT c{levels} FROM {table}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_list_of(4, 60), "not taken in a list"),
        ("SELECT [value] FROM readings", "not taken in a list"),
        ("SELECT [(SELECT [1])]", "not taken in a list"),
        ("SELECT [abs(value)] FROM readings", "not taken in a list"),
        ("SELECT " + ", ".join(["[1]"] * 9), "9 columns of lists"),
        ("SELECT readings FROM readings", "a whole row in one value"),
    ],
)  # fmt: skip
async def test_no_list_grows_beyond_what_python_makes_in_a_moment(box: SqlBox, text: str, words: str) -> None:
    with pytest.raises(SqlRefused, match=words):
        await box.ask(text)


async def test_the_longest_list_is_made_a_row_at_a_time(box: SqlBox, monkeypatch: pytest.MonkeyPatch) -> None:
    """9 × 3,900 values a row: Python makes an object of each, and 256 such rows at once held the whole process up for seconds."""
    longest = f"(SELECT [{', '.join('1' * 3_900)}] FROM range(100)) t(a)"
    for _ in range(2):
        longest = f"(SELECT a || a || a FROM {longest}) t(a)"
    monkeypatch.setattr(module, "SQL_FETCH_ROW_COUNT", None)  # whoever fetches by it fails
    answer = await box.ask(f"SELECT a FROM {longest}")
    assert answer.cut_by == "bytes"
    assert len(answer.rows) > 1


async def test_a_slow_question_is_interrupted(store: TelemetryStore) -> None:
    box = SqlBox(store, timeout_ms=1_500)
    with pytest.raises(Unavailable, match=r"longer than 1\.5 s") as caught:
        await box.ask(SLOW)
    assert caught.value.code == "sql_timeout"
    assert box.statistics().timeouts_total == 1
    assert await _rows(box, "SELECT 1") == [[1]]
    box.close()


async def test_a_question_nobody_waits_for_is_interrupted(box: SqlBox) -> None:
    with trio.move_on_after(0.3):
        await box.ask(SLOW)
    assert box.statistics().running == 0
    assert await _rows(box, "SELECT 1") == [[1]]


async def test_one_runs_some_wait_the_rest_are_told(box: SqlBox) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(SQL_WAITING_COUNT_MAX + 1):
            nursery.start_soon(box.ask, SLOW)
        await wait_until(lambda: box.statistics().waiting == SQL_WAITING_COUNT_MAX)
        assert box.statistics().running == 1
        with pytest.raises(LimitExceeded) as caught:
            await box.ask("SELECT 1")
        assert caught.value.code == "sql_busy"
        nursery.cancel_scope.cancel()
    statistics = box.statistics()
    assert (statistics.busy_total, statistics.running, statistics.waiting) == (1, 0, 0)


async def test_a_question_that_needs_too_much_memory_is_told(tmp_path: Path) -> None:
    store = TelemetryStore.open(tmp_path / "small.duckdb", memory_limit_mib=64)
    box = SqlBox(store, timeout_ms=20_000, memory_mib=16, memory_limit_mib=64)
    with pytest.raises(Unavailable) as caught:
        await box.ask("SELECT median(i) FROM range(100000000) t(i)")
    assert caught.value.code == "sql_memory"
    box.close()
    store.close()


async def test_memory_that_duckdb_does_not_count_is_watched(
    box: SqlBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = iter([0, 0])
    monkeypatch.setattr(module, "_resident_bytes", lambda: next(sizes, 2**40))
    with trio.fail_after(8), pytest.raises(Unavailable) as caught:
        await box.ask(SLOW)
    assert caught.value.code == "sql_memory"


async def test_the_thread_gives_way_to_others(box: SqlBox, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    check = box._checker.check

    def looking(text: str) -> None:
        thread = threading.get_native_id()
        seen.append((thread, os.getpriority(os.PRIO_PROCESS, thread)))
        check(text)

    monkeypatch.setattr(box._checker, "check", looking)
    await box.ask("SELECT 1")
    ((thread, niceness),) = seen
    assert thread != threading.get_native_id()
    ours = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert niceness == min(ours + SQL_NICENESS, 19)


async def test_opening_the_store_anew_does_not_wait_for_a_question(
    store: TelemetryStore, box: SqlBox
) -> None:
    """It is interrupted and told to ask again; the store opens within a moment, and answers."""
    told: list[Unavailable] = []

    async def ask() -> None:
        with pytest.raises(Unavailable) as caught:
            await box.ask(SLOW)
        told.append(caught.value)

    with trio.fail_after(8):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await wait_until(lambda: box.statistics().running)
            while True:
                try:
                    await trio.to_thread.run_sync(store.reopen)
                except StoreUnavailable:
                    await trio.sleep(0.05)
                else:
                    break
    assert [each.code for each in told] == ["sql_interrupted"]
    assert "Ask again" in told[0].hint
    assert box.statistics().interrupted_total == 1
    assert await _rows(box, "SELECT count(*) FROM readings") == [[32]]


async def test_while_it_is_opened_anew_nothing_is_asked(store: TelemetryStore, box: SqlBox) -> None:
    store._readers.close()
    with pytest.raises(Unavailable) as caught:
        await box.ask("SELECT 1")
    assert caught.value.code == "sql_interrupted"
    store._readers.open()
    assert await _rows(box, "SELECT 1") == [[1]]


async def test_a_day_is_dropped_beside_a_question(store: TelemetryStore, box: SqlBox) -> None:
    """Retention doesn't wait for it either, and it sees the day to its end."""
    with trio.fail_after(8):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_cancelled, box)
            await wait_until(lambda: box.statistics().running)
            await trio.to_thread.run_sync(store.drop_day, NOW // 86_400_000 - 1)
            nursery.cancel_scope.cancel()
    assert await _rows(box, "SELECT count(*) FROM readings") == [[31]]


async def _until_cancelled(box: SqlBox) -> None:
    await box.ask("SELECT count(*) FROM readings, range(1000000000) a, range(1000000000) b")


async def test_a_commit_out_of_memory_ends_the_questions(
    store: TelemetryStore, box: SqlBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object) -> list[str]:
        raise duckdb.OutOfMemoryException("Out of Memory Error: as a test says")

    batch, _ = Bench().build([Record(b'{"v":{"t":1}}', b"dm/d/telemetry", NOW)])
    batch.before = store.read_cursor()
    batch.after = replace(batch.before, next_seq=batch.before.next_seq + 1)
    monkeypatch.setattr("storage.telemetry.store.write_batch", out_of_memory)
    with trio.fail_after(8):
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                with pytest.raises(Unavailable) as caught:
                    await box.ask(SLOW)
                assert caught.value.code == "sql_interrupted"

            nursery.start_soon(ask)
            await wait_until(lambda: box.statistics().running)
            # The pipeline offers a batch again, too: one interrupt may come before the question has begun.
            while box.statistics().running:
                with pytest.raises(StoreUnavailable, match="memory"):
                    await trio.to_thread.run_sync(store.commit, batch)


async def test_a_failure_of_the_store_is_one(box: SqlBox, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(text: str) -> None:
        raise duckdb.FatalException("FATAL Error: as a test says")

    monkeypatch.setattr(box._checker, "check", damaged)
    with pytest.raises(StorageError, match="as a test says"):
        await box.ask("SELECT 1")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_defect_in_the_thread_does_not_leave_the_asker_waiting(
    box: SqlBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(text: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(box._checker, "check", broken)
    with trio.fail_after(20), pytest.raises(StorageError, match="without an answer"):
        await box.ask("SELECT 1")


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate"), True),
        (duckdb.TransactionException("TransactionContext Error: Failed to commit: failed to pin block of size 256.0 KiB"), True),
        (duckdb.TransactionException("TransactionContext Error: Failed to commit: write-write conflict"), False),
    ],
)  # fmt: skip
def test_a_lack_of_memory_is_known_in_both_its_forms(error: duckdb.Error, is_memory: bool) -> None:
    assert lacks_memory(error) == is_memory
    assert (as_store_error(error, Path("t.duckdb")).code == "store_out_of_memory") == is_memory


async def test_a_file_of_the_archive_that_is_gone_or_broken_is_named_and_no_damage_of_the_store(
    tmp_path: Path,
) -> None:
    filled = Filled(tmp_path)
    filled.put(TODAY - 3)
    with filled.store.reading() as connection:
        taken = take(connection, TODAY - 3, with_other=True)
        assert taken is not None
        manifest = Exporter(filled.root, clock=filled.clock, retention=DEFAULT).export(connection, taken)
    cool(filled.store, taken, manifest)
    box = SqlBox(filled.store)
    assert (await box.ask("SELECT count(*) FROM readings")).rows == ((80,),)
    path = generation_folder(filled.root, TODAY - 3, 1) / manifest.files[0].name
    for harm in (lambda: path.write_bytes(b"PAR1" + bytes(50) + b"PAR1"), path.unlink):
        harm()
        with pytest.raises(StorageError) as caught:
            await box.ask("SELECT device, max(value) FROM readings GROUP BY device")
        assert caught.value.code == "archive_file_unreadable"
        assert str(path.name) in caught.value.message
        assert filled.store.damage.take() is None
    filled.store.reopen()
    answer = await box.ask("SELECT count(*) FROM readings")
    assert (answer.rows, answer.missing_days) == (((0,),), ("2026-02-22",))
    box.close()
    filled.store.close()
