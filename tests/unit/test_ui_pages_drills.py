"""The card about drills: what the newest found, in words that hide nothing; the buttons; and the same over API and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from appliance.management.drill import DrilledTable, DrillReport
from tests.node_kit import Node, running_node
from tests.tier_kit import region_of
from tests.unit.test_ui_replication import EU, STATE, with_state
from ui.metrics import render
from ui.node_facts import node_facts
from ui.pages.drills import drills_view

GOOD = DrillReport(
    drill_id="a1",
    outcome="good",
    is_scheduled=True,
    begun_at_ms=1_000,
    ended_at_ms=9_000,
    rpo_ms=0,
    rpo_records=0,
    serve_ms=800,
    whole_ms=7_000,
    bytes=2**20,
    compared_records=1_234,
    compared_series=5,
    tables=(DrilledTable(name="devices", rows=3, own_rows=3, digest="00", is_same=True),),
    asked=("barn",),
)
BAD = DrillReport(
    drill_id="b2",
    outcome="different",
    is_scheduled=True,
    begun_at_ms=1_000,
    ended_at_ms=9_000,
    rpo_ms=61_000,
    rpo_records=7,
    serve_ms=800,
    whole_ms=7_000,
    difference_count=12,
    differences=tuple(f"devices: <b>{number}" for number in range(12)),
    lacking=("x/telemetry: records before 5 are kept by nobody",),
    away=("roof",),
    by="anna",
)
FAILED = DrillReport(
    drill_id="c3",
    outcome="failed",
    is_scheduled=False,
    begun_at_ms=1,
    ended_at_ms=2,
    problem="No room.",
    by="x",
)


CLOUD = msgspec.structs.replace(BAD, drill_id="d4", source="cloud", asked=("eu-1",))


def with_reports(node: Node, *reports: DrillReport) -> Node:
    node.services.drills._kept = reports
    return with_state(node, STATE)


async def test_the_card_and_its_buttons(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        fresh = with_reports(node)
        async with fresh.admin() as client:
            page = (await client.get("/sites")).text
            assert "None was tried yet" in page
            assert "None is tried by itself" in page
            assert 'action="/sites/drill"' in page
            assert 'action="/sites/drill/stop"' not in page, "there is nothing to call off"
            answer = await client.post("/sites/drill")
            assert answer.status_code == 404, "it belongs to no fleet"
            (node.services.config.node.data_dir / "fleet").mkdir()
            for _ in range(2):
                answer = await client.post("/sites/drill")
                assert answer.headers["location"] == "/sites?done=drill"
            page = (await client.get("/sites")).text
            assert "Under way:" in page
            assert 'action="/sites/drill/stop"' in page
            refused = await client.post("/api/v1/replication/drills", json={})
            assert (refused.status_code, refused.json()["code"]) == (409, "drill_running")
            answer = await client.post("/sites/drill/stop")
            assert answer.headers["location"] == "/sites?done=drill-off"
            node.services.drills.release()
            answer = await client.post("/sites/drill/stop")
            assert answer.headers["location"] == "/sites"


async def test_what_was_found_is_shown_told_and_an_alarm(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        bad = with_reports(node, BAD, GOOD)
        async with bad.admin() as client:
            page = (await client.get("/sites")).text
            assert "Would have been lost: 7 records of the last 1" in page
            assert "devices: &lt;b&gt;3" in page
            assert "devices: &lt;b&gt;11" not in page
            assert "12 differences in all." in page
            assert "Not reached, and may have more: roof." in page
            assert "by itself" in page
            answer: dict[str, Any] = (await client.get("/api/v1/replication/drills")).json()
        assert [each["outcome"] for each in answer["drills"]] == ["different", "good"]
        assert (await node_facts(bad.services))["drill"] == 1
        text = render(bad.services, log_head=None).decode()
        assert 'homeport_drill_outcome{outcome="different",source="peers"} 1.0' in text
        assert 'homeport_drill_rpo_seconds{source="peers"} 61.0' in text
        good = with_reports(node, GOOD)
        assert (await node_facts(good.services))["drill"] == 0
        assert "Nothing would have been lost." in drills_view(good.services.drills.now()).rows[0].text
        failed = drills_view(with_reports(node, FAILED).services.drills.now())
        assert (failed.rows[0].text, failed.rows[0].by) == ("No room.", "x")


async def test_both_kinds_stand_beside_each_other(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        both = with_reports(node, GOOD, CLOUD)
        async with both.admin() as client:
            page = (await client.get("/sites")).text
        assert "<b>From other boxes:</b> Nothing would have been lost." in page
        assert "<b>From the cloud:</b> Would have been lost: 7 records" in page
        text = render(both.services, log_head=None).decode()
        assert 'homeport_drill_rpo_seconds{source="peers"} 0.0' in text
        assert 'homeport_drill_rpo_seconds{source="cloud"} 61.0' in text
        assert (await node_facts(both.services))["drill"] == 1, "the one from the cloud"


async def test_one_from_the_cloud_is_begun_on_the_page_and_through_the_api(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        state = with_state(node, msgspec.structs.replace(STATE, tier=(EU,)))
        async with state.admin() as client:
            assert "Try it from the cloud" in (await client.get("/sites")).text
            refused = await client.post("/api/v1/replication/tier/drills", json={})
            assert refused.json()["code"] == "tier_missing"
            await region_of(state, client)
            refused = await client.post("/api/v1/replication/tier/drills", json={"region": "x"})
            assert refused.json()["code"] == "tier_region_unknown"
            (node.services.config.node.data_dir / "fleet").mkdir()
            answer = await client.post("/sites/drill", data={"source": "cloud"})
            assert answer.headers["location"] == "/sites?done=drill"
            running = state.services.drills.now().running
            assert running is not None
            assert running.source == "cloud"
            node.services.drills.release()
            answer = await client.post("/api/v1/replication/tier/drills", json={})
            assert answer.status_code == 202
        found = await node.catalog.read(lambda reader: reader.list_audit(limit=50))
        begun = [each.detail for each in found.entries if each.action == "drill.start"]
        assert begun[:2] == ["cloud", "cloud"]
