"""One's own account: password, second factor, and what it ends."""

from __future__ import annotations

from pathlib import Path

import httpx
import pyotp

from appliance.core.limits import TOTP_STEP_MS
from tests.node_kit import PASSWORD, Node, running_node
from tests.people_kit import add_user, audit_of, bearer, browser, sign_in, tokens_of

NEW_PASSWORD = "another sentence, about coffee"


def _code(node: Node, secret: str) -> str:
    return pyotp.TOTP(secret).at(node.clock.now_ms() // 1000)


async def _enrol(node: Node, client: httpx.AsyncClient) -> str:
    made = (await client.post("/api/v1/account/totp")).json()
    body = {"enrolment": made["enrolment"], "code": _code(node, made["secret"]), "password": PASSWORD}
    answer = await client.post("/api/v1/account/totp/confirm", json=body)
    assert answer.status_code == 204, answer.text
    secret: str = made["secret"]
    return secret


async def test_who_one_is_and_what_one_may(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna", "operator")
        async with browser(node, "anna") as page:
            account = (await page.get("/api/v1/account")).json()
            assert (account["user_id"], account["via"]) == ("anna", "session")
            assert "devices.operate" in account["may"]
            assert "users.manage" not in account["may"]
            answer = await page.patch("/api/v1/account", json={"display_name": "Anna"})
            assert answer.json()["display_name"] == "Anna"
        async with node.client(local=True) as local:
            assert (await local.get("/api/v1/account")).json()["code"] == "user_unknown"


async def test_ones_own_password_needs_the_old_one_and_ends_all_but_this_browser(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna")
        made = await tokens_of(node, "anna")
        async with browser(node, "anna") as page, browser(node, "anna") as elsewhere:
            answer = await page.post(
                "/api/v1/account/password", json={"old_password": "wrong", "password": NEW_PASSWORD}
            )
            assert (answer.status_code, answer.json()["code"]) == (403, "password_wrong")
            answer = await page.post(
                "/api/v1/account/password", json={"old_password": PASSWORD, "password": "short"}
            )
            assert answer.json()["code"] == "password_too_short"
            answer = await page.post(
                "/api/v1/account/password", json={"old_password": PASSWORD, "password": NEW_PASSWORD}
            )
            assert answer.status_code == 204
            assert (await page.get("/api/v1/session")).status_code == 200
            assert (await elsewhere.get("/api/v1/session")).status_code == 401
        async with bearer(node, made["access_token"]) as program:
            assert (await program.get("/api/v1/session")).status_code == 401
        (entry,) = await audit_of(node, "account.set_password")
        assert entry[:3] == ("anna", "user", "anna")


async def test_a_second_factor_is_asked_for_once_it_is_confirmed(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await add_user(node, "anna")
        async with browser(node, "anna") as page:
            made = (await page.post("/api/v1/account/totp")).json()
            assert made["uri"].startswith("otpauth://totp/Homeport:anna%40box?secret=")
            assert (await sign_in(client, "anna")).status_code == 201, "it does not count yet"
            body = {"enrolment": made["enrolment"], "code": "000000", "password": PASSWORD}
            answer = await page.post("/api/v1/account/totp/confirm", json=body)
            assert answer.json()["code"] == "totp_code_wrong"
            secret = await _enrol(node, page)
            assert (await page.get("/api/v1/account")).json()["has_second_factor"] is True
            assert (await page.post("/api/v1/account/totp")).json()["code"] == "totp_active"
        stored = await node.catalog.read(
            lambda catalog: (
                str([tuple(r) for r in catalog.rows("SELECT * FROM users")])
                + str([tuple(r) for r in catalog.rows("SELECT * FROM audit")])
            )
        )
        assert secret not in stored
        assert (await sign_in(client, "anna")).json()["code"] == "sign_in_failed"
        # The code that confirmed it has been used.
        assert (await sign_in(client, "anna", code=_code(node, secret))).status_code == 401
        node.clock.advance(TOTP_STEP_MS)
        code = _code(node, secret)
        assert (await sign_in(client, "anna", code=code)).status_code == 201
        assert (await sign_in(client, "anna", code=code)).status_code == 401, "a code counts once"
        node.clock.advance(TOTP_STEP_MS)
        answer = await client.post(
            "/api/v1/session",
            json={"user_id": "anna", "password": PASSWORD, "code": _code(node, secret)},
        )
        assert answer.status_code == 201
        refused = [entry for entry in await audit_of(node, "session.sign_in") if entry[3] == "refused"]
        assert [entry[4] for entry in refused] == ["code_wrong", "code_used"]


async def test_a_second_factor_is_taken_away_with_the_password_or_by_an_admin(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as admin:
        await add_user(node, "anna")
        async with browser(node, "anna") as page:
            answer = await page.post("/api/v1/account/totp/remove", json={"password": PASSWORD})
            assert answer.json()["code"] == "totp_inactive"
            await _enrol(node, page)
            answer = await page.post("/api/v1/account/totp/remove", json={"password": "wrong"})
            assert answer.json()["code"] == "password_wrong"
            answer = await page.post("/api/v1/account/totp/remove", json={"password": PASSWORD})
            assert answer.status_code == 204
            node.clock.advance(TOTP_STEP_MS)
            await _enrol(node, page)
            assert (await admin.delete("/api/v1/users/anna/totp")).status_code == 204
            assert (await page.get("/api/v1/session")).status_code == 401
        async with browser(node, "anna") as page:
            assert (await page.get("/api/v1/account")).json()["has_second_factor"] is False


async def test_a_secret_of_somebody_else_is_none_of_ones_own(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna")
        await add_user(node, "bob")
        async with browser(node, "anna") as anna, browser(node, "bob") as bob:
            made = (await anna.post("/api/v1/account/totp")).json()
            body = {
                "enrolment": made["enrolment"],
                "code": _code(node, made["secret"]),
                "password": PASSWORD,
            }
            answer = await bob.post("/api/v1/account/totp/confirm", json=body)
            assert answer.json()["code"] == "totp_enrolment_invalid"
