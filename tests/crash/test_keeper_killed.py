"""SIGKILL at each step of archiving, retention, restoring and erasing: no reading is lost or there twice, and it goes on by itself."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.archive.checking import check_generation
from storage.archive.days import read_days
from storage.archive.index import read_archive, rubbish
from storage.telemetry.database import run
from tests.archive_kit import TODAY, Filled
from tests.crash.keeper_process import COLD_DAY, POINTS

Rows = list[tuple[object, ...]]
DEADLINE_S = 60
SAMPLE = {
    ("keep", "published", 2),
    ("keep", "registered", 1),
    ("restore", "restored", 1),
    ("erase", "published", 1),
}
"""What runs each time; the rest is long, 7 s each."""
CASES = [
    pytest.param(task, point, count, marks=() if (task, point, count) in SAMPLE else pytest.mark.long)
    for task, points in POINTS.items()
    for point in points
    for count in (1, 2, 3)
]


def keep(folder: Path, task: str, point: str, count: int = 1) -> int:
    """Run the process to its end; its return code."""
    arguments = [sys.executable, "-m", "tests.crash.keeper_process", str(folder), task, point, str(count)]
    return subprocess.run(arguments, timeout=DEADLINE_S, check=False, stdout=subprocess.DEVNULL).returncode


def look(folder: Path) -> tuple[Rows, dict[int, int], Rows]:
    """All readings, rows pending by day, and hours of those that are rolled up; every file is as it was written."""
    filled = Filled(folder)
    try:
        with filled.store.reading() as connection:
            states = read_days(connection)
            known = {state.day: state.generation for state in states}
            hours = run(
                connection,
                "SELECT s.device, s.metric, begins_at, sum(count)::BIGINT FROM rollup_1h r JOIN series s ON s.id = r.series"
                " GROUP BY ALL ORDER BY ALL",
            )
        for each in read_archive(filled.root):
            assert check_generation(filled.root, each.day, each.generation) == []
        for day, generation in known.items():
            assert generation is None or any(
                (each.day, each.generation) == (day, generation) for each in read_archive(filled.root)
            )
        return filled.view(), {state.day: state.pending for state in states}, hours
    finally:
        filled.store.close()


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """By task: a folder before it, and one after it was done without being killed."""
    made = {}
    fresh = tmp_path_factory.mktemp("fresh")
    filled = Filled(fresh)
    for ago in (0, 1, 2, 5, 200, 500):
        filled.put(TODAY - ago, count=5)
    filled.store.close()
    done = tmp_path_factory.mktemp("keep") / "done"
    shutil.copytree(fresh, done)
    assert keep(done, "keep", "none") == 0
    made["keep"] = (fresh, done)
    for task in ("restore", "erase"):
        after = tmp_path_factory.mktemp(task) / "done"
        shutil.copytree(done, after)
        assert keep(after, task, "none") == 0
        made[task] = (done, after)
    return made


def test_what_is_done_without_being_killed_is_as_it_should_be(scenes: dict[str, tuple[Path, Path]]) -> None:
    fresh, kept = (look(folder)[0] for folder in scenes["keep"])
    # Of 500 days ago nothing is kept, of 200 days ago not the class that is kept for 30.
    expected = [row for row in fresh if int(str(row[3])) > (TODAY - 400) * 86_400_000]
    expected = [row for row in expected if row[1] != "vib_x" or int(str(row[3])) > (TODAY - 30) * 86_400_000]
    assert kept == expected
    assert look(scenes["restore"][1])[0] == kept
    assert look(scenes["erase"][1])[0] == [row for row in kept if row[0] != "a"]
    filled = Filled(scenes["restore"][1])
    assert filled.day_row(COLD_DAY)[0] is True
    filled.store.close()


@pytest.mark.parametrize(("task", "point", "count"), CASES)
def test_it_is_killed_there_and_goes_on(
    tmp_path: Path, scenes: dict[str, tuple[Path, Path]], task: str, point: str, count: int
) -> None:
    before, after = scenes[task]
    folder = tmp_path / "data"
    shutil.copytree(before, folder)
    code = keep(folder, task, point, count)
    if code == 0:
        assert count > 1, f"{task} never comes to {point}"
        return
    assert code == -signal.SIGKILL
    rows, _, _ = look(folder)
    first, last = look(before)[0], look(after)[0]
    # Whatever is there is there once, and nothing is gone that is to stay.
    assert len(rows) == len(set(rows))
    assert set(last) <= set(rows) <= set(first)
    assert keep(folder, task, "none") == 0
    assert look(folder)[0] == last
    assert look(folder)[1] == look(after)[1]
    assert rubbish(folder / "archive") == []
