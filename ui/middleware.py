"""What every request goes through: a trace id, a bound on its body, and the headers that keep a browser strict.

Plain ASGI, so that a stream of events passes through without being held.
"""

from __future__ import annotations

import re
from typing import Final

import trio
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from appliance.core import logs
from appliance.core.errors import LimitExceeded
from appliance.core.ids import new_trace_id
from appliance.core.limits import (
    REQUEST_BODY_BYTES_MAX,
    REQUEST_BODY_TIMEOUT_MS,
    REQUEST_DISCARD_BYTES_MAX,
    REQUEST_DISCARD_TIMEOUT_MS,
    REQUEST_HEADER_TRACE_BYTES_MAX,
)
from ui.problem import response_of

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
SECURITY_HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
"""No Strict-Transport-Security: the certificate is the box's own, and a browser would then offer no way past it."""

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")


class TraceAndHeaders:
    """Gives each request a trace id (the caller's, if it sent a W3C traceparent) and each answer its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with logs.trace(_trace_id(scope)) as trace_id:

            async def send_with_headers(message: Message) -> None:
                if message["type"] == "http.response.start":
                    headers = MutableHeaders(scope=message)
                    for name, value in SECURITY_HEADERS.items():
                        headers.setdefault(name, value)
                    # What is public says so itself (static files); all else belongs to whoever asked.
                    headers.setdefault("cache-control", "no-store")
                    headers["x-trace-id"] = trace_id
                await send(message)

            await self._app(scope, receive, send_with_headers)


def _trace_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"traceparent" and len(value) <= REQUEST_HEADER_TRACE_BYTES_MAX:
            match = _TRACEPARENT.fullmatch(value.decode("latin-1"))
            if match and match.group(1) != "0" * 32:
                return match.group(1)
    return new_trace_id()


class BodyLimit:
    """Refuses a body that is too large before memory is taken for it, and one that takes too long to come."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        bytes_max: int = REQUEST_BODY_BYTES_MAX,
        timeout_ms: int = REQUEST_BODY_TIMEOUT_MS,
    ) -> None:
        self._app = app
        self._bytes_max = bytes_max
        self._timeout_ms = timeout_ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        for name, value in scope["headers"]:
            if name == b"content-length" and not (value.isdigit() and int(value) <= self._bytes_max):
                await _discard(receive)
                await response_of(self._too_large())(scope, receive, send)
                return
        received_bytes = 0
        is_complete = False
        deadline = trio.current_time() + self._timeout_ms / 1000

        async def receive_bounded() -> Message:
            nonlocal received_bytes, is_complete
            if is_complete:
                return await receive()
            with trio.move_on_at(deadline) as waiting:
                message = await receive()
            if waiting.cancelled_caught:
                raise LimitExceeded(
                    f"The request's body did not arrive within {self._timeout_ms // 1000} s.",
                    hint="Send it again over a better link.",
                    code="body_too_slow",
                )
            if message["type"] == "http.request":
                received_bytes += len(message.get("body", b""))
                is_complete = not message.get("more_body", False)
                if received_bytes > self._bytes_max:
                    if not is_complete:
                        await _discard(receive)
                    raise self._too_large()
            return message

        await self._app(scope, receive_bounded, send)

    def _too_large(self) -> LimitExceeded:
        return LimitExceeded(
            f"A request's body may have {self._bytes_max} bytes at most.",
            hint="Send less at a time.",
            code="body_too_large",
        )


async def _discard(receive: Receive) -> None:
    """Read a refused body and throw it away, within bounds.

    A server that answers and closes with bytes unread resets the connection, and the client never sees the answer
    (RFC 9112 §9.6).
    """
    discarded_bytes = 0
    with trio.move_on_after(REQUEST_DISCARD_TIMEOUT_MS / 1000):
        while discarded_bytes <= REQUEST_DISCARD_BYTES_MAX:
            message = await receive()
            discarded_bytes += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return
