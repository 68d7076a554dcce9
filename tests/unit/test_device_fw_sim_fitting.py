"""What the command line says of firmware, and devices that share what they have in common."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from device_fw_sim.errors import OptionsError
from device_fw_sim.events import Moment
from device_fw_sim.faults import FaultKind, FaultRequest
from device_fw_sim.fitting import FirmwareOptions, Fitter, check_faults, load_trust

KEY = base64.b64encode(b"k" * 32).decode()


def written(tmp_path: Path, content: Any) -> Path:
    path = tmp_path / "trust.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_trusted_keys(tmp_path: Path) -> None:
    trust = load_trust(written(tmp_path, {"threshold": 1, "keys": {"a": KEY}}))
    assert (trust.threshold, trust.keys) == (1, {"a": b"k" * 32})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "trust.json"),
        ({"threshold": 1}, "keys"),
        ({"threshold": 1, "keys": {"a": "%"}}, "trust.json"),
        ({"threshold": 1, "keys": {"a": "AAAA"}}, "'a' has not 32 bytes"),
        ({"threshold": 2, "keys": {"a": KEY}}, "1 keys can't make the threshold"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: Any, said: str) -> None:
    with pytest.raises(OptionsError, match=said):
        load_trust(written(tmp_path, content))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OptionsError, match="can't be read"):
        load_trust(tmp_path / "none.json")


def test_each_device_has_its_flash(tmp_path: Path) -> None:
    fitter = Fitter(FirmwareOptions(version="3.1.0", folder=tmp_path))
    for name in ("a", "b"):
        managed = fitter.managed(name, interval_ms=1_000)
        assert managed.running_version == ""
        managed.boot("b1", Moment(mono_ms=0, wall_ms=0))
        assert managed.running_version == "3.1.0"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a", "b"]
    # What it runs is on flash: another factory image changes nothing any more.
    later = Fitter(FirmwareOptions(version="9.9.9", folder=tmp_path)).managed("a", interval_ms=1_000)
    later.boot("b2", Moment(mono_ms=0, wall_ms=0))
    assert later.running_version == "3.1.0"


def test_faults_of_an_agent_need_an_agent() -> None:
    request = FaultRequest(kind=FaultKind.POWER_CUT, count=1)
    with pytest.raises(OptionsError, match="power-cut"):
        check_faults([request], None)
    check_faults([request], FirmwareOptions())
    check_faults([FaultRequest(kind=FaultKind.SILENT, count=1)], None)
