"""Everybody against every address: allowed exactly where `may` says so, by the table of tests/permission_rows.py.

Each address of the API and of the pages is asked by nobody, by each role, by users of one group of devices, by programs with
access and API tokens, by tokens that expired or were revoked, by somebody who is disabled, and by a program on the box. Requests
carry no body: what is refused is refused before one is looked at, and what is allowed then fails for lack of it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import pytest
from starlette.routing import Route

from appliance.core.limits import ACCESS_TOKEN_LIFETIME_MS
from appliance.management.permissions import PERMISSIONS, Role, Scope, may
from tests.acts import ACT
from tests.node_kit import Node, running_node
from tests.people_kit import add_user, bearer, browser, tokens_of
from tests.permission_rows import API, PAGES
from tests.rollout_kit import node_with_updates
from ui import pages
from ui.api.routes import ENDPOINTS

HALL: Final = frozenset({"hall"})
REFUSED_CODES: Final = frozenset({"role_too_low", "scope_too_narrow", "forbidden"})
PEOPLE_ONLY_API: Final = frozenset({"POST /account/totp", "POST /account/sign-out-others", "DELETE /session"})
PEOPLE_ONLY_PAGES: Final = frozenset(row for row in PAGES if row.split()[1].startswith("/account"))
"""Beyond the permission: not by an API token, nor by a program on the box, which has no account."""
ENDS_WHAT_SIGNS_IN: Final = frozenset({"DELETE /sessions/{session_id}", "DELETE /api-tokens/{token_id}"})
"""Beyond the permission: not by an API token, unless it may manage users."""
RECENTLY_SIGNED_IN: Final = frozenset({"GET /setup/recovery-kit", "POST /setup/recovery-kit"})
"""Beyond the permission: with a browser that signed in a short time ago, not with a token."""
ENDS_EVERYTHING: Final = (
    "DELETE /session",
    "POST /account/sign-out-others",
    "POST /keys/rotate",
    "POST /people/end-everything",
    "POST /sign-out",
)
"""After these, whoever asked has to sign in again."""


@dataclass(frozen=True)
class Who:
    """Somebody who asks: what they may (None: nothing at all), and how their client is made."""

    role: Role | None
    scope: Scope = None
    client: Callable[[Node], Awaitable[str]] | None = None
    user_id: str = ""
    is_local: bool = False
    is_person: bool = True


async def _access_token(node: Node, user_id: str) -> str:
    return str((await tokens_of(node, user_id))["access_token"])


async def _expired(node: Node) -> str:
    token = await _access_token(node, "admin")
    node.clock.advance(ACCESS_TOKEN_LIFETIME_MS)
    return token


async def _revoked(node: Node) -> str:
    token = await _access_token(node, "admin")
    async with node.client() as client:
        assert (await client.post("/api/v1/tokens/revoke", json={"token": token})).status_code == 204
    return token


async def _stale(node: Node) -> str:
    token = await _access_token(node, "other-admin")
    await node.catalog.write(lambda catalog: catalog.set_role("other-admin", "viewer", None), by=ACT)
    await node.catalog.write(lambda catalog: catalog.set_role("other-admin", "admin", None), by=ACT)
    return token


async def _disabled(node: Node) -> str:
    await node.catalog.write(lambda catalog: catalog.enable_user("other-admin"), by=ACT)
    token = await _access_token(node, "other-admin")
    await node.catalog.write(lambda catalog: catalog.disable_user("other-admin"), by=ACT)
    return token


def _api_token(user_id: str, role: Role, *, expired: bool = False) -> Callable[[Node], Awaitable[str]]:
    async def make(node: Node) -> str:
        async with browser(node, user_id) as client:
            name = f"t{node.clock.now_ms()}"
            body = {"name": name, "role": role, "expires_in_s": 60 if expired else 86_400}
            answer = await client.post("/api/v1/api-tokens", json=body)
            assert answer.status_code == 201, answer.text
        if expired:
            node.clock.advance(60_000)
        return str(answer.json()["token"])

    return make


WHO: Final[dict[str, Who]] = {
    "nobody": Who(None, None),
    "viewer": Who("viewer", None, user_id="viewer"),
    "operator": Who("operator", None, user_id="operator"),
    "installer": Who("installer", None, user_id="installer"),
    "admin": Who("admin", None, user_id="admin"),
    "viewer of the hall": Who("viewer", HALL, user_id="hall-viewer"),
    "admin of the hall": Who("admin", HALL, user_id="hall-admin"),
    "an operator's program": Who("operator", None, lambda node: _access_token(node, "operator")),
    "an admin's program": Who("admin", None, lambda node: _access_token(node, "admin")),
    "an admin's viewing API token": Who("viewer", None, _api_token("admin", "viewer"), is_person=False),
    "the hall admin's API token": Who("admin", HALL, _api_token("hall-admin", "admin"), is_person=False),
    "an expired access token": Who(None, None, _expired),
    "a revoked access token": Who(None, None, _revoked),
    "an access token from before a change": Who(None, None, _stale),
    "somebody disabled": Who(None, None, _disabled),
    "an expired API token": Who(None, None, _api_token("admin", "admin", expired=True)),
    "a program on the box": Who("admin", None, is_local=True, is_person=False),
}


@asynccontextmanager
async def _as(node: Node, who: Who) -> AsyncIterator[httpx.AsyncClient]:
    # Limits of so many in a time are not what is tested here.
    node.clock.advance(120_000)
    if who.is_local or (who.client is None and not who.user_id):
        async with node.client(local=who.is_local) as client:
            yield client
    elif who.client is not None:
        async with bearer(node, await who.client(node)) as client:
            yield client
    else:
        async with browser(node, who.user_id) as client:
            yield client


@asynccontextmanager
async def _peopled(tmp_path: Path) -> AsyncIterator[Node]:
    async with node_with_updates(tmp_path, with_pages=True) as node:
        node.services.stopping.set()  # So that streams which are allowed end at once.
        await node.catalog.write(lambda catalog: catalog.add_group("hall"), by=ACT)
        for role in ("viewer", "operator", "installer", "admin"):
            await add_user(node, role, role)
        await add_user(node, "other-admin", "admin")
        await add_user(node, "hall-viewer", "viewer", HALL)
        await add_user(node, "hall-admin", "admin", HALL)
        yield node


def _is_allowed(who: Who, row: str, needs: str, people_only: frozenset[str]) -> bool:
    if needs == "local":
        return who.is_local
    if (row in people_only and not who.is_person) or (row in RECENTLY_SIGNED_IN and who.client is not None):
        return False
    if row in ENDS_WHAT_SIGNS_IN and not who.is_person:
        needs = "users.manage"
    assert needs in PERMISSIONS, needs
    return who.role is not None and may(who.role, who.scope, needs)


async def _walk(
    node: Node, who: Who, rows: dict[str, str], base: str, people_only: frozenset[str]
) -> dict[str, str]:
    """Ask each address; returns those that answered otherwise than the table says, with what they said."""
    wrong: dict[str, str] = {}
    ordinary = [row for row in rows if row not in ENDS_EVERYTHING]
    async with _as(node, who) as client:
        for row in ordinary:
            await _ask(client, who, row, rows[row], base, wrong, people_only)
            node.clock.advance(2_500)
    for row in (row for row in rows if row in ENDS_EVERYTHING):
        async with _as(node, who) as client:
            await _ask(client, who, row, rows[row], base, wrong, people_only)
    return wrong


async def _ask(
    client: httpx.AsyncClient,
    who: Who,
    row: str,
    needs: str,
    base: str,
    wrong: dict[str, str],
    people_only: frozenset[str],
) -> None:
    method, template = row.split(" ", 1)
    path = re.sub(r"\{[^}]+\}", "nothing", template)
    answer = await client.request(method, base + path)
    refused = _refusal_of(answer)
    told = f"{answer.status_code} {refused or answer.text[:200]}"
    is_wrong = needs != "open" and bool(refused) == _is_allowed(who, row, needs, people_only)
    if answer.status_code >= 500 or answer.status_code == 429 or is_wrong:
        wrong[row] = told


def _refusal_of(answer: httpx.Response) -> str:
    """Why somebody may not, "" if they may: of the API a code, of a page its words or the way to the door."""
    if answer.headers.get("content-type", "") == "application/problem+json":
        code = str(answer.json()["code"])
        return code if answer.status_code == 401 or code in REFUSED_CODES else ""
    if answer.status_code == 303 and answer.headers["location"].partition("?")[0] in ("/sign-in", "/setup"):
        return "led to the door"
    if answer.status_code == 401:
        return "not signed in"
    if answer.status_code == 403:
        words = re.search(
            r"This needs the role|This concerns the whole site|is for people who signed in", answer.text
        )
        return words.group() if words else ""
    return ""


def test_every_address_of_the_api_has_a_row() -> None:
    assert {f"{each.method} {each.path}" for each in ENDPOINTS} == set(API)


def test_the_program_says_the_same() -> None:
    assert {f"{each.method} {each.path}": each.needs or each.access for each in ENDPOINTS} == API


async def test_every_page_has_a_row(tmp_path: Path) -> None:
    async with running_node(tmp_path) as node:
        routes = pages.routes(node.services)
        assert all(isinstance(route, Route) for route in routes)
        found = {f"{m} {route.path}" for route in routes for m in (route.methods or set()) - {"HEAD"}}
        assert found == set(PAGES)


@pytest.mark.parametrize("name", WHO)
async def test_the_api(tmp_path: Path, name: str) -> None:
    async with _peopled(tmp_path) as node:
        assert await _walk(node, WHO[name], API, "/api/v1", PEOPLE_ONLY_API) == {}


@pytest.mark.parametrize("name", WHO)
async def test_the_pages(tmp_path: Path, name: str) -> None:
    async with _peopled(tmp_path) as node:
        assert await _walk(node, WHO[name], PAGES, "", PEOPLE_ONLY_PAGES) == {}
