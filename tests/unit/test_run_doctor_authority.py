"""What the doctor says of the authority and the recovery kit."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from appliance.core.clock import ManualClock
from appliance.core.config import Config, NodeConfig
from appliance.identity.ca import SiteCa
from appliance.identity.keys import SiteKeys
from appliance.identity.recovery_kit import confirm
from appliance.run.doctor_authority import DAY_MS, check_authority
from appliance.run.doctor_check import Result

CLOCK = ManualClock(now_ms=1_795_000_000_000)


def results(tmp_path: Path, *, days: int = 0) -> dict[str, Result]:
    config = Config(node=NodeConfig(data_dir=tmp_path, run_dir=tmp_path))
    clock = ManualClock(now_ms=CLOCK.now_ms() + days * DAY_MS)
    return {check.name: check.result for check in check_authority(config, clock)}


def made(tmp_path: Path) -> SiteCa:
    return SiteCa.load_or_create(tmp_path, SiteKeys.load_or_create(tmp_path), clock=CLOCK)


def test_before_the_first_start(tmp_path: Path) -> None:
    assert results(tmp_path) == {"authority": Result.SKIPPED}


def test_the_kit_is_asked_for_until_it_is_confirmed(tmp_path: Path) -> None:
    made(tmp_path)
    assert results(tmp_path) == {"authority": Result.OK, "recovery kit": Result.WARNING}
    confirm(tmp_path)
    assert results(tmp_path) == {"authority": Result.OK, "recovery kit": Result.OK}


def test_its_end_comes_near(tmp_path: Path) -> None:
    made(tmp_path)
    assert results(tmp_path, days=1500)["authority"] is Result.WARNING
    assert results(tmp_path, days=1900)["authority"] is Result.FAILED


def test_a_damaged_file(tmp_path: Path) -> None:
    path = made(tmp_path).devices_path
    path.write_text("nothing")
    assert results(tmp_path) == {"authority": Result.FAILED}
    path.write_bytes(made(tmp_path).root_pem)
    assert results(tmp_path) == {"authority": Result.FAILED}
    own, strange = made(tmp_path), made(tmp_path / "other")
    path.write_bytes(own.issuing.public_bytes(Encoding.PEM) + strange.root_pem)
    assert results(tmp_path) == {"authority": Result.FAILED}
