"""Twins over the API: what people set, versions, scopes, and the same for many devices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.management.twin import SectionChange, TwinChange
from storage.catalog import Catalog
from storage.catalog.twins import TwinChanged
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.people_kit import person

NORTH = frozenset({"north"})


async def _fill(node: Node) -> None:
    def write(catalog: Catalog) -> None:
        for group_id in ("north", "south"):
            catalog.add_group(group_id)
        catalog.add_device("pump", groups=("north",), tags=("a",))
        catalog.add_device("fan", groups=("south",), tags=("a",))
        catalog.note_first_contact(["waits"], at_ms=1)

    await node.catalog.write(write, by=ACT)


async def _report(node: Node, device_id: str = "pump", name: str = "", **values: object) -> None:
    change = TwinChange(reported=SectionChange(values=values))
    await node.catalog.write(lambda c: c.update_twin(device_id, name, change), by=ACT)


async def test_a_twin_is_set_read_and_forgotten(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node)
        heard: list[TwinChanged] = []
        node.services.twins.desk.subscribe(heard.append)
        url = "/api/v1/devices/pump/twin"
        missing = await client.get(url)
        assert (missing.status_code, missing.json()["code"]) == (404, "twin_unknown")
        made = await client.patch(url, json={"desired": {"rate_s": 5, "mode": "eco"}})
        assert made.status_code == 200, made.text
        await _report(node, rate_s=5)
        answer = await client.get(url)
        twin = answer.json()
        assert (twin["version"], twin["delta"], twin["reported"]) == (2, {"mode": "eco"}, {"rate_s": 5})
        assert twin["desired_version"] == made.json()["desired_version"]
        assert twin["desired_at"]["mode"] == node.clock.now_ms() // 1000
        assert (await client.get(url, headers={"if-none-match": answer.headers["etag"]})).status_code == 304
        gone = await client.delete(url)
        assert (gone.status_code, gone.json()["version"]) == (200, 3)
        assert [each.after.twin.version for each in heard] == [1, 3]


async def test_two_people_do_not_overwrite_each_other_and_reports_are_no_conflict(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node)
        url = "/api/v1/devices/pump/twins/config"
        seen = (await client.patch(url, json={"desired": {"a": 1}})).headers["etag"]
        await _report(node, name="config", a=1)
        first = await client.patch(url, json={"desired": {"a": 2}}, headers={"if-match": seen})
        assert first.status_code == 200
        second = await client.patch(url, json={"desired": {"a": 3}}, headers={"if-match": seen})
        assert (second.status_code, second.json()["code"]) == (412, "version_differs")
        stale = await client.delete(url, headers={"if-match": seen})
        assert stale.status_code == 412
        assert (await client.get(url)).json()["desired"] == {"a": 2}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ('{"desired": {"a": {"b": 1, "b": 2}}}', 422, "json_invalid"),
        ('{"desired": 5}', 422, "twin_request_invalid"),
        ('{"desired": {"a": 1e400}}', 422, "json_invalid"),
        ('{"desired": {"a": "' + "x" * 9_000 + '"}}', 413, "twin_too_large"),
        ('{"desired": {}, "reported": {}}', 422, "body_unusable"),
        ('{"desired": {"a": [[[[[[[[[1]]]]]]]]]}}', 422, "twin_too_deep"),
    ],
)
async def test_what_makes_no_sense_is_refused(tmp_path: Path, body: str, status: int, code: str) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node)
        answer = await client.patch(
            "/api/v1/devices/pump/twin", content=body, headers={"content-type": "application/json"}
        )
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_desired_can_be_replaced_or_cleared(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node)
        url = "/api/v1/devices/pump/twin"
        await client.patch(url, json={"desired": {"a": 1, "b": 2}})
        merged = await client.patch(url, json={"desired": {"a": None}})
        assert merged.json()["desired"] == {"b": 2}
        node.clock.advance(5_000)
        replaced = await client.patch(url, json={"desired": {"b": 2, "c": 3, "d": None}, "replace": True})
        assert replaced.json()["desired"] == {"b": 2, "c": 3}
        times = replaced.json()["desired_at"]
        assert times["c"] == times["b"] + 5, "what stays as it is keeps its time"
        assert (await client.patch(url, json={"desired": None})).json()["desired"] == {}


async def test_a_list_has_all_names_and_a_scope_hides_devices(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator", scope=NORTH) as client:
        await _fill(node)
        await _report(node, name="b", x=1)
        await _report(node, x=1)
        listed = (await client.get("/api/v1/devices/pump/twins")).json()
        assert [each["name"] for each in listed["twins"]] == ["", "b"]
        await _report(node, device_id="fan", x=1)
        for method, path in (
            ("GET", "twins"),
            ("GET", "twin"),
            ("PATCH", "twin"),
            ("DELETE", "twin"),
            ("PATCH", "twins/x"),
        ):
            body: dict[str, Any] = {"json": {"desired": {}}} if method == "PATCH" else {}
            answer = await client.request(method, f"/api/v1/devices/fan/{path}", **body)
            assert (answer.status_code, answer.json()["code"]) == (404, "device_unknown")
        bad = await client.get("/api/v1/devices/pump/twins/a%20b")
        assert (bad.status_code, bad.json()["code"]) == (422, "twin_name_invalid")


async def test_a_device_that_was_ended_keeps_its_twin_to_look_at(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node)
        url = "/api/v1/devices/pump/twin"
        await client.patch(url, json={"desired": {"a": 1}})
        await node.catalog.write(lambda c: c.decommission_device("pump"), by=ACT)
        refused = await client.patch(url, json={"desired": {"a": 2}})
        assert (refused.status_code, refused.json()["code"]) == (409, "device_decommissioned")
        assert (await client.get(url)).json()["desired"] == {"a": 1}


async def test_many_are_set_when_their_number_is_confirmed(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node)
        wish = {"devices": {"tags": ["a"]}, "edit": {"desired": {"rate_s": 9}}, "name": "config"}
        url = "/api/v1/twins/bulk"
        asked = await client.post(url, json=wish)
        assert (asked.status_code, asked.json()["code"]) == (409, "device_count_unconfirmed")
        assert "2 devices" in asked.json()["detail"]
        wrong = await client.post(url, json={**wish, "device_count": 3})
        assert wrong.json()["code"] == "device_count_differs"
        heard: list[TwinChanged] = []
        node.services.twins.desk.subscribe(heard.append)
        done = (await client.post(url, json={**wish, "device_count": 2})).json()
        assert (done["done_count"], done["failed_count"]) == (2, 0)
        assert [each["device_id"] for each in done["items"]] == ["fan", "pump"]
        assert len(heard) == 2
        assert (await client.get("/api/v1/devices/fan/twins/config")).json()["desired"] == {"rate_s": 9}
