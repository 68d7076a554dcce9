"""A store that was begun anew can be asked for what the archive has, at once."""

from __future__ import annotations

from pathlib import Path

from appliance.core.clock import SystemClock
from storage.archive.adopting import adopt_all
from storage.archive.export import Exporter
from storage.archive.layout import generation_folder
from storage.archive.taking import take
from tests.archive_kit import DEFAULT, TODAY, Filled


def filled(folder: Path) -> Filled:
    folder.mkdir()
    made = Filled(folder)
    for day in (TODAY - 2, TODAY - 1):
        made.put(day)
        with made.store.reading() as connection:
            taken = take(connection, day, with_other=False)
            assert taken is not None
            Exporter(made.root, clock=SystemClock(), retention=DEFAULT).export(connection, taken)
    return made


def test_all_days_are_adopted_once(tmp_path: Path) -> None:
    before = filled(tmp_path / "a")
    expected = before.view()
    before.store.close()
    for name in ("telemetry.duckdb", "telemetry.duckdb.wal"):
        (tmp_path / "a" / name).unlink(missing_ok=True)
    after = Filled(tmp_path / "a")
    days, problems = adopt_all(after.store)
    assert (days, problems) == ([TODAY - 2, TODAY - 1], [])
    assert after.day_row(TODAY - 1) == (False, 1, 0, 0)
    with after.store.reading() as connection:
        assert connection.execute("SELECT count(*) FROM v_readings").fetchall() == [(len(expected),)]
    assert adopt_all(after.store) == ([], [])
    after.store.close()


def test_a_day_that_can_not_be_used_is_named_and_the_others_are_adopted(tmp_path: Path) -> None:
    before = filled(tmp_path / "a")
    before.store.close()
    for name in ("telemetry.duckdb", "telemetry.duckdb.wal"):
        (tmp_path / "a" / name).unlink(missing_ok=True)
    (generation_folder(before.root, TODAY - 2, 1) / "manifest.json").write_text("{")
    after = Filled(tmp_path / "a")
    days, problems = adopt_all(after.store)
    assert days == [TODAY - 1]
    assert [problem.code for problem in problems] == ["archive_damaged"]
    after.store.close()
