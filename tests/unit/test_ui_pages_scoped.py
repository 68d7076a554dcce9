"""Pages for somebody who is limited to some groups: other devices are in no list, no count, and have no page."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import LiveDevice, Node, running_node
from tests.people_kit import audit_of, person

NORTH = frozenset({"north"})


async def _fill(node: Node) -> None:
    def write(catalog: Catalog) -> None:
        for group_id in ("north", "south"):
            catalog.add_group(group_id)
        catalog.add_device("mine-1", groups=("north",))
        catalog.add_device("theirs-1", groups=("south",))
        catalog.note_first_contact(["stranger-1"], at_ms=1)

    await node.catalog.write(write, by=ACT)
    node.live.by_id = {each: LiveDevice(device_id=each, presence="lost") for each in ("mine-1", "theirs-1")}


async def test_lists_and_counts(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "viewer", NORTH) as client:
        await _fill(node)
        page = (await client.get("/devices")).text
        assert "mine-1" in page
        assert "theirs-1" not in page
        assert "stranger-1" not in page
        overview = (await client.get("/")).text
        assert "1 device is lost" in overview
        assert "waits for adoption" not in overview
        assert "could not be turned into readings" not in overview
    async with (
        running_node(tmp_path, with_pages=True) as node,
        person(node, "viewer", user_id="all") as client,
    ):
        node.live.by_id = {
            each: LiveDevice(device_id=each, presence="lost") for each in ("mine-1", "theirs-1")
        }
        overview = (await client.get("/")).text
        assert "2 devices are lost" in overview
        assert "1 device waits for adoption" in overview
        assert "could not be turned into readings" in overview


@pytest.mark.parametrize("device_id", ["theirs-1", "stranger-1"])
async def test_a_device_outside_has_no_page_no_stream_and_no_buttons(tmp_path: Path, device_id: str) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer", NORTH) as client:
        await _fill(node)
        one = f"/devices/{device_id}"
        for path in (one, f"{one}/chart?metric=t", f"{one}/token", f"/live{one}"):
            assert (await client.get(path)).status_code == 404, path
        for path, form in ((f"{one}/token", {}), (f"{one}/decide", {"decision": "adopt"})):
            assert (await client.post(path, data=form)).status_code == 404, path


async def test_a_device_is_made_in_one_of_their_groups(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer", NORTH) as client:
        await _fill(node)
        refused = await client.post("/devices/new", data={"device_id": "new-1"})
        assert refused.status_code == 403
        assert "in none of them" in refused.text


@pytest.mark.parametrize("path", ["/live/devices/mine-1", "/live/devices"])
async def test_a_stream_ends_when_its_device_leaves_the_scope(tmp_path: Path, path: str) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "viewer", NORTH) as client:
        await _fill(node)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.get, path)
            with trio.fail_after(60):
                while not node.services.hub.statistics().frames_total:  # noqa: ASYNC110 - the page begins by itself
                    await trio.sleep(0.01)
                await node.catalog.write(
                    lambda catalog: catalog.edit_device("mine-1", groups=("south",)), by=ACT
                )
                node.services.hub.touch(["mine-1"])
                while node.services.hub.statistics().watcher_count:
                    node.services.hub.touch(["mine-1"])
                    await trio.sleep(0.05)


async def test_a_refused_stream_is_in_the_audit(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "viewer", NORTH) as client:
        assert (await client.get("/live/broker")).status_code == 403
        assert [entry[:4] for entry in await audit_of(node, "permission.refuse")] == [
            ("viewer", "user", "GET /live/broker", "refused")
        ]
