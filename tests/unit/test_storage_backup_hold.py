"""Holding the log while it is copied."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.core.errors import Conflict, StorageError
from storage.backup import hold


def test_the_log_is_held_while_a_backup_is_made(tmp_path: Path) -> None:
    path = tmp_path / hold.NAME
    assert hold.needed_seq(path) == hold.NEEDS_NOTHING
    with hold.held(path):
        assert hold.needed_seq(path) == hold.NEEDS_EVERYTHING
    assert hold.needed_seq(path) == hold.NEEDS_NOTHING


def test_two_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold, "_PAUSE_S", 0.001)
    with hold.held(tmp_path / "x"), pytest.raises(Conflict, match="already"), hold.held(tmp_path / "x"):
        pass


def test_a_killed_backup_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / hold.NAME
    program = (
        "import sys, pathlib; from storage.backup import hold\n"
        "with hold.held(pathlib.Path(sys.argv[1])):\n print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert hold.needed_seq(path) == hold.NEEDS_EVERYTHING
        process.kill()
        process.wait(10)
        assert hold.needed_seq(path) == hold.NEEDS_NOTHING


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError), hold.held(tmp_path / "none" / "x"):
        pass
