"""Every target on the corpus, and a short search for more."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from . import FOLDER
from .corpus import FOUND, corpus
from .targets import TARGETS

ROOT = Path(__file__).parents[2]
RUNS = 2_000
SECONDS_MAX = 20
INPUTS = [
    pytest.param(target, path, id=f"{target}-{path.name}")
    for target in TARGETS
    for path in sorted((FOLDER / target).iterdir())
]


@pytest.mark.parametrize(("target", "path"), INPUTS)
def test_input(target: str, path: Path) -> None:
    TARGETS[target](path.read_bytes())


def test_the_corpus_is_what_the_script_writes() -> None:
    written = {
        folder.name: {
            path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(FOUND)
        }
        for folder in FOLDER.iterdir()
    }
    assert written == corpus(), "python -m tests.fuzz.corpus"
    assert set(written) == set(TARGETS)


@pytest.mark.parametrize("target", list(TARGETS))
def test_search(tmp_path: Path, target: str) -> None:
    """A search that is guided by coverage, from another place each time."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is there for Linux on x86-64 only")
    # Its bytecode counts branches for the search; to measure coverage of the same bytecode would count the counting.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fuzz", target),
            *("--runs", str(RUNS), "--seconds", str(SECONDS_MAX), "--work", str(tmp_path)),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=10 * SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-4000:]
    assert "stat::number_of_executed_units" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [target], "something was found"
