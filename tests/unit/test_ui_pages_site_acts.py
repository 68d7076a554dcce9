"""What an admin does on the page Sites."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from appliance.core.config import Config
from appliance.core.errors import Unavailable
from appliance.identity.fleet import Fleet
from appliance.identity.fleet_nodes import fleet_of
from appliance.identity.keys import SiteKeys
from appliance.management.fleet import Roster
from tests.fleet_kit import give_peer, make_fleet
from tests.node_kit import Node, running_node
from tests.unit.test_ui_replication import STATE, with_state


async def actions(node: Node) -> list[tuple[str, str, str]]:
    page = await node.catalog.read(lambda reader: reader.list_audit(limit=50))
    return [
        (each.action, each.outcome, each.detail) for each in page.entries if each.action.startswith("peer.")
    ]


async def test_a_box_is_invited_and_the_invitation_called_off(tmp_path: Path) -> None:
    async with running_node(tmp_path) as bare, (node := with_state(bare, STATE)).admin() as client:
        assert "Make an invitation" in (await client.get("/sites")).text
        assert "Nobody was chosen" in (await client.post("/sites/invite", data={"kind": "x"})).text
        made = (await client.post("/sites/invite", data={"kind": "site", "note": "<roof>"})).text
        assert re.search(r"hpj_[\w-]+", made)
        assert "Start Homeport" in made
        other = (await client.post("/sites/invite", data={"kind": "other"})).text
        assert "a box of another site" in other
        page = (await client.get("/sites")).text
        assert "&lt;roof&gt;" in page
        ids = re.findall(r'name="invitation_id" value="(\w+)"', page)
        assert len(ids) == 2
        listed: Any = (await client.get("/api/v1/replication/invitations")).json()
        assert [each["invitation_id"] for each in listed["invitations"]] == ids
        for each in ids:
            done = await client.post("/sites/uninvite", data={"invitation_id": each})
            assert done.headers["location"] == "/sites?done=uninvited"
        assert "waits until" not in (await client.get("/sites?done=uninvited")).text
        gone = await client.post("/sites/uninvite", data={"invitation_id": ids[0]})
        assert gone.status_code == 404
        assert [action for action, *_ in await actions(node)] == [
            *["peer.uninvite"] * 2,
            *["peer.invite"] * 2,
        ]


async def test_a_box_is_taken_out_once_its_name_is_typed(tmp_path: Path) -> None:
    async with running_node(tmp_path) as bare, (node := with_state(bare, STATE)).admin() as client:
        assert "/sites/decommission?node=" in (await client.get("/sites")).text
        peer = give_peer(node.services.config, node.services.keys, tmp_path / "peer")
        url = f"/sites/decommission?node={peer.node_id}"
        assert "Take out roof for good" in (await client.get(url)).text
        asked: list[tuple[str, str]] = []

        async def decommission(node_id: str, reason: str) -> dict[str, Any]:
            asked.append((node_id, reason))
            if reason == "broken":
                raise Unavailable("The replicator is away.", hint="", code="replicator_away")
            return {}

        form = {"node": peer.node_id, "confirm": "roof", "reason": "sold"}
        away = await client.post("/sites/decommission", data=form)
        assert away.status_code == 503, "nobody can do it"
        object.__setattr__(node.services, "decommission_node", decommission)
        refused = await client.post("/sites/decommission", data={**form, "confirm": "rof"})
        assert "was not typed" in refused.text
        assert asked == []
        failed = await client.post("/sites/decommission", data={**form, "reason": "broken"})
        assert failed.status_code == 503
        done = await client.post("/sites/decommission", data=form)
        assert done.headers["location"] == "/sites?done=decommissioned"
        assert asked == [(peer.node_id, "broken"), (peer.node_id, "sold")]
        assert (await client.get("/sites/decommission?node=x")).status_code == 404
        own = node.services.keys.node_id.hex()
        assert (await client.get(f"/sites/decommission?node={own}")).status_code == 409
        assert ("peer.decommission", "done", "sold") in await actions(node)


async def test_a_box_that_can_not_sign_offers_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    founder, guest = make_fleet(tmp_path / "fleet", "founder", "guest", is_one_site=False)
    async with running_node(tmp_path) as bare, with_state(bare, STATE).admin() as client:

        def guests(config: Config, keys: SiteKeys) -> tuple[Fleet, Roster]:
            return fleet_of(guest.config, guest.keys)

        monkeypatch.setattr("ui.pages.site_acts.fleet_of", guests)
        page = (await client.get("/sites")).text
        assert "Everything but the last moments" in page
        assert "Make an invitation" not in page
        assert "/sites/decommission" not in page
        refused = await client.get(f"/sites/decommission?node={founder.node_id}")
        assert refused.status_code == 403
        assert "only boxes of the site that began the fleet" in refused.text
        (guest.data_dir / "fleet" / "link.pem").write_text("half a fi")
        assert "Make an invitation" not in (await client.get("/sites")).text
