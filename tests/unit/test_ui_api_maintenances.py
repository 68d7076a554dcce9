"""Maintenances over the API: planned, begun, ended; what they suppress; who reads what."""

from __future__ import annotations

from pathlib import Path

from storage.catalog import Catalog
from tests.acts import ACT
from tests.alarm_kit import found, put_rule
from tests.node_kit import NOW_MS, running_node
from tests.people_kit import person

WISH = {"scope": {"groups": ["hall"]}, "reason": "new boiler", "until_at_ms": NOW_MS + 3_600_000}


async def test_a_maintenance_begins_suppresses_and_is_ended(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await node.catalog.write(lambda catalog: catalog.add_group("hall"), by=ACT)
        made = await client.post("/api/v1/maintenances", json=WISH)
        assert made.status_code == 201, made.text
        assert made.json() | {"maintenance_id": ""} == {
            "maintenance_id": "",
            "scope": {"all": False, "devices": [], "groups": ["hall"], "tags": [], "except": []},
            "reason": "new boiler",
            "from_at_ms": NOW_MS,
            "until_at_ms": NOW_MS + 3_600_000,
            "state": "running",
            "created_by": "operator",
            "created_at_ms": NOW_MS,
            "suppressed_count": 0,
        }

        def raise_one(catalog: Catalog) -> None:
            put_rule(catalog)
            node.services.alarms.book.apply(catalog, [found("", group_id="hall")])

        await node.catalog.write(raise_one, by=ACT)
        address = f"/api/v1/maintenances/{made.json()['maintenance_id']}"
        assert (await client.get(address)).json()["suppressed_count"] == 1
        node.clock.advance(1_000)
        assert (await client.post(f"{address}/end")).json()["state"] == "over"
        again = await client.post(f"{address}/end")
        assert (again.status_code, again.json()["code"]) == (409, "maintenance_over")
        assert (await client.get("/api/v1/maintenances?state=running")).json() == {"maintenances": []}
        assert len((await client.get("/api/v1/maintenances")).json()["maintenances"]) == 1
        assert (await client.get("/api/v1/maintenances/none")).json()["code"] == "maintenance_unknown"


async def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        for changes, status, code in (
            ({}, 404, "group_unknown"),
            ({"scope": {"devices": ["d9"]}}, 404, "device_unknown"),
            ({"scope": {"tags": ["t9"]}}, 404, "tag_unknown"),
            ({"scope": {}}, 422, "maintenance_invalid"),
            ({"scope": {"all": True}, "reason": ""}, 422, "maintenance_invalid"),
            ({"scope": {"alll": True}}, 422, "body_unusable"),
        ):
            refused = await client.post("/api/v1/maintenances", json={**WISH, **changes})
            assert (refused.status_code, refused.json()["code"]) == (status, code)


async def test_names_of_other_devices_are_left_out(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        async with person(node, "operator") as client:
            await node.catalog.write(lambda catalog: catalog.add_group("hall"), by=ACT)
            assert (await client.post("/api/v1/maintenances", json=WISH)).status_code == 201
        async with person(node, "viewer", frozenset({"yard"})) as client:
            (found_one,) = (await client.get("/api/v1/maintenances")).json()["maintenances"]
            assert found_one["reason"] == "new boiler"
            assert found_one["scope"]["groups"] == []
