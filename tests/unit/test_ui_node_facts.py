"""The numbers behind the node's watches: each watch has one, and unknown is unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.management.node_watches import WATCHES
from tests.node_kit import running_node
from ui.node_facts import node_facts


async def test_each_watch_has_its_number(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        node.broker.statistics["log"] = {
            "write_failures_total": 3,
            "damaged_ranges": 1,
            "housekeeping": {"disk_level_name": "hold", "dropped_unread_records": 7},
        }
        facts = await node_facts(node.services)
    assert facts.keys() == {name for name, watched in WATCHES.items() if not watched.is_of_boxes}
    assert {name: facts[name] for name in ("disk_level", "disk_failures", "log_dropped", "log_damaged")} == {
        "disk_level": 2,
        "disk_failures": 3,
        "log_dropped": 7,
        "log_damaged": 1,
    }
    assert {facts[name] for name in ("broker", "store", "audit", "work_queue", "notifications")} == {0}
    days = facts["certificate_days"]
    assert days is not None
    assert days > 30
    assert facts["backup_age"] is None, "none is wanted"


async def test_what_the_broker_would_say_is_unknown_while_it_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_node(tmp_path) as node:
        node.broker.connected = False
        facts = await node_facts(node.services)
    assert facts["broker"] == 1
    assert facts["disk_level"] is None
    assert facts["log_dropped"] is None
