"""Applies the rate limits to every request: finds out who asks for what, refuses with 429, tells what is left.

Not counted:

* the node's Unix socket: who can open it owns the files anyway, and it is the way to mend a box on which everybody else
  is being refused; an import of 10,000 devices from there should not have to wait;
* static files: they are in memory, named by their content, and kept by the browser; one page needs a dozen of them;
* live streams, as reads: one lasts for hours. They have places instead (ui/rate_limit_streams.py), and opening one counts
  apart, so that opening and closing them without a pause is bounded too.

The answer to a refused request is made here and as cheap as it can be: problem details for the API, a line of text for a
page. A page of HTML would cost more than what was refused. It comes after RATE_LIMIT_PAUSE_MS: a program that takes no notice
of 429 would otherwise ask a thousand times a second, and each refusal costs a millisecond.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Final

import structlog
import trio
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance.core.errors import HomeportError
from appliance.core.limits import RATE_LIMIT_PAUSE_MS, RATE_LIMIT_PAUSED_COUNT_MAX
from appliance.core.token_bucket import network_of
from ui.api.endpoint import Endpoint
from ui.auth import SAFE_METHODS, Identity, identify, is_local, peer_address, services_of
from ui.middleware import discard_body
from ui.problem import Retryable, response_of
from ui.rate_limit import Kind, Standing, Subject
from ui.rate_limit_fields import fields_of

API_PREFIX: Final = "/api/"
STATIC_PREFIX: Final = "/static/"
STREAM_PREFIX: Final = "/live/"
BULK_PAGES: Final = frozenset(
    ("POST", path)
    for path in (
        "/device-import", "/device-bulk", "/backups", "/backups/verify", "/storage/restore", "/dead-letters/replay"
    )
)  # fmt: skip
"""Forms that do what a bulk operation of the API does."""

log = structlog.get_logger(__name__)


class Kinds:
    """Which requests are reads, writes, bulk operations or live streams.

    Args:
        endpoints: Of the API.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._bulk = [
            (endpoint.method, compile_path(f"/api/v1{endpoint.path}")[0])
            for endpoint in endpoints
            if endpoint.is_bulk
        ]

    def of(self, method: str, path: str) -> Kind:
        """What kind of request it is."""
        if path.startswith(STREAM_PREFIX):
            return "streams"
        if method == "HEAD":
            method = "GET"  # Which is carried out all the same; only its body isn't sent.
        if (method, path) in BULK_PAGES or any(
            method == wanted and pattern.match(path) for wanted, pattern in self._bulk
        ):
            return "bulk"
        return "reads" if method in SAFE_METHODS else "writes"


class RateLimiting:
    """See the module's docstring. Goes around the routes, within what sets `scope["app"]`."""

    def __init__(self, app: ASGIApp, *, kinds: Kinds) -> None:
        self._app = app
        self._kinds = kinds
        self._paused_count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        path = scope["path"]
        if is_local(connection) or path.startswith(STATIC_PREFIX):
            await self._app(scope, receive, send)
            return
        services = services_of(connection)
        kind = self._kinds.of(scope["method"], path)
        subject = await _subject(connection, kind)
        standing = services.rate_limits.take(subject, kind)
        is_api = path.startswith(API_PREFIX)
        if standing.retry_after_s:
            await self._pause()
            await discard_body(receive)
            await _refusal(standing, is_api=is_api)(scope, receive, send)
            return
        with ExitStack() as held:
            if kind == "streams":
                try:
                    held.enter_context(services.streams.hold(subject))
                except Retryable as error:
                    await _text(error)(scope, receive, send)
                    return
            await self._app(scope, receive, _telling(send, standing) if is_api else send)

    async def _pause(self) -> None:
        """Have who asks without a pause make one on each of its connections, as long as few do."""
        if self._paused_count < RATE_LIMIT_PAUSED_COUNT_MAX:
            self._paused_count += 1
            try:
                await trio.sleep(RATE_LIMIT_PAUSE_MS / 1000)
            finally:
                self._paused_count -= 1


async def _subject(connection: HTTPConnection, kind: Kind) -> Subject:
    try:
        identity = await identify(connection)
    except HomeportError:
        # Who it is can't be found out now; the request itself is told so, and counts as its address's.
        identity = None
    return subject_of(identity, peer_address(connection), kind)


def subject_of(identity: Identity | None, address: str, kind: Kind = "reads") -> Subject:
    """Who is counted for a request.

    Args:
        identity: None for nobody known.
        address: The peer's.
        kind: Live streams count as the user's whatever opens them: there are few places, and one may have many tokens.
    """
    if identity is None:
        return Subject("address", network_of(address))
    if identity.via in ("api_token", "cloud") and kind != "streams":
        return Subject("token", identity.token_id)
    return Subject("user", identity.user_id)


def _telling(send: Send, standing: Standing) -> Send:
    fields = fields_of(standing)

    async def send_with_fields(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in fields.items():
                headers[name] = value
        await send(message)

    return send_with_fields


def _refusal(standing: Standing, *, is_api: bool) -> Response:
    assert standing.refused_by is not None
    quota = standing.refused_by.quota
    seconds = standing.retry_after_s
    whose = "You have" if standing.refused_by is standing.own else "All together have"
    error = Retryable(
        f"{whose} made {quota.count_max} requests in {quota.window_s} s, which is as many as may be ({quota.name}).",
        hint=f"Wait {seconds} s and try again; ask less often, or for more at a time.",
        code="too_many_requests",
        retry_after_s=seconds,
    )
    response = response_of(error) if is_api else _text(error)
    response.headers.update(fields_of(standing))
    return response


def _text(error: Retryable) -> Response:
    return Response(
        f"{error.message} {error.hint}\n",
        429,
        media_type="text/plain",
        headers={"retry-after": str(error.retry_after_s)},
    )
