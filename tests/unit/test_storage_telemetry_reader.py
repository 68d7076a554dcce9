"""Questions to the store, and what happens to slow and cancelled ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.core.errors import LimitExceeded, StorageError, Unavailable, UsageError
from storage.telemetry import reader as module
from storage.telemetry.answers import SeriesData
from storage.telemetry.database import run
from storage.telemetry.reader import TelemetryReader
from storage.telemetry.sources import tables_between
from storage.telemetry.store import TelemetryStore
from tests.log_kit import Record
from tests.pipeline_kit import Bench

NOW = 1_700_000_000_000
DAY = 86_400_000
SLOW = "SELECT count(*) FROM range(1000000000) a, range(1000000) b"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TelemetryStore]:
    opened = TelemetryStore.open(tmp_path / "t.duckdb")
    payloads = [
        b'{"ts":%d,"v":{"t":%d,"on":%s,"mode":"m%d"}}' % (NOW + n * 1_000, n, (b"false", b"true")[n % 2], n)
        for n in range(10)
    ]
    payloads += [
        b'{"ts":%d,"v":{"t":99},"q":"bad"}' % (NOW + 500),
        b'{"ts":%d,"v":{"t":"text"}}' % (NOW + 20_000),
    ]
    payloads += [b'{"ts":%d,"v":{"t":-1}}' % (NOW - 200 * DAY), b"junk", b"{}"]
    batch, _ = Bench().build([Record(p, b"dm/d/telemetry", NOW + 30_000) for p in payloads])
    batch.before = type(batch.before)()
    opened.commit(batch)
    yield opened
    opened.close()


@pytest.fixture
def reader(store: TelemetryStore) -> TelemetryReader:
    return TelemetryReader(store, concurrency_max=1, timeout_ms=5_000)


async def test_raw(reader: TelemetryReader) -> None:
    on, t, nothing = await reader.query("d", ["on", "t", "nothing"], NOW, NOW + 2_000)
    assert (on.at_ms, on.value) == ([NOW, NOW + 1_000], [False, True])
    assert (t.at_ms, t.value, t.quality) == ([NOW, NOW + 500, NOW + 1_000], [0.0, 99.0, 1.0], [0, 2, 0])
    assert nothing == SeriesData("nothing", device="d")
    (late,) = await reader.query("d", ["t"], NOW + 9_000, NOW + 21_000)
    assert late.value == [9.0, "text"]
    (old,) = await reader.query("d", ["t"], NOW - 300 * DAY, NOW)
    assert old.value == [-1.0]
    assert await reader.query("stranger", ["t"], NOW, NOW + 1) == [SeriesData("t", device="stranger")]


async def test_raw_is_limited(reader: TelemetryReader) -> None:
    (t,) = await reader.query("d", ["t"], NOW, NOW + 60_000, limit=3)
    assert t.truncated
    assert t.at_ms == [NOW, NOW + 500, NOW + 1_000]
    (whole,) = await reader.query("d", ["mode"], NOW, NOW + 60_000, limit=10)
    assert not whole.truncated


async def test_all_metrics(reader: TelemetryReader) -> None:
    assert [data.metric for data in await reader.query("d", [], NOW, NOW + 1)] == ["mode", "on", "t"]
    assert await reader.metrics("d") == ["mode", "on", "t"]


@pytest.mark.parametrize(
    ("aggregation", "value"),
    [("mean", [1.5, 5.5, 8.5]), ("min", [0.0, 4.0, 8.0]), ("max", [3.0, 7.0, 9.0]), ("count", [4, 4, 2]), ("band", [1.5, 5.5, 8.5])],
)  # fmt: skip
async def test_aggregations(reader: TelemetryReader, aggregation: str, value: list[float]) -> None:
    (t,) = await reader.query("d", ["t"], NOW, NOW + 12_000, aggregation=aggregation, interval_ms=4_000)
    assert t.at_ms == [NOW, NOW + 4_000, NOW + 8_000]
    assert t.value == value
    assert (t.min, t.max) == (([0.0, 4.0, 8.0], [3.0, 7.0, 9.0]) if aggregation == "band" else ([], []))
    (mode,) = await reader.query("d", ["mode"], NOW, NOW + 12_000, aggregation=aggregation, interval_ms=4_000)
    assert mode.value == ([4, 4, 2] if aggregation == "count" else [])


async def test_the_interval_is_chosen_to_fit_and_the_limit_holds(reader: TelemetryReader) -> None:
    (t,) = await reader.query("d", ["t"], NOW, NOW + 10_000, aggregation="max", limit=5)
    assert t.interval_ms == 2_000
    assert t.value == [1.0, 3.0, 5.0, 7.0, 9.0]
    (cut,) = await reader.query("d", ["t"], NOW, NOW + 10_000, aggregation="max", interval_ms=1_000, limit=2)
    assert (cut.truncated, cut.value) == (True, [0.0, 1.0])


async def test_dead_letters(reader: TelemetryReader) -> None:
    letters = await reader.dead_letters()
    assert [(x.seq, x.reason, x.payload) for x in letters] == [
        (15, "no_values", b"{}"),
        (14, "bad_json", b"junk"),
    ]
    (older,) = await reader.dead_letters(5, (letters[0].epoch, letters[0].seq))
    assert older.seq == 14
    assert await reader.dead_letter_counts() == {"bad_json": 1, "no_values": 1}


@pytest.mark.parametrize(
    "wrong", [{"aggregation": "median"}, {"to_ms": NOW}, {"limit": 0}, {"interval_ms": 0}]
)
async def test_wrong_questions(reader: TelemetryReader, wrong: dict[str, object]) -> None:
    asked = {"from_ms": NOW, "to_ms": NOW + 1, **wrong}
    with pytest.raises(UsageError):
        await reader.query("d", ["t"], **asked)  # type: ignore[arg-type]


async def test_a_slow_question_is_interrupted_and_the_next_one_answered(
    store: TelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = TelemetryReader(store, concurrency_max=1, timeout_ms=100)
    monkeypatch.setattr(module, "_series_of", lambda connection, *_: run(connection, SLOW))
    with pytest.raises(Unavailable) as caught:
        await reader.metrics("d")
    assert caught.value.code == "query_timeout"
    monkeypatch.undo()
    assert await reader.metrics("d") == ["mode", "on", "t"]
    statistics = reader.statistics()
    assert (statistics.queries_total, statistics.timeouts_total, statistics.running) == (2, 1, 0)


async def test_a_cancelled_question_is_interrupted(
    reader: TelemetryReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_series_of", lambda connection, *_: run(connection, SLOW))
    with trio.fail_after(60), trio.move_on_after(0.1) as scope:
        await reader.metrics("d")
    assert scope.cancelled_caught


async def test_too_many_questions_are_refused(
    reader: TelemetryReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUERY_WAITING_COUNT_MAX", 1)
    monkeypatch.setattr(module, "_series_of", lambda connection, *_: run(connection, SLOW))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.metrics, "d")
        nursery.start_soon(reader.metrics, "d")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(LimitExceeded):
            await reader.metrics("d")
        nursery.cancel_scope.cancel()
    assert reader.statistics().refused_total == 1


async def test_an_error_of_the_store_is_the_stores(
    reader: TelemetryReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_series_of", lambda connection, *_: run(connection, "SELECT nonsense"))
    with pytest.raises(StorageError):
        await reader.metrics("d")


def test_only_tables_of_the_range_are_read() -> None:
    tables = [
        "readings_20231113",
        "readings_20231114",
        "readings_20231115",
        "readings_other",
        "texts_20231114",
    ]
    assert tables_between(tables, NOW, NOW + 1) == ["readings_20231114", "readings_other", "texts_20231114"]
    assert tables_between(tables, NOW - DAY, NOW) == [
        "readings_20231113",
        "readings_20231114",
        "readings_other",
        "texts_20231114",
    ]
    assert tables_between(tables, -(10**18), 10**18) == tables
