"""`homeport conflict` on a stopped node; through a running one it is the API, which has its own tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.config import Config, NodeConfig
from appliance.core.errors import NotFound
from appliance.run.conflict_commands import ThroughNode, conflict_commands
from appliance.run.local_api import LocalApi
from appliance.run.node_or_catalog import with_catalog
from tests.merge_kit import contradict


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(node=NodeConfig(data_dir=tmp_path / "data", run_dir=tmp_path / "run"))


def test_a_conflict_is_decided_and_the_audit_says_that_it_was_on_the_box(config: Config) -> None:
    with with_catalog(config, holder="test") as stopped:
        conflict = contradict(stopped.catalog)
    with conflict_commands(config) as commands:
        (listed,) = commands.list("open")
        assert listed["conflict_id"] == conflict.conflict_id
        assert [each["values"]["tags"] for each in listed["values"]] == ['["there"]', '["here"]']
        assert commands.resolve(conflict.conflict_id, 1)["resolved_by"] == "local"
        assert list(commands.list("open")) == []
        with pytest.raises(NotFound):
            commands.resolve("none", 0)
    with with_catalog(config, holder="test") as stopped:
        assert stopped.catalog.get_device("d1").tags == ("here",)
        entries = stopped.catalog.rows("SELECT actor FROM audit WHERE action = 'conflict.resolve'")
        assert {entry["actor"] for entry in entries} == {"local"}


def test_a_running_node_is_asked_page_by_page(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def request(self: LocalApi, *words: object, **more: object) -> object:
        asked.append(words)
        return {"conflicts": [{"conflict_id": "c"}], "next_cursor": "c" if len(asked) == 1 else None}

    monkeypatch.setattr(LocalApi, "request", request)
    commands = ThroughNode(LocalApi(Path("node.sock")))
    assert len(list(commands.list("open"))) == 2
    assert "cursor=c" in str(asked[1])
    commands.resolve("a/b", 1)
    assert asked[2] == ("POST", "/api/v1/conflicts/a%2Fb/resolve", {"value": 1})
