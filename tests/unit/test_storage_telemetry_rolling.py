"""Rolling up: what is due, bounded steps, and questions that are exact in between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from storage.telemetry import rolling
from storage.telemetry.database import run
from storage.telemetry.rolled import read_tables
from storage.telemetry.store import TelemetryStore
from tests.store_kit import Feeder, Reading

DAY = 86_400_000
NOW = 19_675 * DAY
"""2023-11-14."""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=NOW + 3_600_000)


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[TelemetryStore]:
    opened = TelemetryStore.open(tmp_path / "t.duckdb", memory_limit_mib=128, threads=1, clock=clock)
    yield opened
    opened.close()


def everything(store: TelemetryStore) -> None:
    while store.roll_up(everything=True):
        pass


def rows(store: TelemetryStore, table: str) -> list[tuple[object, ...]]:
    with store.reading() as connection:
        return run(connection, f"FROM {table} ORDER BY ALL")


def test_rows_become_minutes_hours_and_days(store: TelemetryStore) -> None:
    feeder = Feeder(store)
    feeder.commit(
        [
            Reading("d", "t", NOW + 1, 5.0),
            Reading("d", "t", NOW + 59_999, 1.0),
            Reading("d", "t", NOW + 60_000, 3.0),
            Reading("d", "t", NOW + 2, 99.0, quality=2),
            Reading("d", "t", NOW + 3, "a text"),
        ]
    )
    everything(store)
    assert rows(store, "rollup_1m_20231114") == [
        (1, NOW, 2, 6.0, 1.0, 5.0, 5.0, NOW + 1, 1.0, NOW + 59_999),
        (1, NOW + 60_000, 1, 3.0, 3.0, 3.0, 3.0, NOW + 60_000, 3.0, NOW + 60_000),
    ]
    whole = [(1, NOW, 3, 9.0, 1.0, 5.0, 5.0, NOW + 1, 3.0, NOW + 60_000)]
    assert rows(store, "rollup_1h") == whole
    assert rows(store, "rollup_1d") == whole
    statistics = store.statistics().rolling
    assert (statistics.rolled_rows_total, statistics.behind_rows, statistics.steps_total) == (4, 0, 2)


def test_what_comes_late_is_one_more_part(store: TelemetryStore) -> None:
    feeder = Feeder(store)
    for value in (1.0, 2.0):
        feeder.commit([Reading("d", "t", NOW, value)])
        everything(store)
    assert [row[2:4] for row in rows(store, "rollup_1m_20231114")] == [(1, 1.0), (1, 2.0)]
    assert [row[2:4] for row in rows(store, "rollup_1d")] == [(1, 1.0), (1, 2.0)]


def test_of_two_values_at_one_time_the_lower_is_the_first(store: TelemetryStore) -> None:
    feeder = Feeder(store)
    feeder.commit([Reading("d", "t", NOW, value) for value in (2.0, 1.0, 3.0)])
    everything(store)
    ((*_, first, _, last, _),) = rows(store, "rollup_1h")
    assert (first, last) == (1.0, 3.0)


def test_nothing_is_due_before_its_time(store: TelemetryStore, clock: ManualClock) -> None:
    feeder = Feeder(store)
    feeder.commit([Reading("d", "t", NOW, 1.0)])
    assert not store.roll_up()
    clock.advance(rolling.ROWS_DUE_AFTER_MS)
    assert store.roll_up()
    assert rows(store, "rollup_1h") == []
    clock.advance(rolling.MINUTES_DUE_AFTER_MS)
    assert store.roll_up()
    assert len(rows(store, "rollup_1h")) == 1
    assert not store.roll_up()


def test_many_rows_are_due_at_once_and_taken_in_steps(
    store: TelemetryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rolling, "ROWS_DUE", 10)
    monkeypatch.setattr(rolling, "STEP_ROWS", 4)
    feeder = Feeder(store)
    feeder.commit([Reading("d", "t", NOW + n, float(n)) for n in range(9)])
    assert not store.roll_up()
    feeder.commit([Reading("d", "t", NOW + 9, 9.0)])
    assert store.roll_up()
    assert not store.roll_up(), "six rows are left, which is fewer than are due"
    assert store.statistics().rolling.behind_rows == 6
    with store.reading() as connection:
        assert read_tables(connection).progress("readings_20231114").rows == 4


def test_what_waits_is_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "again.duckdb"
    store = TelemetryStore.open(path)
    feeder = Feeder(store)
    feeder.commit([Reading("d", "t", NOW, 1.0)])
    everything(store)
    feeder.commit([Reading("d", "t", NOW + n, 1.0) for n in range(3)])
    store.close()
    again = TelemetryStore.open(path)
    assert again.statistics().rolling.behind_rows == 3
    everything(again)
    assert sum(row[2] for row in rows(again, "rollup_1d")) == 4  # type: ignore[misc]
    again.close()


def test_a_step_that_fails_changes_nothing(store: TelemetryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from appliance.core.errors import StorageError

    feeder = Feeder(store)
    feeder.commit([Reading("d", "t", NOW, 1.0)])
    monkeypatch.setattr(rolling, "roll_rows", lambda *_: "SELECT nonsense")
    with pytest.raises(StorageError):
        store.roll_up(everything=True)
    monkeypatch.undo()
    feeder.commit([Reading("d", "t", NOW + 1, 1.0)])
    everything(store)
    assert sum(row[2] for row in rows(store, "rollup_1d")) == 2  # type: ignore[misc]
