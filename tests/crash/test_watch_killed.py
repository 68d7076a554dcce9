"""The pipeline is SIGKILLed at every step of finding something, and at random: the outbox has what an undisturbed run finds, each of it once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from storage.telemetry.store import TelemetryStore
from storage.telemetry.watch_state import found_since
from tests.crash.watch_process import POINTS
from tests.log_kit import append, open_log
from tests.properties.test_watch_exactly_once import Readings

ROOT = Path(__file__).parents[2]
BLOCKS, PER_BLOCK = 40, 40


def run_until_killed_or_done(folder: Path, point: str, count: int) -> int:
    return subprocess.run(
        [sys.executable, "-m", "tests.crash.watch_process", str(folder), point, str(count)], cwd=ROOT, timeout=120, check=False
    ).returncode  # fmt: skip


def found(folder: Path) -> list[tuple[str, str, str, str, int, bool]]:
    store = TelemetryStore.open(folder / "telemetry.duckdb")
    with store.reading() as connection:
        rows = found_since(connection, 0)
    store.close()
    return [
        (t.key.rule_id, t.key.device_id, t.key.group_id, t.key.series, t.at_ms, t.is_raised) for t in rows
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    readings = Readings(random.Random(7))
    writer = open_log(folder / "log")
    for _ in range(BLOCKS):
        append(writer, readings.block(PER_BLOCK))
    writer.close()
    assert run_until_killed_or_done(folder, "none", 1) == 0
    assert len({each[0] for each in found(folder)}) >= 5, "most kinds of rules find something"
    return folder


def same_log(folder: Path, undisturbed: Path) -> None:
    (folder / "log").symlink_to(undisturbed / "log")


def check(folder: Path, undisturbed: Path) -> None:
    expected, here = found(undisturbed), found(folder)
    assert len(here) == len(set(here)), "found twice"
    assert sorted(here) == sorted(expected)


@pytest.mark.parametrize(
    ("point", "count"),
    [
        ("part written", 5),
        ("saved", 2),
        *(
            pytest.param(point, count, marks=pytest.mark.long)
            for point in POINTS
            for count in (1, 3, 8)
            if (point, count) != ("put", 8)
        ),
    ],
)
def test_each_is_found_once(tmp_path: Path, undisturbed: Path, point: str, count: int) -> None:
    same_log(tmp_path, undisturbed)
    assert run_until_killed_or_done(tmp_path, point, count) in (-signal.SIGKILL, 0)
    assert run_until_killed_or_done(tmp_path, point, 1) in (-signal.SIGKILL, 0)
    assert run_until_killed_or_done(tmp_path, "none", 1) == 0
    check(tmp_path, undisturbed)


@pytest.mark.parametrize("rounds", [2, pytest.param(40, marks=pytest.mark.long)], ids=["sample", "forty"])
def test_killed_at_any_time(tmp_path: Path, undisturbed: Path, rounds: int) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    choices = random.Random(seed)
    same_log(tmp_path, undisturbed)
    for _ in range(rounds):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.watch_process", str(tmp_path), "none", "1"], cwd=ROOT
        )  # fmt: skip
        time.sleep(choices.uniform(0.8, 3.0))  # the time of the kill is what is random here
        process.kill()
        process.wait(10)
    assert run_until_killed_or_done(tmp_path, "none", 1) == 0
    check(tmp_path, undisturbed)
