"""The pages about claims: made from a form, shown once, listed, revoked; and who sees them."""

from __future__ import annotations

import re
from pathlib import Path

from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import NOW_MS, running_node
from tests.people_kit import person


async def test_a_claim_is_made_shown_once_listed_and_revoked(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        await node.catalog.write(lambda catalog: catalog.add_group("hall", name="Hall 3"), by=ACT)
        assert 'href="/claims"' in (await client.get("/devices")).text
        assert "Hall 3" in (await client.get("/claims/new")).text
        form = {
            "name": "Spring",
            "count": "40",
            "life": "86400",
            "group": "hall",
            "tags": "a, b",
            "adopt": "1",
        }
        made = await client.post("/claims/new", data=form)
        assert made.status_code == 200
        (token,) = set(re.findall(r"hpc_[\w-]{32}", made.text))
        claim_hash = node.services.keys.claim_hash(token.encode())
        claim = await node.catalog.read(lambda catalog: catalog.find_claim(claim_hash))
        assert claim is not None
        assert (claim.use_count_max, claim.groups, claim.tags, claim.adopt) == (
            40,
            ("hall",),
            ("a", "b"),
            True,
        )
        assert (claim.expires_at_ms, claim.created_by) == (NOW_MS + 86_400_000, "installer")
        listed = (await client.get("/claims")).text
        assert "Spring" in listed
        assert "0 of 40" in listed
        assert token not in listed
        gone = await client.post("/claims/revoke", data={"claim_id": claim.claim_id})
        assert gone.headers["location"] == "/claims?done=revoked"
        listed = (await client.get("/claims?done=revoked")).text
        assert "The claim is revoked." in listed
        assert 'action="/claims/revoke"' not in listed
        assert (await client.post("/claims/revoke", data={"claim_id": "none"})).status_code == 404


async def test_what_was_typed_stays_when_it_can_not_be(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        good = {"name": "Spring", "count": "2", "life": "86400"}
        for change, words in (
            ({"count": "many"}, "not a number"),
            ({"count": "0"}, "1 to 100000 devices"),
            ({"life": "12"}, "none of the times"),
            ({"device_id": "pump"}, "can be used once"),
            ({"group": "nowhere"}, "no group"),
        ):
            answer = await client.post("/claims/new", data={**good, **change})
            assert answer.status_code in (404, 422)
            assert words in answer.text
            assert 'value="Spring"' in answer.text
        assert await node.catalog.read(lambda catalog: catalog.count_claims()) == 0


async def test_many_have_pages(tmp_path: Path) -> None:
    def write(catalog: Catalog) -> None:
        for number in range(60):
            catalog.create_claim(
                f"{number:024}", bytes([number]) * 32, name=f"claim-{number:02}-", created_by="x",
                life_ms=1000,
            )  # fmt: skip

    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as client:
        await node.catalog.write(write, by=ACT)
        first = (await client.get("/claims")).text
        assert ("claim-59-" in first, "claim-09-" in first) == (True, False)
        (following,) = re.findall(r'href="(/claims\?before=[^"]+)"', first)
        assert "claim-09-" in (await client.get(following)).text


async def test_an_operator_does_not_see_them(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, person(node, "operator") as client:
        assert (await client.get("/claims")).status_code == 403
        assert (await client.post("/claims/new", data={})).status_code == 403
        assert 'href="/claims"' not in (await client.get("/devices")).text
