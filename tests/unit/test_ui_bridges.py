"""ui/bridges.py, over the API, in the metrics and on the pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance.core.bridge_config import BridgeConfig, BridgeTopicConfig
from appliance.core.errors import HomeportError
from broker.bridge.statistics import BridgeStatistics
from tests.node_kit import NOW_MS, Node, running_node
from ui import bridges
from ui.app import create_app
from ui.metrics import render

CLOUD = BridgeConfig(name="cloud", version="3.1.1", tls="off")
HALL = BridgeConfig(name="hall")
TOPICS = (
    BridgeTopicConfig(bridge="cloud", direction="both", topic="<b>/#", qos=2, remote_prefix="site/"),
    BridgeTopicConfig(bridge="hall"),
)
REPORT = BridgeStatistics(
    name="cloud",
    address="127.0.0.1:8883",
    state="waiting",
    since_ms=NOW_MS - 60_000,
    error="It broke.",
    hint="Look at <it>.",
    code="bridge_connection_lost",
    error_at_ms=NOW_MS - 60_000,
    retry_at_ms=NOW_MS + 5_000,
    connects=3,
    in_flight=2,
    lag_records=1234,
    lag_ms=90_000,
    sent_messages=10,
    acknowledged_messages=8,
    received_messages=5,
    looped_messages=1,
    gone_records=7,
)


def with_bridges(node: Node, report: Sequence[BridgeStatistics] | HomeportError) -> Node:
    def read() -> Sequence[BridgeStatistics]:
        if isinstance(report, HomeportError):
            raise report
        return report

    config = replace(node.services.config, bridge=(CLOUD, HALL), bridge_topic=TOPICS)
    services = replace(node.services, config=config, bridge_report=read)
    return replace(node, services=services, app=create_app(services))


async def test_each_configured_bridge_is_listed_with_what_was_reported(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, with_bridges(node, [REPORT]).admin() as client:
        answer: dict[str, Any] = (await client.get("/api/v1/bridges")).json()
        cloud, hall = answer["bridges"]
        assert (cloud["name"], cloud["state"], cloud["lag_records"], cloud["tls"]) == (
            "cloud",
            "waiting",
            1234,
            False,
        )
        assert cloud["topics"] == [
            {"direction": "both", "topic": "<b>/#", "qos": 2, "local_prefix": "", "remote_prefix": "site/"}
        ]
        assert (hall["state"], hall["since_ms"]) == ("not_running", None)
        assert hall["hint"]
        assert (await client.get("/api/v1/bridges/cloud")).json() == cloud
        missing = await client.get("/api/v1/bridges/other")
        assert (missing.status_code, missing.json()["code"]) == (404, "no_such_bridge")


async def test_a_report_that_cannot_be_read_is_no_report(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        broken = with_bridges(node, HomeportError("It can't be read."))
        assert {each.state for each in await bridges.bridges(broken.services)} == {"not_running"}


async def test_without_bridges_nobody_is_asked(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        asking = node.with_services(bridge_report=lambda: 1 / 0)
        assert await bridges.bridges(asking.services) == ()


async def test_metrics(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        asked = with_bridges(node, [REPORT]).services
        text = render(asked, log_head=None, bridges=await bridges.bridges(asked)).decode()
    assert 'homeport_bridge_connected{bridge="cloud"} 0.0' in text
    assert 'homeport_bridge_lag_seconds{bridge="cloud"} 90.0' in text
    assert 'homeport_bridge_messages_total{bridge="cloud",what="acknowledged"} 8.0' in text
    assert 'homeport_bridge_left_out_total{bridge="cloud",why="gone"} 7.0' in text


async def test_the_page_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, with_bridges(node, [REPORT]).admin() as client:
        page = (await client.get("/bridges")).text
        assert "waiting to try again" in page
        assert "It broke. Look at &lt;it&gt;." in page
        assert "&lt;b&gt;/#" in page
        assert "<b>/#" not in page
        assert "gone from the log before they were looked at" in page
        assert "not running" in page
        assert "&lt;b&gt;/# ↔ site/&lt;b&gt;/#" in page
        assert "dm/# → dm/#" in page
        assert 'href="/bridges"' in page, "in the navigation"
        overview = (await client.get("/")).text
        assert "2 bridges are down: cloud, hall." in overview


async def test_a_box_without_bridges_has_no_link_to_them(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        assert 'href="/bridges"' not in (await client.get("/broker")).text
        assert "No bridge is configured" in (await client.get("/bridges")).text


async def test_a_bridge_that_is_up_again_still_says_what_was_wrong(tmp_path: Path) -> None:
    up = replace(REPORT, state="connected")
    async with running_node(tmp_path) as node, with_bridges(node, [up]).admin() as client:
        page = (await client.get("/bridges")).text
        assert "Last problem" in page
        assert "1 bridge is down: hall." in (await client.get("/")).text
