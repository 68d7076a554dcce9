"""`homeport setting` on a stopped node; through a running one it is the API, which has its own tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.config import Config, NodeConfig
from appliance.core.errors import NotFound, UsageError
from appliance.run.local_api import LocalApi
from appliance.run.node_or_catalog import with_catalog
from appliance.run.setting_commands import ThroughNode, setting_commands


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(node=NodeConfig(data_dir=tmp_path / "data", run_dir=tmp_path / "run"))


def test_a_value_is_kept_and_the_audit_says_that_it_came_from_the_box(config: Config) -> None:
    with setting_commands(config) as commands:
        values = {row["key"]: row["value"] for row in commands.set("site.name", "Sawmill")}
        assert values["site.name"] == "Sawmill"
    with setting_commands(config) as commands:
        assert {row["key"]: row["value"] for row in commands.list()} == values
    with with_catalog(config, holder="test") as stopped:
        (entry,) = stopped.catalog.rows("SELECT action, actor, object_id FROM audit")
        assert tuple(entry) == ("setting.set", "local", "site.name")


def test_what_can_t_be_is_refused(config: Config) -> None:
    with setting_commands(config) as commands:
        with pytest.raises(NotFound):
            commands.set("ui.bind", "0.0.0.0:1")
        with pytest.raises(UsageError):
            commands.set("site.time_zone", "nowhere")


def test_a_running_node_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def request(self: LocalApi, *words: object, **more: object) -> object:
        asked.append(words)
        return {"settings": [{"key": "site.name", "value": "Sawmill"}]}

    monkeypatch.setattr(LocalApi, "request", request)
    commands = ThroughNode(LocalApi(Path("node.sock")))
    assert commands.set("site.name", "Sawmill") == commands.list()
    assert asked[0] == ("PATCH", "/api/v1/settings", {"values": {"site.name": "Sawmill"}})
