"""One user's page: each change holds at once, and the last admin stays."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.acts import ACT
from tests.node_kit import PASSWORD, running_node
from tests.people_kit import add_user, audit_of, browser

NEW = "another quiet sentence"


async def test_a_role_and_a_scope_hold_for_the_next_request(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await node.catalog.write(lambda catalog: catalog.add_group("hall-1"), by=ACT)
        await add_user(node, "admin", role="admin")
        await add_user(node, "anna", role="installer")
        async with browser(node, "admin") as admin, browser(node, "anna") as anna:
            assert (await anna.get("/settings")).status_code == 200
            form = {
                "user_id": "anna",
                "display_name": "Anna",
                "role": "viewer",
                "scope": "groups",
                "group": "hall-1",
            }
            answer = await admin.post("/people/user/change", data=form)
            assert answer.headers["location"] == "/people/user?id=anna&done=changed"
            page = (await admin.get(answer.headers["location"])).text
            assert "It holds for their next request" in page
            assert re.search(r'value="hall-1" checked', page)
            assert (await anna.get("/settings")).status_code == 403
            assert (await anna.get("/broker")).status_code == 403, "limited to a group"


@pytest.mark.parametrize(
    ("path", "form", "done"),
    [
        ("password", {"password": NEW, "password_again": NEW}, "password"),
        ("standing", {"disabled": "1"}, "disabled"),
        ("sign-out", {}, "signed-out"),
        ("reset-totp", {}, "totp"),
    ],
)
async def test_what_ends_somebody_s_sessions(
    tmp_path: Path, path: str, form: dict[str, str], done: str
) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await add_user(node, "admin", role="admin")
        await add_user(node, "anna")
        async with browser(node, "admin") as admin, browser(node, "anna") as anna:
            answer = await admin.post(f"/people/user/{path}", data={"user_id": "anna", **form})
            assert answer.headers["location"] == f"/people/user?id=anna&done={done}"
            assert (await anna.get("/account")).headers["location"].startswith("/sign-in")
            assert (await admin.get("/account")).status_code == 200


async def test_one_session_is_ended_and_an_account_enabled_again(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await add_user(node, "admin", role="admin")
        await add_user(node, "anna")
        async with browser(node, "admin") as admin, browser(node, "anna") as anna:
            page = (await admin.get("/people/user?id=anna")).text
            (session_id,) = re.findall(r'name="session_id" value="([^"]+)"', page)
            await admin.post("/people/user/end-session", data={"user_id": "anna", "session_id": session_id})
            assert (await anna.get("/account")).status_code == 303
            await admin.post("/people/user/standing", data={"user_id": "anna", "disabled": "1"})
            answer = await admin.post("/people/user/standing", data={"user_id": "anna", "disabled": "0"})
            assert answer.headers["location"].endswith("done=enabled")
        async with browser(node, "anna"):
            pass


async def test_a_user_is_removed_only_by_name(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await add_user(node, "admin", role="admin")
        await add_user(node, "anna")
        async with browser(node, "admin") as admin:
            answer = await admin.post("/people/user/remove", data={"user_id": "anna", "confirm": "yes"})
            assert (answer.status_code, "was not removed" in answer.text) == (422, True)
            answer = await admin.post("/people/user/remove", data={"user_id": "anna", "confirm": "anna"})
            assert answer.headers["location"] == "/people?done=removed"
            assert (await admin.get("/people/user?id=anna")).status_code == 404
        assert [(entry[0], entry[2]) for entry in await audit_of(node, "user.remove")][-1:] == [
            ("admin", "anna")
        ]


async def test_the_last_admin_of_the_site_stays(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await node.catalog.write(lambda catalog: catalog.add_group("hall-1"), by=ACT)
        await add_user(node, "admin", role="admin")
        await add_user(node, "boss", role="admin")
        async with browser(node, "boss") as boss:
            await boss.post("/people/user/standing", data={"user_id": "admin", "disabled": "1"})
            page = (await boss.get("/people/user?id=boss")).text
            assert "This is you" in page
            assert "/people/user/remove" not in page
            for path, form in (
                ("standing", {"disabled": "1"}),
                ("change", {"role": "viewer", "scope": "site", "display_name": ""}),
                ("remove", {"confirm": "boss"}),
                ("password", {"password": NEW, "password_again": NEW}),
            ):
                answer = await boss.post(f"/people/user/{path}", data={"user_id": "boss", **form})
                assert answer.status_code in (403, 409), path
            assert await node.catalog.read(lambda catalog: catalog.has_admin())


async def test_who_may_not_manage_users_gets_nothing_done(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await add_user(node, "admin", role="admin")
        await add_user(node, "ines", role="installer")
        async with browser(node, "ines") as client:
            for path in (
                "change",
                "password",
                "reset-totp",
                "standing",
                "sign-out",
                "end-session",
                "revoke-token",
                "remove",
            ):
                form = {"user_id": "admin", "disabled": "1", "confirm": "admin", "password": PASSWORD}
                assert (await client.post(f"/people/user/{path}", data=form)).status_code == 403
            assert (
                await client.post("/people/end-everything", data={"confirm": "end everything"})
            ).status_code == 403
