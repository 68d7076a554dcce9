"""Whatever order and cuts readings arrive in, whenever rolling up runs and whatever is settled or removed meanwhile: rows and
rollups are the same, and every question is answered as if all rows had been gone through."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.core.clock import ManualClock
from storage.telemetry import rolling, settling
from storage.telemetry.answers import aggregated, raw, top
from storage.telemetry.database import run
from storage.telemetry.store import TelemetryStore
from tests.sampling import examples
from tests.store_kit import Feeder, Reading

DAY = 86_400_000
FIRST = 19_000 * DAY
"""Three days with tables of their own begin here; older ones share theirs."""
NOW_MS = FIRST + 5 * DAY
NAMES = [(device, metric) for device in ("a", "b") for metric in ("t", "u")]


AT_ONCE = ("mean", "count", "band", "first", "last")
"""Aggregations that are compared each time; together they need every column of a rollup but the sum, which the mean has."""
EXAMPLES = examples(12)
"""Each has dozens of questions to a store of its own: half a second."""


@pytest.fixture(autouse=True, scope="module")
def _small_steps() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rolling, "STEP_ROWS", 3)
        patch.setattr(settling, "STEP_ROWS", 4)
        patch.setattr(settling, "SETTLE_ROWS_MIN", 1)
        yield


# Few and close times: ties, borders of minutes, hours and days, and days before the first table.
times = st.one_of(
    st.integers(FIRST - DAY, FIRST + 3 * DAY - 1),
    st.builds(
        lambda base, delta: max(FIRST - DAY, base * 1_800_000 + FIRST + delta),
        st.integers(-48, 143),
        st.sampled_from([-60_001, -60_000, -1, 0, 1, 59_999, 60_000]),
    ),
).map(lambda at: min(at, FIRST + 3 * DAY - 1))
values = st.one_of(
    st.sampled_from([0.0, 1.0, -1.5, 2.5e9]), st.booleans(), st.floats(-1e6, 1e6), st.sampled_from(["x", "y"])
)
readings = st.builds(
    lambda name, at, value, quality: Reading(name[0], name[1], at, value, quality),
    st.sampled_from(NAMES),
    times,
    values,
    st.sampled_from([0, 0, 0, 1, 2]),
)
steps = st.sampled_from(["roll", "roll", "roll all", "settle", "tidy", "reopen", "erase", "remove"])


class Scene:
    """A store, and the readings that it should have."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "t.duckdb"
        self.clock = ManualClock(now_ms=NOW_MS)
        self.store = TelemetryStore.open(self.path, memory_limit_mib=128, threads=1, clock=self.clock)
        self.feeder = Feeder(self.store, FIRST // DAY)
        self.expected: list[Reading] = []

    def commit(self, some: list[Reading]) -> None:
        self.feeder.commit(some)
        self.expected += some

    def do(self, step: str) -> None:
        match step:
            case "roll":
                self.store.roll_up(everything=True)
            case "roll all" | "settle":
                for _ in range(500):
                    if not self.store.roll_up(everything=True):
                        break
                else:
                    raise AssertionError("rolling up never ends")
            case "tidy":
                self.store.tidy()
            case "reopen":
                self.store.reopen()
            case "erase":
                removed = self.store.erase("b")
                kept = [r for r in self.expected if r.device != "b"]
                assert removed == len(self.expected) - len(kept)
                self.expected = kept
            case "remove":
                ids = [number for (_, metric, _), number in self.feeder.ids.items() if metric == "u"]
                self.store.remove_series(FIRST // DAY + 1, ids)
                self.expected = [
                    r for r in self.expected if not (r.metric == "u" and r.at_ms // DAY == FIRST // DAY + 1)
                ]

    def ask(self, call: Any, *args: Any) -> Any:
        with self.store.reading() as connection:
            run(connection, "BEGIN")
            return call(connection, self.store.archive_folder, *args)


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(
    batches=st.lists(st.tuples(st.lists(readings, min_size=1, max_size=12), st.lists(steps, max_size=3)), min_size=1, max_size=5),
    ranges=st.lists(st.tuples(times, times, st.sampled_from([None, 1_000, 60_000, 90_000, 3_600_000, 5_400_000, DAY])), min_size=1, max_size=2),
)  # fmt: skip
def test_questions_equal_going_through_all_rows(
    batches: list[tuple[list[Reading], list[str]]], ranges: list[tuple[int, int, int | None]]
) -> None:
    with TemporaryDirectory() as folder:
        scene = Scene(Path(folder))
        try:
            for some, then in batches:
                scene.commit(some)
                for step in then:
                    scene.do(step)
                for a, b, interval_ms in [*ranges, (FIRST - DAY, FIRST + 3 * DAY, DAY)]:
                    from_ms, to_ms = min(a, b), max(a, b) + 1
                    check(scene, from_ms, to_ms, interval_ms)
        finally:
            scene.store.close()


def check(scene: Scene, from_ms: int, to_ms: int, interval_ms: int | None) -> None:
    within = [r for r in scene.expected if from_ms <= r.at_ms < to_ms]
    for data in scene.ask(raw, NAMES, from_ms, to_ms, 1_000):
        rows = zip(data.at_ms, data.value, data.quality, strict=True)
        assert sorted(map(_typed, rows)) == sorted(
            _typed((r.at_ms, r.value, r.quality)) for r in _of(within, data.device, data.metric)
        )
    for aggregation in AT_ONCE:
        if interval_ms is not None:
            for data in scene.ask(aggregated, NAMES, from_ms, to_ms, aggregation, interval_ms, 100_000):
                got = dict(zip(data.at_ms, data.value, strict=True))
                compare(got, _of(within, data.device, data.metric), aggregation, interval_ms)
        elif aggregation != "band":
            entries = scene.ask(top, "*", from_ms, to_ms, aggregation, 100)
            for name in NAMES:
                values = [entry.value for entry in entries if (entry.device, entry.metric) == name]
                numbers = [r for r in _of(within, *name) if not isinstance(r.value, str)]
                compare(dict(enumerate(values)), numbers, aggregation, 10**15)


def _of(some: list[Reading], device: str, metric: str) -> list[Reading]:
    return [reading for reading in some if (reading.device, reading.metric) == (device, metric)]


def _typed(row: tuple[int, Any, int]) -> tuple[int, str, str, int]:
    """A reading's time, type, value and quality, to be sorted with others."""
    at_ms, value, quality = row
    return at_ms, type(value).__name__, str(value), quality


def compare(got: dict[int, Any], mine: list[Reading], aggregation: str, interval_ms: int) -> None:
    groups: dict[int, list[Reading]] = defaultdict(list)
    for reading in mine:
        if reading.quality != 2 and (aggregation == "count" or not isinstance(reading.value, str)):
            groups[reading.at_ms // interval_ms * interval_ms].append(reading)
    assert sorted(got) == sorted(groups)
    for at, group in groups.items():
        assert math.isclose(got[at], of(group, aggregation), rel_tol=1e-9, abs_tol=1e-3), (at, aggregation)


def of(group: list[Reading], aggregation: str) -> float:
    if aggregation == "count":
        return len(group)
    numbers = [float(r.value) for r in group]
    timed = [(r.at_ms, float(r.value)) for r in group]
    match aggregation:
        case "min":
            return min(numbers)
        case "max":
            return max(numbers)
        case "sum":
            return math.fsum(numbers)
        case "first":
            return min(timed)[1]
        case "last":
            return max(timed)[1]
        case _:
            return math.fsum(numbers) / len(numbers)


@settings(max_examples=examples(15), suppress_health_check=[HealthCheck.too_slow])
@given(
    some=st.lists(readings, min_size=1, max_size=30),
    chance=st.randoms(use_true_random=False),
)
def test_any_order_and_cut_gives_the_same_rows_and_rollups(some: list[Reading], chance: Random) -> None:
    found = []
    for _ in range(2):
        with TemporaryDirectory() as folder:
            scene = Scene(Path(folder))
            try:
                left = [*some]
                chance.shuffle(left)
                while left:
                    count = chance.randint(1, len(left))
                    scene.commit(left[:count])
                    del left[:count]
                    if chance.random() < 0.5:
                        scene.do("roll")
                scene.do("settle")
                found.append(contents(scene.store))
            finally:
                scene.store.close()
    (rows, parts), (other_rows, other_parts) = found
    assert rows == other_rows
    assert [part[:-1] for part in parts] == [part[:-1] for part in other_parts]
    for part, other in zip(parts, other_parts, strict=True):
        assert math.isclose(part[-1], other[-1], rel_tol=1e-9, abs_tol=1e-6)


def contents(store: TelemetryStore) -> tuple[list[Any], list[Any]]:
    """All readings, and the hours and days of each series with their sums last: one part each where a table is settled."""
    with store.reading() as connection:
        rows = run(connection, "FROM v_readings ORDER BY ALL")
        parts: list[Any] = []
        for table in ("rollup_1h", "rollup_1d"):
            parts += run(
                connection,
                "SELECT s.device, s.metric, s.kind, r.begins_at, sum(r.count), min(r.low), max(r.high),"
                " arg_min(r.first, (r.first_at, r.first)), min(r.first_at), arg_max(r.last, (r.last_at, r.last)),"
                f" max(r.last_at), sum(r.sum) FROM {table} r JOIN series s ON s.id = r.series GROUP BY ALL ORDER BY ALL",
            )
        return rows, parts
