"""Readings that are taken out leave rollups and progress right, wherever they lay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from storage.telemetry.database import run
from storage.telemetry.removing import drop_old_rows, note_archived, remove_series, series_of
from storage.telemetry.rolled import read_tables
from storage.telemetry.store import TelemetryStore
from tests.store_kit import Feeder, Reading

DAY = 86_400_000
NUMBER = 19_675
NOW = NUMBER * DAY


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TelemetryStore]:
    opened = TelemetryStore.open(
        tmp_path / "t.duckdb", memory_limit_mib=128, threads=1, clock=ManualClock(now_ms=NOW)
    )
    yield opened
    opened.close()


def rows(store: TelemetryStore, sql: str) -> list[tuple[object, ...]]:
    with store.reading() as connection:
        return run(connection, sql)


def days_of(store: TelemetryStore) -> list[tuple[object, ...]]:
    return rows(
        store,
        "SELECT device, begins_at // 86400000, sum(count)::INT FROM rollup_1d JOIN series ON id = series GROUP BY ALL ORDER BY ALL",
    )


def feed(feeder: Feeder, at_ms: int, count: int = 3) -> None:
    feeder.commit(
        [
            Reading(device, metric, at_ms + n, value)
            for device in ("a", "b")
            for n in range(count)
            for metric, value in (("t", float(n)), ("mode", f"m{n}"))
        ]
    )


def test_a_device_is_erased_from_every_day_and_its_newest_values_too(store: TelemetryStore) -> None:
    feeder = Feeder(store, NUMBER)
    for at_ms in (NOW - 400 * DAY, NOW, NOW + DAY):
        feed(feeder, at_ms)
    store.roll_up(everything=True)
    assert store.erase("a") == 18
    assert rows(store, "SELECT DISTINCT device FROM v_readings") == [("b",)]
    assert days_of(store) == [("b", NUMBER - 400, 3), ("b", NUMBER, 3), ("b", NUMBER + 1, 3)]
    assert rows(store, "SELECT DISTINCT device FROM newest JOIN series ON id = series") == [("b",)]
    feed(feeder, NOW, 2)
    while store.roll_up(everything=True):
        pass
    assert days_of(store) == [
        ("a", NUMBER, 2),
        ("b", NUMBER - 400, 3),
        ("b", NUMBER, 5),
        ("b", NUMBER + 1, 3),
    ]
    assert store.erase("nobody") == 0


@pytest.mark.parametrize("keep_coarse", [True, False])
def test_series_leave_a_day_with_or_without_their_hours_and_days(
    store: TelemetryStore, keep_coarse: bool
) -> None:
    feeder = Feeder(store)
    feed(feeder, NOW)
    with store.writing() as connection:
        run(connection, "UPDATE days SET archived_numbers = 6, archived_texts = 6")
        assert remove_series(connection, NUMBER, series_of(connection, "a"), keep_coarse=keep_coarse) == 6
        assert remove_series(connection, NUMBER, []) == 0
    kept = [("a", NUMBER, 3)] if keep_coarse else []
    assert days_of(store) == [*kept, ("b", NUMBER, 3)]
    assert rows(store, "SELECT archived_numbers, archived_texts FROM days") == [(3, 3)]
    with store.reading() as connection:
        progress = read_tables(connection).progress("readings_20231114")
    assert (progress.rows, progress.deleted) == (3, 3)


def test_rows_of_an_old_day_leave_the_shared_tables(store: TelemetryStore) -> None:
    feeder = Feeder(store, NUMBER)
    for day in (400, 401):
        feed(feeder, NOW - day * DAY)
    with store.writing() as connection:
        assert drop_old_rows(connection, NUMBER - 400) == 12
    assert rows(store, "SELECT DISTINCT observed_at // 86400000 FROM v_readings") == [(NUMBER - 401,)]
    assert rows(store, "SELECT DISTINCT begins_at // 86400000 FROM rollup_1m_other") == [(NUMBER - 401,)]
    assert len(days_of(store)) == 4, "hours and days of what the archive has now stay"


def test_hours_and_days_are_made_anew_although_rows_were_deleted(store: TelemetryStore) -> None:
    feeder = Feeder(store)
    for n in range(3):
        feed(feeder, NOW + n * 60_000)
    with store.writing() as connection:
        remove_series(connection, NUMBER, series_of(connection, "a"))
        note_archived(connection, NUMBER, has_rollups=False)
    assert days_of(store) == []
    feed(feeder, NOW + 600_000)
    while store.roll_up(everything=True):
        pass
    assert days_of(store) == [("a", NUMBER, 3), ("b", NUMBER, 12)]
