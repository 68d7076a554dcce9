"""The store's size, the archive and its keeper as metrics."""

from __future__ import annotations

import re
from pathlib import Path

from tests.node_kit import running_node


async def test_they_are_there(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        text = (await client.get("/health/metrics")).text
    found = dict(re.findall(r"(?m)^(\S+) (\S+)$", text))
    for name, value in {
        'table_size_bytes{blocks="used"}': 40_000_000.0,
        'table_size_bytes{blocks="free"}': 2_000_000.0,
        "homeport_store_bytes_per_day": 1.5e7,
        "homeport_disk_days_left": 41.5,
        "homeport_archive_bytes": 18_900_000.0,
        "homeport_archive_days": 3.0,
        "homeport_archive_faulty_days": 1.0,
        "homeport_archive_waiting_days": 1.0,
        "homeport_archive_failing": 0.0,
        'homeport_archive_cooled_days_total{rule="hot_days"}': 1.0,
        'homeport_archive_cooled_days_total{rule="disk_pressure"}': 0.0,
    }.items():
        assert float(found[name]) == value, name


async def test_nothing_is_said_while_the_archive_is_not_open(tmp_path: Path) -> None:
    async with running_node(tmp_path, keeper=None) as node, node.client(local=True) as client:
        assert "table_size_bytes{" not in (await client.get("/health/metrics")).text
