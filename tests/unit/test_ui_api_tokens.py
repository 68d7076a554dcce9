"""API tokens over the API, and the emergency brake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.core.limits import API_TOKEN_PER_USER_COUNT_MAX
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.people_kit import add_user, audit_of, bearer, browser, tokens_of

DAY_S = 86_400


async def _create(client: httpx.AsyncClient, **changes: Any) -> httpx.Response:
    body = {"name": "grafana", "role": "viewer", "expires_in_s": DAY_S, **changes}
    return await client.post("/api/v1/api-tokens", json=body)


async def _token(node: Node, user_id: str, **changes: Any) -> dict[str, Any]:
    async with browser(node, user_id) as client:
        answer = await _create(client, **changes)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made


async def test_a_token_is_shown_once_and_is_its_user_at_most(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna", "installer")
        made = await _token(node, "anna", role="operator")
        async with bearer(node, made["token"]) as program:
            session = (await program.get("/api/v1/session")).json()
            assert session == {"user_id": "anna", "role": "operator", "via": "api_token", "csrf_token": ""}
            answer = await program.post("/api/v1/devices", json={"device_id": "d1"})
            assert answer.json()["code"] == "role_too_low"
            (listed,) = (await program.get("/api/v1/api-tokens")).json()["api_tokens"]
            assert (listed["token_id"], listed["last_address"]) == (made["token_id"], "192.0.2.7")
            assert listed["last_used_at_ms"] == node.clock.now_ms()
            assert "token" not in listed
            await node.catalog.write(lambda catalog: catalog.set_role("anna", "viewer", None), by=ACT)
            assert (await program.get("/api/v1/session")).json()["role"] == "viewer"
        (entry,) = await audit_of(node, "api_token.create")
        assert entry[:4] == ("anna", "user", made["token_id"], "done")


async def test_what_a_token_does_is_in_the_audit_under_both_names(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna", "installer")
        made = await _token(node, "anna", role="installer")
        async with bearer(node, made["token"]) as program:
            assert (await program.post("/api/v1/devices", json={"device_id": "d1"})).status_code == 201
        entries = await audit_of(node, "device.create")
        assert {entry[:2] for entry in entries} == {("anna/grafana", "api_token")}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"role": "installer"}, "api_token_role_too_high"),
        ({"scope": ["g1"]}, "api_token_scope_too_wide"),
        ({"scope": None}, "api_token_scope_too_wide"),
        ({"name": " x"}, "api_token_name_invalid"),
        ({"expires_in_s": 367 * DAY_S}, "body_unusable"),
        ({"expires_in_s": 0}, "body_unusable"),
        ({"user_id": "bob"}, "role_too_low"),
    ],
)
async def test_a_token_is_never_more_than_its_user(
    tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    async with running_node(tmp_path) as node:
        await node.catalog.write(lambda catalog: [catalog.add_group(g) for g in ("g1", "g2")], by=ACT)
        await add_user(node, "anna", "operator", frozenset({"g2"}))
        async with browser(node, "anna") as client:
            assert (await _create(client, **changes)).json()["code"] == code
            assert (await _create(client)).json()["scope"] == ["g2"]
            assert (await _create(client)).json()["code"] == "api_token_exists"


async def test_a_token_ends_when_revoked_at_its_end_and_with_its_user(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna", "operator")
        await node.add_admin()
        first, second, third = [await _token(node, "anna", name=name) for name in ("a", "b", "c")]

        async def works(token: str) -> bool:
            async with bearer(node, token) as program:
                answer = await program.get("/api/v1/status")
                assert answer.status_code == 200 or answer.json()["code"] == "api_token_invalid"
                return answer.status_code == 200

        assert await works(first["token"])
        async with bearer(node, first["token"]) as program:
            assert (await program.delete(f"/api/v1/api-tokens/{first['token_id']}")).status_code == 200
        assert not await works(first["token"])
        async with browser(node, "admin") as admin:
            for disabled in (True, False):
                answer = await admin.patch("/api/v1/users/anna", json={"disabled": disabled})
                assert answer.status_code == 200
                assert await works(second["token"]) is not disabled
            node.clock.advance(DAY_S * 1000)
            assert not await works(second["token"])
        async with browser(node, "admin") as admin:
            assert (await admin.delete("/api/v1/users/anna")).status_code == 204
            assert not await works(third["token"])
            await add_user(node, "anna", "admin")
            assert not await works(third["token"]), "a new user of that name is somebody else"


async def test_a_token_makes_no_tokens_and_leaves_its_users_account_alone(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna", "admin")
        made = await _token(node, "anna", role="admin")
        async with bearer(node, made["token"]) as program:
            assert (await _create(program, name="b")).json()["code"] == "forbidden"
            for path, body in (
                ("/account/password", {"old_password": "a", "password": "b"}),
                ("/account/totp", None),
                ("/account/totp/remove", {"password": "a"}),
            ):
                answer = await program.post(f"/api/v1{path}", json=body)
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), path


async def test_a_token_that_leaked_ends_itself_and_nothing_else_of_its_users(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna", "admin")
        leaked = await _token(node, "anna", role="viewer", name="leaked")
        other = await _token(node, "anna", role="viewer", name="other")
        async with browser(node, "anna") as anna, bearer(node, leaked["token"]) as program:
            (annas,) = (
                each
                for each in (await anna.get("/api/v1/sessions")).json()["sessions"]
                if each["is_this_one"]
            )
            for answer in (
                await program.post("/api/v1/account/sign-out-others"),
                await program.delete(f"/api/v1/sessions/{annas['session_id']}"),
                await program.delete(f"/api/v1/api-tokens/{other['token_id']}"),
            ):
                assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), answer.url
            assert (await anna.get("/api/v1/session")).status_code == 200
            assert (await program.delete(f"/api/v1/api-tokens/{leaked['token_id']}")).status_code == 200
            assert (await program.get("/api/v1/status")).status_code == 401


async def test_tokens_of_others_are_for_admins(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna")
        await add_user(node, "bob", "installer")
        await node.add_admin()
        made = await _token(node, "anna")
        async with browser(node, "bob") as bob, browser(node, "admin") as admin:
            assert (await bob.get("/api/v1/api-tokens?user=anna")).json()["code"] == "role_too_low"
            assert (await bob.get("/api/v1/api-tokens?all=true")).json()["code"] == "role_too_low"
            answer = await bob.delete(f"/api/v1/api-tokens/{made['token_id']}")
            assert answer.json()["code"] == "api_token_unknown"
            listed = (await admin.get("/api/v1/api-tokens?all=true")).json()["api_tokens"]
            assert [each["user_id"] for each in listed] == ["anna"]
            answer = await _create(admin, user_id="bob", role="installer")
            assert (answer.status_code, answer.json()["user_id"]) == (201, "bob")
            answer = await _create(admin, user_id="anna", role="installer", name="x")
            assert answer.json()["code"] == "api_token_role_too_high"
            assert (await admin.delete(f"/api/v1/api-tokens/{made['token_id']}")).status_code == 200


async def test_tokens_are_limited_per_user(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna")
        async with browser(node, "anna") as client:
            for number in range(API_TOKEN_PER_USER_COUNT_MAX):
                assert (await _create(client, name=f"n{number}")).status_code == 201
            answer = await _create(client, name="one more")
            assert (answer.status_code, answer.json()["code"]) == (409, "api_token_count")


async def test_the_emergency_brake_ends_everything_of_people_at_once(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna", "operator")
        await node.add_admin()
        api_token = (await _token(node, "anna"))["token"]
        made = await tokens_of(node, "anna")
        async with browser(node, "anna") as page, browser(node, "admin") as admin, node.client() as client:
            key_id = node.services.people.access_tokens.key_id
            answer = (await admin.post("/api/v1/keys/rotate")).json()
            # anna's browser of _token's making, hers here, the admin's, and her program.
            assert (answer["sign_ins_ended"], answer["api_tokens_ended"]) == (4, 1)
            assert answer["key_id"] != key_id
            for who in (page, admin):
                assert (await who.get("/api/v1/status")).status_code == 401
            for token in (made["access_token"], api_token):
                async with bearer(node, token) as program:
                    assert (await program.get("/api/v1/status")).status_code == 401
            answer2 = await client.post(
                "/api/v1/tokens/refresh", json={"refresh_token": made["refresh_token"]}
            )
            assert answer2.json()["code"] == "refresh_token_invalid"
            again = await tokens_of(node, "anna")
            async with bearer(node, again["access_token"]) as program:
                assert (await program.get("/api/v1/status")).status_code == 200
        (note, *_rest) = await audit_of(node, "key.rotate")
        assert note == ("admin", "user", "access.key", "done", "4 sign-ins and 1 API tokens ended")
