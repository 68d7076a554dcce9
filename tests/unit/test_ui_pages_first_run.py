"""The steps after the box has an owner."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from tests.acts import ACT
from tests.node_kit import Node, running_node
from ui.pages.first_run import DEFAULT_LOAD, by_region, load_of
from ui.pages.first_run_progress import note_done, progress


@asynccontextmanager
async def owner(tmp_path: Path) -> AsyncIterator[tuple[Node, httpx.AsyncClient]]:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        await node.catalog.write(lambda catalog: note_done(catalog, "owner"), by=ACT)
        yield node, client


async def test_the_steps_one_after_the_other(tmp_path: Path) -> None:
    async with owner(tmp_path) as (node, client):
        assert (await client.get("/setup/site")).status_code == 200
        answer = await client.post(
            "/setup/site", data={"site.name": "Sawmill", "site.time_zone": "Europe/Vienna"}
        )
        assert answer.headers["location"] == "/setup/storage"
        page = (await client.get("/setup/storage")).text
        assert "Sawmill" in page
        assert "At least" in page or "ten years" in page
        answer = await client.post("/setup/storage", data={})
        assert answer.headers["location"] == "/setup/recovery-kit"
        answer = await client.post("/setup/recovery-kit", data={"later": "1"})
        assert answer.headers["location"] == "/setup/device"
        assert (await client.get("/setup/device")).headers["location"] == "/devices/new?first=1"
        assert (await client.post("/setup/device", data={})).headers["location"] == "/"
        done = (await progress(node.catalog)).done
        assert {"site", "storage", "recovery_kit", "device"} <= done


async def test_a_bad_time_zone_is_refused_and_what_was_typed_stays(tmp_path: Path) -> None:
    async with owner(tmp_path) as (node, client):
        answer = await client.post(
            "/setup/site", data={"site.name": "Sawmill", "site.time_zone": "Mars/Base"}
        )
        assert answer.status_code == 422
        assert "not known to this box" in answer.text
        assert 'value="Sawmill"' in answer.text
        assert (await progress(node.catalog)).next_step is not None
        assert await node.catalog.read(lambda catalog: catalog.get_setting("site.name")) is None


async def test_who_changes_the_site_stands_in_the_audit(tmp_path: Path) -> None:
    async with owner(tmp_path) as (node, client):
        await client.post("/setup/site", data={"site.name": "Sawmill"})
        rows = await node.catalog.read(
            lambda catalog: catalog.rows("SELECT actor FROM audit WHERE action = 'setting.set'")
        )
        assert [row["actor"] for row in rows] == ["admin"]


async def test_without_the_token_of_the_form_nothing_happens(tmp_path: Path) -> None:
    async with owner(tmp_path) as (node, client):
        client.headers["x-csrf-token"] = "guessed"
        for path in ("/setup/site", "/setup/storage", "/setup/device"):
            assert (await client.post(path, data={"site.name": "Sawmill"})).status_code == 403
        assert (await progress(node.catalog)).done == {"owner"}


@pytest.mark.parametrize("text", ["", "-4", "many", "٣", "1" * 30])
def test_what_is_no_number_is_the_default(text: str) -> None:
    assert load_of({"messages_per_minute": text}.get) == DEFAULT_LOAD


def test_numbers_are_brought_within_bounds() -> None:
    assert load_of({"payload_bytes": "99999999"}.get).payload_bytes == 1 << 20
    assert load_of({"messages_per_minute": "0"}.get).messages_per_minute == 1


def test_zones_by_region() -> None:
    assert by_region(("UTC", "Africa/Abidjan", "Africa/Accra", "Europe/Vienna")) == [
        ("UTC", ["UTC"]),
        ("Africa", ["Africa/Abidjan", "Africa/Accra"]),
        ("Europe", ["Europe/Vienna"]),
    ]


async def test_the_estimate_starts_from_what_was_measured_here(tmp_path: Path) -> None:
    head = type("Head", (), {"next_seq": 2_021, "offset": 0})
    async with running_node(tmp_path, with_pages=True, log_head=head) as node, node.admin() as client:
        node.broker.statistics["log"]["sealed_bytes"] = 2_000 * 640
        node.live.message_rate = 12.5
        page = (await client.get("/setup/storage")).text
        assert "<b>640 bytes</b> a message, measured on this box over 2\u202f000 messages" in page
        assert 'value="750"' in page, "the rate of now"
        page = (await client.get("/setup/storage?messages_per_minute=5")).text
        assert "measured" not in page, "other messages: by the formula"
        assert "5 messages a minute" in page
