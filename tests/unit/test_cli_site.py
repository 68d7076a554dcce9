"""`homeport site`, and the grant at the site while its node is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from appliance.cli import main
from appliance.core.config import Config, NodeConfig
from appliance.core.errors import Conflict, NotFound, UsageError
from appliance.management.site_reading import key_of
from appliance.run import site_commands
from appliance.run.node_or_catalog import with_catalog
from appliance.run.peer_reading import set_reading
from tests.fleet_act_kit import give_cloud_node
from tests.node_kit import running_node

ANSWERS: dict[str, dict[str, Any]] = {
    "/devices": {
        "devices": [{"device_id": "d\x1b[1m", "name": "x", "presence": "online", "last_seen_at_ms": None}],
        "next_cursor": "d1",
    },
    "/devices/d%2F1/newest": {
        "values": [{"metric": "t", "value": 21.5, "freshness": "fresh", "quality": "good"}]
    },
    "/devices/d%2F1/telemetry": {"series": [{"metric": "t", "at_ms": [0, 60_000], "value": [1.5, 2.5]}]},
    "/alarms": {"alarms": [{"severity": "P1", "rule_name": "Hot", "state": "active"}], "count": 3},
}


def test_what_a_site_answers_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def read(config: Config, site: str, path: str, query: Any = None) -> dict[str, Any]:
        asked.append((site, path, query))
        return {"node": "mill", "answered_at_ms": 0, "answer": ANSWERS[path]}

    monkeypatch.setattr("appliance.cli.site.read_site", read)

    def run(*words: str) -> str:
        outcome = CliRunner().invoke(main, ["site", *words], catch_exceptions=False)
        assert outcome.exit_code == 0, outcome.output
        return outcome.stdout

    devices = run("devices", "mill", "--search", "d")
    assert "\x1b" not in devices
    assert "There are more: --after d1" in devices
    assert "As mill answered on 1970-01-01 00:00:00 UTC." in devices
    assert asked[-1] == ("mill", "/devices", [("q", "d"), ("limit", "100")])
    assert "21.5" in run("readings", "mill", "d/1")
    assert "2.5" in run("readings", "mill", "d/1", "--metric", "t", "--for", "15m")
    assert asked[-1][2][0] == ("metric", "t")
    assert "1 of 3 are shown." in run("alarms", "mill")


def test_a_site_is_named_by_its_id_or_by_a_box(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [
        {"site_id": "51" * 16, "name": "mill", "node_id": "a1" * 16},
        {"site_id": "52" * 16, "name": "quarry", "node_id": "a2" * 16},
        {"site_id": "52" * 16, "name": "twin", "node_id": "a3" * 16},
        {"site_id": "51" * 16, "name": "twin", "node_id": "a4" * 16},
    ]
    monkeypatch.setattr(site_commands, "list_sites", lambda config: boxes)
    for name in ("mill", "515151", "a1" * 16):
        assert site_commands.find_site(Config(), name) == "51" * 16
    with pytest.raises(NotFound):
        site_commands.find_site(Config(), "51515")
    with pytest.raises(UsageError, match="of 2 sites"):
        site_commands.find_site(Config(), "twin")


async def test_reading_is_allowed_and_forbidden_while_the_node_is_stopped(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        cloud = give_cloud_node(node)
    config = Config(node=NodeConfig(name="box", data_dir=tmp_path, run_dir=tmp_path))
    for allow in (True, False):
        assert set_reading(config, "cloud-1", allow=allow)["is_allowed"] is allow
        with with_catalog(config, holder="test") as stopped:
            assert stopped.catalog.get_setting(key_of(cloud.node_id)) is allow
    with pytest.raises(NotFound):
        set_reading(config, "nobody", allow=True)
    with pytest.raises(Conflict, match="this very box"):
        set_reading(config, node.services.keys.node_id.hex(), allow=True)
