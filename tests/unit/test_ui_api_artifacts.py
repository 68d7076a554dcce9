"""Artifacts over the API: signed here and elsewhere, used, damaged, removed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.acts import ACT
from tests.artifact_api_kit import ARTIFACTS, KEYS, add, key_set, signed
from tests.node_kit import NOW_MS, PASSWORD, Node, running_node
from tests.unit.test_ui_api_artifact_uploads import refused
from ui.artifact_views import artifact_views

DAY_MS = 86_400_000


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    async with running_node(tmp_path) as running:
        yield running


@pytest.fixture
async def client(node: Node) -> AsyncIterator[httpx.AsyncClient]:
    async with node.admin() as signed_in:
        yield signed_in


async def trust(client: httpx.AsyncClient, *numbers: int, threshold: int = 1) -> None:
    answer = await client.put(KEYS, json={"document": key_set(*numbers, threshold=threshold).text()})
    assert answer.status_code == 200, answer.text


async def test_a_manifest_is_signed_elsewhere_by_as_many_as_it_takes(client: httpx.AsyncClient) -> None:
    await trust(client, 0, 1, threshold=2)
    made = await add(client, hw=["rev2"], min_version="0.9", epoch=1)
    one = f"{ARTIFACTS}/{made['artifact_id']}"
    assert made["refusal"]["code"] == "artifact_unsigned"
    draft = (await client.get(f"{one}/manifest")).json()
    assert draft["signatures"] == []
    assert '"release_counter":1' in draft["document"]
    first = (await client.put(f"{one}/manifest", json=signed(draft["document"], 0))).json()
    assert (first["good_count"], first["needed_count"], first["refusal"]["code"]) == (
        1,
        2,
        "artifact_signatures",
    )
    second = (await client.put(f"{one}/manifest", json=signed(draft["document"], 1))).json()
    assert (second["good_count"], second["refusal"], second["release_counter"]) == (2, None, 1)
    assert [(each["key_name"], each["state"]) for each in second["signatures"]] == [
        ("key 0", "good"),
        ("key 1", "good"),
    ]
    again = (await client.get(f"{one}/manifest")).json()
    assert (again["document"], len(again["signatures"])) == (draft["document"], 2)
    renewed = (await client.get(f"{one}/manifest?expires_at_ms={NOW_MS + DAY_MS}")).json()
    assert '"release_counter":2' in renewed["document"]
    assert renewed["signatures"] == []


async def test_the_box_signs_with_its_own_key(client: httpx.AsyncClient) -> None:
    made = await add(client)
    one = f"{ARTIFACTS}/{made['artifact_id']}"
    await refused(await client.post(f"{one}/sign", json={}), 404, "artifact_key_missing")
    await client.post(f"{KEYS}/box")
    found = (await client.post(f"{one}/sign", json={})).json()
    assert (found["refusal"], found["expires_at_ms"]) == (None, NOW_MS + 365 * DAY_MS)
    shorter = (await client.post(f"{one}/sign", json={"expires_at_ms": NOW_MS + DAY_MS})).json()
    assert (shorter["release_counter"], shorter["expires_at_ms"]) == (2, NOW_MS + DAY_MS)


async def test_every_reason_against_a_manifest_is_told(node: Node, client: httpx.AsyncClient) -> None:
    await trust(client, 0)
    first, second = await add(client, b"one", version="1"), await add(client, b"two", version="2")
    one, two = (f"{ARTIFACTS}/{each['artifact_id']}/manifest" for each in (first, second))
    draft = (await client.get(one)).json()["document"]
    good = signed(draft, 0)
    cases = [
        (signed(draft, 1), "signature_key_unknown"),  # a key that nobody trusts
        ({**good, "document": draft.replace('"epoch":0', '"epoch":1')}, "manifest_differs"),
        ({"document": draft, "signatures": []}, "signature_missing"),
        (
            {
                **good,
                "document": draft.replace(f'"expires":{NOW_MS + 365 * DAY_MS}', f'"expires":{NOW_MS + 1}'),
            },
            "signature_bad",
        ),
    ]
    for body, code in cases:
        await refused(await client.put(one, json=body), 409, code)
    await refused(await client.put(one, json={**good, "document": " " + draft}), 422, "manifest_invalid")
    await refused(await client.put(two, json=good), 409, "manifest_differs")
    assert (await client.put(one, json=good)).status_code == 200
    # The counter is of the name: the second's draft has the next one, and an old one is refused.
    held_back = (
        (await client.get(two)).json()["document"].replace('"release_counter":2', '"release_counter":1')
    )
    assert "is at 1" in await refused(
        await client.put(two, json=signed(held_back, 0)), 409, "release_counter_low"
    )
    node.clock.advance(366 * DAY_MS)
    async with node.client() as later:
        answer = await later.post("/api/v1/session", json={"user_id": "admin", "password": PASSWORD})
        later.headers["x-csrf-token"] = answer.json()["csrf_token"]
        expired = (await later.get(f"{ARTIFACTS}/{first['artifact_id']}")).json()
        assert expired["refusal"]["code"] == "manifest_expired"
        await refused(await later.put(one, json=good), 409, "manifest_expired")


async def test_what_is_in_use_is_not_removed(node: Node, client: httpx.AsyncClient) -> None:
    made = await add(client)
    one = f"{ARTIFACTS}/{made['artifact_id']}"
    await node.catalog.write(
        lambda catalog: catalog.execute(
            "INSERT INTO rollouts (rollout_id, name, artifact_id, state, targets, plan, policy, created_by, created_at_ms,"
            " updated_at_ms, origin, hlc) VALUES ('r', 'Hall 4', ?, 'draft', '{}', '{}', '{}', 'anna', 1, 1, ?, ?)",
            (made["artifact_id"], catalog.origin, catalog.hlc),
        ),
        by=ACT,
    )
    assert (await client.get(one)).json()["used_by"] == {"rollouts": ["Hall 4"], "device_count": 0}
    assert "“Hall 4”" in await refused(await client.delete(one), 409, "artifact_in_use")
    assert len(node.services.artifacts.store.names()) == 1


async def test_the_bytes_go_with_the_last_artifact_that_names_them(
    node: Node, client: httpx.AsyncClient
) -> None:
    first, second = await add(client, version="1"), await add(client, version="2")
    assert first["sha256"] == second["sha256"]
    store = node.services.artifacts.store
    assert (await client.delete(f"{ARTIFACTS}/{first['artifact_id']}")).status_code == 204
    assert set(store.names()) == {first["sha256"]}
    assert (await client.delete(f"{ARTIFACTS}/{second['artifact_id']}")).status_code == 204
    assert store.names() == {}
    await refused(await client.get(f"{ARTIFACTS}/{first['artifact_id']}"), 404, "artifact_unknown")


async def test_damage_is_found_shown_and_never_given_out(
    node: Node, tmp_path: Path, client: httpx.AsyncClient
) -> None:
    made = await add(client, b"firmware")
    one = f"{ARTIFACTS}/{made['artifact_id']}"
    assert not (await client.post(f"{one}/check")).json()["is_damaged"]
    path = tmp_path / "artifacts" / "sha256" / made["sha256"][:2] / made["sha256"]
    path.chmod(0o600)
    path.write_bytes(b"firmwarE")
    await refused(await client.get(f"{one}/content"), 409, "artifact_damaged")
    assert (await client.post(f"{one}/check")).json()["is_damaged"]
    assert (await client.get(one)).json()["is_damaged"]
    await add(client, b"firmware", version="2")
    assert not (await client.get(one)).json()["is_damaged"]
    assert (await client.get(f"{one}/content")).content == b"firmware"


async def test_a_note_is_changed_by_who_saw_it(client: httpx.AsyncClient) -> None:
    made = await add(client)
    one = f"{ARTIFACTS}/{made['artifact_id']}"
    etag = (await client.get(one)).headers["etag"]
    assert (await client.patch(one, json={"note": "a"}, headers={"if-match": etag})).json()["note"] == "a"
    await refused(
        await client.patch(one, json={"note": "b"}, headers={"if-match": etag}), 412, "version_differs"
    )
    assert (await client.patch(one, json={})).json()["note"] == "a"


async def test_what_uses_it_is_for_those_who_see_the_whole_site(
    node: Node, client: httpx.AsyncClient
) -> None:
    made = await add(client)
    await node.catalog.write(
        lambda catalog: catalog.execute(
            "INSERT INTO rollouts (rollout_id, name, artifact_id, state, targets, plan, policy, created_by, created_at_ms,"
            " updated_at_ms, origin, hlc) VALUES ('r', 'Hall 4', ?, 'draft', '{}', '{}', '{}', 'anna', 1, 1, ?, ?)",
            (made["artifact_id"], catalog.origin, catalog.hlc),
        ),
        by=ACT,
    )
    rows = await artifact_views(node.services, frozenset({"hall-5"}))
    assert [each.use.rollouts for each in rows] == [()]
    assert [each.use.rollouts for each in await artifact_views(node.services, None)] == [("Hall 4",)]
