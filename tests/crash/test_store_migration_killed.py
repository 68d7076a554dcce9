"""The node is SIGKILLed at a step of bringing an older store to today's schema: the next start has all of it, with its readings."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.telemetry import schema
from storage.telemetry.database import connect, run
from storage.telemetry.store import TelemetryStore

ROOT = Path(__file__).parents[2]
OPEN_AND_DIE = """
import os, signal, sys
from pathlib import Path
from storage.telemetry import schema
from storage.telemetry.store import TelemetryStore
left, original = int(sys.argv[2]), schema.run
def dying(*args):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*args)
schema.run = dying
TelemetryStore.open(Path(sys.argv[1])).close()
"""
ROWS = [("d", "t", 1_700_000_000_000 + n, n / 2, None, 0, 0) for n in range(50)]


def older(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store as the release before left it."""
    connection = connect(path, memory_limit_mib=64, threads=1)
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:2])
        patched.setattr(schema, "SCHEMA_VERSION", 2)
        schema.migrate(connection)
    run(connection, "INSERT INTO series VALUES (1, 'd', 't', 0)")
    run(connection, schema.create_table("readings_20231114"))
    for row in ROWS:
        run(connection, "INSERT INTO readings_20231114 VALUES (1, ?, ?, 0)", [row[2], row[3]])
    connection.close()


@pytest.mark.parametrize(
    "step",
    [2, 9, *(pytest.param(step, marks=pytest.mark.long) for step in range(1, 31) if step not in (2, 9))],
)
def test_a_migration_is_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    path = tmp_path / "telemetry.duckdb"
    older(path, monkeypatch)
    died = subprocess.run(
        [sys.executable, "-c", OPEN_AND_DIE, str(path), str(step)], cwd=ROOT, timeout=60, check=False
    )
    assert died.returncode in (-signal.SIGKILL, 0)
    assert step > 12 or died.returncode == -signal.SIGKILL, "it has fewer steps than were to be tried"
    store = TelemetryStore.open(path)
    assert store.set_aside_path is None
    with store.writing():
        pass
    with store.reading() as connection:
        assert run(connection, "SELECT value FROM meta WHERE key = 'schema_version'") == [
            (str(schema.SCHEMA_VERSION),)
        ]
        assert run(connection, "SELECT * FROM readings_20231114 ORDER BY observed_at") == [
            (1, row[2], row[3], 0) for row in ROWS
        ]
        assert run(connection, "SELECT is_whole, generation FROM days") == [(True, None)]
    store.close()
