"""Where readings spent their time: on the device's page, and a trace's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import NOW_MS, Node, running_node
from tests.people_kit import person
from tests.trace_kit import TRACE_ID, reading
from ui.pages.traces import BAR, journey_views, step_views

HOSTILE = "<script>alert(1)</script>"


async def fill(node: Node) -> None:
    def write(catalog: Catalog) -> None:
        catalog.add_group("north")
        catalog.add_device("pump", groups=("north",))
        catalog.add_device("fan")

    await node.catalog.write(write, by=ACT)
    node.services.tracing.recorder.add(
        reading("pump", NOW_MS - 5_000, target=HOSTILE, error=f"HTTP 500 {HOSTILE}")
    )


async def test_the_bars_add_up_to_the_whole(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await fill(node)
        trace = node.services.tracing.recorder.book.trace(TRACE_ID)
    assert trace is not None
    (view,) = journey_views([trace], "pump")
    assert [(each.name, each.took) for each in view.stages] == [
        ("to disk", "3.0\N{NO-BREAK SPACE}ms"),
        ("waiting", "197\N{NO-BREAK SPACE}ms"),
        ("decoding", "19\N{NO-BREAK SPACE}ms"),
        ("rules", "10\N{NO-BREAK SPACE}ms"),
        ("storing", "111\N{NO-BREAK SPACE}ms"),
    ]
    assert (view.took, view.fate, view.stages[0].x) == ("340\N{NO-BREAK SPACE}ms", "", 0)
    assert BAR - 5 <= view.stages[-1].x + view.stages[-1].width <= BAR
    assert journey_views([trace], "fan") == ()
    steps = step_views(trace)
    depths = {each.name: each.depth for each in steps}
    assert [depths[name] for name in ("receive", "process", "commit", "apply alarm", "notify webhook")] == [
        0,
        1,
        2,
        3,
        4,
    ]
    assert all(0 <= each.bar.x < BAR and each.bar.width > 0 for each in steps)


async def test_on_the_devices_page_and_its_own(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await fill(node)
        page = (await client.get("/devices/pump")).text
        assert "Where readings spent their time" in page
        for words in (
            "340\N{NO-BREAK SPACE}ms",
            "waiting <b>197\N{NO-BREAK SPACE}ms</b>",
            f'href="/traces/{TRACE_ID}"',
            "Trace the next reading",
        ):
            assert words in page
        assert "No reading of this device was traced" in (await client.get("/devices/fan")).text
        shown = (await client.get(f"/traces/{TRACE_ID}")).text
        for words in ("notify webhook", "evaluate rule", "dm/pump/telemetry", "HTTP 500"):
            assert words in shown
        assert HOSTILE not in shown
        assert (await client.get(f"/traces/{'1' * 32}")).status_code == 404


async def test_the_next_reading_is_traced_or_why_not(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await fill(node)
        asked = await client.post("/devices/pump/trace-next")
        assert (asked.status_code, asked.headers["location"]) == (303, "/devices/pump?done=trace_next#traces")
        assert ("trace_next", {"device": "pump"}) in node.broker.asked
        assert "is traced, if it comes" in (await client.get("/devices/pump?done=trace_next")).text
        node.broker.connected = False
        refused = await client.post("/devices/pump/trace-next")
        assert refused.headers["location"] == "/devices/pump?done=trace_not#traces"
        assert "can&#39;t be traced now" in (await client.get("/devices/pump?done=trace_not")).text
        assert (await client.post("/devices/none/trace-next")).status_code == 404


@pytest.mark.parametrize(("role", "scope"), [("viewer", None), ("operator", frozenset({"south"}))])
async def test_whose_it_is_not_for_sees_none(tmp_path: Path, role: str, scope: frozenset[str] | None) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await fill(node)
        await node.catalog.write(lambda catalog: catalog.add_group("south"), by=ACT)
        async with person(node, role, scope) as client:  # type: ignore[arg-type]
            assert (await client.get(f"/traces/{TRACE_ID}")).status_code in (403, 404)
            assert "Where readings spent" not in (await client.get("/devices/pump")).text
