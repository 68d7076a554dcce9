"""The node asks the replicator what is safe on other boxes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from appliance.core.config import Config, NodeConfig
from appliance.core.errors import Unavailable
from appliance.run import layout
from appliance.run.replication_asking import replication_source
from replication.control import ControlServer
from storage.fleet.roster_file import fleet_folder
from tests.unit.test_management_replication_state import STATE


async def test_a_box_without_a_fleet_asks_nobody_and_one_with_a_fleet_does(tmp_path: Path) -> None:
    config = Config(node=NodeConfig(data_dir=tmp_path / "data", run_dir=tmp_path))
    source = replication_source(config)
    assert await source() is None
    fleet_folder(config.node.data_dir).mkdir(parents=True)
    with pytest.raises(Unavailable) as caught:
        await source()
    assert caught.value.code == "replicator_away"
    said: dict[str, Any] = {"peers": 7}

    async def answer(_question: str, _fields: Mapping[str, Any]) -> Mapping[str, Any]:
        return said

    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer(layout.replicator_socket(config), answer).serve)
        with pytest.raises(Unavailable, match="can't be read"):
            await source()
        said = msgspec.to_builtins(STATE) | {"refused": {}}
        assert await source() == STATE
        nursery.cancel_scope.cancel()
