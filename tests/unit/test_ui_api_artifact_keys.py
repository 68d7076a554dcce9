"""Keys over the API: the first set by an admin, every next one by as many of the old as it takes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.artifact_api_kit import ARTIFACTS, KEYS, add, key_set, signed
from tests.node_kit import Node, running_node
from tests.unit.test_ui_api_artifact_uploads import refused


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with running_node(tmp_path) as running:
        yield running


@pytest.fixture
async def client(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    async with node.admin() as signed_in:
        yield signed_in


async def test_keys_rotate_by_threshold(client: httpx.AsyncClient) -> None:
    empty = (await client.get(KEYS)).json()
    assert (empty["version"], empty["keys"], empty["box_key"], empty["unsigned"]) == (0, [], None, "refuse")
    first = key_set(0, 1, threshold=2)
    assert (await client.put(KEYS, json={"document": first.text()})).json()["version"] == 1
    second = key_set(1, 2, version=2, threshold=2)
    for body, code in (
        (signed(second.text()), "artifact_keys_unsigned"),
        (signed(second.text(), 0), "artifact_keys_unsigned"),
        (signed(second.text(), 0, 0), "artifact_keys_unsigned"),  # one key twice is one key
        (signed(second.text(), 0, 2), "artifact_keys_unsigned"),  # the new key has no say yet
        (signed(key_set(2, version=1).text(), 0, 1), "artifact_keys_version"),
        ({**signed(first.text(), 0, 1), "document": second.text()}, "signature_bad"),
    ):
        await refused(await client.put(KEYS, json=body), 409, code)
    found = (await client.put(KEYS, json=signed(second.text(), 0, 1))).json()
    assert (found["version"], found["threshold"]) == (2, 2)
    assert {each["name"]: each["state"] for each in found["keys"]} == {
        "key 1": "trusted",
        "key 2": "trusted",
        "key 0": "retired",
    }


async def test_a_set_that_can_not_work_is_refused(client: httpx.AsyncClient) -> None:
    await refused(
        await client.put(KEYS, json={"document": key_set(0, threshold=2).text()}),
        422,
        "artifact_keys_unusable",
    )
    await refused(await client.put(KEYS, json={"document": "{}"}), 422, "manifest_invalid")


async def test_the_box_s_own_key_is_the_first_and_signs_the_next_set(client: httpx.AsyncClient) -> None:
    document = {"document": key_set(0, version=2).text(), "sign_here": True}
    await refused(await client.put(KEYS, json=document), 404, "artifact_key_missing")
    made = (await client.post(f"{KEYS}/box")).json()
    assert (made["version"], [each["is_on_box"] for each in made["keys"]]) == (1, [True])
    await refused(await client.post(f"{KEYS}/box"), 409, "artifact_key_exists")
    assert (await client.put(KEYS, json=document)).json()["version"] == 2
    assert (await client.delete(f"{KEYS}/box")).status_code == 204
    await refused(await client.delete(f"{KEYS}/box"), 404, "artifact_key_missing")
    # Once others are trusted, a new key of the box is not by itself.
    again = (await client.post(f"{KEYS}/box")).json()
    assert again["version"] == 2
    assert again["box_key"]["key_id"] not in {each["key_id"] for each in again["keys"]}


async def test_who_owns_the_box_may_begin_anew(node: Node, client: httpx.AsyncClient) -> None:
    await client.put(KEYS, json={"document": key_set(0, 1, threshold=2).text()})
    body = {"document": key_set(2, version=2).text()}
    assert (await client.post(f"{KEYS}/reset", json=body)).status_code == 403
    async with node.client(local=True) as local:
        assert (await local.post(f"{KEYS}/reset", json=body)).json()["version"] == 2


async def test_what_may_go_unsigned_is_the_admin_s_to_say(client: httpx.AsyncClient) -> None:
    made = await add(client)
    one = f"{ARTIFACTS}/{made['artifact_id']}"
    assert (await client.get(one)).json()["refusal"]["code"] == "artifact_unsigned"
    assert (await client.patch(KEYS, json={"unsigned": "allow"})).json()["unsigned"] == "allow"
    assert (await client.get(one)).json()["refusal"] is None
