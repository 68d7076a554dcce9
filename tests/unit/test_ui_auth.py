"""Who a request is from: sign-in, sessions, CSRF, and trust by the listener alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from appliance.core.limits import LOCKOUT_WAIT_FIRST_MS, SESSION_LIFETIME_MS, SIGN_IN_BURST_COUNT_MAX
from tests.acts import ACT
from tests.node_kit import PASSWORD, running_node
from tests.people_kit import person

ORIGIN = "https://box.test"


async def _sign_in(
    client: httpx.AsyncClient, user: str = "admin", password: str = PASSWORD
) -> httpx.Response:
    return await client.post("/api/v1/session", json={"user_id": user, "password": password})


async def test_nothing_private_without_signing_in(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        for path in ("/status", "/devices", "/devices/d", "/devices/d/newest", "/dead-letters", "/session"):
            answer = await client.get(f"/api/v1{path}")
            assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_required"), path
            assert answer.headers["cache-control"] == "no-store"


async def test_the_cookie_is_for_this_host_over_tls_and_no_script(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await node.add_admin()
        answer = await _sign_in(client)
        assert answer.status_code == 201
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-homeport=")
        words = {word.strip().lower() for word in cookie.split(";")[1:]}
        assert {"httponly", "secure", "path=/", "samesite=strict"} <= words
        assert not any(word.startswith("domain") for word in words)
        value = cookie.partition("=")[2].partition(";")[0]
        stored = await node.catalog.read(lambda catalog: catalog.rows("SELECT * FROM browser_sessions"))
        assert len(stored) == 1
        assert value not in str(tuple(stored[0]))


async def test_without_tls_the_cookie_has_a_plain_name(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(base="http://box.test") as client:
        await node.add_admin()
        answer = await _sign_in(client)
        assert answer.headers["set-cookie"].startswith("homeport=")
        assert (await client.get("/api/v1/session")).status_code == 200


@pytest.mark.parametrize(("user", "password"), [("admin", "wrong password!"), ("nobody", PASSWORD)])
async def test_a_wrong_password_and_an_unknown_user_get_the_same_answer(
    tmp_path: Path, user: str, password: str
) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await node.add_admin()
        answer = await _sign_in(client, user, password)
        assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_failed")
        assert answer.json()["detail"] == "The user name, the password or the code is wrong."
        assert "set-cookie" not in answer.headers


async def test_signing_out_ends_the_session_at_once(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        cookies = dict(client.cookies)
        answer = await client.delete("/api/v1/session")
        assert (answer.status_code, answer.headers["clear-site-data"]) == (204, '"cache", "storage"')
        client.cookies = httpx.Cookies(cookies)
        assert (await client.get("/api/v1/session")).status_code == 401


async def test_an_unused_session_ends_and_a_used_one_goes_on(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        hours = node.services.config.ui.session_hours
        for _ in range(3):
            node.clock.advance(hours * 3_600_000 - 1)
            assert (await client.get("/api/v1/session")).status_code == 200
        node.clock.advance(hours * 3_600_000)
        assert (await client.get("/api/v1/session")).status_code == 401


async def test_no_session_outlives_thirty_days(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        step_ms = node.services.config.ui.session_hours * 3_600_000 - 1
        for _ in range(SESSION_LIFETIME_MS // step_ms):
            node.clock.advance(step_ms)
            assert (await client.get("/api/v1/session")).status_code == 200
        node.clock.advance(step_ms)
        assert (await client.get("/api/v1/session")).status_code == 401


async def test_an_unsafe_request_needs_the_csrf_token(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        right = client.headers["x-csrf-token"]
        for wrong in (b"", right[::-1].encode(), "ä".encode("latin-1")):
            answer = await client.post(
                "/api/v1/devices", json={"device_id": "d"}, headers={b"x-csrf-token": wrong}
            )
            assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
        assert (await client.post("/api/v1/devices", json={"device_id": "d"})).status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.test"},
        {"origin": "null"},
    ],
)
async def test_another_sites_page_can_neither_act_nor_sign_in(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        answer = await client.post("/api/v1/devices", json={"device_id": "d"}, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
        answer = await client.post(
            "/api/v1/session", json={"user_id": "admin", "password": PASSWORD}, headers=headers
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")


async def test_our_own_page_may_sign_in(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        await node.add_admin()
        client.headers.update({"origin": ORIGIN, "sec-fetch-site": "same-origin"})
        assert (await _sign_in(client)).status_code == 201


async def test_who_comes_over_the_unix_socket_is_the_local_admin(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as client:
        answer = (await client.get("/api/v1/session")).json()
        assert answer == {"user_id": "local", "role": "admin", "via": "local", "csrf_token": ""}
        answer2 = await client.post("/api/v1/session", json={"user_id": "admin", "password": PASSWORD})
        assert (answer2.status_code, answer2.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    "headers",
    [
        {"homeport.local": "1"},
        {"x-homeport-local": "true"},
        {"x-forwarded-for": "127.0.0.1"},
        {"forwarded": "for=unix"},
        {"host": "localhost"},
    ],
)
async def test_no_header_makes_a_request_local(tmp_path: Path, headers: dict[str, str]) -> None:
    async with running_node(tmp_path) as node, node.client(address="127.0.0.1") as client:
        assert (await client.get("/api/v1/status", headers=headers)).status_code == 401
        assert (await client.post("/api/v1/setup/code", headers=headers)).status_code == 403


async def test_too_many_attempts_wait_per_address(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await node.add_admin()
        async with node.client(address="192.0.2.8") as known:
            assert (await _sign_in(known)).status_code == 201
        async with node.client() as client:
            for _ in range(SIGN_IN_BURST_COUNT_MAX):
                assert (await _sign_in(client, password="not this one")).status_code == 401
            answer = await _sign_in(client)
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many_attempts")
            wait_s = int(answer.headers["retry-after"])
            async with node.client(address="192.0.2.8") as other:
                assert (await _sign_in(other)).status_code == 201
            node.clock.advance(max(wait_s * 1000, LOCKOUT_WAIT_FIRST_MS))
            assert (await _sign_in(client)).status_code == 201


async def test_signing_in_again_ends_the_session_before(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        assert (await _sign_in(client)).status_code == 201
        rows = await node.catalog.read(lambda catalog: catalog.rows("SELECT 1 FROM browser_sessions"))
        assert len(rows) == 1


async def test_a_changed_password_ends_all_sessions(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.admin() as client:
        await node.catalog.write(lambda catalog: catalog.set_password("admin", "$argon2id$other"), by=ACT)
        assert (await client.get("/api/v1/session")).status_code == 401


async def test_a_form_may_carry_the_token(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.admin() as client:
        token = client.headers.pop("x-csrf-token")
        answer = await client.post("/sign-out", data={"csrf_token": "wrong"})
        assert answer.status_code == 403
        answer = await client.post("/sign-out", data={"csrf_token": token})
        assert answer.status_code == 303


@pytest.mark.parametrize("by_form", [False, True])
async def test_a_body_that_ends_after_its_sender_was_disabled_changes_nothing(
    tmp_path: Path, by_form: bool
) -> None:
    """A thief begins a request, and ends it when the theft was noticed."""
    async with running_node(tmp_path, with_pages=True) as node, person(node, "installer") as thief:

        async def body() -> AsyncIterator[bytes]:
            yield b"device_id=" if by_form else b'{"device_id": '
            await node.catalog.write(lambda catalog: catalog.disable_user("installer"), by=ACT)
            yield b"mine" if by_form else b'"mine"}'

        answer = await thief.post(
            "/devices/new" if by_form else "/api/v1/devices",
            content=body(),
            headers={"content-type": "application/x-www-form-urlencoded" if by_form else "application/json"},
        )
        assert answer.status_code == 401
        assert await node.catalog.read(lambda catalog: catalog.device_ids()) == []
