"""Days that only the archive has get their hours and days from its files, and answers stay what they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.management.readings import Scalar
from storage.telemetry import rolling_archive
from storage.telemetry.answers import aggregated
from storage.telemetry.database import run
from storage.telemetry.removing import has_archived_rollups, note_archived
from storage.telemetry.store import TelemetryStore
from tests.store_kit import Feeder, Reading

HOUR, DAY = 3_600_000, 86_400_000
NOW = 19_675 * DAY
NUMBER = NOW // DAY


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TelemetryStore]:
    """A day in two files of the archive, that hours and days have nothing of."""
    monkeypatch.setattr(rolling_archive, "STEP_ROWS", 7)
    opened = TelemetryStore.open(
        tmp_path / "t.duckdb", memory_limit_mib=128, threads=1, clock=ManualClock(now_ms=NOW)
    )
    values: list[tuple[Scalar, int]] = [(1.5, 0), (2.5, 2), (3.5, 0), ("text", 0), (True, 0)]
    readings = [
        Reading(device, "t", NOW + n * 1_000_000, value, quality)
        for device in ("a", "b")
        for n, (value, quality) in enumerate(values * 4)
    ]
    Feeder(opened).commit(readings)
    opened.archive_folder.mkdir()
    with opened.reading() as connection:
        for device in ("a", "b"):
            run(
                connection,
                f"COPY (SELECT device, metric, kind, observed_at, num, text, quality FROM v_readings WHERE device = '{device}'"
                f" ORDER BY metric, observed_at) TO '{opened.archive_folder / device}.parquet' (FORMAT parquet)",
            )
    with opened.writing() as connection:
        for device in ("a", "b"):
            row = [NUMBER, f"{device}.parquet", device, device, NOW, NOW + DAY - 1]
            run(connection, "INSERT INTO archive_files VALUES (?, 1, 'std', ?, 20, ?, ?, ?, ?)", row)
        run(connection, "UPDATE days SET generation = 1")
    opened.drop_day(NUMBER)
    with opened.writing() as connection:
        note_archived(connection, NUMBER, has_rollups=False)
    yield opened
    opened.close()


def hourly(
    store: TelemetryStore, aggregations: tuple[str, ...] = ("sum", "first", "count")
) -> list[list[object]]:
    with store.reading() as connection:
        run(connection, "BEGIN")
        names = [("a", "t"), ("b", "t")]
        return [
            [*data.at_ms, *data.value]
            for aggregation in aggregations
            for data in aggregated(
                connection, store.archive_folder, names, NOW, NOW + DAY, aggregation, HOUR, 99
            )
        ]


def is_rolled(store: TelemetryStore) -> bool:
    with store.reading() as connection:
        return has_archived_rollups(connection, NUMBER)


def test_its_hours_and_days_come_from_the_files(store: TelemetryStore) -> None:
    before = hourly(store)
    steps = 0
    while store.roll_up(everything=True):
        assert hourly(store) == before
        steps += 1
    assert steps == 8, "one to begin, three for each file, one to add them"
    assert is_rolled(store)
    for path in store.archive_folder.iterdir():
        path.unlink()
    assert hourly(store, ("sum", "first")) == before[:4], "numbers by the hour are answered without a file"


def test_files_that_change_meanwhile_are_begun_anew(store: TelemetryStore) -> None:
    before = hourly(store)
    for _ in range(3):
        store.roll_up(everything=True)
    (store.archive_folder / "c.parquet").write_bytes((store.archive_folder / "b.parquet").read_bytes())
    with store.writing() as connection:
        run(connection, "UPDATE archive_files SET path = 'c.parquet' WHERE path = 'b.parquet'")
    while store.roll_up(everything=True):
        pass
    assert is_rolled(store)
    assert hourly(store) == before


def test_a_file_that_cannot_be_read_is_left_alone_and_the_store_goes_on(store: TelemetryStore) -> None:
    (store.archive_folder / "b.parquet").write_bytes(b"PAR1 nothing PAR1")
    while store.roll_up(everything=True):
        pass
    assert not is_rolled(store)
    assert store.statistics().archive_days_unusable == 1
    assert store.statistics().set_aside == 0
    Feeder(store).commit([Reading("new", "t", NOW + DAY, 1.0)])


def test_a_file_with_unknown_series_is_read_by_each_question(store: TelemetryStore) -> None:
    with store.writing() as connection:
        run(connection, "DELETE FROM series WHERE device = 'b'")
    before = hourly(store)
    while store.roll_up(everything=True):
        pass
    assert not is_rolled(store)
    assert hourly(store) == before
