"""Devices of a filter: what is chosen, what has to be confirmed, and that each is changed by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.management.commands import CommandState
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.people_kit import person
from ui.api import chosen_devices as module

URL = "/api/v1/commands/bulk"


async def _fill(node: Node, count: int) -> None:
    def write(catalog: Catalog) -> None:
        catalog.add_group("north")
        for number in range(count):
            catalog.add_device(f"d{number:03}", groups=("north",) if number % 2 else (), tags=("a",))
        catalog.note_first_contact(["d-waits"], at_ms=1)

    await node.catalog.write(write, by=ACT)


@pytest.mark.parametrize(
    ("devices", "count"),
    [
        ({"ids": ["d001", "d002", "nobody"]}, 2),
        ({"groups": ["north"]}, 2),
        ({"tags": ["a"], "groups": ["north"]}, 2),
        ({"q": "d00"}, 5),
    ],
)
async def test_active_devices_of_the_filter_are_chosen(tmp_path: Path, devices: object, count: int) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node, 5)
        wish = {"devices": devices, "device_count": count, "command": {"method": "reboot"}}
        answer = await client.post(URL, json=wish)
        assert answer.status_code == 200, answer.text
        assert answer.json()["done_count"] == count


async def test_everything_must_be_meant_and_not_be_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node, 5)
        nothing = await client.post(URL, json={"devices": {}, "command": {"method": "x"}})
        assert (nothing.status_code, nothing.json()["code"]) == (422, "devices_not_chosen")
        monkeypatch.setattr(module, "DEVICE_BULK_COUNT_MAX", 4)
        many = await client.post(URL, json={"devices": {"tags": ["a"]}, "command": {"method": "x"}})
        assert (many.status_code, many.json()["code"]) == (422, "devices_too_many")


async def test_a_scope_narrows_what_is_chosen(tmp_path: Path) -> None:
    scope = frozenset({"north"})
    async with running_node(tmp_path) as node, person(node, "operator", scope=scope) as client:
        await _fill(node, 5)
        wish = {"devices": {"tags": ["a"]}, "device_count": 2, "command": {"method": "reboot"}}
        items = (await client.post(URL, json=wish)).json()["items"]
        assert [each["device_id"] for each in items] == ["d001", "d003"]


async def test_what_fails_for_one_holds_up_no_other_and_parts_are_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CATALOG_CHUNK_ROW_COUNT_MAX", 2)
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node, 5)
        wish = {
            "devices": {"tags": ["a"]},
            "device_count": 5,
            "command": {"method": "reboot", "when_away": "refuse"},
        }
        away = (await client.post(URL, json=wish)).json()
        assert (away["done_count"], away["failed_count"]) == (0, 5)
        assert {(each["status"], each["code"]) for each in away["items"]} == {(409, "device_away")}
        one = (await client.get("/api/v1/devices/d000/commands")).json()
        assert one["commands"] == []


async def test_many_parts_that_are_asked_for_again_are_done_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CATALOG_CHUNK_ROW_COUNT_MAX", 2)
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node, 5)
        wish = {"devices": {"tags": ["a"]}, "device_count": 5, "command": {"method": "reboot"}}
        key = {"idempotency-key": "k1"}
        first = await client.post(URL, json=wish, headers=key)
        again = await client.post(URL, json=wish, headers=key)
        assert first.json()["done_count"] == 5
        assert (again.status_code, again.json()) == (200, first.json())
        counts = await node.catalog.read(lambda c: c.count_commands())
        assert counts[CommandState.QUEUED] == 5


async def test_a_part_that_takes_long_ends_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CATALOG_CHUNK_MS", 0)
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node, 3)
        wish = {"devices": {"tags": ["a"]}, "device_count": 3, "command": {"method": "reboot"}}
        assert (await client.post(URL, json=wish)).json()["done_count"] == 3
