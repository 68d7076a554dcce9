"""What is measured of the disk, the log and the store."""

from __future__ import annotations

from pathlib import Path

from tests.node_kit import PipelineNumbers, running_node
from ui.pages.storage_facts import MESSAGE_COUNT_MIN, ROW_COUNT_MIN, STORE_FILE, storage_facts


async def test_too_little_to_measure_is_not_measured(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        facts = await storage_facts(node.services)
        assert facts.log_bytes_per_message is None
        assert facts.bytes_per_row is None
        assert 0 < facts.disk.free_bytes <= facts.disk.total_bytes
        assert tmp_path.is_relative_to(facts.mount)


async def test_bytes_of_a_message_and_of_a_row(tmp_path: Path) -> None:
    (tmp_path / STORE_FILE).write_bytes(bytes(2_000_000))
    (tmp_path / f"{STORE_FILE}.wal").write_bytes(bytes(1_000_000))
    async with running_node(tmp_path) as node:
        log = node.broker.statistics["log"]
        log["housekeeping"]["first_seq"] = 1
        log["housekeeping"]["log_bytes"] = 1 << 26
        log["sealed_bytes"] = 150 * MESSAGE_COUNT_MIN
        node.pipeline.numbers = PipelineNumbers(rows_total=10 * ROW_COUNT_MIN)
        head = type("Head", (), {"next_seq": MESSAGE_COUNT_MIN + 1, "offset": 50 * MESSAGE_COUNT_MIN})
        facts = await storage_facts(node.with_services(log_head=head).services)
        assert facts.log_bytes_per_message == 200
        assert facts.bytes_per_row == 3


async def test_with_the_broker_away_nothing_is_known_of_the_log(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        node.broker.connected = False
        facts = await storage_facts(node.services)
        assert (facts.disk.log_bytes, facts.messages_in_log) == (0, 0)
