"""The page of readings without a browser: what it asks, what it says, and to whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from appliance.core.errors import Unavailable
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import PASSWORD, QUICK, Node, Points, Value, running_node


@asynccontextmanager
async def _page(tmp_path: Path) -> AsyncIterator[tuple[Node, httpx.AsyncClient]]:
    def write(catalog: Catalog) -> None:
        catalog.add_group("hall", name="")
        for number in range(30):
            catalog.add_device(f"pump-{number:02}", name="in the hall", groups=["hall"] if number < 3 else [])
        catalog.add_user("v", role="viewer", password_hash=QUICK.hash(PASSWORD), scope=frozenset({"hall"}))

    async with running_node(tmp_path, with_pages=True) as node, node.client(local=True) as client:
        await node.catalog.write(write, by=ACT)
        node.live.values["pump-00"] = {
            name: Value(metric=name, value=1.0) for name in ("a_volts", "b", "c", "d")
        }
        yield node, client


async def test_the_page_asks_nothing_of_the_store_and_its_charts_do(tmp_path: Path) -> None:
    async with _page(tmp_path) as (node, client):
        page = await client.get("/telemetry?device=pump-00&device=pump-01&from=-7d")
        assert page.status_code == 200
        assert node.telemetry.asked == []
        assert page.text.count("<figure") == 3, "the first metrics, where none was chosen"
        assert (
            'data-src="/telemetry/data?device=pump-00&amp;device=pump-01&amp;metric=a_volts&amp;from=-7d"'
            in page.text
        )
        assert "no value" in page.text
        data = await client.get("/telemetry/data?device=pump-00&device=pump-01&metric=a_volts&from=-7d")
        assert [line["label"] for line in data.json()["series"]] == ["pump-00", "pump-01"]
        assert node.telemetry.asked[0]["interval_ms"] == 1_800_000


async def test_the_same_as_a_table_without_a_script(tmp_path: Path) -> None:
    async with _page(tmp_path) as (node, client):
        node.telemetry.points = [Points(device="pump-00", metric="b", at_ms=[0], value=[1234.5])]
        page = await client.get("/telemetry?device=pump-00&metric=b&aggregation=mean&view=table")
        assert "1\u202f234.5" in page.text
        assert "1970-01-01 00:00:00 UTC" in page.text
        assert "uPlot" not in page.text.replace("uPlot-1.6.32.min.css", "")
        assert len(node.telemetry.asked) == 1


async def test_devices_are_searched_for_and_those_chosen_stay(tmp_path: Path) -> None:
    async with _page(tmp_path) as (_, client):
        first = await client.get("/telemetry")
        assert first.text.count('name="device"') == 20
        assert "type to narrow them down" in first.text
        found = await client.get("/telemetry/devices?q=pump-2&device=pump-00&from=-1h")
        assert found.text.count('name="device"') == 11
        assert found.text.count(" checked") == 1
        nothing = await client.get("/telemetry/devices?q=%3Cb%3E")
        assert "No other device matches “&lt;b&gt;”." in nothing.text


async def test_a_device_outside_the_scope_is_not_there(tmp_path: Path) -> None:
    async with _page(tmp_path) as (node, _), node.client() as client:
        await client.post("/api/v1/session", json={"user_id": "v", "password": PASSWORD})
        page = await client.get("/telemetry?device=pump-00&device=pump-09&metric=b")
        assert page.text.count('name="device"') == 3
        assert "There is no device “pump-09”" in page.text
        assert "device=pump-09" not in page.text
        assert (await client.get("/telemetry/data?device=pump-09&metric=b")).status_code == 404
        assert node.telemetry.asked == []


async def test_what_can_not_be_shown_is_said_on_the_page_with_what_was_typed(tmp_path: Path) -> None:
    async with _page(tmp_path) as (node, client):
        page = await client.get("/telemetry?device=pump-00&from=lately")
        assert page.status_code == 422
        assert "“lately”, which “from” has, is no point in time." in page.text
        assert 'value="lately"' in page.text
        assert "<figure" not in page.text
        for query in ("", "device=pump-00", "device=pump-00&metric=a&metric=b", "metric=a"):
            assert (await client.get(f"/telemetry/data?{query}")).status_code == 400
        node.telemetry.failure = Unavailable("The store is away.", hint="Wait.")
        away = await client.get("/telemetry?device=pump-00&metric=b&view=table")
        assert away.status_code == 503
        assert "The store is away. Wait." in away.text
        assert (await client.get("/telemetry?device=pump-00&metric=b")).status_code == 200


async def test_readings_that_wait_in_the_log_are_named(tmp_path: Path) -> None:
    async with _page(tmp_path) as (node, client):
        node.pipeline.numbers = type(node.pipeline.numbers)(breaker="open", behind_records=12)
        assert "Readings are safe, not yet searchable, 12 behind." in (await client.get("/telemetry")).text


async def test_more_than_a_page_draws_and_following_what_arrives(tmp_path: Path) -> None:
    async with _page(tmp_path) as (_, client):
        nine = "&".join(f"device=pump-{number:02}" for number in range(9))
        assert "the first ones are shown" in (await client.get(f"/telemetry?{nine}")).text
        assert 'data-reload-ms="5000"' in (await client.get("/telemetry?device=pump-00&live=1")).text
        assert "data-reload-ms" not in (await client.get("/telemetry?device=pump-00&live=1&to=-1h")).text


async def test_what_is_newest_comes_again_for_each_legend(tmp_path: Path) -> None:
    async with _page(tmp_path) as (node, client):
        url = "/telemetry/now?device=pump-00&device=nobody&metric=a_volts&metric=b"
        answer = await client.get(url)
        assert answer.text.count("<hx-partial ") == 2
        assert "1 V" in answer.text
        assert "nobody" not in answer.text
        node.live.values["pump-00"]["a_volts"] = Value(metric="a_volts", value=7.5)
        assert "7.5 V" in (await client.get(url)).text
        page = await client.get("/telemetry?device=pump-00&metric=a_volts")
        assert 'hx-get="/telemetry/now?device=pump-00&amp;metric=a_volts' in page.text
        assert node.telemetry.asked == []
