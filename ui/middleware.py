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
from appliance.core.limits import (
    DEVICE_IMPORT_BYTES_MAX,
    DEVICE_IMPORT_TIMEOUT_MS,
    REQUEST_BODY_BYTES_MAX,
    REQUEST_BODY_TIMEOUT_MS,
    REQUEST_DISCARD_BYTES_MAX,
    REQUEST_DISCARD_TIMEOUT_MS,
    REQUEST_HEADER_TRACE_BYTES_MAX,
)
from appliance.core.limits_tracing import TRACE_STATE_BYTES_MAX
from appliance.core.limits_updates import ARTIFACT_BODY_BYTES_MAX, ARTIFACT_BODY_TIMEOUT_MS
from appliance.tracing.context import format_traceparent
from appliance.tracing.desk import RequestTrace, TracingDesk
from appliance.tracing.recorder import wall_us
from appliance.tracing.span import Attribute, SpanKind
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


class TraceAndHeaders:
    """Gives each request its place in a trace (the caller's, if it sent a W3C traceparent) and each answer its headers.

    Args:
        tracing: Says which requests are sampled, and takes their spans.
    """

    def __init__(self, app: ASGIApp, tracing: TracingDesk | None = None) -> None:
        self._app = app
        self._tracing = tracing or TracingDesk()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = self._tracing.request(
            _header(scope, b"traceparent"), _header(scope, b"tracestate", TRACE_STATE_BYTES_MAX) or ""
        )
        began_us, status = wall_us(), 0
        with logs.trace(trace.context.trace_id) as trace_id:

            async def send_with_headers(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                    headers = MutableHeaders(scope=message)
                    for name, value in SECURITY_HEADERS.items():
                        headers.setdefault(name, value)
                    # What is public says so itself (static files); all else belongs to whoever asked.
                    headers.setdefault("cache-control", "no-store")
                    headers["x-trace-id"] = trace_id
                    headers["traceresponse"] = format_traceparent(trace.context)
                await send(message)

            try:
                await self._app(scope, receive, send_with_headers)
            finally:
                if trace.context.is_sampled:
                    self._record(scope, trace, began_us, status)

    def _record(self, scope: Scope, trace: RequestTrace, began_us: int, status: int) -> None:
        method = scope["method"]
        attributes: dict[str, Attribute] = {
            "http.request.method": method,
            "url.path": scope.get("path", ""),
            "url.scheme": scope.get("scheme", ""),
            "network.protocol.version": scope.get("http_version", ""),
        }
        if status:
            attributes["http.response.status_code"] = status
        self._tracing.recorder.record(
            trace.context._replace(span_id=trace.parent_id),
            method,
            began_us,
            wall_us(),
            attributes,
            kind=SpanKind.SERVER,
            span_id=trace.context.span_id,
            error="" if 0 < status < 500 else f"HTTP {status}" if status else "no answer",
        )


def _header(scope: Scope, wanted: bytes, bytes_max: int = REQUEST_HEADER_TRACE_BYTES_MAX) -> str | None:
    """A header that stands there once and is no longer than it may be."""
    found = [value for name, value in scope["headers"] if name == wanted]
    if len(found) != 1 or len(found[0]) > bytes_max:
        return None
    return bytes(found[0]).decode("latin-1")


ARTIFACT_BODIES: Final = re.compile(r"/api/v1/artifact-uploads/[^/]+|/firmware/artifacts/new")
"""Where an image arrives: it goes to disk piece by piece, and how large it may be says its own announcement."""
LONG_BODIES: Final = frozenset({"/api/v1/devices/import", "/device-import"})
"""Where a body is read as it comes, or goes to a temporary file, and never lies in memory as a whole."""


class BodyLimit:
    """Refuses a body that is too large before memory is taken for it, and one that takes too long to come.

    Args:
        bytes_max, timeout_ms: For every address but ARTIFACT_BODIES and LONG_BODIES, which have DEVICE_IMPORT_BYTES_MAX and DEVICE_IMPORT_TIMEOUT_MS.
    """

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
        bytes_max, timeout_ms = self._bytes_max, self._timeout_ms
        if scope.get("path") in LONG_BODIES:
            bytes_max, timeout_ms = DEVICE_IMPORT_BYTES_MAX, DEVICE_IMPORT_TIMEOUT_MS
        elif ARTIFACT_BODIES.fullmatch(scope.get("path", "")):
            bytes_max, timeout_ms = ARTIFACT_BODY_BYTES_MAX, ARTIFACT_BODY_TIMEOUT_MS
        for name, value in scope["headers"]:
            if name == b"content-length" and not (value.isdigit() and int(value) <= bytes_max):
                await discard_body(receive)
                await response_of(_too_large(bytes_max))(scope, receive, send)
                return
        received_bytes = 0
        is_complete = False
        deadline = trio.current_time() + timeout_ms / 1000

        async def receive_bounded() -> Message:
            nonlocal received_bytes, is_complete
            if is_complete:
                return await receive()
            with trio.move_on_at(deadline) as waiting:
                message = await receive()
            if waiting.cancelled_caught:
                raise LimitExceeded(
                    f"The request's body did not arrive within {timeout_ms // 1000} s.",
                    hint="Send it again over a better link.",
                    code="body_too_slow",
                )
            if message["type"] == "http.request":
                received_bytes += len(message.get("body", b""))
                is_complete = not message.get("more_body", False)
                if received_bytes > bytes_max:
                    if not is_complete:
                        await discard_body(receive)
                    raise _too_large(bytes_max)
            return message

        await self._app(scope, receive_bounded, send)


def _too_large(bytes_max: int) -> LimitExceeded:
    return LimitExceeded(
        f"A request's body may have {bytes_max} bytes at most.",
        hint="Send less at a time.",
        code="body_too_large",
    )


async def discard_body(receive: Receive) -> None:
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
