"""broker/bridge/statistics.py"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.core.errors import HomeportError
from appliance.core.limits import BRIDGE_REPORT_STALE_MS
from broker.bridge.statistics import BridgeStatistics, read_report, write_report

UP = BridgeStatistics(name="up", address="h:1", state="connected", since_ms=5, sent_messages=3)


def test_a_report_is_read_while_it_is_young(tmp_path: Path) -> None:
    path = tmp_path / "bridges.json"
    assert read_report(path, 0) == ()
    write_report(path, [UP], 1_000)
    assert read_report(path, 1_000 + BRIDGE_REPORT_STALE_MS) == (UP,)
    assert read_report(path, 1_001 + BRIDGE_REPORT_STALE_MS) == ()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["bridges.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"written_at_ms": 0}', '{"written_at_ms": 0, "bridges": [{"name": "x"}]}']
)
def test_a_report_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bridges.json"
    path.write_text(text)
    with pytest.raises(HomeportError) as caught:
        read_report(path, 0)
    assert caught.value.code == "bridge_report"


def test_nothing_in_it_is_a_secret(tmp_path: Path) -> None:
    path = tmp_path / "bridges.json"
    write_report(path, [UP], 0)
    (bridge,) = json.loads(path.read_text())["bridges"]
    assert not any("password" in key or "user" in key for key in bridge)
