"""A replay is SIGKILLed at each step of its parts; after a restart each letter became its reading exactly once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.telemetry.database import run
from storage.telemetry.store import TelemetryStore
from tests.crash.replay_process import POINTS
from tests.log_kit import Record, append, open_log

ROOT = Path(__file__).parents[2]
COUNT = 10


def fill(folder: Path) -> None:
    writer = open_log(folder / "log")
    payloads = [*(b"%d" % n for n in range(COUNT)), b"{"]
    append(writer, [Record(each, topic=b"plant/dev-1/level", at_ms=1_700_000_000_000) for each in payloads])
    writer.close()


def run_until_killed_or_done(folder: Path, point: str, count: int) -> int:
    return subprocess.run(
        [sys.executable, "-m", "tests.crash.replay_process", str(folder), point, str(count)], cwd=ROOT, timeout=60, check=False
    ).returncode  # fmt: skip


def check(folder: Path) -> None:
    store = TelemetryStore.open(folder / "telemetry.duckdb")
    with store.reading() as connection:
        rows = run(connection, "SELECT num FROM v_readings WHERE metric = 'level' ORDER BY num")
        letters = run(connection, "SELECT seq, reason FROM dead_letters")
        (parts,) = run(connection, "SELECT count(*), sum(letters), sum(still_dead) FROM replays")
    store.close()
    assert rows == [(n,) for n in range(COUNT)]
    assert letters == [(COUNT + 1, "bad_json")]
    assert parts == (4, COUNT + 1, 1)


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(each, marks=() if each in ("rows written", "stored") else pytest.mark.long)
        for each in POINTS
    ],
)
def test_killed_at_a_step_of_a_part_it_goes_on(tmp_path: Path, point: str) -> None:
    fill(tmp_path)
    # The second time: there is something before it and something behind it.
    assert run_until_killed_or_done(tmp_path, point, 2) == -signal.SIGKILL
    assert run_until_killed_or_done(tmp_path, "none", 0) == 0
    check(tmp_path)


@pytest.mark.long
def test_killed_again_and_again_it_gets_there(tmp_path: Path) -> None:
    choices = random.Random(11)
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        fill(folder)
        for _ in range(5):
            if run_until_killed_or_done(folder, choices.choice(POINTS), choices.randint(1, 3)) == 0:
                break
        assert run_until_killed_or_done(folder, "none", 0) == 0
        check(folder)
