"""Claims over the API: made with a token that is shown once, listed, revoked; and who may."""

from __future__ import annotations

from pathlib import Path

from tests.node_kit import NOW_MS, running_node
from tests.people_kit import person


async def test_a_claim_is_made_listed_and_revoked(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        wish = {"name": "Hall 3", "use_count_max": 40, "tags": ["new"], "adopt": True, "life_s": 3600}
        answer = await client.post("/api/v1/claims", json=wish)
        assert answer.status_code == 201
        made = answer.json()
        token = made.pop("token")
        assert token.startswith("hpc_")
        assert (made["state"], made["use_count"], made["use_count_max"]) == ("valid", 0, 40)
        assert made["expires_at_ms"] == NOW_MS + 3_600_000
        assert made["created_by"] == "installer"
        claim_hash = node.services.keys.claim_hash(token.encode())
        found = await node.catalog.read(lambda catalog: catalog.find_claim(claim_hash))
        assert found is not None
        assert found.claim_id == made["claim_id"]
        path = f"/api/v1/claims/{made['claim_id']}"
        assert (await client.get(path)).json() == made
        listed = (await client.get("/api/v1/claims?state=valid")).json()
        assert listed == {"claims": [made], "next_cursor": None}
        assert token not in (await client.get("/api/v1/claims")).text
        revoked = (await client.post(path + "/revoke")).json()
        assert (revoked["state"], revoked["revoked_at_ms"]) == ("revoked", NOW_MS)
        assert (await client.get("/api/v1/claims?state=valid")).json()["claims"] == []
        entries = await node.catalog.read(
            lambda catalog: catalog.rows("SELECT action, actor, after FROM audit WHERE object_kind = 'claim'")
        )
        assert [tuple(row[:2]) for row in entries] == [
            ("claim.create", "installer"), ("claim.revoke", "installer")
        ]  # fmt: skip
        assert claim_hash.hex() not in "".join(row["after"] for row in entries)


async def test_what_no_claim_can_be(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, person(node, "installer") as client:
        for wish, status, code in (
            ({"use_count_max": 0}, 422, "body_unusable"),
            ({"use_count_max": 100_001}, 422, "body_unusable"),
            ({"life_s": 59}, 422, "body_unusable"),
            ({"token": "mine"}, 422, "body_unusable"),
            ({"device_id": "pump", "use_count_max": 2}, 422, "claim_invalid"),
            ({"device_id": "a/b"}, 422, "device_id_invalid"),
            ({"groups": ["nowhere"]}, 404, "group_unknown"),
        ):
            answer = await client.post("/api/v1/claims", json=wish)
            assert (answer.status_code, answer.json()["code"]) == (status, code), wish
        assert (await client.get("/api/v1/claims/none")).status_code == 404
        assert (await client.post("/api/v1/claims/none/revoke")).status_code == 404


async def test_who_may(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        async with person(node, "operator") as client:
            assert (await client.get("/api/v1/claims")).json()["code"] == "role_too_low"
        async with person(node, "installer", frozenset({"north"})) as client:
            assert (await client.post("/api/v1/claims", json={})).json()["code"] == "scope_too_narrow"
