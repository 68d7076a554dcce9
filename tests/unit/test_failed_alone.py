"""scripts/failed_alone.py: few failures that pass by themselves are none, all others are."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts/failed_alone.py"


@pytest.fixture
def failed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, at work in a project of its own with a test that passes and one that fails."""
    spec = importlib.util.spec_from_file_location("failed_alone", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_it.py").write_text("def test_good(): pass\n\ndef test_bad(): assert False\n")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "LAST_FAILED", tmp_path / "lastfailed")
    monkeypatch.setenv("COVERAGE_FILE", str(tmp_path / "coverage"))
    return module


@pytest.mark.parametrize(
    ("failed", "status"),
    [
        (["test_it.py::test_good"], 0),
        (["test_it.py::test_bad", "test_it.py::test_good"], 1),
        (["test_it.py::test_gone"], 4),
        ([], 1),
        ([f"test_it.py::test_good[{number}]" for number in range(9)], 1),
    ],
)
def test_it_ends_as_what_failed_does_alone(failed_alone: ModuleType, failed: list[str], status: int) -> None:
    failed_alone.LAST_FAILED.write_text(json.dumps(dict.fromkeys(failed, True)))
    assert failed_alone.main(["-p", "no:cacheprovider"]) == status


def test_without_a_list_of_failures_it_fails(failed_alone: ModuleType) -> None:
    assert failed_alone.main([]) == 1
