"""The tokens of a device over the API."""

from __future__ import annotations

from pathlib import Path

from tests.node_kit import NOW_MS, running_node
from tests.people_kit import person


async def test_tokens_are_listed_without_what_they_are_and_end_one_by_one(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        first = (await client.post("/api/v1/devices", json={"device_id": "d"})).json()["token"]
        node.clock.advance(1_000)
        second = (await client.post("/api/v1/devices/d/token", json={"overlap_s": 60})).json()["token"]
        answer = await client.get("/api/v1/devices/d/tokens")
        assert first not in answer.text
        assert second not in answer.text
        newest, older = answer.json()["tokens"]
        assert (newest["created_at_ms"], newest["expires_at_ms"]) == (NOW_MS + 1_000, None)
        assert older["expires_at_ms"] == NOW_MS + 61_000
        gone = await client.delete(f"/api/v1/devices/d/tokens/{older['token_id']}")
        assert gone.status_code == 204
        assert node.broker.changed == ["d"]
        left = (await client.get("/api/v1/devices/d/tokens")).json()["tokens"]
        assert [token["token_id"] for token in left] == [newest["token_id"]]
        again = await client.delete(f"/api/v1/devices/d/tokens/{older['token_id']}")
        assert (again.status_code, again.json()["code"]) == (404, "token_unknown")


async def test_a_viewer_sees_ages_and_ends_nothing(tmp_path: Path) -> None:
    async with (
        running_node(tmp_path) as node,
        node.client(local=True) as local,
        person(node, "viewer") as viewer,
    ):
        await local.post("/api/v1/devices", json={"device_id": "d"})
        tokens = (await viewer.get("/api/v1/devices/d/tokens")).json()["tokens"]
        refused = await viewer.delete(f"/api/v1/devices/d/tokens/{tokens[0]['token_id']}")
        assert (refused.status_code, refused.json()["code"]) == (403, "role_too_low")
