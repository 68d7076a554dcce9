"""Claiming a new box over the API."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.core.limits import SETUP_CODE_WINDOW_MS
from tests.node_kit import PASSWORD, running_node


async def test_the_code_claims_the_box_once(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        code = node.services.setup_code.issue()
        assert (await client.get("/api/v1/setup")).json() == {"needs_setup": True, "code_valid": True}
        answer = await client.post("/api/v1/setup", json={"code": code.lower(), "password": PASSWORD})
        assert answer.status_code == 201
        assert answer.json()["user_id"] == "admin"
        assert (await client.get("/api/v1/status")).status_code == 200
        assert (await client.get("/api/v1/setup")).json() == {"needs_setup": False, "code_valid": False}
        async with node.client(address="192.0.2.9") as second:
            again = await second.post(
                "/api/v1/setup", json={"code": code, "password": PASSWORD, "user_id": "eve"}
            )
            assert (again.status_code, again.json()["code"]) == (403, "setup_code_used")
        users = await node.catalog.read(lambda catalog: catalog.count_users())
        assert users == 1


async def test_a_bad_password_does_not_use_the_code_up(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        code = node.services.setup_code.issue()
        answer = await client.post("/api/v1/setup", json={"code": code, "password": "short"})
        assert (answer.status_code, answer.json()["code"]) == (422, "password_too_short")
        answer = await client.post("/api/v1/setup", json={"code": code, "password": PASSWORD})
        assert answer.status_code == 201


async def test_a_wrong_and_a_late_code_are_refused(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        answer = await client.post("/api/v1/setup", json={"code": "AAAAA-AAAAA", "password": PASSWORD})
        assert answer.json()["code"] == "setup_code_missing"
        code = node.services.setup_code.issue()
        wrong = "00000-00000" if code != "00000-00000" else "11111-11111"
        answer = await client.post("/api/v1/setup", json={"code": wrong, "password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (403, "setup_code_wrong")
        node.clock.advance(SETUP_CODE_WINDOW_MS)
        answer = await client.post("/api/v1/setup", json={"code": code, "password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (403, "setup_code_expired")


async def test_only_the_box_itself_makes_a_new_code_and_only_while_unclaimed(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        async with node.client(address="127.0.0.1") as stranger:
            assert (await stranger.post("/api/v1/setup/code")).status_code == 403
        async with node.client(local=True) as local:
            made = (await local.post("/api/v1/setup/code")).json()
            assert made["expires_in_s"] == SETUP_CODE_WINDOW_MS // 1000
            async with node.client() as client:
                answer = await client.post("/api/v1/setup", json={"code": made["code"], "password": PASSWORD})
                assert answer.status_code == 201
            answer = await local.post("/api/v1/setup/code")
            assert (answer.status_code, answer.json()["code"]) == (409, "claimed_already")


@pytest.mark.parametrize("body", [{}, {"code": 5, "password": PASSWORD}, {"code": "x", "pasword": PASSWORD}])
async def test_a_body_that_is_no_claim(tmp_path: Path, body: dict[str, object]) -> None:
    async with running_node(tmp_path) as node, node.client() as client:
        answer = await client.post("/api/v1/setup", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "body_unusable")


async def test_an_admin_made_on_the_box_ends_the_set_up_and_can_sign_in(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.client() as client:
        code = node.services.setup_code.issue()
        assert (await client.get("/sign-in")).headers["location"] == "/setup"
        async with node.client(local=True) as local:
            body = {"user_id": "anna", "password": PASSWORD, "role": "admin"}
            assert (await local.post("/api/v1/users", json=body)).status_code == 201
        assert (await client.get("/sign-in")).status_code == 200
        assert (await client.get("/")).headers["location"] == "/sign-in"
        answer = await client.post("/api/v1/setup", json={"code": code, "password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (403, "setup_code_missing")
        signed_in = await client.post("/sign-in", data={"user": "anna", "password": PASSWORD})
        assert signed_in.headers["location"] == "/"
