"""One's own account on its page; the rules themselves are tested where the API's are."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pyotp

from appliance.core.limits import TOTP_STEP_MS
from tests.acts import ACT
from tests.node_kit import PASSWORD, Node, running_node
from tests.people_kit import add_user, bearer, browser, tokens_of

NEW = "another quiet sentence"


def secret_on(page: str) -> str:
    found = re.search(r'name="secret" value="([A-Z2-7]+)"', page)
    assert found, page
    return found.group(1)


def code_of(node: Node, secret: str) -> str:
    return pyotp.TOTP(secret).at(node.clock.now_ms() // 1000)


async def set_up_totp(node: Node, client: httpx.AsyncClient, **changes: str) -> httpx.Response:
    page = (await client.post("/account/totp/begin")).text
    secret = secret_on(page)
    enrolment = re.search(r'name="enrolment" value="([^"]+)"', page)
    assert enrolment
    form = {
        "enrolment": enrolment.group(1),
        "secret": secret,
        "code": code_of(node, secret),
        "password": PASSWORD,
    }
    return await client.post("/account/totp", data={**form, **changes})


async def test_a_password_is_changed_and_others_are_signed_out(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await add_user(node, "anna")
        async with browser(node, "anna") as here, browser(node, "anna") as there:
            form = {"old": PASSWORD, "password": NEW, "password_again": NEW}
            answer = await here.post("/account/password", data=form)
            assert answer.headers["location"] == "/account?done=password"
            assert "Your password is changed" in (await here.get("/account?done=password")).text
            assert (await there.get("/account")).headers["location"].startswith("/sign-in")


async def test_a_wrong_old_password_and_differing_new_ones_change_nothing(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await add_user(node, "anna")
        async with browser(node, "anna") as client:
            form = {"old": "wrong", "password": NEW, "password_again": NEW}
            answer = await client.post("/account/password", data=form)
            assert "That is not your password" in answer.text
            form = {"old": PASSWORD, "password": NEW, "password_again": NEW + "!"}
            answer = await client.post("/account/password", data=form)
            assert (answer.status_code, "The two passwords differ" in answer.text) == (422, True)
            assert NEW not in answer.text


async def test_the_second_factor_is_set_up_and_taken_off(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await add_user(node, "anna")
        async with browser(node, "anna") as client:
            wrong = await set_up_totp(node, client, code="000000")
            assert wrong.status_code == 422
            assert "QR code" in wrong.text, "the same secret is shown again"
            assert (await set_up_totp(node, client)).headers["location"] == "/account?done=totp"
            user = await node.catalog.read(lambda catalog: catalog.get_user("anna"))
            assert user.totp_sealed
            node.clock.advance(TOTP_STEP_MS)
            assert "Turn it off" in (await client.get("/account")).text
            answer = await client.post("/account/totp/remove", data={"password": PASSWORD})
            assert answer.headers["location"] == "/account?done=totp-removed"


async def test_the_secret_is_shown_once_and_as_a_picture_of_our_own(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await add_user(node, "anna")
        async with browser(node, "anna") as client:
            page = (await client.post("/account/totp/begin")).text
            assert 'src="data:image/svg+xml' in page
            assert secret_on(page) not in (await client.get("/account")).text
            # Who comes back with a secret of their own making gets no page that shows it.
            form = {"enrolment": "x", "secret": "<script>", "code": "1", "password": PASSWORD}
            assert "<script>" not in (await client.post("/account/totp", data=form)).text


async def test_sessions_are_listed_and_ended(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await add_user(node, "anna")
        await tokens_of(node, "anna")
        async with browser(node, "anna") as here, browser(node, "anna") as there:
            page = (await here.get("/account")).text
            ids = re.findall(r'name="session_id" value="([^"]+)"', page)
            assert len(ids) == 2, "all but this one have a button"
            program = next(each for each in ids if each.startswith("p"))
            answer = await here.post("/account/sessions/end", data={"session_id": program})
            assert answer.headers["location"] == "/account?done=session"
            assert (await there.get("/account")).status_code == 200
            await here.post("/account/sessions/end-others")
            assert (await there.get("/account")).status_code == 303
            assert (await here.get("/account")).status_code == 200


async def test_a_token_is_shown_once_works_and_is_revoked(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await add_user(node, "anna", role="operator")
        async with browser(node, "anna") as client:
            form = {"name": "grafana", "role": "viewer", "scope": "own", "days": "30"}
            page = (await client.post("/account/tokens", data=form)).text
            found = re.search(r"hpa_[A-Za-z0-9_-]+", page)
            assert found
            async with bearer(node, found.group()) as program:
                assert (await program.get("/api/v1/status")).status_code == 200
                listed = (await client.get("/account")).text
                assert found.group() not in listed
                token_id = re.search(r'name="token_id" value="([^"]+)"', listed)
                assert token_id
                answer = await client.post("/account/tokens/revoke", data={"token_id": token_id.group(1)})
                assert answer.headers["location"] == "/account?done=token"
                assert (await program.get("/api/v1/status")).status_code == 401


async def test_a_token_is_never_more_than_its_user(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await node.catalog.write(lambda catalog: catalog.add_group("hall-1"), by=ACT)
        await add_user(node, "anna", role="operator", scope=frozenset({"hall-1"}))
        async with browser(node, "anna") as client:
            assert 'value="admin"' not in (await client.get("/account")).text
            for changes in (
                {"role": "admin"},
                {"scope": "site"},
                {"days": "4000"},
                {"days": "x"},
                {"role": "x"},
            ):
                form = {"name": "x", "role": "viewer", "scope": "own", "days": "30", **changes}
                assert (await client.post("/account/tokens", data=form)).status_code == 422, changes
            form = {"name": "x", "role": "viewer", "scope": "groups", "group": "hall-1", "days": "30"}
            assert "hpa_" in (await client.post("/account/tokens", data=form)).text


async def test_somebody_else_s_session_can_t_be_ended(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        await add_user(node, "anna")
        await add_user(node, "eve")
        async with browser(node, "anna") as anna, browser(node, "anna"), browser(node, "eve") as eve:
            (theirs,) = re.findall(r'name="session_id" value="([^"]+)"', (await anna.get("/account")).text)
            answer = await eve.post("/account/sessions/end", data={"session_id": theirs})
            assert answer.status_code == 404
