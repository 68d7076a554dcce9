"""A verb takes the way that is open: through the node, or onto the catalog under the node's lock."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from appliance.core.config import Config, NodeConfig
from appliance.core.errors import Conflict, Unavailable
from appliance.run import layout
from appliance.run.first_run import lock, prepare_folders
from appliance.run.local_api import LocalApi
from appliance.run.node_or_catalog import StoppedNode, node_or_catalog, running_node, with_catalog
from tests.acts import ACT


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(node=NodeConfig(data_dir=tmp_path / "data", run_dir=tmp_path / "run"))


def _through(_: LocalApi) -> str:
    return "node"


def _on_catalog(stopped: StoppedNode) -> str:
    stopped.catalog.add_device("d1")
    return "catalog"


def test_a_stopped_node_leaves_its_catalog_to_the_command(config: Config) -> None:
    assert running_node(config) is None
    with node_or_catalog(config, holder="test", through_node=_through, on_catalog=_on_catalog) as way:
        assert way == "catalog"
        with pytest.raises(Conflict, match="held by test"), with_catalog(config, holder="another"):
            pytest.fail("two writers at once")
    with with_catalog(config, holder="test") as stopped:
        assert stopped.catalog.find_device("d1")
        with stopped.catalog.transaction(ACT):
            assert stopped.catalog.origin == stopped.keys.node_id.hex()


def test_while_the_node_starts_nobody_gets_at_the_catalog(config: Config) -> None:
    prepare_folders(config)
    with (
        lock(layout.node_lock(config), holder="the node"),
        pytest.raises(Conflict, match="held by the node"),
        node_or_catalog(config, holder="test", through_node=_through, on_catalog=_on_catalog),
    ):
        pytest.fail("the lock was not asked for")


def test_a_node_that_does_not_answer_is_not_taken_for_a_stopped_one(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_folders(config)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as silent:
        silent.bind(str(layout.node_socket(config)))
        silent.listen()
        monkeypatch.setattr(LocalApi.__init__, "__kwdefaults__", {"timeout_s": 0.2})
        with pytest.raises(Unavailable) as failed:
            running_node(config)
    assert failed.value.code == "node_silent"
