"""The page Settings: who sees it, who changes what, and what it says of the rest."""

from __future__ import annotations

from pathlib import Path

import httpx

from appliance.identity.recovery_kit import confirm
from appliance.management.permissions import Role
from appliance.management.site_settings import APPROVAL_SETTING
from tests.acts import ACT
from tests.node_kit import PASSWORD, QUICK, LiveDevice, Node, running_node


async def sign_in(node: Node, client: httpx.AsyncClient, role: Role) -> None:
    await node.catalog.write(
        lambda catalog: catalog.add_user(role, role=role, password_hash=QUICK.hash(PASSWORD)), by=ACT
    )
    answer = await client.post("/api/v1/session", json={"user_id": role, "password": PASSWORD})
    client.headers["x-csrf-token"] = answer.json()["csrf_token"]


async def test_an_installer_changes_the_site_and_it_holds_at_once(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.client() as client:
        await sign_in(node, client, "installer")
        answer = await client.post("/settings", data={"site.name": "Sawmill", "site.date_format": "dmy"})
        assert answer.headers["location"] == "/settings?saved=1"
        page = (await client.get("/settings?saved=1")).text
        assert "Saved." in page
        assert "Sawmill" in (await client.get("/")).text
        answer = await client.post("/settings", data={"site.time_zone": "nowhere"})
        assert answer.status_code == 422
        assert "not known to this box" in answer.text


async def test_an_installer_says_which_rollouts_a_second_person_approves(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.client() as client:
        await sign_in(node, client, "installer")
        assert '<option value="large" selected>' in (await client.get("/settings")).text
        answer = await client.post("/settings", data={"firmware.approval": "always"})
        assert answer.headers["location"] == "/settings?saved=1"
        assert '<option value="always" selected>' in (await client.get("/settings")).text
        assert await node.catalog.read(lambda catalog: catalog.get_setting(APPROVAL_SETTING)) == "always"


async def test_an_operator_reads_it_and_a_viewer_does_not(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        async with node.client() as client:
            await sign_in(node, client, "operator")
            page = (await client.get("/settings")).text
            assert 'action="/settings"' not in page
            assert "An installer or admin can change these." in page
            assert (await client.post("/settings", data={"site.name": "x"})).status_code == 403
        async with node.client(address="192.0.2.8") as client:
            await sign_in(node, client, "viewer")
            assert (await client.get("/settings")).status_code == 403
            assert 'href="/settings"' not in (await client.get("/")).text


async def test_it_says_whether_the_recovery_kit_is_kept(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        assert 'href="/setup/recovery-kit"' in (await client.get("/settings")).text
        confirm(tmp_path)
        page = (await client.get("/settings")).text
        assert 'href="/setup/recovery-kit"' not in page
        assert "saved and confirmed" in page


async def test_times_on_pages_are_of_the_site_s_zone(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        await node.catalog.write(lambda catalog: catalog.add_device("d1"), by=ACT)
        await client.post("/settings", data={"site.time_zone": "Asia/Tokyo", "site.date_format": "dmy_slash"})
        node.live.by_id["d1"] = LiveDevice(device_id="d1")
        assert " JST" in (await client.get("/devices")).text
