"""Claiming the box on its page: one wins, everybody else is told that it has an owner."""

from __future__ import annotations

from pathlib import Path

import trio

from appliance.core.limits import SETUP_CODE_WINDOW_MS
from tests.node_kit import PASSWORD, running_node


def form(code: str, user: str = "admin", **changes: str) -> dict[str, str]:
    return {"code": code, "user": user, "password": PASSWORD, "password_again": PASSWORD, **changes}


async def test_of_many_at_once_one_becomes_the_owner(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node:
        code = node.services.setup_code.issue()
        answers: dict[str, tuple[int, str]] = {}

        async def visit(name: str, address: str) -> None:
            async with node.client(address=address) as client:
                answer = await client.post("/setup", data=form(code, user=name))
                answers[name] = (answer.status_code, answer.headers.get("location", answer.text))

        async with trio.open_nursery() as nursery:
            for index in range(4):
                nursery.start_soon(visit, f"user-{index}", f"192.0.2.{index}")
        won = [where for status, where in answers.values() if status == 303]
        assert won == ["/setup/site"]
        lost = [text for status, text in answers.values() if status == 403]
        assert len(lost) == 3
        assert all("This box has an owner" in text for text in lost)
        assert await node.catalog.read(lambda catalog: catalog.count_users()) == 1


async def test_a_stranger_is_told_and_the_owner_goes_on(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.client() as owner:
        code = node.services.setup_code.issue()
        assert (await owner.post("/setup", data=form(code))).status_code == 303
        async with node.client(address="192.0.2.9") as stranger:
            answer = await stranger.get("/setup")
            assert answer.status_code == 200
            assert "This box has an owner" in answer.text
            assert 'name="code"' not in answer.text
            assert (await stranger.get("/setup/site")).headers["location"] == "/sign-in?next=%2Fsetup%2Fsite"
        assert (await owner.get("/setup")).headers["location"] == "/setup/site"


async def test_a_code_in_the_address_is_not_taken(tmp_path: Path) -> None:
    """An address ends in histories and in the logs of proxies."""
    async with running_node(tmp_path, with_pages=True) as node, node.client() as client:
        code = node.services.setup_code.issue()
        assert code not in (await client.get(f"/setup?code={code}")).text


async def test_an_expired_code_says_how_to_get_another(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.client() as client:
        code = node.services.setup_code.issue()
        assert "good for 15 min more" in (await client.get("/setup")).text
        node.clock.advance(SETUP_CODE_WINDOW_MS)
        assert "homeport setup-code" in (await client.get("/setup")).text
        answer = await client.post("/setup", data=form(code))
        assert answer.status_code == 403
        assert "15 minutes are over" in answer.text


async def test_differing_passwords_keep_the_code(tmp_path: Path) -> None:
    async with running_node(tmp_path, with_pages=True) as node, node.client() as client:
        code = node.services.setup_code.issue()
        answer = await client.post("/setup", data=form(code, password_again="another one"))
        assert answer.status_code == 422
        assert f'value="{code}"' in answer.text
        assert PASSWORD not in answer.text
        assert (await client.post("/setup", data=form(code))).status_code == 303
