"""Who somebody is: from memory where nothing changed, afresh where something did, and the last known good without a catalog."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from starlette.requests import Request

from appliance.core.errors import Unavailable
from appliance.core.limits import API_TOKEN_TOUCH_MS, CACHE_TTL_MS, SESSION_TOUCH_MS, TOUCH_PAUSE_MS
from storage.catalog import AsyncCatalog
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.people_kit import add_user, bearer, browser, tokens_of
from ui import auth


async def _status(client: httpx.AsyncClient) -> int:
    return (await client.get("/api/v1/session")).status_code


def _reads(node: Node) -> int:
    return node.catalog.statistics().pools["auth"].served_total


async def test_nothing_is_read_while_nothing_changed(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna")
        made = await tokens_of(node, "anna")
        async with bearer(node, made["access_token"]) as program, browser(node, "anna") as page:
            assert [await _status(program), await _status(page)] == [200, 200]
            before = _reads(node)
            for _ in range(20):
                assert [await _status(program), await _status(page)] == [200, 200]
            assert _reads(node) == before
            await node.catalog.write(lambda catalog: catalog.set_display_name("anna", "A"), by=ACT)
            assert await _status(page) == 200
            assert _reads(node) > before


async def test_the_last_known_good_serves_and_never_what_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna")
        made, ended = await tokens_of(node, "anna"), await tokens_of(node, "anna")
        async with (
            bearer(node, made["access_token"]) as program,
            bearer(node, ended["access_token"]) as other,
        ):
            assert [await _status(program), await _status(other)] == [200, 200]
            await other.post("/api/v1/tokens/revoke", json={"token": ended["refresh_token"]})

            async def fails(*_: object, **__: object) -> None:
                raise Unavailable("The catalog is locked.", hint="Wait.", code="catalog_locked")

            with monkeypatch.context() as locked:
                locked.setattr(AsyncCatalog, "read", fails)
                node.clock.advance(CACHE_TTL_MS)
                answer = await program.get("/api/v1/session")
                assert answer.status_code == 200, answer.text
                refused = await other.get("/api/v1/session")
                assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
            node.clock.advance(2_000)
            assert [await _status(program), await _status(other)] == [200, 401]


async def test_a_last_use_is_written_now_and_then_and_holds_nothing_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna")
        async with browser(node, "anna") as page:
            body = {"name": "x", "role": "viewer", "expires_in_s": 86_400}
            token = (await page.post("/api/v1/api-tokens", json=body)).json()["token"]
            async with bearer(node, token) as program:

                def written() -> int:
                    return node.catalog.statistics().writer.served_total

                before = written()
                for _ in range(3):
                    assert await _status(program) == 200
                assert written() == before + 1
                node.clock.advance(max(API_TOKEN_TOUCH_MS, SESSION_TOUCH_MS))
                for _ in range(3):
                    assert [await _status(program), await _status(page)] == [200, 200]
                assert written() == before + 3

                asked = [0]

                async def fails(*_: object, **__: object) -> None:
                    asked[0] += 1
                    raise Unavailable("The catalog is locked.", hint="Wait.", code="catalog_locked")

                node.clock.advance(max(API_TOKEN_TOUCH_MS, SESSION_TOUCH_MS))
                with monkeypatch.context() as locked:
                    locked.setattr(AsyncCatalog, "write", fails)
                    for _ in range(5):
                        assert [await _status(program), await _status(page)] == [200, 200]
                    assert asked == [1]
                node.clock.advance(TOUCH_PAUSE_MS)
                assert await _status(page) == 200
                assert written() == before + 4


async def test_a_stream_asks_whether_it_is_still_the_same(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        await add_user(node, "anna", "installer")
        made = await tokens_of(node, "anna")
        scope = {
            "type": "http",
            "scheme": "https",
            "method": "GET",
            "path": "/",
            "headers": [(b"authorization", f"Bearer {made['access_token']}".encode())],
            "client": ("192.0.2.7", 1),
            "app": type("App", (), {"state": type("State", (), {"services": node.services})()})(),
        }
        request = Request(scope)
        assert await auth.is_still(request)
        await node.catalog.write(lambda catalog: catalog.set_role("anna", "viewer", None), by=ACT)
        assert not await auth.is_still(request)
        assert not await auth.is_still(Request({**scope, "headers": []}))
