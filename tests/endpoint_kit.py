"""A few endpoints of a test's own over a real catalog: what endpoints have in common, without any particular one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.routing import Mount, Router

from appliance.core.errors import Conflict, HomeportError
from storage.catalog import Catalog
from tests.node_kit import Node, running_node
from ui.api.endpoint import Call, Endpoint, Reply
from ui.app import _expected
from ui.auth import LocalTrust


class Thing(msgspec.Struct, kw_only=True, frozen=True):
    """A setting, and how often it was written by the handler."""

    value: str
    times: int


class Wish(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    value: str


@dataclass
class Things:
    """The handlers of one setting, which is a list of all values it ever had: its length is the version."""

    fail: HomeportError | None = None
    padding: str = ""
    seen: int = 0
    started: list[str] = field(default_factory=list)

    async def get_thing(self, call: Call) -> Reply:
        values = await call.services.catalog.read(_values)
        self.seen += 1
        return self._reply(values)

    async def put_thing(self, call: Call) -> Reply:
        wish: Wish = call.body
        self.started.append(wish.value)

        def write(catalog: Catalog) -> list[str]:
            values = _values(catalog)
            call.expect(str(len(values)))
            if wish.value in values:
                raise Conflict("It had that value.", hint="Choose another.", code="value_used")
            catalog.set_setting("thing", [*values, wish.value])
            return [*values, wish.value]

        values = await call.write(write)
        if self.fail is not None:
            raise self.fail
        return self._reply(values)

    async def forgetful(self, call: Call) -> Reply:
        await call.write(lambda catalog: catalog.set_setting("thing", ["forgetful"]))
        return Reply(content=None)

    def _reply(self, values: list[str]) -> Reply:
        content = Thing(value=(values[-1] if values else "") + self.padding, times=len(values))
        return Reply(content=content, version=str(len(values)))

    def endpoints(self) -> tuple[Endpoint, ...]:
        return (
            Endpoint(
                method="GET",
                path="/thing",
                handler=self.get_thing,
                needs="settings.read",
                summary="A thing",
                answer=Thing,
                etag=True,
            ),
            Endpoint(
                method="POST",
                path="/thing",
                handler=self.put_thing,
                needs="settings.manage",
                action="thing.set",
                summary="Set it",
                body=Wish,
                answer=Thing,
                status=201,
                etag=True,
                idempotent=True,
            ),
            Endpoint(
                method="DELETE",
                path="/thing",
                handler=self.forgetful,
                needs="settings.manage",
                action="thing.forget",
                summary="Takes If-Match and does not look at it",
                etag=True,
            ),
            Endpoint(
                method="PUT",
                path="/thing",
                handler=self.forgetful,
                needs="settings.manage",
                action="thing.put",
                summary="Takes neither",
            ),
        )


def _values(catalog: Catalog) -> list[str]:
    values: list[str] = catalog.get_setting("thing", [])
    return values


@asynccontextmanager
async def things_over_http(tmp_path: Path, things: Things) -> AsyncIterator[tuple[Node, httpx.AsyncClient]]:
    """The endpoints, asked by a program on the box."""
    async with running_node(tmp_path) as node:
        app = Starlette(
            routes=[Mount("/api", Router([endpoint.route() for endpoint in things.endpoints()]))],
            exception_handlers={HomeportError: _expected},  # type: ignore[dict-item]
        )
        app.state.services = node.services
        transport = httpx.ASGITransport(app=LocalTrust(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://box.test") as client:
            yield node, client
