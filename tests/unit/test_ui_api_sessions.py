"""Who is signed in with what, and ending it."""

from __future__ import annotations

from pathlib import Path

from tests.node_kit import running_node
from tests.people_kit import add_user, audit_of, bearer, browser, tokens_of


async def test_browsers_and_programs_are_in_one_list(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna")
        await add_user(node, "bob")
        await tokens_of(node, "bob")
        made = await tokens_of(node, "anna")
        node.clock.advance(1000)
        async with browser(node, "anna") as page:
            listed = (await page.get("/api/v1/sessions")).json()["sessions"]
            assert [(each["kind"], each["is_this_one"]) for each in listed] == [
                ("browser", True),
                ("program", False),
            ]
            assert {each["address"] for each in listed} == {"192.0.2.7"}
            hashes = await node.catalog.read(
                lambda catalog: [row[0] for row in catalog.rows("SELECT session_hash FROM browser_sessions")]
            )
            assert not any(each in str(listed) for each in hashes)
            program_id = listed[1]["session_id"]
            assert (await page.delete(f"/api/v1/sessions/{program_id}")).status_code == 204
            assert (await page.delete(f"/api/v1/sessions/{program_id}")).json()["code"] == "session_unknown"
            async with bearer(node, made["access_token"]) as program:
                assert (await program.get("/api/v1/session")).status_code == 401
            assert (await page.delete(f"/api/v1/sessions/{listed[0]['session_id']}")).status_code == 204
            assert (await page.get("/api/v1/session")).status_code == 401
        entries = await audit_of(node, "session.end")
        assert [entry[:3] for entry in entries] == [("anna", "user", "anna")] * 2


async def test_those_of_others_are_for_admins(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as admin, node.client(local=True) as local:
        await add_user(node, "anna", "installer")
        await add_user(node, "bob")
        await tokens_of(node, "bob")
        (bobs,) = (await admin.get("/api/v1/sessions?user=bob")).json()["sessions"]
        async with browser(node, "anna") as anna:
            for query in ("?user=bob", "?all=true"):
                answer = await anna.get(f"/api/v1/sessions{query}")
                assert answer.json()["code"] == "role_too_low"
            answer = await anna.delete(f"/api/v1/sessions/{bobs['session_id']}")
            assert answer.json()["code"] == "session_unknown"
            everybodys = (await local.get("/api/v1/sessions")).json()["sessions"]
            assert {each["user_id"] for each in everybodys} == {"admin", "anna", "bob"}
        assert (await admin.delete(f"/api/v1/sessions/{bobs['session_id']}")).status_code == 204


async def test_all_others_end_and_the_one_that_asks_stays(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna")
        await add_user(node, "bob")
        bobs = await tokens_of(node, "bob")
        made, other = await tokens_of(node, "anna"), await tokens_of(node, "anna")
        async with browser(node, "anna") as page, bearer(node, made["access_token"]) as program:
            assert (await page.get("/api/v1/session")).status_code == 200
            answer = await program.post("/api/v1/account/sign-out-others")
            assert answer.json() == {"ended": 2}
            assert (await program.get("/api/v1/session")).status_code == 200
            assert (await page.get("/api/v1/session")).status_code == 401
        for token, status in ((other["access_token"], 401), (bobs["access_token"], 200)):
            async with bearer(node, token) as program:
                assert (await program.get("/api/v1/session")).status_code == status
