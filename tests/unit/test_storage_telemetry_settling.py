"""Settling a closed day: in order, one part each, with rows that come meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from storage.telemetry import settling
from storage.telemetry.answers import aggregated
from storage.telemetry.database import run
from storage.telemetry.store import TelemetryStore
from tests.store_kit import Feeder, Reading

DAY = 86_400_000
NOW = 19_675 * DAY


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=NOW + DAY)


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[TelemetryStore]:
    monkeypatch.setattr(settling, "SETTLE_ROWS_MIN", 1)
    monkeypatch.setattr(settling, "STEP_ROWS", 10)
    opened = TelemetryStore.open(tmp_path / "t.duckdb", memory_limit_mib=128, threads=1, clock=clock)
    yield opened
    opened.close()


def rows(store: TelemetryStore, sql: str) -> list[tuple[object, ...]]:
    with store.reading() as connection:
        return run(connection, sql)


def hourly(store: TelemetryStore) -> list[tuple[list[int], list[object]]]:
    with store.reading() as connection:
        run(connection, "BEGIN")
        names = [(f"d{n}", "t") for n in range(5)]
        found = aggregated(connection, store.archive_folder, names, NOW, NOW + DAY, "sum", 3_600_000, 100)
        return [(data.at_ms, list(data.value)) for data in found]


def feed(feeder: Feeder, seed: int) -> None:
    chance = random.Random(seed)
    feeder.commit(
        [
            Reading(
                f"d{chance.randrange(5)}",
                "t",
                NOW + chance.randrange(4) * 1_800_000,
                float(chance.randrange(9)),
            )
            for _ in range(30)
        ]
    )


def test_a_day_is_left_alone_until_it_is_over(store: TelemetryStore, clock: ManualClock) -> None:
    feed(Feeder(store), 1)
    while store.roll_up(everything=True):
        pass
    assert store.statistics().settled_total == 0
    clock.advance(settling.SETTLE_AFTER_MS)
    while store.roll_up(everything=True):
        pass
    assert store.statistics().settled_total == 2


def test_rows_and_parts_are_in_order_and_late_ones_are_added(
    store: TelemetryStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settling, "SPARSE_ROWS", 0)
    feeder = Feeder(store)
    for seed in range(3):
        feed(feeder, seed)
        while store.roll_up(everything=True):
            pass
    clock.advance(settling.SETTLE_AFTER_MS)
    steps = 0
    while store.statistics().settled_total < 1:
        assert store.roll_up(everything=True)
        steps += 1
        if steps == 3:
            feed(feeder, 99)
        assert steps < 100
    before = hourly(store)
    in_order = "SELECT series, observed_at FROM readings_20231114 WHERE rowid < 90"
    assert rows(store, f"{in_order} ORDER BY rowid") == rows(
        store, f"{in_order} ORDER BY series, observed_at"
    )
    assert rows(store, "SELECT count(*) FROM readings_20231114") == [(120,)]
    while store.roll_up(everything=True):
        pass
    assert store.statistics().settled_total == 3, "the rows that came meanwhile were worth another time"
    for table in ("rollup_1m_20231114", "rollup_1h", "rollup_1d"):
        assert rows(
            store, f"SELECT max(n) FROM (SELECT count(*) AS n FROM {table} GROUP BY series, begins_at)"
        ) == [(1,)]
    assert hourly(store) == before


def test_a_day_with_few_readings_a_minute_keeps_no_minutes(store: TelemetryStore, clock: ManualClock) -> None:
    feeder = Feeder(store)
    feeder.commit([Reading("d0", "t", NOW + n * 60_000, float(n)) for n in range(100)])
    clock.advance(settling.SETTLE_AFTER_MS)
    while store.roll_up(everything=True):
        pass
    tables = "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'rollup_1m_20231114'"
    assert rows(store, tables) == [(0,)]
    feeder.commit([Reading("d0", "t", NOW + 1, 1_000.0)])
    late = ([NOW, NOW + 3_600_000], [1_770.0 + 1_000.0, 3_180.0])
    assert hourly(store)[0] == late
    while store.roll_up(everything=True):
        pass
    assert rows(store, tables) == [(0,)], "what comes late goes to hours and days at once"
    assert hourly(store)[0] == late
    with store.reading() as connection:
        (data,) = aggregated(
            connection, store.archive_folder, [("d0", "t")], NOW, NOW + 120_000, "max", 60_000, 9
        )
    assert (data.at_ms, data.value) == ([NOW, NOW + 60_000], [1_000.0, 1.0])


def test_a_copy_that_was_left_over_is_dropped(store: TelemetryStore, clock: ManualClock) -> None:
    feed(Feeder(store), 1)
    clock.advance(settling.SETTLE_AFTER_MS)
    store.roll_up(everything=True)
    store.roll_up(everything=True)
    store.roll_up(everything=True)
    copies = "SELECT count(*) FROM duckdb_tables() WHERE starts_with(table_name, 'settling_')"
    assert rows(store, copies) == [(1,)]
    store.reopen()
    assert rows(store, copies) == [(0,)]


@pytest.mark.parametrize("how", ["erase", "drop"])
def test_a_copy_of_a_table_that_lost_rows_is_begun_anew(
    store: TelemetryStore, clock: ManualClock, how: str
) -> None:
    feeder = Feeder(store)
    feed(feeder, 1)
    clock.advance(settling.SETTLE_AFTER_MS)
    for _ in range(4):
        store.roll_up(everything=True)
    if how == "erase":
        store.erase("d1")
    else:
        store.drop_day(NOW // DAY)
        feed(feeder, 2)
    left = rows(store, "SELECT count(*) FROM v_readings")
    while store.roll_up(everything=True):
        pass
    assert rows(store, "SELECT count(*) FROM v_readings") == left
    assert rows(store, "SELECT sum(count)::BIGINT FROM rollup_1d") == left
