"""A day comes back into the store as it was, and can leave it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.core.errors import Conflict, StorageError
from storage.archive import restoring as module
from storage.archive.manifest import Manifest
from storage.archive.restoring import finish, registered_files, steps
from storage.telemetry.database import run
from tests.archive_kit import TODAY, Filled
from tests.unit.test_storage_archive_registering import CLASSED, cooled, hours, states

DAY = TODAY - 3


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    made = Filled(tmp_path)
    yield made
    made.store.close()


def restore(filled: Filled, manifest: Manifest, *, steps_max: int | None = None) -> int:
    with filled.store.reading() as connection:
        files = registered_files(connection, manifest)
    for step in list(steps(filled.root, manifest, files))[:steps_max]:
        step(filled.store)
    return finish(filled.store, manifest, TODAY + 7) if steps_max is None else 0


def roll_up(filled: Filled) -> None:
    while filled.store.roll_up(everything=True):
        pass


def test_a_day_comes_back_with_its_rollups(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ARCHIVE_RESTORE_ROW_COUNT", 30)
    filled.put(DAY)
    before = filled.view()
    manifest = cooled(filled, DAY)
    restore(filled, manifest, steps_max=2)  # as if it had ended there
    assert filled.view() == before
    assert restore(filled, manifest) == 80
    assert filled.view() == before
    state = states(filled)[DAY]
    assert (state.is_whole, state.hot, state.archived, state.restored_until) == (True, 80, 80, TODAY + 7)
    roll_up(filled)
    assert hours(filled) == 60
    with filled.store.reading() as connection:
        assert (
            run(connection, "SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'restoring%'") == []
        )
    filled.put(DAY, first=70, count=1)
    assert states(filled)[DAY].pending == 8
    again = cooled(filled, DAY)
    assert (again.generation, again.rows) == (2, 88)
    assert states(filled)[DAY].restored_until is None
    assert hours(filled) == 66


def test_late_readings_that_came_since_stay_late(filled: Filled) -> None:
    filled.put(DAY)
    manifest = cooled(filled, DAY)
    filled.put(DAY, first=70, count=1)
    roll_up(filled)
    before = filled.view()
    restore(filled, manifest)
    assert filled.view() == before
    assert states(filled)[DAY].pending == 8
    roll_up(filled)
    assert hours(filled) == 66


def test_a_class_that_had_left_comes_back_to_the_others(filled: Filled) -> None:
    filled.put(DAY)
    before = filled.view()
    manifest = cooled(filled, DAY, retention=CLASSED, classes={"vib"})
    assert restore(filled, manifest) == 20
    assert filled.view() == before
    state = states(filled)[DAY]
    assert (state.is_whole, state.hot, state.archived) == (True, 80, 80)
    roll_up(filled)
    assert hours(filled) == 60


def test_a_generation_that_is_none_any_more_is_not_restored(filled: Filled) -> None:
    filled.put(DAY)
    manifest = cooled(filled, DAY)
    filled.put(DAY, first=70, count=1)
    cooled(filled, DAY)
    with pytest.raises(Conflict) as changed:
        finish(filled.store, manifest, TODAY)
    assert changed.value.code == "archive_day_changed"


def test_rows_of_unknown_series_keep_a_day_in_the_archive(filled: Filled) -> None:
    filled.put(DAY)
    before = len(filled.view())
    manifest = cooled(filled, DAY)
    with filled.store.writing() as connection:
        run(connection, "DELETE FROM series WHERE metric = 'vib_x'")
    with pytest.raises(StorageError) as unknown:
        restore(filled, manifest)
    assert unknown.value.code == "archive_series_unknown"
    assert len(filled.view()) == before
