"""Changing one device on its pages."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from appliance.core.config import BrokerRoleConfig, Config, NodeConfig
from storage.catalog import Catalog, Device
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.people_kit import person

NORTH = frozenset({"north"})


async def _fill(node: Node) -> None:
    def write(catalog: Catalog) -> None:
        for group_id in ("north", "south"):
            catalog.add_group(group_id)
        catalog.add_device("d1", name="Pump", tags=("a",), groups=("north", "south"), serial="7")
        catalog.set_token("d1", bytes(32))

    await node.catalog.write(write, by=ACT)


async def _device(node: Node) -> Device:
    return await node.catalog.read(lambda catalog: catalog.get_device("d1"))


async def _version(client: httpx.AsyncClient) -> str:
    found = re.search(r'name="version" value="(\d+)"', (await client.get("/devices/d1/edit")).text)
    assert found
    return found.group(1)


async def test_somebody_limited_gives_no_device_more_than_its_own_topics(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path, with_pages=True) as node,
        person(node, "installer", NORTH) as client,
    ):
        await _fill(node)
        assert 'name="access"' not in (await client.get("/devices/d1/edit")).text
        form = {"version": await _version(client), "name": "Pump", "groups": ["north"], "serial": "7"}
        answer = await client.post("/devices/d1/edit", data={**form, "access": "site"})
        assert answer.status_code == 403
        assert (await _device(node)).access == "own"
        await node.catalog.write(lambda catalog: catalog.set_access("d1", access="site", role=""), by=ACT)
        form["version"] = await _version(client)
        assert (await client.post("/devices/d1/edit", data={**form, "name": "P2"})).status_code == 303
        assert ((await _device(node)).access, (await _device(node)).name) == ("site", "P2")


async def test_an_installer_changes_everything_that_can_be_said(tmp_path: Path) -> None:
    config = Config(
        node=NodeConfig(name="box", data_dir=tmp_path, run_dir=tmp_path),
        broker_role=(BrokerRoleConfig(name="reader"),),
    )
    async with (
        running_node(tmp_path, with_pages=True, config=config) as node,
        person(node, "installer") as client,
    ):
        await _fill(node)
        form = {
            "version": await _version(client),
            "name": "Pump 2",
            "tags": "roof top\r\n\r\nb",
            "groups": ["south"],
            "serial": "8",
            "access": "own",
            "role": "reader",
        }
        answer = await client.post("/devices/d1/edit", data=form)
        assert (answer.status_code, answer.headers["location"]) == (303, "/devices/d1?done=edited")
        device = await _device(node)
        assert (device.name, device.tags, device.groups, device.serial, device.role) == (
            "Pump 2",
            ("roof top", "b"),
            ("south",),
            "8",
            "reader",
        )
        assert node.broker.changed == ["d1"]
        late = await client.post("/devices/d1/edit", data={**form, "name": "Pump 3"})
        assert late.status_code == 412
        assert "changed while you were editing" in late.text
        wrong = {**form, "version": await _version(client), "role": "nobody"}
        refused = await client.post("/devices/d1/edit", data=wrong)
        assert refused.status_code == 422
        assert (await _device(node)).name == "Pump 2"


async def test_an_operator_changes_words_and_nothing_else(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        await _fill(node)
        page = (await client.get("/devices/d1/edit")).text
        assert 'name="serial"' not in page
        form = {"version": await _version(client), "name": "X", "tags": "", "serial": "9", "access": "site"}
        assert (await client.post("/devices/d1/edit", data=form)).status_code == 303
        device = await _device(node)
        assert (device.name, device.tags, device.serial, device.access) == ("X", (), "7", "own")
        assert device.groups == ("north", "south")
        shown = (await client.get("/devices/d1")).text
        for word in ("Replace…", "Decommission…", "Issue a new token", "End it now"):
            assert word not in shown
        for path in ("replace", "decommission"):
            assert (await client.post(f"/devices/d1/{path}", data={"confirm": "d1"})).status_code == 403


async def test_groups_that_somebody_can_not_see_stay(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer", NORTH) as client:
        await _fill(node)
        base = {"name": "", "tags": "", "serial": "", "access": "own"}
        kept = {**base, "version": await _version(client), "groups": ["north"]}
        assert (await client.post("/devices/d1/edit", data=kept)).status_code == 303
        assert (await _device(node)).groups == ("north", "south")
        out = {**base, "version": await _version(client)}
        assert (await client.post("/devices/d1/edit", data=out)).status_code == 403
        assert (await _device(node)).groups == ("north", "south")


@pytest.mark.parametrize("typed", ["", "D1", "decommission"])
async def test_what_can_not_be_undone_is_typed(tmp_path: Path, typed: str) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        await _fill(node)
        for path in ("replace", "decommission"):
            assert "Type “d1” to confirm" in (await client.get(f"/devices/d1/{path}")).text
            refused = await client.post(f"/devices/d1/{path}", data={"confirm": typed})
            assert refused.status_code == 422
            assert "was not typed" in refused.text
        device = await _device(node)
        assert (device.state, device.replaced_at_ms, node.broker.revoked) == ("active", None, [])


async def test_replacing_shows_the_new_token_once_and_decommissioning_ends_all(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        await _fill(node)
        page = await client.post("/devices/d1/replace", data={"confirm": "d1", "serial": "8"})
        assert page.status_code == 200
        token = re.search(r"hpd_[\w-]+", page.text)
        assert token
        tokens = await node.catalog.read(lambda catalog: catalog.tokens_of("d1"))
        assert [each.token_hash for each in tokens] == [node.services.keys.token_hash(token.group().encode())]
        assert "Other hardware since" in (await client.get("/devices/d1")).text
        ended = await client.post("/devices/d1/decommission", data={"confirm": "d1"})
        assert ended.headers["location"] == "/devices/d1?done=decommissioned"
        shown = (await client.get("/devices/d1")).text
        assert "It has no token" in shown
        assert "Decommission…" not in shown
        assert node.broker.revoked == ["d1", "d1"]


async def test_one_token_is_ended(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        await _fill(node)
        (token,) = await node.catalog.read(lambda catalog: catalog.tokens_of("d1"))
        path = f"/devices/d1/tokens/{token.token_id}/revoke"
        assert (await client.post(path)).status_code == 303
        assert await node.catalog.read(lambda catalog: catalog.tokens_of("d1")) == []
        assert (await client.post(path)).status_code == 404
        assert node.broker.changed == ["d1"]
