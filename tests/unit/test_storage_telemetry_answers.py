"""Series of many devices, the top of a site, the newest of all, exports: over rows, rollups and the archive's files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from appliance.core.clock import ManualClock
from appliance.core.errors import StorageError, UsageError
from storage.telemetry import plan, portions
from storage.telemetry.answers import AGGREGATIONS, fitting_interval_ms
from storage.telemetry.database import run
from storage.telemetry.reader import TelemetryReader
from storage.telemetry.removing import note_archived
from storage.telemetry.store import TelemetryStore
from tests.store_kit import Feeder, Reading

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
NOW = 19_675 * DAY


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TelemetryStore]:
    opened = TelemetryStore.open(
        tmp_path / "t.duckdb", memory_limit_mib=128, threads=1, clock=ManualClock(now_ms=NOW)
    )
    feeder = Feeder(opened)
    for day in range(3):
        feeder.commit(
            [
                Reading(f"d{number}", metric, NOW + day * DAY + hour * HOUR, float(10 * number + hour))
                for number in range(3)
                for metric in ("t", "u")
                for hour in range(4)
            ]
        )
        if day == 1:
            while opened.roll_up(everything=True):
                pass
    yield opened
    opened.close()


@pytest.fixture
def reader(store: TelemetryStore) -> TelemetryReader:
    return TelemetryReader(store)


@pytest.fixture(params=["one by one", "joined"])
def _both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "ONE_BY_ONE_MAX", 0 if request.param == "joined" else 24)


VALUES = {
    "mean": 11.5,
    "band": 11.5,
    "min": 10.0,
    "max": 13.0,
    "count": 4,
    "first": 10.0,
    "last": 13.0,
    "sum": 46.0,
}


@pytest.mark.usefixtures("_both_ways")
@pytest.mark.parametrize("aggregation", AGGREGATIONS[1:])
async def test_many_series_in_one_question(reader: TelemetryReader, aggregation: str) -> None:
    asked = [("d1", "u"), ("nobody", "t"), ("d1", "t"), ("d0", "t")]
    found = await reader.query_many(asked, NOW, NOW + 3 * DAY, aggregation=aggregation, interval_ms=DAY)
    assert [(data.device, data.metric) for data in found] == asked
    u, nobody, t, _ = found
    assert u.at_ms == t.at_ms == [NOW, NOW + DAY, NOW + 2 * DAY]
    assert u.value == t.value == [VALUES[aggregation]] * 3
    assert u.count == [4, 4, 4]
    assert (u.min, u.max) == (([10.0] * 3, [13.0] * 3) if aggregation == "band" else ([], []))
    assert nobody.at_ms == nobody.value == []


@pytest.mark.usefixtures("_both_ways")
async def test_raw_of_many_series(reader: TelemetryReader) -> None:
    found = await reader.query_many([("d0", "t"), ("d2", "u")], NOW + HOUR, NOW + DAY + 1)
    assert [data.value for data in found] == [[1.0, 2.0, 3.0, 0.0], [21.0, 22.0, 23.0, 20.0]]
    cut = await reader.query_many([("d0", "t"), ("d2", "u")], NOW, NOW + DAY, limit_total=5)
    assert [(data.value, data.truncated) for data in cut] == [([0.0, 1.0], True), ([20.0, 21.0], True)]


async def test_a_series_is_asked_for_once(reader: TelemetryReader) -> None:
    with pytest.raises(UsageError):
        await reader.query_many([("d0", "t"), ("d0", "t")], NOW, NOW + DAY)


@pytest.mark.usefixtures("_both_ways")
async def test_the_top_of_the_site(reader: TelemetryReader) -> None:
    top = await reader.top("[tx]", "max", NOW, NOW + 3 * DAY, 2)
    assert [(entry.device, entry.metric, entry.value, entry.count) for entry in top] == [
        ("d2", "t", 23.0, 12),
        ("d1", "t", 13.0, 12),
    ]
    (least,) = await reader.top("*", "mean", NOW + 1, NOW + HOUR + 1, 1, lowest=True)
    assert (least.device, least.value) == ("d0", 1.0)
    assert await reader.top("nothing*", "max", NOW, NOW + DAY) == []
    with pytest.raises(UsageError):
        await reader.top("t", "band", NOW, NOW + DAY)


async def test_the_newest_of_all(reader: TelemetryReader, store: TelemetryStore) -> None:
    before = await reader.newest()
    assert (before.device, before.metric) == (["d0", "d0", "d1", "d1", "d2", "d2"], ["t", "u"] * 3)
    assert before.number == [3.0, 3.0, 13.0, 13.0, 23.0, 23.0]
    assert before.observed_at_ms == [NOW + 2 * DAY + 3 * HOUR] * 6
    store.tidy()
    assert await reader.newest() == before


def test_intervals_are_such_that_rollups_have() -> None:
    assert fitting_interval_ms(0, 10_000, 5) == 2_000
    assert fitting_interval_ms(0, DAY, 1_000) == 2 * MINUTE
    assert fitting_interval_ms(0, 90 * DAY, 500) == 5 * HOUR


@pytest.mark.parametrize("rows_max", [100_000, 2])
async def test_an_export_is_in_order_and_in_portions(
    reader: TelemetryReader, monkeypatch: pytest.MonkeyPatch, rows_max: int
) -> None:
    monkeypatch.setattr(portions, "EXPORT_PORTION_ROWS_MAX", rows_max)
    found = []
    async for columns in reader.stream(["d2", "d0"], ["t"], NOW, NOW + 2 * DAY):
        assert 0 < len(columns) <= rows_max
        found += [
            (columns.device, columns.metric, at, value)
            for at, value in zip(columns.at_ms.tolist(), columns.number.tolist(), strict=True)
        ]
    assert found == [
        (device, "t", NOW + day * DAY + hour * HOUR, base + hour)
        for device, base in (("d0", 0.0), ("d2", 20.0))
        for day in range(2)
        for hour in range(4)
    ]
    every = [columns.metric async for columns in reader.stream(["d1"], [], NOW, NOW + HOUR)]
    assert every == ["t", "u"]


async def test_an_export_that_is_left_holds_nothing(reader: TelemetryReader) -> None:
    with trio.fail_after(60):
        stream = reader.stream(["d0"], [], NOW, NOW + DAY)
        async for _ in stream:
            break
        async for _ in reader.stream(["d0"], [], NOW, NOW + DAY):
            break
        assert reader.statistics().running == 0


def archive(store: TelemetryStore, day: int, *, has_rollups: bool) -> None:
    """Take a day out into a Parquet file, as the archive does."""
    path = f"day-{day}.parquet"
    store.archive_folder.mkdir(exist_ok=True)
    low, top = NOW + day * DAY, NOW + (day + 1) * DAY
    with store.reading() as connection:
        run(
            connection,
            "COPY (SELECT device, metric, kind, observed_at, num, text, quality FROM v_readings"
            f" WHERE observed_at >= {low} AND observed_at < {top} ORDER BY device, metric, observed_at)"
            f" TO '{store.archive_folder / path}' (FORMAT parquet)",
        )
    number = NOW // DAY + day
    with store.writing() as connection:
        run(
            connection,
            "INSERT INTO archive_files VALUES (?, 1, 'std', ?, 24, 'd0', 'd2', ?, ?)",
            [number, path, low, top - 1],
        )
        run(connection, "UPDATE days SET generation = 1 WHERE day = ?", [number])
    store.drop_day(number)
    if not has_rollups:
        with store.writing() as connection:
            note_archived(connection, number, has_rollups=False)


@pytest.mark.usefixtures("_both_ways")
@pytest.mark.parametrize("has_rollups", [True, False])
@pytest.mark.parametrize("interval_ms", [DAY, HOUR, MINUTE, 90_000])
async def test_days_in_the_archive_answer_as_before(
    store: TelemetryStore, reader: TelemetryReader, has_rollups: bool, interval_ms: int
) -> None:
    asked = [("d0", "t"), ("d1", "u")]
    question = {"aggregation": "sum", "interval_ms": interval_ms}
    wholly = await reader.query_many(asked, NOW, NOW + 3 * DAY, **question)  # type: ignore[arg-type]
    unaligned = await reader.query_many(asked, NOW + HOUR + 7, NOW + DAY + HOUR + 7, **question)  # type: ignore[arg-type]
    rows = await reader.query_many(asked, NOW, NOW + 3 * DAY)
    top = await reader.top("*", "last", NOW + 7, NOW + 3 * DAY)
    archive(store, 0, has_rollups=has_rollups)
    archive(store, 1, has_rollups=has_rollups)
    assert "readings_20231114" not in store.reading_tables()
    assert await reader.query_many(asked, NOW, NOW + 3 * DAY, **question) == wholly  # type: ignore[arg-type]
    assert await reader.query_many(asked, NOW + HOUR + 7, NOW + DAY + HOUR + 7, **question) == unaligned  # type: ignore[arg-type]
    assert await reader.query_many(asked, NOW, NOW + 3 * DAY) == rows
    assert await reader.top("*", "last", NOW + 7, NOW + 3 * DAY) == top
    exported = [len(columns) async for columns in reader.stream(["d0"], ["t"], NOW, NOW + 3 * DAY)]
    assert sum(exported) == 12


async def test_a_file_of_the_archive_that_is_gone_is_said(
    store: TelemetryStore, reader: TelemetryReader
) -> None:
    archive(store, 0, has_rollups=False)
    (store.archive_folder / "day-0.parquet").unlink()
    with pytest.raises(StorageError) as caught:
        await reader.query_many([("d0", "t")], NOW, NOW + DAY)
    assert caught.value.code == "archive_file_unreadable"
    (other,) = await reader.query_many([("d0", "t")], NOW + DAY, NOW + 2 * DAY)
    assert len(other.value) == 4


async def test_an_answer_says_what_it_was_read_from(reader: TelemetryReader) -> None:
    span = (NOW, NOW + 3 * DAY)
    (hourly,) = await reader.query_many([("d1", "t")], *span, aggregation="mean", interval_ms=HOUR)
    assert hourly.sources == ("hours", "readings"), "the last day is not rolled up"
    (daily,) = await reader.query_many([("d1", "t")], NOW, NOW + DAY, aggregation="sum", interval_ms=DAY)
    assert daily.sources[0] == "days"
    (raw,) = await reader.query_many([("d1", "t")], *span)
    assert raw.sources == ("readings",)
    (nothing,) = await reader.query_many([("nobody", "t")], *span, aggregation="mean", interval_ms=HOUR)
    assert nothing.sources == ()


async def test_the_top_among_some_devices(reader: TelemetryReader) -> None:
    span = (NOW, NOW + DAY)
    assert [one.device for one in await reader.top("t", "max", *span)] == ["d2", "d1", "d0"]
    some = await reader.top("t", "max", *span, devices=["d1", "d0", "nobody"])
    assert [one.device for one in some] == ["d1", "d0"]
    assert await reader.top("t", "max", *span, devices=[]) == []
