"""The same thing done with many devices: each by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.core.limits import CATALOG_CHUNK_ROW_COUNT_MAX
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.people_kit import person

URL = "/api/v1/devices/bulk"
NORTH = frozenset({"north"})


async def _fill(node: Node) -> None:
    def write(catalog: Catalog) -> None:
        for group_id in ("north", "south"):
            catalog.add_group(group_id)
        catalog.add_device("d1", groups=("north",), tags=("a",))
        catalog.add_device("d2", groups=("north", "south"))
        catalog.add_device("d3", groups=("south",))
        catalog.note_first_contact(["w1", "w2"], at_ms=1)

    await node.catalog.write(write, by=ACT)


async def test_adopting_reports_each_with_what_the_request_for_it_alone_would_say(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node)
        answer = await client.post(URL, json={"op": "adopt", "ids": ["w2", "nobody", "w1", "w2"]})
        assert answer.status_code == 200
        result = answer.json()
        assert (result["done_count"], result["failed_count"]) == (2, 1)
        second, nobody, first = result["items"]
        assert (second["device_id"], second["status"], second["state"]) == ("w2", 200, "active")
        assert second["token"].startswith("hpd_")
        assert first["token"] != second["token"]
        assert (nobody["status"], nobody["code"], nobody["state"]) == (404, "device_unknown", None)
        assert nobody["hint"]


async def test_what_was_cut_off_is_told_to_the_broker(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        await _fill(node)
        result = (await client.post(URL, json={"op": "decommission", "ids": ["d1", "d2", "x"]})).json()
        assert (result["done_count"], result["connections_closed"], node.broker.revoked) == (
            2,
            True,
            ["d1", "d2"],
        )
        rejected = (await client.post(URL, json={"op": "reject", "ids": ["w1", "d3"]})).json()
        assert [each["status"] for each in rejected["items"]] == [200, 409]
        node.broker.connected = False
        late = (await client.post(URL, json={"op": "decommission", "ids": ["d3"]})).json()
        assert (late["done_count"], late["connections_closed"]) == (1, False)


@pytest.mark.parametrize(
    ("body", "tags", "groups"),
    [
        ({"op": "tag", "tag": "new"}, ["a", "new"], ["north"]),
        ({"op": "untag", "tag": "a"}, [], ["north"]),
        ({"op": "add_to_group", "group": "south"}, ["a"], ["north", "south"]),
        ({"op": "remove_from_group", "group": "north"}, ["a"], []),
    ],
)
async def test_tags_and_groups(
    tmp_path: Path, body: dict[str, Any], tags: list[str], groups: list[str]
) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        await _fill(node)
        result = (await client.post(URL, json={**body, "ids": ["d1"]})).json()
        assert result["failed_count"] == 0
        device = (await client.get("/api/v1/devices/d1")).json()
        assert (device["tags"], device["groups"]) == (tags, groups)


async def test_a_scope_bounds_each_item(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer", NORTH) as client:
        await _fill(node)
        ids = ["d1", "d2", "d3"]
        result = (
            await client.post(URL, json={"op": "remove_from_group", "group": "north", "ids": ids})
        ).json()
        assert [(each["status"], each["code"]) for each in result["items"]] == [
            (403, "groups_out_of_scope"),
            (403, "groups_out_of_scope"),
            (404, "device_unknown"),
        ]
        result = (await client.post(URL, json={"op": "add_to_group", "group": "south", "ids": ["d1"]})).json()
        assert result["items"][0]["code"] == "groups_out_of_scope"
        gone = (await client.post(URL, json={"op": "decommission", "ids": ["d3", "w1"]})).json()
        assert (gone["done_count"], node.broker.revoked) == (0, [])


async def test_an_operator_ends_nothing(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "operator") as client:
        await _fill(node)
        for body in ({"op": "decommission"}, {"op": "add_to_group", "group": "south"}):
            answer = await client.post(URL, json={**body, "ids": ["d1"]})
            assert (answer.status_code, answer.json()["code"]) == (403, "role_too_low")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"op": "tag", "ids": ["d1"]}, "bulk_word_missing"),
        ({"op": "add_to_group", "ids": ["d1"], "tag": "x"}, "bulk_word_missing"),
        ({"op": "tag", "ids": ["d1"], "tag": "x", "group": "north"}, "bulk_word_unused"),
        ({"op": "adopt", "ids": ["d1"], "tag": "x"}, "bulk_word_unused"),
        ({"op": "adopt", "ids": []}, "body_unusable"),
        ({"op": "adopt", "ids": [str(n) for n in range(1001)]}, "body_unusable"),
        ({"op": "burn", "ids": ["d1"]}, "body_unusable"),
    ],
)
async def test_a_wish_that_makes_no_sense_is_refused_as_a_whole(
    tmp_path: Path, body: dict[str, Any], code: str
) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        answer = await client.post(URL, json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, code)


async def test_a_thousand_devices_are_several_transactions(tmp_path: Path) -> None:
    ids = [f"d{number}" for number in range(1_000)]

    def fill(catalog: Catalog) -> None:
        for device_id in ids:
            catalog.add_device(device_id)

    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await node.catalog.write(fill, by=ACT, timeout_ms=30_000)
        sizes: list[int] = []
        node.catalog.subscribe(lambda changes: sizes.append(sum(c.table == "devices" for c in changes)))
        key = {"idempotency-key": "once"}
        first = await client.post(URL, json={"op": "tag", "tag": "t", "ids": ids}, headers=key)
        assert first.json()["done_count"] == 1_000
        assert max(sizes) <= CATALOG_CHUNK_ROW_COUNT_MAX
        again = await client.post(URL, json={"op": "tag", "tag": "t", "ids": ids}, headers=key)
        assert again.content == first.content
