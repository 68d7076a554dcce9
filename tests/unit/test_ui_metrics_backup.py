"""Backups as metrics."""

from __future__ import annotations

from pathlib import Path

from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import running_node
from ui.metrics_backup import add_backups
from ui.metrics_table import Collected


async def test_age_sizes_and_results(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:

        def numbers() -> dict[tuple[str, str], float]:
            out = Collected()
            add_backups(out, node.services)
            return {
                (sample.name, sample.labels.get("result", "")): sample.value
                for family in out.families()
                for sample in family.samples
            }

        before = numbers()
        assert ("homeport_backup_age_seconds", "") not in before
        assert before["homeport_backups_total", "made"] == 0
        assert before["homeport_backup_running", ""] == 0

        def write(catalog: Catalog) -> None:
            catalog.begin_backup("x", "/x")
            catalog.finish_backup("x", backup_id="b1", file_count=1, bytes_count=100, new_bytes=7)

        await node.catalog.write(write, by=ACT)
        await node.services.backups.look()
        node.clock.advance(5_000)
        after = numbers()
        assert after["homeport_backup_age_seconds", ""] == 5
        assert after["homeport_backup_bytes", ""] == 100
        assert after["homeport_backup_new_bytes", ""] == 7
        assert after["homeport_backup_disk_away", ""] == 0
