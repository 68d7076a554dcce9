"""The configuration's room for artifacts is the store's."""

from __future__ import annotations

from pathlib import Path

from appliance.core.config import Config, FirmwareConfig, NodeConfig
from appliance.core.limits import MIB
from appliance.run.artifacts_wiring import open_store


def test_the_store_has_the_room_that_is_configured(tmp_path: Path) -> None:
    config = Config(
        node=NodeConfig(data_dir=tmp_path, run_dir=tmp_path),
        firmware=FirmwareConfig(artifact_max_mib=3, artifact_quota_mib=9),
    )
    store = open_store(config)
    assert (store.room.size_bytes_max, store.room.quota_bytes) == (3 * MIB, 9 * MIB)
    assert store.room.used_percent_max == config.log.disk_hold_percent - 2
    assert (tmp_path / "artifacts" / "sha256").is_dir()
