"""Programs sign in, refresh, and are stopped: at once, and for good."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from appliance.core.limits import ACCESS_TOKEN_LIFETIME_MS, TOKEN_FAMILY_LIFETIME_MS
from tests.acts import ACT
from tests.node_kit import PASSWORD, running_node
from tests.people_kit import add_user, audit_of, bearer, browser, sign_in, tokens_of


async def _refresh(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/api/v1/tokens/refresh", json={"refresh_token": token})


async def _code(client: httpx.AsyncClient, path: str = "/api/v1/status") -> str:
    answer = await client.get(path)
    return str(answer.json().get("code", answer.status_code))


async def test_a_program_signs_in_and_is_its_user(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna", "operator")
        made = await tokens_of(node, "anna")
        assert (made["token_type"], made["user_id"], made["role"]) == ("Bearer", "anna", "operator")
        assert made["refresh_token"].startswith("hpr_")
        assert made["expires_in_s"] in (3599, 3600)
        async with bearer(node, made["access_token"]) as client:
            session = (await client.get("/api/v1/session")).json()
            assert session == {"user_id": "anna", "role": "operator", "via": "bearer", "csrf_token": ""}
            # No CSRF token, and none needed: no page of another site can send this header.
            assert (await client.patch("/api/v1/account", json={"display_name": "Anna"})).status_code == 200
        assert await audit_of(node, "token.sign_in") == [("anna", "user", "anna", "done", "")]
        stored = await node.catalog.read(
            lambda catalog: str([tuple(r) for r in catalog.rows("SELECT * FROM refresh_tokens")])
        )
        assert made["refresh_token"] not in stored


async def test_a_token_from_another_sites_page_can_not_act(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna")
        async with bearer(node, (await tokens_of(node, "anna"))["access_token"]) as client:
            answer = await client.patch(
                "/api/v1/account", json={"display_name": "x"}, headers={"origin": "https://evil.test"}
            )
            assert answer.json()["code"] == "csrf_failed"


async def test_a_request_with_a_token_is_judged_by_it_alone(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna")
        await node.add_admin()
        token = (await tokens_of(node, "anna"))["access_token"]
        async with browser(node, "admin") as client:
            client.headers["authorization"] = f"Bearer {token}"
            assert (await client.get("/api/v1/session")).json()["user_id"] == "anna"
            client.headers["authorization"] = "Bearer nonsense"
            assert await _code(client) == "access_token_invalid"
            client.headers["authorization"] = "Basic YWRtaW46YWRtaW4="
            assert await _code(client) == "authorization_invalid"
            answer = await client.get("/api/v1/status")
            assert answer.headers["www-authenticate"] == 'Bearer realm="homeport"'
            assert (await client.get("/api/v1/setup")).status_code == 200, "what is open stays open"


async def test_two_tokens_in_one_request_are_none(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await add_user(node, "anna")
        token = (await tokens_of(node, "anna"))["access_token"]
        headers = [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")]
        answer = await client.get("/api/v1/status", headers=headers)
        assert answer.json()["code"] == "authorization_invalid"


async def test_an_access_token_ends_after_an_hour_and_is_refreshed(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await add_user(node, "anna")
        made = await tokens_of(node, "anna")
        node.clock.advance(ACCESS_TOKEN_LIFETIME_MS)
        async with bearer(node, made["access_token"]) as program:
            answer = await program.get("/api/v1/status")
            assert answer.json()["code"] == "access_token_expired"
            assert answer.headers["www-authenticate"] == 'Bearer realm="homeport", error="invalid_token"'
            # Programs send the old token with everything; refreshing must not mind.
            again = await _refresh(program, made["refresh_token"])
        assert again.status_code == 201
        assert again.json()["refresh_token"] != made["refresh_token"]
        assert again.json()["refresh_expires_at_ms"] == made["refresh_expires_at_ms"]
        async with bearer(node, again.json()["access_token"]) as program:
            assert await _code(program) == "200"
        del client


async def test_a_reused_refresh_token_ends_its_family_and_no_other(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await add_user(node, "anna")
        stolen, other = await tokens_of(node, "anna"), await tokens_of(node, "anna")
        newest = (await _refresh(client, stolen["refresh_token"])).json()
        answer = await _refresh(client, stolen["refresh_token"])
        assert (answer.status_code, answer.json()["code"]) == (401, "refresh_token_reused")
        for token in (stolen["access_token"], newest["access_token"]):
            async with bearer(node, token) as program:
                assert await _code(program) == "access_token_revoked"
        assert (await _refresh(client, newest["refresh_token"])).json()["code"] == "refresh_token_invalid"
        async with bearer(node, other["access_token"]) as program:
            assert await _code(program) == "200"
        (refused,) = [e for e in await audit_of(node, "token.refresh") if e[3] == "refused"]
        assert refused[:3] == ("", "nobody", "anna")
        assert refused[4].startswith("refresh_token_reused")
        because = await node.catalog.read(
            lambda catalog: catalog.rows("SELECT revoked_because FROM token_families WHERE revoked_at_ms > 0")
        )
        assert [row[0] for row in because] == ["refresh_token_reused"]


async def test_no_sign_in_outlives_thirty_days(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await add_user(node, "anna")
        made = await tokens_of(node, "anna")
        node.clock.advance(TOKEN_FAMILY_LIFETIME_MS - 1)
        made = (await _refresh(client, made["refresh_token"])).json()
        node.clock.advance(1)
        assert (await _refresh(client, made["refresh_token"])).json()["code"] == "refresh_token_invalid"
        async with bearer(node, made["access_token"]) as program:
            assert await _code(program) == "access_token_revoked"


@pytest.mark.parametrize("token", ["x", "hpr_" + "A" * 32, "hpa_" + "A" * 32, "ä" * 36])
async def test_a_guess_costs_no_write_and_tells_nothing(tmp_path: Path, token: str) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        before = node.catalog.statistics().writer.served_total
        assert (await _refresh(client, token)).json()["code"] == "refresh_token_invalid"
        answer = await client.post("/api/v1/tokens/revoke", json={"token": token})
        assert answer.status_code == 204
        assert node.catalog.statistics().writer.served_total == before


async def test_a_revoked_access_token_is_refused_with_the_next_request(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await add_user(node, "anna")
        made = await tokens_of(node, "anna")
        async with bearer(node, made["access_token"]) as program:
            assert await _code(program) == "200"
            for _ in range(2):
                answer = await client.post("/api/v1/tokens/revoke", json={"token": made["access_token"]})
                assert answer.status_code == 204
            assert await _code(program) == "access_token_revoked"
        assert len(await audit_of(node, "token.revoke")) == 1
        again = (await _refresh(client, made["refresh_token"])).json()
        async with bearer(node, again["access_token"]) as program:
            assert await _code(program) == "200"


async def test_a_revoked_refresh_token_ends_the_sign_in(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await add_user(node, "anna")
        made = await tokens_of(node, "anna")
        for _ in range(2):
            answer = await client.post("/api/v1/tokens/revoke", json={"token": made["refresh_token"]})
            assert answer.status_code == 204
        async with bearer(node, made["access_token"]) as program:
            assert await _code(program) == "access_token_revoked"
        assert await audit_of(node, "token.revoke") == [("anna", "user", "anna", "done", "sign-in")]


async def test_a_new_role_or_password_holds_for_the_next_request(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await add_user(node, "anna", "installer")
        made = await tokens_of(node, "anna")
        async with bearer(node, made["access_token"]) as program, browser(node, "anna") as page:
            assert (await program.post("/api/v1/devices", json={"device_id": "d1"})).status_code == 201
            await node.catalog.write(lambda catalog: catalog.set_role("anna", "viewer", None), by=ACT)
            answer = await program.post("/api/v1/devices", json={"device_id": "d2"})
            assert answer.json()["code"] == "access_token_stale"
            answer = await page.post("/api/v1/devices", json={"device_id": "d2"})
            assert answer.json()["code"] == "role_too_low"
            made = (await _refresh(client, made["refresh_token"])).json()
            program.headers["authorization"] = f"Bearer {made['access_token']}"
            answer = await program.post("/api/v1/devices", json={"device_id": "d2"})
            assert answer.json()["code"] == "role_too_low"
            await node.catalog.write(lambda catalog: catalog.set_password("anna", "$argon2id$other"), by=ACT)
            assert await _code(program) == "access_token_revoked"
            assert await _code(page) == "sign_in_required"
            assert (await _refresh(client, made["refresh_token"])).json()["code"] == "refresh_token_invalid"


async def test_credentials_move_on_though_the_clock_goes_back(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna", "installer")
        made = await tokens_of(node, "anna")
        node.clock.set_wall(node.clock.now_ms() - 5_000_000)
        await node.catalog.write(lambda catalog: catalog.set_role("anna", "viewer", None), by=ACT)
        async with bearer(node, made["access_token"]) as program:
            assert await _code(program) == "access_token_stale"


async def test_a_program_on_the_box_signs_in_nowhere(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        await add_user(node, "anna")
        assert (await sign_in(client, "anna", PASSWORD)).json()["code"] == "forbidden"
