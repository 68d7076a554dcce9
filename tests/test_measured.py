"""Coverage is taken out of the tests that are named, and of nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.measured import NOT_MEASURED, TESTS, is_measured

PROGRAM = """
import os, sys, threading
from tests.measured import VARIABLES, Measuring

def counted_before():
    return 1

def not_counted():
    return 2

def counted_after():
    return 3

measuring = Measuring()
measuring.switch(on=True)
counted_before()
measuring.switch(on=False)
measuring.switch(on=False)
assert not any(name in os.environ for name in VARIABLES)
not_counted()
thread = threading.Thread(target=not_counted)
thread.start()
thread.join()
measuring.switch(on=True)
assert VARIABLES[0] in os.environ
counted_after()
"""


@pytest.mark.parametrize("name", NOT_MEASURED)
def test_what_is_named_is_there(name: str) -> None:
    assert any(TESTS.glob(f"{name}*"))


def test_a_new_test_is_measured() -> None:
    assert is_measured(TESTS / "unit" / "test_new.py")
    assert not is_measured(TESTS / "crash" / "test_log_killed.py")


def test_what_runs_while_it_is_off_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "settings.ini").write_text("[run]\npatch = subprocess\nsource = .\nparallel = true\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}

    def coverage(verb: str, *words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "coverage", verb, "--rcfile=settings.ini", *words],
            cwd=tmp_path,
            env={**environ, "PYTHONPATH": str(TESTS.parent)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    coverage("run", "program.py")
    coverage("combine")
    coverage("json")
    (program,) = json.loads((tmp_path / "coverage.json").read_text())["files"].values()
    missed = [name for name, found in program["functions"].items() if name and found["missing_lines"]]
    assert missed == ["not_counted"]
