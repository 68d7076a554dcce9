"""/health/metrics: what it holds is what docs/METRICS.md says, and who may read it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.core import limits
from appliance.core.bridge_config import BridgeConfig, BridgeTopicConfig
from appliance.core.config import Config, NodeConfig
from tests.node_kit import NOW_MS, LiveDevice, running_node
from ui.metrics import METRICS, fixed_limits, numbers

DOCS = Path(__file__).parents[2] / "docs" / "METRICS.md"


def test_the_documentation_names_each_metric_with_kind_labels_and_meaning() -> None:
    rows = re.findall(
        r"^\| `(homeport_\w+)` \| (\w+) \| ([^|]*)\| (.+) \|$", DOCS.read_text("utf-8"), re.MULTILINE
    )
    expected = {
        (one.name + ("_total" if one.kind == "counter" else ""), one.kind, ", ".join(one.labels), one.help)
        for one in METRICS.values()
    }
    assert {(name, kind, labels.strip(), text) for name, kind, labels, text in rows} == expected


async def test_every_metric_is_there_and_no_other(tmp_path: Path) -> None:
    config = Config(
        node=NodeConfig(name="box", data_dir=tmp_path, run_dir=tmp_path),
        bridge=(BridgeConfig(name="b1"),),
        bridge_topic=(BridgeTopicConfig(bridge="b1"),),
    )
    scrub = {"last_ended_at_ms": NOW_MS - 7_000, "pass_bytes": 8, "damaged_ranges": 1, "failures_total": 2}
    async with (
        running_node(tmp_path, store=lambda: {"bytes": 5}, scrub=lambda: scrub, config=config) as node,
        node.client(local=True) as client,
    ):
        node.live.by_id = {"d": LiveDevice(device_id="d", presence="lost")}
        answer = await client.get("/health/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        assert set(families) == set(METRICS)
        for name, family in families.items():
            assert (family.type, family.documentation) == (METRICS[name].kind, METRICS[name].help)
            assert family.samples, name
        samples = {
            (sample.name, tuple(sorted(sample.labels.values()))): sample.value
            for family in families.values()
            for sample in family.samples
        }
        assert samples["homeport_devices", ("lost",)] == 1
        assert samples["homeport_log_next_seq", ()] == 42
        assert samples["homeport_pipeline_rows_total", ()] == 500
        assert samples["homeport_statistic", ("broker", "plane.connections")] == 3
        assert samples["homeport_broker_messages_received_total", ()] == 250_000
        assert samples["homeport_broker_limit", ("connections_max",)] == 10_000
        assert samples["homeport_broker_limit_hits_total", ("packet_bytes_max",)] == 3
        assert samples["homeport_broker_closed_total", ("keep_alive",)] == 2
        assert samples["homeport_broker_connections", ("unix",)] == 1
        assert samples["homeport_broker_tls_failing", ()] == 0
        assert samples["homeport_broker_limit_hits_total", ("topic_level_count_max",)] == 1
        assert samples["homeport_log_disk_level", ()] == 1
        assert samples["homeport_log_scrub_damaged_ranges", ()] == 1
        assert samples["homeport_log_scrub_age_seconds", ()] == 7
        assert samples["homeport_log_removed_records_total", ()] == 20
        assert samples["homeport_held_refused_messages_total", ()] == 7
        assert samples["homeport_statistic", ("batches_total", "pipeline")] == 9
        assert samples["homeport_statistic", ("bytes", "store")] == 5
        assert samples["homeport_limit", ("device_count_max",)] == limits.DEVICE_COUNT_MAX


async def test_a_log_that_can_not_be_read_hides_only_its_own_numbers(tmp_path: Path) -> None:
    def broken() -> object:
        raise OSError("no disk")

    async with running_node(tmp_path, log_head=broken) as node, node.client(local=True) as client:
        answer = await client.get("/health/metrics")
        assert answer.status_code == 200
        assert "homeport_uptime_seconds" in answer.text
        assert "homeport_log_next_seq" not in answer.text


@pytest.mark.parametrize(("address", "status"), [("127.0.0.1", 200), ("::1", 200), ("192.0.2.1", 401)])
async def test_open_to_this_machine_only(tmp_path: Path, address: str, status: int) -> None:
    async with running_node(tmp_path) as node, node.client(address=address) as client:
        answer = await client.get("/health/metrics", headers={"x-forwarded-for": "127.0.0.1"})
        assert answer.status_code == status


async def test_open_to_the_signed_in(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        assert (await client.get("/health/metrics")).status_code == 200


def test_every_limit_is_a_metric() -> None:
    assert fixed_limits()["catalog_writer_queue_depth_max"] == 256
    assert all(name == name.lower() for name in fixed_limits())


def test_numbers_are_found_in_depth_and_nothing_else() -> None:
    assert dict(numbers({"a": 1, "b": {"c": 2.5, "d": "text"}, "e": [1], "f": True})) == {
        "a": 1,
        "b.c": 2.5,
        "f": 1,
    }
    assert list(numbers("text")) == []
