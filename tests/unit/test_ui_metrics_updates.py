"""What the engine of updates does, as metrics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

from appliance.updates.desk import Updates
from tests.node_kit import running_node
from tests.updates_kit import a_bench


async def test_they_are_there(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    async with a_bench(tmp_path / "bench" / "catalog.db") as bench:
        await bench.runs("0" * 64)
        bench.engine.batches.tally.reports["double"] += 2
        updates = cast(Any, bench.updates)
        async with running_node(tmp_path, updates=updates) as node, node.client(local=True) as client:
            text = (await client.get("/health/metrics")).text
    found = dict(re.findall(r"(?m)^(homeport_(?:updates|firmware|execution|update)_\S+) (\S+)$", text))
    assert found['homeport_firmware_reports_total{outcome="new"}'] == "1.0"
    assert found['homeport_execution_reports_total{outcome="double"}'] == "2.0"
    assert float(found['homeport_updates_batches_total{outcome="written"}']) >= 1
    assert float(found['homeport_updates_batches_total{outcome="in_part"}']) == 0
    assert found["homeport_updates_waiting"] == "0.0"
    assert isinstance(bench.updates, Updates)


async def test_nothing_without_an_engine(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        assert "\nhomeport_updates_" not in (await client.get("/health/metrics")).text
