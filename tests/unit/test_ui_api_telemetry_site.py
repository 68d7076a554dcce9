"""Readings of several devices over the API."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import NOW_MS, PASSWORD, QUICK, Node, Points, TopEntry, Value, running_node

HOUR = 3_600_000
DAY = 24 * HOUR


@asynccontextmanager
async def pumps(tmp_path: Path) -> AsyncIterator[tuple[Node, httpx.AsyncClient]]:
    def write(catalog: Catalog) -> None:
        catalog.add_group("hall", name="")
        catalog.add_device("pump-1", groups=["hall"])
        catalog.add_device("pump-2")
        catalog.add_user("v", role="viewer", password_hash=QUICK.hash(PASSWORD), scope=frozenset({"hall"}))

    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await node.catalog.write(write, by=ACT)
        for device in ("pump-1", "pump-2"):
            node.live.values[device] = {
                "t_celsius": Value(metric="t_celsius", value=20.0, received_at_ms=NOW_MS - 40_000),
                "on": Value(metric="on", value=True),
            }
        yield node, client


async def test_several_devices_and_metrics_in_round_intervals(tmp_path: Path) -> None:
    async with pumps(tmp_path) as (node, client):
        node.telemetry.points = [
            Points(device="pump-1", metric="t_celsius", at_ms=(0,), value=(2.0,), min=(1.0,), max=(3.0,), count=(5,), sources=("minutes", "readings")),
            Points(device="pump-2", metric="t_celsius", truncated=True),
        ]  # fmt: skip
        answer = (await client.get("/api/v1/telemetry?device=pump-*&metric=t_*&from=-24h&width=480")).json()
        assert node.telemetry.asked == [
            {
                "series": [("pump-1", "t_celsius"), ("pump-2", "t_celsius")],
                "from_ms": NOW_MS - DAY,
                "to_ms": NOW_MS,
                "aggregation": "band",
                "interval_ms": 300_000,
                "limit_total": 100_000,
            }
        ]
        assert answer["interval_ms"] == 300_000
        assert answer["truncated"] is True
        assert answer["sources"] == ["minutes", "readings"]
        assert answer["behind_records"] == 7
        assert answer["series"][0] == {
            "device_id": "pump-1",
            "metric": "t_celsius",
            "unit": "°C",
            "at_ms": [0],
            "value": [2.0],
            "min": [1.0],
            "max": [3.0],
            "count": [5],
            "quality": None,
            "truncated": False,
            "freshness": "late" if node.services.stale_after_ms < 120_000 else "fresh",
            "newest_at_ms": NOW_MS - 3_000,
        }


async def test_raw_points_have_a_quality_and_no_interval(tmp_path: Path) -> None:
    async with pumps(tmp_path) as (node, client):
        node.telemetry.points = [
            Points(device="pump-1", metric="on", at_ms=(1, 2), value=(True, False), quality=(0, 1))
        ]
        answer = (
            await client.get(
                "/api/v1/telemetry?device=pump-1&metric=on&metric=gone&from=0&to=9&aggregation=raw"
            )
        ).json()
        on, gone = answer["series"][1], answer["series"][0]
        assert (on["value"], on["quality"], on["count"]) == ([True, False], ["good", "uncertain"], None)
        assert answer["interval_ms"] is None
        assert (gone["metric"], gone["freshness"], gone["newest_at_ms"]) == ("gone", "never", None)


async def test_a_device_outside_the_scope_is_not_there(tmp_path: Path) -> None:
    async with pumps(tmp_path) as (node, _), node.client() as client:
        await client.post("/api/v1/session", json={"user_id": "v", "password": PASSWORD})
        inside = await client.get("/api/v1/telemetry?device=*&metric=on&from=-1h")
        assert [one["device_id"] for one in inside.json()["series"]] == ["pump-1"]
        for name in ("pump-2", "nobody"):
            outside = await client.get(f"/api/v1/telemetry?device=pump-1&device={name}&from=-1h")
            assert (outside.status_code, outside.json()["code"]) == (404, "device_unknown")
        assert len(node.telemetry.asked) == 1


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("from=-1h", 400, "query_invalid"),
        ("device=pump-1", 400, "query_invalid"),
        ("device=&from=-1h", 400, "query_invalid"),
        ("device=pump-1&from=-1h&aggregation=median", 400, "query_invalid"),
        ("device=pump-1&from=-1h&width=0", 400, "query_invalid"),
        ("device=pump-1&from=-1h&limit=100001", 400, "query_invalid"),
        ("&".join(f"device=d{n}" for n in range(101)) + "&from=-1h", 400, "query_invalid"),
        ("device=pump-1&from=lately", 422, "time_invalid"),
        ("device=pump-1&from=now", 422, "range_invalid"),
        ("device=pump-1&from=-800d", 422, "range_invalid"),
        ("device=pump-1&from=-1h&aggregation=raw&width=9", 422, "interval_invalid"),
        ("device=pump-1&from=-1h&interval_ms=1", 422, "interval_invalid"),
    ],
)
async def test_what_can_not_be_asked_is_refused_with_a_hint(
    tmp_path: Path, query: str, status: int, code: str
) -> None:
    async with pumps(tmp_path) as (node, client):
        answer = await client.get(f"/api/v1/telemetry?{query}")
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.json()["hint"]
        assert not node.telemetry.asked


async def test_as_many_series_as_an_answer_has_room_for(tmp_path: Path) -> None:
    async with pumps(tmp_path) as (node, client):
        node.live.values["pump-1"] = {f"m{n}": Value(metric=f"m{n}", value=1) for n in range(201)}
        answer = await client.get("/api/v1/telemetry?device=pump-1&from=-1h")
        assert (answer.status_code, answer.json()["code"]) == (422, "series_count_too_large")
        assert (await client.get("/api/v1/telemetry?device=pump-1&metric=m1*&from=-1h")).status_code == 200


async def test_the_top_is_of_the_whole_site_for_who_may_see_it(tmp_path: Path) -> None:
    async with pumps(tmp_path) as (node, client):
        node.telemetry.tops = [
            TopEntry("pump-2", "t_celsius", 93.5, 12),
            TopEntry("pump-9", "t_celsius", math.inf, 1),
        ]
        answer = (await client.get("/api/v1/telemetry/top?metric=t_[c*&from=-7d&order=lowest&limit=2")).json()
        assert node.telemetry.asked == [
            {
                "metrics": "t_[[]c*",
                "aggregation": "max",
                "from_ms": NOW_MS - 7 * DAY,
                "to_ms": NOW_MS,
                "count": 2,
                "lowest": True,
                "devices": None,
            }
        ]
        first, second = answer["values"]
        assert first == {
            "device_id": "pump-2",
            "metric": "t_celsius",
            "unit": "°C",
            "value": 93.5,
            "count": 12,
            "freshness": answer["values"][0]["freshness"],
        }
        assert first["freshness"] != second["freshness"] == "never"
        counted = await client.get("/api/v1/telemetry/top?metric=t_celsius&from=-7d&aggregation=count")
        assert counted.json()["values"][0]["unit"] == ""
        assert second["value"] is None


async def test_the_top_is_within_the_scope_and_among_those_named(tmp_path: Path) -> None:
    async with pumps(tmp_path) as (node, local), node.client() as client:
        await client.post("/api/v1/session", json={"user_id": "v", "password": PASSWORD})
        await client.get("/api/v1/telemetry/top?metric=on&from=-1h")
        await local.get("/api/v1/telemetry/top?metric=on&from=-1h&device=*-2")
        assert [asked["devices"] for asked in node.telemetry.asked] == [["pump-1"], ["pump-2"]]
        for query in (
            "device=pump-2&metric=on&from=-1h",
            "metric=on&from=-1h&limit=101",
            "metric=on&from=-1h&aggregation=band",
        ):
            assert (await client.get(f"/api/v1/telemetry/top?{query}")).status_code in (400, 404)
        assert len(node.telemetry.asked) == 2
