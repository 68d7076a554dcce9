"""Scenario files are checked key by key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from device_fw_sim import scenario
from device_fw_sim.errors import OptionsError
from device_fw_sim.faults import FaultKind, FaultRequest


def test_faults_are_read(tmp_path: Path) -> None:
    path = tmp_path / "scenario.json"
    path.write_text(
        '{"faults": [{"name": "silent", "count": 2, "after_s": 20, "for_s": 60, "every_s": null}]}'
    )
    assert scenario.load(path) == (
        FaultRequest(kind=FaultKind.SILENT, count=2, after_s=20, for_s=60, every_s=None),
    )


@pytest.mark.parametrize(
    "faults",
    [
        [{"name": "slient", "count": 2}],
        [{"name": "silent"}],
        [{"name": "silent", "count": -1}],
        [{"name": "silent", "count": 1, "for": 3}],
        [{"name": "silent", "count": 1, "for_s": 60, "every_s": 60}],
        {},
    ],
)
def test_bad_scenario_is_refused(tmp_path: Path, faults: object) -> None:
    path = tmp_path / "scenario.json"
    path.write_text(json.dumps({"faults": faults}))
    with pytest.raises(OptionsError) as caught:
        scenario.load(path)
    assert caught.value.hint


def test_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scenario.json"
    with pytest.raises(OptionsError, match="can't be read"):
        scenario.load(path)
    path.write_text("{")
    with pytest.raises(OptionsError):
        scenario.load(path)
