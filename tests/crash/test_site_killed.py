"""A node of a site is SIGKILLed at every step of a turn of the order and of a commit: each reading of three nodes is in its store once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.telemetry.database import run
from storage.telemetry.store import TelemetryStore
from tests.crash.pipeline_process import POINTS
from tests.crash.site_pipeline_process import TURN_POINTS
from tests.log_kit import Record
from tests.site_kit import NODES, Log

ROOT = Path(__file__).parents[2]
NOW = 1_700_000_000_000
BLOCKS, PER_BLOCK, AGAIN = 8, 20, 5


def fill(folder: Path) -> int:
    """One device that goes round three nodes, and sends the end of what it sent to the one again to the next; how many readings it made."""
    folders = [folder / "log", *(folder / "replicas" / node / "telemetry" for node in NODES[1:])]
    logs = [Log(each, node) for each, node in zip(folders, NODES, strict=True)]
    seq = 0
    for number in range(3 * BLOCKS):
        sent = range(max(1, seq - AGAIN + 1), seq + PER_BLOCK + 1)
        logs[number % 3].append(
            [
                Record(
                    b'{"ts":%d,"seq":%d,"boot_id":"b","v":{"n":%d}}' % (NOW + n, n, n),
                    b"dm/dev-1/telemetry",
                    NOW + number,
                )
                for n in sent
            ]
        )
        seq += PER_BLOCK
    (folder / "records").write_text(str(sum(log.next_seq - 1 for log in logs)))
    for log in logs:
        log.writer.close()
    return seq


def died(folder: Path, point: str, count: int) -> bool:
    words = [sys.executable, "-m", "tests.crash.site_pipeline_process", str(folder), point, str(count)]
    code = subprocess.run(words, cwd=ROOT, timeout=120, check=False).returncode
    assert code in (0, -signal.SIGKILL)
    return code != 0


@pytest.mark.parametrize(
    "points",
    [
        TURN_POINTS,
        pytest.param(
            tuple(point for point in POINTS if point not in ("begun", "tidied")), marks=pytest.mark.long
        ),
    ],
    ids=["turns", "commits"],
)
def test_each_reading_is_stored_once(tmp_path: Path, points: tuple[str, ...]) -> None:
    made = fill(tmp_path)
    kills = sum(died(tmp_path, point, 1) for point in points)
    assert kills >= len(points) - 2
    assert not died(tmp_path, "none", 1)
    store = TelemetryStore.open(tmp_path / "telemetry.duckdb")
    with store.reading() as connection:
        rows = run(connection, "SELECT observed_at, num FROM v_readings ORDER BY ALL")
    assert rows == [(NOW + n, float(n)) for n in range(1, made + 1)]
    assert store.read_state().totals.skipped == 0
    store.close()
