"""What the doctor says of backups."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.clock import ManualClock
from appliance.core.config import Config, NodeConfig
from appliance.run.doctor_backup import HOUR_MS, check_backups
from appliance.run.doctor_check import Result
from storage.catalog.catalog import Catalog
from tests.acts import ACT
from ui.backup_desk import DIRECTORY_SETTING

CLOCK = ManualClock(now_ms=1_795_000_000_000)


def results(tmp_path: Path, *, hours: int = 1) -> dict[str, Result]:
    config = Config(node=NodeConfig(data_dir=tmp_path, run_dir=tmp_path))
    clock = ManualClock(now_ms=CLOCK.now_ms() + hours * HOUR_MS)
    return {check.name: check.result for check in check_backups(config, clock)}


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog.open(tmp_path / "catalog.db", clock=CLOCK, node_id=bytes(16))


def test_before_the_first_start(tmp_path: Path) -> None:
    assert results(tmp_path) == {"backup": Result.SKIPPED}
    assert results(tmp_path / "none") == {"backup": Result.SKIPPED}


def test_none_old_ones_and_new_ones(tmp_path: Path, catalog: Catalog) -> None:
    assert results(tmp_path) == {"backup": Result.WARNING}
    with catalog.transaction(ACT):
        catalog.begin_backup("x", "/media/usb")
        catalog.finish_backup("x", backup_id="b", file_count=1, bytes_count=1, new_bytes=1)
    assert results(tmp_path) == {"backup": Result.WARNING}
    with catalog.transaction(ACT):
        catalog.set_setting(DIRECTORY_SETTING, "/media/usb")
    catalog.close()
    assert results(tmp_path, hours=48) == {"backup": Result.OK}
    assert results(tmp_path, hours=49) == {"backup": Result.WARNING}


def test_a_restore_that_is_half_done(tmp_path: Path, catalog: Catalog) -> None:
    catalog.close()
    (tmp_path / "restoring.json").write_text(
        '{"backup_id": "b", "entries": [], "aside": "replaced-20261127T101112Z"}'
    )
    assert results(tmp_path)["restore"] is Result.FAILED
