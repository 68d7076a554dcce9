"""The same done with the devices that were ticked: asked first, then told what came of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.people_kit import person


async def _fill(node: Node) -> None:
    def write(catalog: Catalog) -> None:
        catalog.add_group("north", name="The north")
        catalog.add_device("d1", groups=("north",))
        catalog.add_device("d2")
        catalog.note_first_contact(["w1", "w2"], at_ms=1)

    await node.catalog.write(write, by=ACT)


async def test_adopting_shows_each_token_once_and_what_failed(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await _fill(node)
        asked = (await client.post("/device-bulk", data={"op": "adopt", "ids": ["w1", "w2", "gone"]})).text
        assert "Adopt: 2 devices" in asked
        assert "gone" not in asked
        await node.catalog.write(lambda catalog: catalog.decommission_device("w2"), by=ACT)
        form = {"op": "adopt", "ids": ["w1", "w2"], "go": "1"}
        done = (await client.post("/device-bulk", data=form)).text
        assert "1 device adopted" in done
        assert done.count("hpd_") == 1
        assert "The device “w2” is decommissioned" in done
        assert (await client.get("/device-bulk")).headers["location"] == "/devices"


async def test_ending_wants_the_count_typed(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        await _fill(node)
        form: dict[str, Any] = {"op": "decommission", "ids": ["d1", "d2"]}
        asked = (await client.post("/device-bulk", data=form)).text
        assert "Type “decommission 2” to confirm" in asked
        assert "<code>d1</code>" in asked
        for typed in ("", "decommission 1"):
            refused = await client.post("/device-bulk", data={**form, "go": "1", "confirm": typed})
            assert refused.status_code == 422
        node.broker.connected = False
        done = await client.post("/device-bulk", data={**form, "go": "1", "confirm": "decommission 2"})
        assert "2 devices decommissioned" in done.text
        assert "The broker is away" in done.text


@pytest.mark.parametrize(
    ("form", "tags", "groups"),
    [
        ({"op": "tag", "tag": "roof"}, ("roof",), ("north",)),
        ({"op": "remove_from_group", "group": "north"}, (), ()),
    ],
)
async def test_tags_and_groups(
    tmp_path: Path, form: dict[str, Any], tags: tuple[str, ...], groups: tuple[str, ...]
) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        await _fill(node)
        asked = (await client.post("/device-bulk", data={"op": form["op"], "ids": ["d1"]})).text
        assert ("The north" in asked) is ("group" in form)
        assert (await client.post("/device-bulk", data={**form, "ids": ["d1"], "go": "1"})).status_code == 200
        device = await node.catalog.read(lambda catalog: catalog.get_device("d1"))
        assert (device.tags, device.groups) == (tags, groups)


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"op": "adopt"}, 422),
        ({"op": "burn", "ids": ["d1"]}, 400),
        ({"op": "tag", "ids": [f"d{n}" for n in range(201)]}, 422),
        ({"op": "tag", "ids": ["d1"], "go": "1"}, 422),
        ({"op": "decommission", "ids": ["d1"], "go": "1", "confirm": "decommission 1"}, 403),
    ],
)
async def test_what_makes_no_sense_or_is_not_allowed(
    tmp_path: Path, form: dict[str, Any], status: int
) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await _fill(node)
        assert (await client.post("/device-bulk", data=form)).status_code == status


async def test_a_viewer_has_no_boxes_to_tick(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path, with_pages=True) as node,
        person(node, "viewer") as viewer,
        person(node, "operator") as operator,
    ):
        await _fill(node)
        assert 'name="ids"' not in (await viewer.get("/devices")).text
        page = (await operator.get("/devices")).text
        assert page.count('name="ids"') == 4
        assert 'value="decommission"' not in page
        assert (await viewer.post("/device-bulk", data={"op": "tag", "ids": ["d1"]})).status_code == 403
