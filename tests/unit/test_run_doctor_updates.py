"""What the doctor says of devices after updates."""

from __future__ import annotations

from pathlib import Path

from appliance.core.clock import ManualClock
from appliance.core.config import Config, NodeConfig
from appliance.run.doctor_check import Check, Result
from appliance.run.doctor_updates import check_updates
from storage.catalog.catalog import Catalog
from tests.unit.test_storage_catalog_update_numbers import put

CLOCK = ManualClock(now_ms=1_795_000_000_000)


def found(tmp_path: Path) -> Check:
    return check_updates(Config(node=NodeConfig(data_dir=tmp_path, run_dir=tmp_path)), CLOCK)


def test_the_work_queue_and_drift(tmp_path: Path) -> None:
    assert found(tmp_path).result is Result.SKIPPED
    catalog = Catalog.open(tmp_path / "catalog.db", clock=CLOCK, node_id=bytes(16))
    assert found(tmp_path).result is Result.OK
    put(catalog, {"d1": {"state": "manual"}, "d2": {"state": "succeeded", "ended_at_ms": 1}})
    catalog.close()
    check = found(tmp_path)
    assert check.result is Result.WARNING
    assert "1 device needs a hand" in check.detail
    assert "d2" in check.detail
    assert "work-queue" in check.hint
