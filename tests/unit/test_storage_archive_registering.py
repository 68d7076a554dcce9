"""No reading is lost or there twice, whichever way a day goes between store and archive."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from appliance.core.errors import Unavailable
from appliance.management.retention import Retention, RetentionClass, default_class
from storage.archive.days import DayState, read_days
from storage.archive.export import Exporter
from storage.archive.manifest import Manifest, classification
from storage.archive.registering import absorb, cool, forget, register, replace_generation
from storage.archive.rewriting import Rewriter
from storage.archive.taking import Taken, take
from storage.telemetry.answers import aggregated
from storage.telemetry.batch import DAY_MS
from storage.telemetry.database import run
from storage.telemetry.positions import needed_seq, note_others
from storage.telemetry.removing import note_archived
from storage.telemetry.schema import day_table
from storage.telemetry.store import TelemetryStore
from tests.archive_kit import DEFAULT, TODAY, Filled

DAY = TODAY - 3
OLD = TODAY - 200
CLASSED = Retention(
    (RetentionClass(class_id="vib", metric="vib_*", hot_days=5, archive_days=9),), default_class(90, 730)
)


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    made = Filled(tmp_path)
    yield made
    made.store.close()


def export(
    filled: Filled, day: int, *, retention: Retention = DEFAULT, with_other: bool = False
) -> tuple[Taken, Manifest]:
    with filled.store.reading() as connection:
        taken = take(connection, day, with_other=with_other)
        assert taken is not None
        exporter = Exporter(filled.root, clock=filled.clock, retention=retention)
        return taken, exporter.export(connection, taken)


def cooled(
    filled: Filled, day: int, *, retention: Retention = DEFAULT, classes: Collection[str] | None = None
) -> Manifest:
    taken, manifest = export(filled, day, retention=retention, with_other=True)
    cool(filled.store, taken, manifest, classes)
    return manifest


def states(filled: Filled) -> dict[int, DayState]:
    with filled.store.reading() as connection:
        return {state.day: state for state in read_days(connection)}


def hours(filled: Filled) -> int:
    with filled.store.reading() as connection:
        return int(run(connection, "SELECT coalesce(sum(count), 0)::BIGINT FROM rollup_1h")[0][0])


def tables(filled: Filled) -> list[str]:
    return [name for name in filled.store.reading_tables() if not name.endswith("other")]


def test_a_day_that_is_archived_stays_in_the_store(filled: Filled) -> None:
    filled.put(DAY)
    before = filled.view()
    register(filled.store, *export(filled, DAY))
    assert states(filled)[DAY] == DayState(day=DAY, is_whole=True, generation=1, hot=80, archived=80)
    assert filled.view() == before
    filled.put(DAY, first=50, count=1)
    assert (states(filled)[DAY].is_dirty, states(filled)[DAY].pending) == (True, 8)
    register(filled.store, *export(filled, DAY))
    assert states(filled)[DAY] == DayState(day=DAY, is_whole=True, generation=2, hot=88, archived=88)


def test_what_comes_during_the_export_is_not_taken_for_archived(filled: Filled) -> None:
    filled.put(DAY)
    taken, manifest = export(filled, DAY)
    filled.put(DAY, first=50, count=1)
    register(filled.store, taken, manifest)
    assert states(filled)[DAY].pending == 8
    taken, manifest = export(filled, DAY)
    filled.put(DAY, first=60, count=1)
    with pytest.raises(Unavailable) as changed:
        cool(filled.store, taken, manifest)
    assert changed.value.code == "archive_day_changed"
    assert states(filled)[DAY].generation == 1


def test_a_day_leaves_the_store_and_is_still_there(filled: Filled) -> None:
    filled.put(DAY)
    filled.put(TODAY)
    before = filled.view()
    cooled(filled, DAY)
    assert tables(filled) == ["readings_20260225", "texts_20260225"]
    assert filled.view() == before
    assert hours(filled) == 60  # of the day that left, texts apart
    state = states(filled)[DAY]
    assert (state.is_whole, state.hot, state.cold, state.cold_classes) == (
        False,
        0,
        80,
        frozenset({"default"}),
    )
    filled.store.close()
    filled.store = TelemetryStore.open(filled.store.path)
    assert filled.view() == before


def test_late_readings_of_a_day_in_the_archive_are_merged(filled: Filled) -> None:
    filled.put(DAY)
    cooled(filled, DAY)
    filled.put(DAY, ("a", "c"), first=40, count=2)
    before = filled.view()
    assert len(before) == 96
    assert states(filled)[DAY].pending == 16
    manifest = cooled(filled, DAY)
    assert (manifest.generation, manifest.rows) == (2, 96)
    assert filled.view() == before
    assert hours(filled) == 72
    assert states(filled)[DAY].pending == 0


def test_rows_of_days_too_old_for_a_table_go_to_their_day(filled: Filled) -> None:
    filled.put(OLD, ("a",))
    filled.put(OLD + 1, ("a",))
    before = filled.view()
    assert [(s.day, s.other, s.is_whole) for s in states(filled).values()] == [
        (OLD, 40, False),
        (OLD + 1, 40, False),
    ]
    cooled(filled, OLD)
    assert filled.view() == before
    assert (states(filled)[OLD].pending, states(filled)[OLD + 1].other) == (0, 40)
    filled.put(OLD, ("b",))
    assert states(filled)[OLD].pending == 40
    assert cooled(filled, OLD).rows == 80
    assert len(filled.view()) == 120
    assert hours(filled) == 60 + 30


def test_old_rows_that_come_meanwhile_are_not_dropped(filled: Filled) -> None:
    filled.put(OLD, ("a",))
    taken, manifest = export(filled, OLD, with_other=True)
    filled.put(OLD, ("a",), first=50, count=1)
    with pytest.raises(Unavailable):
        cool(filled.store, taken, manifest)
    assert len(filled.view()) == 44


def check_sums(filled: Filled) -> None:
    """Days and hours of both devices are what the readings are, wherever these lie."""
    names = [(device, metric) for device in ("a", "b") for metric in ("t", "vib_x")]
    with filled.store.reading() as connection:
        run(connection, "BEGIN")
        for interval_ms in (DAY_MS, DAY_MS // 24):
            found = aggregated(
                connection, filled.root, names, DAY * DAY_MS, (DAY + 1) * DAY_MS, "sum", interval_ms, 99
            )
            for data in found:
                rows = run(
                    connection,
                    "SELECT sum(num), count(*) FROM v_readings WHERE device = ? AND metric = ?",
                    [data.device, data.metric],
                )
                assert (sum(float(value or 0) for value in data.value), sum(data.count)) == rows[0]


@pytest.mark.parametrize("rolls", [False, True])
def test_rollups_stay_right_when_classes_leave_one_after_the_other(filled: Filled, rolls: bool) -> None:
    def roll() -> None:
        while rolls and filled.store.roll_up(everything=True):
            pass

    filled.put(DAY)
    roll()
    cooled(filled, DAY, retention=CLASSED, classes={"vib"})
    check_sums(filled)
    roll()
    filled.put(DAY, first=50, count=1)
    check_sums(filled)
    manifest = cooled(filled, DAY, retention=CLASSED, classes={"vib"})
    check_sums(filled)
    roll()
    with filled.store.writing() as connection:
        # As after a rebuild: what hours and days have is not known.
        note_archived(connection, DAY, has_rollups=False)
    check_sums(filled)
    roll()
    check_sums(filled)
    cooled(filled, DAY, retention=classification(manifest))
    check_sums(filled)
    roll()
    check_sums(filled)


def test_one_class_leaves_and_late_readings_of_both_are_merged(filled: Filled) -> None:
    filled.put(DAY)
    before = filled.view()
    cooled(filled, DAY, retention=CLASSED, classes={"vib"})
    state = states(filled)[DAY]
    assert (state.is_whole, state.hot, state.archived, state.cold) == (False, 60, 60, 20)
    assert state.cold_classes == frozenset({"vib"})
    assert filled.view() == before
    filled.put(DAY, first=50, count=1)
    before = filled.view()
    assert states(filled)[DAY].pending == 8
    manifest = cooled(filled, DAY, retention=CLASSED, classes={"vib"})
    assert manifest.rows == 88
    state = states(filled)[DAY]
    assert (state.hot, state.archived, state.cold) == (66, 66, 22)
    assert filled.view() == before
    cooled(filled, DAY, retention=classification(manifest))
    assert filled.view() == before
    assert tables(filled) == []


def test_a_class_goes_and_the_rest_stays(filled: Filled) -> None:
    filled.put(DAY)
    manifest = cooled(filled, DAY, retention=CLASSED)
    kept = [row for row in filled.view() if row[1] != "vib_x"]
    with filled.store.reading() as connection:
        after = Rewriter(filled.root, clock=filled.clock).without_classes(connection, manifest, {"vib"})
    assert (after.generation, after.rows, after.through) == (2, 60, manifest.through)
    replace_generation(filled.store, after, before=manifest, gone={"vib"})
    assert filled.view() == kept
    assert hours(filled) == 40
    assert states(filled)[DAY].generation == 2
    replace_generation(
        filled.store, manifest, before=manifest
    )  # of a generation that is none any more: nothing
    assert states(filled)[DAY].generation == 2


def test_a_day_that_is_forgotten_is_nowhere(filled: Filled) -> None:
    filled.put(DAY)
    filled.put(OLD)
    cooled(filled, DAY)
    for day in (DAY, OLD):
        forget(filled.store, day)
    assert (filled.view(), hours(filled), states(filled)) == ([], 0, {})


def test_shared_rows_of_a_day_in_the_store_come_before_its_first_generation(filled: Filled) -> None:
    filled.put(DAY, count=1)
    name = day_table(DAY)
    with filled.store.writing() as connection:
        # As a clock that was a year ahead leaves them: stored from earlier records than those that made the day's own table.
        run(connection, f"INSERT INTO readings_other SELECT * FROM {name}")
        note_others(connection, 1)
        run(connection, "UPDATE days SET first_seq = 7 WHERE day = ?", [DAY])
    before = filled.view()
    with filled.store.reading() as connection, pytest.raises(Unavailable) as refused:
        take(connection, DAY, with_other=False)
    assert refused.value.code == "archive_day_changed"
    assert absorb(filled.store, DAY) == 6
    assert filled.view() == before
    with filled.store.reading() as connection:
        assert run(connection, "SELECT first_seq FROM days WHERE day = ?", [DAY]) == [(1,)]
        assert needed_seq(connection) == 1
    _, manifest = export(filled, DAY)
    assert manifest.rows == len(before)
