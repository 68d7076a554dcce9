"""The list of people, adding one, and the emergency brake."""

from __future__ import annotations

import re
from pathlib import Path

from tests.acts import ACT
from tests.node_kit import PASSWORD, running_node
from tests.people_kit import add_user, audit_of, bearer, browser, tokens_of
from ui.pages.people import BRAKE_WORD

NEW = {
    "user_id": "bert",
    "role": "operator",
    "scope": "site",
    "password": PASSWORD,
    "password_again": PASSWORD,
}


async def test_everybody_is_listed_with_what_they_may(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await add_user(node, "admin", role="admin")
        await add_user(node, "<b>eve")
        async with browser(node, "admin") as client:
            page = (await client.get("/people")).text
            assert "&lt;b&gt;eve" in page
            assert "<b>eve" not in page


async def test_an_admin_adds_a_user_who_can_then_sign_in(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await add_user(node, "admin", role="admin")
        async with browser(node, "admin") as client:
            answer = await client.post("/people/new", data=NEW)
            assert answer.headers["location"] == "/people/user?id=bert&done=created"
            assert "The user is added" in (await client.get(answer.headers["location"])).text
        async with browser(node, "bert") as client:
            assert (await client.get("/people")).status_code == 403
        assert [entry[0] for entry in await audit_of(node, "user.create")] == ["admin"]


async def test_what_is_wrong_is_said_and_what_was_typed_stays(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await node.catalog.write(lambda catalog: catalog.add_group("hall-1"), by=ACT)
        await add_user(node, "admin", role="admin")
        async with browser(node, "admin") as client:
            form = {**NEW, "password_again": "x", "scope": "groups", "group": "hall-1"}
            answer = await client.post("/people/new", data=form)
            assert answer.status_code == 422
            assert 'value="bert"' in answer.text
            assert re.search(r'value="hall-1" checked', answer.text)
            assert PASSWORD not in answer.text
            answer = await client.post("/people/new", data={**NEW, "user_id": "admin"})
            assert answer.status_code == 409


async def test_the_brake_needs_its_words_and_then_ends_everything(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await add_user(node, "admin", role="admin")
        await add_user(node, "anna")
        access = (await tokens_of(node, "anna"))["access_token"]
        async with browser(node, "admin") as client, bearer(node, access) as program:
            answer = await client.post("/people/end-everything", data={"confirm": "yes"})
            assert (answer.status_code, "Nothing has ended" in answer.text) == (422, True)
            assert (await program.get("/api/v1/status")).status_code == 200
            answer = await client.post("/people/end-everything", data={"confirm": BRAKE_WORD})
            assert answer.headers["location"] == "/sign-in"
            assert (await program.get("/api/v1/status")).status_code == 401
            assert (await client.get("/people")).status_code == 303


async def test_tokens_of_all_are_revoked_here(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await add_user(node, "admin", role="admin")
        await add_user(node, "anna")
        async with browser(node, "anna") as anna, browser(node, "admin") as admin:
            form = {"name": "grafana", "role": "viewer", "scope": "own", "days": "30"}
            await anna.post("/account/tokens", data=form)
            (token_id,) = re.findall(r'name="token_id" value="([^"]+)"', (await admin.get("/people")).text)
            answer = await admin.post("/people/tokens/revoke", data={"token_id": token_id})
            assert answer.headers["location"] == "/people?done=token"
            assert "grafana" not in (await admin.get("/people")).text
            assert (await admin.post("/people/tokens/revoke", data={"token_id": "none"})).status_code == 404
