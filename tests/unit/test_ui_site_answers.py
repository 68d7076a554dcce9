"""What a box answers a cloud node: its own API as a viewer, only where the site lets it, and nothing by an address that leads elsewhere."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.core.limits_site_reading import READING_ANSWER_BYTES_MAX
from appliance.management.alarms import AlarmState
from tests.node_kit import NOW_MS, Node, Points, running_node
from tests.site_reading_kit import CLOUD, add_device, allow
from ui.auth import as_cloud
from ui.identities import LOCAL_ADMIN
from ui.site_answers import SiteAnswers


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with running_node(tmp_path) as node:
        await add_device(node, "d1")
        await add_device(node, "roof ?2", online=False)
        yield node


async def read(
    node: Node, part: str, device_id: str = "", query: str = "", *, peer: str = CLOUD
) -> tuple[int, Any]:
    status, body = await SiteAnswers(node.services, node.app).read(
        peer, "cloud-1", part, device_id, query, "anna"
    )
    return status, json.loads(body)


async def test_without_a_grant_nothing_is_answered_and_it_says_what_to_do(node: Node) -> None:
    for value in (None, False, "true", 1):
        if value is not None:
            await allow(node, value)
        status, problem = await read(node, "devices")
        assert (status, problem["code"]) == (403, "reading_not_allowed")
        assert "allow-reading" in problem["hint"]
    await allow(node)
    assert (await read(node, "devices"))[0] == 200
    assert (await read(node, "devices", peer="c1" * 16))[0] == 403, "another cloud node"
    await allow(node, False)
    assert (await read(node, "devices"))[0] == 403, "taken back, it ends with the next question"


async def test_it_is_what_the_api_answers(node: Node) -> None:
    await allow(node)
    async with node.admin() as client:
        for part, device_id, address in (
            ("devices", "", "/devices?limit=1"),
            ("device", "roof ?2", "/devices/roof%20%3F2"),
            ("newest", "d1", "/devices/d1/newest"),
            ("alarms", "", "/alarms"),
            ("alarm_history", "", "/alarms/history?from_ms=0&to_ms=1"),
        ):
            expected = (await client.get(f"/api/v1{address}")).json()
            status, found = await read(node, part, device_id, address.partition("?")[2])
            assert (status, found) == (200, expected)
    node.telemetry.points = [Points(metric="t", at_ms=(NOW_MS,), value=(1.5,))]
    status, found = await read(node, "telemetry", "d1", f"metric=t&from={NOW_MS - 9}")
    assert (status, found["series"][0]["value"]) == (200, [1.5])


@pytest.mark.parametrize(
    ("part", "device_id", "query", "code"),
    [
        ("users", "", "", "reading_unknown"),
        ("devices/../users", "", "", "reading_unknown"),
        ("device", "../users", "", "reading_device"),
        ("device", "..", "", "reading_device"),
        ("device", "%2e%2e%2fusers", "", "device_unknown"),
        ("device", "d1?x=1", "", "device_unknown"),
        ("device", "d1#x", "", "device_unknown"),
        ("device", "nobody", "", "device_unknown"),
        ("devices", "", "limit=1&_method=POST", "query_invalid"),
        ("devices", "", "limit=no", "query_invalid"),
        ("devices", "", "q=\u00fc", "no_such_address"),
        ("telemetry", "d1", "metric=t", "query_invalid"),
    ],
)
async def test_tricks_are_refused(node: Node, part: str, device_id: str, query: str, code: str) -> None:
    await allow(node)
    status, problem = await read(node, part, device_id, query)
    assert (status >= 400, problem["code"]) == (True, code)


async def test_an_answer_has_a_limit_that_is_named(node: Node) -> None:
    await allow(node)
    count = READING_ANSWER_BYTES_MAX // 13
    node.telemetry.points = [
        Points(metric="t", at_ms=tuple(range(NOW_MS, NOW_MS + count)), value=(0,) * count)
    ]
    status, problem = await read(node, "telemetry", "d1", f"metric=t&from={NOW_MS - 9}")
    assert (status, problem["code"]) == (413, "reading_answer_too_large")
    assert "1 MiB" in problem["detail"]


async def test_a_cloud_node_is_no_admin_whatever_it_says(node: Node) -> None:
    with pytest.raises(AssertionError):
        as_cloud({}, LOCAL_ADMIN)


async def test_it_is_counted_as_the_cloud_nodes_own(node: Node) -> None:
    """Its questions use up a rate of its own, so nobody's page waits for it."""
    await allow(node)
    for _ in range(node.services.config.api.token_reads_per_min_max + 1):
        status, answer = await read(node, "devices")
        if status != 200:
            break
    assert (status, answer["code"]) == (429, "too_many_requests")
    async with node.admin() as client:
        assert (await client.get("/api/v1/devices")).status_code == 200


async def test_how_the_site_does_in_numbers(node: Node) -> None:
    answers = SiteAnswers(node.services, node.app)
    summary = await answers.summary()
    assert (summary.allowed, summary.devices, summary.online, summary.alarms) == ((), 2, 1, (0, 0, 0))
    await allow(node)
    assert (await answers.summary()).allowed == (CLOUD,)
    await allow(node, "yes")
    assert (await answers.summary()).allowed == ()
    assert AlarmState.ACTIVE_ACKNOWLEDGED.value == "active_acknowledged"
