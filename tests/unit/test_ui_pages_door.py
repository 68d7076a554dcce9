"""The door: name, password and the second factor's code in one form, which tells nobody which of them was wrong."""

from __future__ import annotations

from pathlib import Path

import pyotp

from tests.acts import ACT
from tests.node_kit import PASSWORD, running_node
from tests.people_kit import add_user, bearer, tokens_of


async def test_the_form_takes_a_code_and_says_the_same_whatever_is_wrong(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.client() as client:
        await add_user(node, "anna")
        secret = pyotp.random_base32()
        sealed = node.services.keys.seal("totp/anna", secret.encode()).hex()
        await node.catalog.write(lambda catalog: catalog.set_totp("anna", sealed), by=ACT)
        page = await client.get("/sign-in?next=/devices")
        assert 'autocomplete="one-time-code"' in page.text
        assert 'inputmode="numeric"' in page.text
        code = pyotp.TOTP(secret).at(node.clock.now_ms() // 1000)
        form = {"user": "anna", "password": PASSWORD, "next": "/devices"}
        told = set()
        for wrong in (
            {},
            {"code": "000000"},
            {"password": "wrong", "code": code},
            {"user": "bob", "code": code},
        ):
            answer = await client.post("/sign-in", data={**form, **wrong})
            assert answer.status_code == 401
            assert "set-cookie" not in answer.headers
            told.add(answer.text.partition('role="alert"')[2].partition("</ul>")[0])
        assert len(told) == 1
        answer = await client.post("/sign-in", data={**form, "code": f"{code[:3]} {code[3:]}"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/devices")
        assert (await client.get("/devices")).status_code == 200


async def test_a_program_that_signs_out_ends_its_sign_in(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node, node.client(local=True) as local:
        await add_user(node, "anna")
        made = await tokens_of(node, "anna")
        async with bearer(node, made["access_token"]) as program:
            assert (await program.delete("/api/v1/session")).status_code == 204
            assert (await program.get("/api/v1/session")).json()["code"] == "access_token_revoked"
            answer = await program.post(
                "/api/v1/tokens/refresh", json={"refresh_token": made["refresh_token"]}
            )
            assert answer.json()["code"] == "refresh_token_invalid"
        assert (await local.delete("/api/v1/session")).json()["code"] == "forbidden"
