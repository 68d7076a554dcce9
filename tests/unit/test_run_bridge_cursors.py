"""appliance/run/bridge_cursors.py"""

from __future__ import annotations

from pathlib import Path

from appliance.core.bridge_config import BridgeConfig
from appliance.core.config import Config, NodeConfig
from appliance.run import layout
from appliance.run.bridge_cursors import put_aside_removed


def test_the_cursor_of_a_bridge_that_is_gone_holds_nothing_back(tmp_path: Path) -> None:
    node = NodeConfig(name="box", data_dir=tmp_path, run_dir=tmp_path)
    config = Config(node=node, bridge=(BridgeConfig(name="kept"),))
    assert put_aside_removed(config) == [], "there is no folder yet"
    for name in ("kept", "gone"):
        path = layout.bridge_cursor(config, name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    assert put_aside_removed(config) == ["gone"]
    left = {path.name: path.read_text() for path in layout.cursors(config).iterdir()}
    assert left == {"bridge-kept.json": "kept", "bridge-gone.json.removed": "gone"}
    assert put_aside_removed(config) == []
