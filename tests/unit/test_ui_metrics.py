"""/health/metrics: what it holds is what docs/METRICS.md says, and who may read it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.core import limits
from appliance.core.bridge_config import BridgeConfig, BridgeTopicConfig
from appliance.core.config import Config, NodeConfig
from appliance.core.errors import NotFound
from appliance.management.drill import DrillReport
from appliance.management.replication_state import ReplicationState
from appliance.run.directory import CatalogDirectory
from appliance.tracing.desk import TracingDesk
from appliance.tracing.exporter import ExporterStatistics
from appliance.updates.statistics import UpdatesStatistics
from storage.catalog import Catalog
from tests.acts import ACT
from tests.alarm_kit import found, put_rule
from tests.ca_kit import INSTALLER, PORT, make_csr
from tests.delivery_kit import FIRMWARE
from tests.node_kit import NOW_MS, LiveDevice, running_node
from tests.people_kit import person
from tests.unit.test_ui_replication import CLOUDY_FORKED
from ui.metrics import fixed_limits, numbers
from ui.metrics_table import METRICS

DOCS = Path(__file__).parents[2] / "docs" / "METRICS.md"


def test_the_documentation_names_each_metric_with_kind_labels_and_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([^|]*)\| (.+) \|$", DOCS.read_text("utf-8"), re.MULTILINE)
    expected = {
        (one.name + ("_total" if one.kind == "counter" else ""), one.kind, ", ".join(one.labels), one.help)
        for one in METRICS.values()
    }
    assert {(name, kind, labels.strip(), text) for name, kind, labels, text in rows} == expected


def done_backup(catalog: Catalog) -> None:
    catalog.begin_backup("begun", "/media/usb")
    catalog.finish_backup("begun", backup_id="b1", file_count=1, bytes_count=2, new_bytes=1)


class UpdatesStandIn:
    """An engine that has done something of each kind."""

    def statistics(self) -> UpdatesStatistics:
        tally = {"one": 1}
        return UpdatesStatistics(
            moves=tally, notes=tally, reports=tally, firmware=tally, pushes=tally, waiting=1, deadlines=2, listening=3,
            batches=4, batches_failed=5, parts_failed=8, refused_busy=6, jumps=7,
        )  # fmt: skip


async def forked() -> ReplicationState:
    return CLOUDY_FORKED


DRILLED = DrillReport(
    drill_id="d",
    outcome="good",
    is_scheduled=True,
    begun_at_ms=1,
    ended_at_ms=2,
    rpo_ms=0,
    serve_ms=3,
    whole_ms=4,
)


def exporting() -> TracingDesk:
    """Tracing with a collector."""
    desk = TracingDesk()
    desk.exporter = lambda: ExporterStatistics(exported=1, dropped=2, requests=3, failures=4, failing="")
    return desk


async def test_every_metric_is_there_and_no_other(tmp_path: Path) -> None:
    config = Config(
        node=NodeConfig(name="box", data_dir=tmp_path, run_dir=tmp_path),
        bridge=(BridgeConfig(name="b1"),),
        bridge_topic=(BridgeTopicConfig(bridge="b1"),),
    )
    scrub = {"last_ended_at_ms": NOW_MS - 7_000, "pass_bytes": 8, "damaged_ranges": 1, "failures_total": 2}
    async with (
        running_node(
            tmp_path,
            store=lambda: {"bytes": 5},
            rooms={"device_requests": lambda: {"answering": {"streams": 3}}},
            scrub=lambda: scrub,
            enrolment=lambda: {"accepted": 3},
            device_port=lambda: PORT,
            firmware=lambda: FIRMWARE,
            updates=UpdatesStandIn(),
            replication=forked,
            tracing=exporting(),
            config=config,
        ) as node,
        node.client(local=True) as client,
    ):
        node.live.by_id = {"d": LiveDevice(device_id="d", presence="lost", watermark_at_ms=NOW_MS - 2_000)}
        node.broker.statistics["site"] = {
            "b" * 32: {"behind_records": 1, "messages": 2, "skipped_records": 3}
        }
        CatalogDirectory(node.catalog, node.clock, waits=False)  # has a cache
        await node.services.audit.check()
        await node.catalog.write(lambda catalog: catalog.add_device("d"), by=ACT)
        await node.catalog.write(put_rule, by=ACT)
        await node.catalog.write(lambda catalog: node.services.alarms.book.apply(catalog, [found()]), by=ACT)
        await node.services.issuing.issue(make_csr(), "d", "est", INSTALLER)
        await node.catalog.write(done_backup, by=ACT)
        await node.services.backups.look()
        node.services.drills._kept = (DRILLED,)
        with pytest.raises(NotFound):
            await node.services.issuing.issue(make_csr(), "nobody", "est", INSTALLER)
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
        assert samples["homeport_enrolments_total", ("accepted",)] == 3
        assert samples["homeport_broker_requests_total", ("shadow", "taken")] == 9
        assert samples["homeport_broker_requests_waiting", ("shadow",)] == 1
        assert samples["homeport_broker_pushes_total", ("delivered",)] == 2
        assert samples["homeport_broker_listening", ()] == 2
        assert samples["homeport_log_removed_records_total", ()] == 20
        assert samples["homeport_held_refused_messages_total", ()] == 7
        assert samples["homeport_statistic", ("batches_total", "pipeline")] == 9
        assert samples["homeport_statistic", ("bytes", "store")] == 5
        assert samples["homeport_statistic", ("answering.streams", "device_requests")] == 3
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
        assert (await client.get("/api/v1/status")).json()["broker"]["statistics"]
        async with person(node, "admin", frozenset({"north"}), user_id="north") as limited:
            refused = await limited.get("/health/metrics")
            assert (refused.status_code, refused.json()["code"]) == (403, "scope_too_narrow")
            assert (await limited.get("/api/v1/status")).json()["broker"]["statistics"] == {}


def test_every_limit_is_a_metric() -> None:
    assert fixed_limits()["catalog_writer_queue_depth_max"] == 256
    assert fixed_limits()["request_waiting_count_max"] == 2_048
    assert all(name == name.lower() for name in fixed_limits())


def test_numbers_are_found_in_depth_and_nothing_else() -> None:
    assert dict(numbers({"a": 1, "b": {"c": 2.5, "d": "text"}, "e": [1], "f": True})) == {
        "a": 1,
        "b.c": 2.5,
        "f": 1,
    }
    assert list(numbers("text")) == []


async def test_the_brokers_fallbacks_are_a_rate_over_what_is_remembered_of_it(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        name = 'cache_fallback_rate{cache="device_credentials"}'
        assert f"{name} 0.25" in (await client.get("/health/metrics")).text, "10 of 40 since it began"
        earlier = {"credentials": {"lookups_total": 32, "fallbacks_total": 4}}
        node.broker.history.append((1.0, earlier))
        assert f"{name} 0.75" in (await client.get("/health/metrics")).text, "6 of the last 8"
        node.broker.history[0] = (1.0, node.broker.statistics)
        assert f"{name} 0.0" in (await client.get("/health/metrics")).text, "nobody asked"
