"""Traces over the API."""

from __future__ import annotations

from pathlib import Path

from appliance.tracing.span import DEVICE, Span, SpanKind
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.people_kit import person

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def fill(node: Node) -> None:
    await node.catalog.write(lambda catalog: catalog.add_device("pump"), by=ACT)
    node.services.tracing.recorder.add(
        [
            Span(TRACE, "a" * 16, "", "process", SpanKind.CONSUMER, 2_000, 342_000, {DEVICE: "pump"}),
            Span(TRACE, "b" * 16, "a" * 16, "commit", SpanKind.CLIENT, 300_000, 342_000, {}, error="full"),
        ]
    )


async def test_a_trace_and_its_steps(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await fill(node)
        found = (await client.get(f"/api/v1/traces/{TRACE}")).json()
        assert (found["device_ids"], found["start_at_us"], found["duration_us"]) == (["pump"], 2_000, 340_000)
        process, commit = found["spans"]
        assert (process["name"], process["kind"], process["start_us"]) == ("process", "consumer", 0)
        assert (commit["start_us"], commit["duration_us"], commit["error"]) == (298_000, 42_000, "full")
        assert (await client.get("/api/v1/traces")).json()["traces"] == [found]
        assert (await client.get("/api/v1/devices/pump/traces?limit=5")).json()["traces"] == [found]
        missing = await client.get(f"/api/v1/traces/{'0' * 31}1")
        assert (missing.status_code, missing.json()["code"]) == (404, "trace_unknown")
        assert (await client.get("/api/v1/devices/none/traces")).status_code == 404


async def test_the_next_reading(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await fill(node)
        answer = await client.post("/api/v1/devices/pump/traces")
        assert (answer.status_code, answer.json()) == (200, {"device_id": "pump", "waits_ms": 900_000})
        assert (await client.post("/api/v1/devices/none/traces")).status_code == 404


async def test_a_viewer_sees_none(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "viewer") as client:
        for path in ("/traces", f"/traces/{TRACE}", "/devices/pump/traces"):
            assert (await client.get(f"/api/v1{path}")).status_code == 403
