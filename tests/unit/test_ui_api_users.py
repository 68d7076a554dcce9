"""Users over the API: rules that hold whoever asks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.acts import ACT
from tests.node_kit import PASSWORD, running_node
from tests.people_kit import add_user, audit_of, bearer, browser, sign_in, tokens_of

NEW_PASSWORD = "another sentence, about coffee"


async def test_an_admin_creates_lists_and_shows_users(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as admin:
        await node.catalog.write(lambda catalog: catalog.add_group("hall"), by=ACT)
        body = {
            "user_id": "anna",
            "password": PASSWORD,
            "role": "operator",
            "scope": ["hall"],
            "display_name": "Anna Müller",
        }
        answer = await admin.post("/api/v1/users", json=body)
        assert answer.status_code == 201
        assert "password" not in answer.text
        assert (answer.json()["scope"], answer.json()["has_second_factor"]) == (["hall"], False)
        assert (await admin.post("/api/v1/users", json=body)).json()["code"] == "user_exists"
        await tokens_of(node, "anna")
        listed = (await admin.get("/api/v1/users")).json()["users"]
        assert [(each["user_id"], each["sign_in_count"]) for each in listed] == [("admin", 1), ("anna", 1)]
        anna = (await admin.get("/api/v1/users/anna")).json()
        assert (anna["last_sign_in_at_ms"], anna["api_token_count"]) == (node.clock.now_ms(), 0)
        assert (await admin.get("/api/v1/users/bob")).json()["code"] == "user_unknown"
        (entry,) = await audit_of(node, "user.create")
        assert entry[:3] == ("admin", "user", "anna")


async def test_a_user_and_an_api_token_are_made_once_for_a_key(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as admin:
        user = {"user_id": "anna", "password": PASSWORD, "role": "viewer"}
        token = {"name": "cron", "role": "viewer", "expires_in_s": 86_400}
        for number, (path, body) in enumerate((("/api/v1/users", user), ("/api/v1/api-tokens", token))):
            headers = {"idempotency-key": f"key-{number}"}
            first = await admin.post(path, json=body, headers=headers)
            again = await admin.post(path, json=body, headers=headers)
            assert (first.status_code, again.status_code) == (201, 201)
            assert again.content == first.content
        assert len((await admin.get("/api/v1/users")).json()["users"]) == 2
        assert len((await admin.get("/api/v1/api-tokens")).json()["api_tokens"]) == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"user_id": "a/b"}, "user_name_invalid"),
        ({"user_id": "local"}, "user_name_invalid"),
        ({"user_id": " a"}, "user_name_invalid"),
        ({"password": "short"}, "password_too_short"),
        ({"role": "owner"}, "body_unusable"),
        ({"scope": ["nowhere"]}, "group_unknown"),
        ({"scope": [f"g{n}" for n in range(65)]}, "body_unusable"),
        ({"display_name": "a\u202eb"}, "display_name_invalid"),
    ],
)
async def test_what_makes_no_user(tmp_path: Path, changes: dict[str, Any], code: str) -> None:
    async with running_node(tmp_path) as node, node.admin() as admin:
        body = {"user_id": "anna", "password": PASSWORD, "role": "viewer", **changes}
        assert (await admin.post("/api/v1/users", json=body)).json()["code"] == code


async def test_what_changes_holds_for_the_next_request(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as admin:
        await add_user(node, "anna", "installer")
        async with browser(node, "anna") as page:
            answer = await admin.patch("/api/v1/users/anna", json={"role": "viewer"})
            assert answer.json()["role"] == "viewer"
            assert (await page.get("/api/v1/session")).json()["role"] == "viewer"
            await node.catalog.write(lambda catalog: catalog.add_group("hall"), by=ACT)
            answer = await admin.patch(
                "/api/v1/users/anna", json={"role": "admin", "scope": ["hall"], "display_name": "A"}
            )
            assert (answer.json()["scope"], answer.json()["display_name"]) == (["hall"], "A")
            assert (await page.get("/api/v1/users")).json()["code"] == "scope_too_narrow"
            assert (await admin.patch("/api/v1/users/anna", json={"scope": None})).json()["scope"] is None
            assert (await page.get("/api/v1/users")).status_code == 200
            await admin.patch("/api/v1/users/anna", json={"disabled": True})
            assert (await page.get("/api/v1/session")).status_code == 401
        entries = await audit_of(node, "user.change")
        assert {entry[0] for entry in entries} == {"admin"}


async def test_all_of_a_change_or_nothing(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as admin:
        await add_user(node, "anna")
        answer = await admin.patch(
            "/api/v1/users/anna", json={"role": "operator", "display_name": "x" * 100, "scope": ["nowhere"]}
        )
        assert answer.json()["code"] == "group_unknown"
        anna = (await admin.get("/api/v1/users/anna")).json()
        assert (anna["role"], anna["display_name"]) == ("viewer", "")


async def test_the_last_admin_of_the_site_stays(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin(), node.client(local=True) as local:
        await node.catalog.write(lambda catalog: catalog.add_group("hall"), by=ACT)
        await add_user(node, "narrow", "admin", frozenset({"hall"}))
        for body in ({"role": "installer"}, {"scope": ["hall"]}, {"disabled": True}):
            answer = await local.patch("/api/v1/users/admin", json=body)
            assert (answer.status_code, answer.json()["code"]) == (409, "last_admin"), body
        assert (await local.delete("/api/v1/users/admin")).json()["code"] == "last_admin"
        await add_user(node, "second", "admin")
        assert (await local.delete("/api/v1/users/admin")).status_code == 204
        assert (await local.delete("/api/v1/users/second")).json()["code"] == "last_admin"


async def test_nobody_changes_themselves_here(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as admin:
        await add_user(node, "second", "admin")
        for method, path, body in (
            ("PATCH", "", {"role": "viewer"}),
            ("PATCH", "", {"scope": None}),
            ("PATCH", "", {"disabled": True}),
            ("DELETE", "", None),
            ("POST", "/password", {"password": NEW_PASSWORD}),
            ("DELETE", "/totp", None),
        ):
            answer = await admin.request(method, f"/api/v1/users/admin{path}", json=body)
            assert (answer.status_code, answer.json()["code"]) == (403, "own_account"), (method, path)
        answer = await admin.patch("/api/v1/users/admin", json={"display_name": "Me"})
        assert answer.json()["display_name"] == "Me"


async def test_a_new_password_ends_what_was_signed_in_and_unlocks_the_account(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as admin, node.client() as client:
        await add_user(node, "anna")
        made = await tokens_of(node, "anna")
        answer = await admin.post("/api/v1/users/anna/password", json={"password": NEW_PASSWORD})
        assert answer.status_code == 204
        async with bearer(node, made["access_token"]) as program:
            assert (await program.get("/api/v1/status")).status_code == 401
        assert (await sign_in(client, "anna", PASSWORD)).status_code == 401
        assert (await sign_in(client, "anna", NEW_PASSWORD)).status_code == 201
        answer = await admin.post("/api/v1/users/bob/password", json={"password": NEW_PASSWORD})
        assert answer.json()["code"] == "user_unknown"
        entries = await audit_of(node, "user.set_password")
        assert entries
        assert "argon2" not in str(entries)


async def test_signing_somebody_out_everywhere_leaves_api_tokens(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as admin:
        await add_user(node, "anna")
        made = await tokens_of(node, "anna")
        async with browser(node, "anna") as page:
            body = {"name": "x", "role": "viewer", "expires_in_s": 60}
            token = (await page.post("/api/v1/api-tokens", json=body)).json()["token"]
            assert (await admin.post("/api/v1/users/anna/sign-out")).json() == {"ended": 2}
            assert (await page.get("/api/v1/session")).status_code == 401
        async with bearer(node, made["access_token"]) as program:
            assert (await program.get("/api/v1/session")).status_code == 401
        async with bearer(node, token) as program:
            assert (await program.get("/api/v1/session")).status_code == 200
        assert (await admin.post("/api/v1/users/bob/sign-out")).json()["code"] == "user_unknown"
