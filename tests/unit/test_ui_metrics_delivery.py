"""How firmware gets to devices, as metrics."""

from __future__ import annotations

import re
from pathlib import Path

from tests.delivery_kit import FIRMWARE
from tests.node_kit import running_node


async def test_they_are_there(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path, firmware=lambda: FIRMWARE) as node,
        node.client(local=True) as client,
    ):
        text = (await client.get("/health/metrics")).text
    found = dict(re.findall(r"(?m)^(homeport_(?:delivery|ddi)\S+) (\S+)$", text))
    assert {name: float(value) for name, value in found.items()} == {
        'homeport_delivery_sent_bytes_total{way="mqtt"}': 5000.0,
        'homeport_delivery_sent_bytes_total{way="https"}': 700.0,
        'homeport_delivery_refused_total{code="delivery_paused"}': 3.0,
        "homeport_delivery_waiting": 2.0,
        "homeport_delivery_served": 8.0,
        "homeport_delivery_in_line": 9.0,
        "homeport_delivery_waited_seconds_total": 1.5,
        "homeport_delivery_given_up_total": 1.0,
        'homeport_delivery_granted_bytes_total{over="uplink"}': 1000.0,
        'homeport_delivery_granted_bytes_total{over="site"}': 5000.0,
        "homeport_delivery_downloads": 4.0,
        'homeport_ddi_feedbacks_total{outcome="installed"}': 6.0,
    }


async def test_nothing_where_nothing_delivers(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        assert "\nhomeport_delivery" not in (await client.get("/health/metrics")).text
