"""Readings as a Parquet file: whole, in order, bounded, and never left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import trio

from appliance.core.errors import StorageError, Unavailable, UsageError
from storage.archive.export import Exporter
from storage.archive.registering import cool
from storage.archive.taking import take
from storage.telemetry import parquet_export as module
from storage.telemetry.database import run
from storage.telemetry.parquet_export import ParquetExports
from storage.telemetry.reader import TelemetryReader
from storage.telemetry.store import TelemetryStore
from tests.archive_kit import DEFAULT, TODAY, Filled
from tests.log_kit import Record
from tests.pipeline_kit import Bench

NOW = 1_700_000_000_000
DAY = 86_400_000
SLOW = "SELECT count(*) FROM range(1000000000) a, range(1000000) b"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TelemetryStore]:
    opened = TelemetryStore.open(tmp_path / "it's" / "t.duckdb")
    records = [
        Record(b'{"ts":%d,"v":{"t":%d,"on":true,"mode":"m"}}' % (at_ms, n), b"dm/%s/telemetry" % device, NOW)
        for n, at_ms in enumerate((NOW + 2_000, NOW, NOW - 2 * DAY, NOW - 200 * DAY))
        for device in (b"b", b"a")
    ]
    batch, _ = Bench().build(records)
    batch.before = type(batch.before)()
    opened.commit(batch)
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    (tmp_path / "it's").mkdir()


def _rows(path: Path) -> list[tuple[object, ...]]:
    return duckdb.connect().execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()


def _files(store: TelemetryStore) -> list[Path]:
    return sorted((store.path.parent / "archive" / "tmp").iterdir())


async def test_a_file_has_all_of_the_range_in_order(store: TelemetryStore) -> None:
    path = await ParquetExports(store).write(["b", "a"], [], NOW - 300 * DAY, NOW + 2_000)
    rows = _rows(path)
    assert [(row[0], row[1], row[3], row[4], row[5]) for row in rows if row[0] == "a"] == [
        *[("a", "mode", None, "m", "text")] * 3,
        *[("a", "on", 1.0, None, "boolean")] * 3,
        *[("a", "t", value, None, "number") for value in (3.0, 2.0, 1.0)],
    ]
    assert [row[:2] for row in rows] == sorted(row[:2] for row in rows)
    assert len(rows) == 18
    assert str(rows[-1][2]) == "2023-11-14 22:13:20"
    assert rows[-1][6] == "good"
    assert _files(store) == [path]


async def test_only_what_was_named(store: TelemetryStore) -> None:
    exports = ParquetExports(store)
    path = await exports.write(["a", "stranger"], ["t", "x"], NOW, NOW + 1)
    assert [row[:2] for row in _rows(path)] == [("a", "t")]
    other = await exports.write([], [], 0, NOW + DAY)
    assert _rows(other) == []
    assert other != path


async def test_too_much_is_refused_before_it_is_written(
    store: TelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EXPORT_PARQUET_ROW_COUNT_MAX", 5)
    with pytest.raises(UsageError, match="That are 6 readings") as refused:
        await ParquetExports(store).write(["a"], [], NOW, NOW + DAY)
    assert refused.value.code == "telemetry_export_too_large"
    assert _files(store) == []


async def test_what_takes_too_long_or_is_not_wanted_any_more_is_interrupted(
    store: TelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def slow(connection: duckdb.DuckDBPyConnection, path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        token.run_sync_soon(began.set)
        run(connection, SLOW)

    monkeypatch.setattr(module, "_write", slow)
    exports = ParquetExports(store)
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exports.write, ["a"], [], 0, 1)
            await began.wait()
            nursery.cancel_scope.cancel()
        assert _files(store) == []
        monkeypatch.setattr(module, "EXPORT_PARQUET_TIMEOUT_MS", 50)
        with pytest.raises(Unavailable) as late:
            await exports.write(["a"], [], 0, 1)
    assert late.value.code == "telemetry_export_timeout"
    assert _files(store) == []


async def test_a_store_that_fails_says_so(store: TelemetryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_write", lambda connection, *_: run(connection, "SELECT * FROM nowhere"))
    with pytest.raises(StorageError):
        await ParquetExports(store).write(["a"], [], 0, 1)
    assert _files(store) == []


async def test_what_a_killed_process_left_is_removed_at_the_next_start(store: TelemetryStore) -> None:
    left = await ParquetExports(store).write(["a"], [], NOW, NOW + 1)
    other = left.with_name("something-else.parquet")
    other.write_bytes(b"")
    ParquetExports(store)
    assert _files(store) == [other]


async def test_a_day_that_only_the_archive_has_is_in_the_file_and_in_answers(tmp_path: Path) -> None:
    filled = Filled(tmp_path)
    filled.put(TODAY - 3)
    filled.put(TODAY)
    span = ((TODAY - 4) * DAY, (TODAY + 1) * DAY)
    exports, reader = ParquetExports(filled.store), TelemetryReader(filled.store)
    before = _rows(await exports.write(["a"], [], *span))
    (hot,) = await reader.query_many([("a", "t")], *span)
    with filled.store.reading() as connection:
        taken = take(connection, TODAY - 3, with_other=True)
        assert taken is not None
        manifest = Exporter(filled.root, clock=filled.clock, retention=DEFAULT).export(connection, taken)
    cool(filled.store, taken, manifest, None)
    assert _rows(await exports.write(["a"], [], *span)) == before
    assert len(before) == 2 * 4 * 10
    (cold,) = await reader.query_many([("a", "t")], *span)
    assert (cold.at_ms, cold.value) == (hot.at_ms, hot.value)
    assert (hot.sources, cold.sources) == (("readings",), ("readings", "archive"))
    streamed = [portion async for portion in reader.stream(["a"], ["t"], *span)]
    assert [at_ms for portion in streamed for at_ms in portion.at_ms.tolist()] == hot.at_ms
    filled.store.close()
