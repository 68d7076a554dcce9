"""Groups over the API, and what somebody limited to some of them sees and changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import LiveDevice, Node, Value, running_node
from tests.people_kit import person

NORTH = frozenset({"north"})


async def _fill(node: Node) -> None:
    def write(catalog: Catalog) -> None:
        for group_id in ("north", "south"):
            catalog.add_group(group_id)
        catalog.add_device("mine", groups=("north",), tags=("a",))
        catalog.add_device("theirs", groups=("south",), tags=("b",))
        catalog.add_device("nobodys")
        catalog.note_first_contact(["stranger"], at_ms=1)

    await node.catalog.write(write, by=ACT)
    node.live.by_id = {
        each: LiveDevice(device_id=each, presence="online") for each in ("mine", "theirs", "nobodys")
    }
    node.live.values["theirs"] = {"t": Value(metric="t", value=1.5)}


async def test_groups_are_made_listed_edited_and_removed(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        made = await client.post("/api/v1/groups", json={"group_id": "hall-3", "name": "Hall 3"})
        assert (made.status_code, made.json()["name"]) == (201, "Hall 3")
        assert (await client.post("/api/v1/groups", json={"group_id": "hall-3"})).status_code == 409
        edited = await client.patch("/api/v1/groups/hall-3", json={"description": "cold"})
        assert (edited.json()["name"], edited.json()["description"]) == ("Hall 3", "cold")
        await client.post("/api/v1/devices", json={"device_id": "d", "groups": ["hall-3"]})
        listed = (await client.get("/api/v1/groups")).json()["groups"]
        assert [(group["group_id"], group["device_count"]) for group in listed] == [("hall-3", 1)]
        refused = await client.delete("/api/v1/groups/hall-3")
        assert (refused.status_code, refused.json()["code"]) == (409, "group_has_devices")
        assert (await client.delete("/api/v1/groups/hall-3?force=true")).status_code == 204
        assert (await client.get("/api/v1/devices/d")).json()["groups"] == []
        assert (await client.get("/api/v1/groups/hall-3")).status_code == 404


async def test_force_never_changes_what_somebody_may(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path) as node,
        node.client(local=True) as client,
    ):
        await _fill(node)
        async with person(node, "viewer", NORTH):
            refused = await client.delete("/api/v1/groups/north?force=true")
            assert (refused.status_code, refused.json()["code"]) == (409, "group_in_use")
            assert (await client.get("/api/v1/devices/mine")).json()["groups"] == ["north"]


@pytest.mark.parametrize("device_id", ["theirs", "nobodys", "stranger"])
async def test_a_device_outside_of_a_scope_is_not_there_for_any_request(
    tmp_path: Path, device_id: str
) -> None:
    async with running_node(tmp_path) as node, person(node, "installer", NORTH) as client:
        await _fill(node)
        one = f"/api/v1/devices/{device_id}"
        answers = [
            await client.get(one),
            await client.patch(one, json={"name": "x"}),
            await client.post(f"{one}/adopt"),
            await client.post(f"{one}/reject"),
            await client.post(f"{one}/decommission"),
            await client.post(f"{one}/replace", json={}),
            await client.post(f"{one}/access", json={"access": "site"}),
            await client.post(f"{one}/token", json={}),
            await client.get(f"{one}/tokens"),
            await client.delete(f"{one}/tokens/0123456789abcdef"),
            await client.get(f"{one}/newest"),
            await client.get(f"{one}/telemetry?metric=t&from=0&to=9"),
        ]
        assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {
            (404, "device_unknown")
        }
        assert node.broker.revoked == node.broker.changed == []


async def test_lists_counts_groups_and_tags_keep_to_a_scope(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer", NORTH) as client:
        await _fill(node)
        listed = (await client.get("/api/v1/devices")).json()["devices"]
        assert [device["device_id"] for device in listed] == ["mine"]
        for query in ("group=south", "presence=online&group=south", "state=waiting", "q=theirs"):
            assert (await client.get(f"/api/v1/devices?{query}")).json()["devices"] == []
        never = (await client.get("/api/v1/devices?presence=never_seen")).json()["devices"]
        assert never == []
        groups = (await client.get("/api/v1/groups")).json()["groups"]
        assert [group["group_id"] for group in groups] == ["north"]
        assert (await client.get("/api/v1/groups/south")).status_code == 404
        assert (await client.get("/api/v1/tags")).json()["tags"] == [{"tag": "a", "device_count": 1}]
        counts = (await client.get("/api/v1/status")).json()["devices"]
        assert (counts["state"]["active"], counts["state"]["waiting"], counts["presence"]["online"]) == (
            1,
            0,
            1,
        )


async def test_what_somebody_limited_makes_stays_in_their_groups(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer", NORTH) as client:
        await _fill(node)
        for groups in ([], ["south"], ["north", "south"], ["nowhere"]):
            refused = await client.post("/api/v1/devices", json={"device_id": "new", "groups": groups})
            assert (refused.status_code, refused.json()["code"]) == (403, "groups_out_of_scope")
        made = await client.post("/api/v1/devices", json={"device_id": "new", "groups": ["north"]})
        assert made.status_code == 201
        for groups in ([], ["south"], ["north", "south"]):
            refused = await client.patch("/api/v1/devices/mine", json={"groups": groups})
            assert (refused.status_code, refused.json()["code"]) == (403, "groups_out_of_scope")
        assert (await client.patch("/api/v1/devices/mine", json={"name": "Pump"})).json()["name"] == "Pump"
        refused = await client.post("/api/v1/groups", json={"group_id": "more"})
        assert (refused.status_code, refused.json()["code"]) == (403, "scope_too_narrow")


async def test_an_operator_edits_words_and_not_groups_or_serials(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node)
        edited = await client.patch("/api/v1/devices/mine", json={"name": "Pump", "tags": ["x", "y"]})
        assert (edited.json()["name"], edited.json()["tags"]) == ("Pump", ["x", "y"])
        bodies: list[dict[str, object]] = [{"groups": []}, {"serial": "1"}]
        for body in bodies:
            refused = await client.patch("/api/v1/devices/mine", json=body)
            assert (refused.status_code, refused.json()["code"]) == (403, "role_too_low")
