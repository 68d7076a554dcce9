"""People for tests: users of every role in one node's catalog, and clients that are signed in as them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from appliance.management.permissions import Role, Scope, scope_to_json
from storage.catalog import Catalog
from tests.acts import ACT
from tests.node_kit import PASSWORD, QUICK, Node

HASH = QUICK.hash(PASSWORD)


async def add_user(node: Node, user_id: str, role: Role = "viewer", scope: Scope = None) -> None:
    """A user whose password is PASSWORD."""
    await node.catalog.write(
        lambda catalog: catalog.add_user(user_id, role=role, password_hash=HASH, scope=scope), by=ACT
    )


async def sign_in(
    client: httpx.AsyncClient, user_id: str, password: str = PASSWORD, code: str = ""
) -> httpx.Response:
    return await client.post("/api/v1/tokens", json={"user_id": user_id, "password": password, "code": code})


async def tokens_of(node: Node, user_id: str) -> dict[str, Any]:
    """The answer of signing in as a program, from the usual address."""
    async with node.client() as client:
        answer = await sign_in(client, user_id)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made


@asynccontextmanager
async def bearer(node: Node, token: str) -> AsyncIterator[httpx.AsyncClient]:
    """A program that shows a token."""
    async with node.client() as client:
        client.headers["authorization"] = f"Bearer {token}"
        yield client


@asynccontextmanager
async def browser(node: Node, user_id: str) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that is signed in; sends its CSRF token with every request."""
    async with node.client() as client:
        answer = await client.post("/api/v1/session", json={"user_id": user_id, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        client.headers["x-csrf-token"] = answer.json()["csrf_token"]
        yield client


async def audit_of(node: Node, action: str) -> list[tuple[str, str, str, str, str]]:
    """Actor, its kind, object, outcome and detail of each entry of an action, the oldest first."""
    rows = await node.catalog.read(
        lambda catalog: catalog.rows(
            "SELECT actor, actor_kind, object_id, outcome, detail FROM audit WHERE action = ? ORDER BY seq",
            (action,),
        )
    )
    return [tuple(row) for row in rows]


@asynccontextmanager
async def person(
    node: Node, role: Role, scope: Scope = None, *, user_id: str = ""
) -> AsyncIterator[httpx.AsyncClient]:
    """A browser of a new user; sends the CSRF token with every request. The user's name is the role's unless said otherwise."""
    name = user_id or role
    password_hash = QUICK.hash(PASSWORD)

    def write(catalog: Catalog) -> None:
        catalog.add_user(name, role=role, password_hash=password_hash)
        catalog.execute(
            "UPDATE users SET scope = ?, origin = ?, hlc = ? WHERE user_id = ?",
            (scope_to_json(scope), catalog.origin, catalog.hlc, name),
        )

    await node.catalog.write(write, by=ACT)
    async with node.client() as client:
        answer = await client.post("/api/v1/session", json={"user_id": name, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        client.headers["x-csrf-token"] = answer.json()["csrf_token"]
        yield client
