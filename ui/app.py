"""The web application: API, health and pages, with one place for errors.

The same app serves people over TLS and, wrapped in `auth.LocalTrust`, programs of this machine over the Unix socket.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Router
from starlette.types import ASGIApp, ExceptionHandler, Receive, Scope, Send

from appliance.core.errors import HomeportError, NotFound, UsageError
from ui import health, pages
from ui.api import routes as api
from ui.middleware import BodyLimit, TraceAndHeaders
from ui.problem import response_of, status_of
from ui.rate_limiting import Kinds, RateLimiting
from ui.refused_permissions import note_refusal
from ui.services import Services

log = structlog.get_logger(__name__)


def create_app(services: Services, *, with_pages: bool = True) -> ASGIApp:
    """The application of one node.

    Args:
        with_pages: Without them only /api and /health are served.
    """
    routes: list[BaseRoute] = [
        Mount("/api", Router(api.routes(), default=_nothing_here, redirect_slashes=False)),
        Mount("/health", Router(health.routes(), default=_nothing_here, redirect_slashes=False)),
    ]
    if with_pages:
        routes += pages.routes(services)
    app = Starlette(
        routes=routes,
        middleware=[Middleware(RateLimiting, kinds=Kinds(api.ENDPOINTS))],
        exception_handlers={
            HomeportError: cast(ExceptionHandler, _expected),
            HTTPException: cast(ExceptionHandler, _of_starlette),
            ClientDisconnect: cast(ExceptionHandler, _gone),
            Exception: cast(ExceptionHandler, _unexpected),
        },
    )
    app.router.redirect_slashes = False
    app.state.services = services
    # Outside of Starlette, so that its answer to an unexpected error has the trace id and the headers too.
    return TraceAndHeaders(BodyLimit(app), services.tracing)


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotFound(
        "Nothing is at this address.",
        hint="See /api/v1/openapi.json for what there is.",
        code="no_such_address",
    )


async def _expected(request: Request, error: HomeportError) -> Response:
    await note_refusal(request, error)
    if status_of(error) >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request failed", path=request.url.path, code=error.code, error=error.message)
    return response_of(error)


async def _of_starlette(request: Request, error: HTTPException) -> Response:
    if error.status_code == HTTPStatus.NOT_FOUND:
        return response_of(
            NotFound("Nothing is at this address.", hint="Check the address.", code="no_such_address")
        )
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response = response_of(
            UsageError(
                f"This address does not take {request.method}.",
                hint=f"It takes {(error.headers or {}).get('Allow', 'other methods')}.",
                code="method_not_allowed",
            )
        )
        response.headers.update(error.headers or {})
        return response
    # What Starlette raises while it reads a form or a body.
    return response_of(
        UsageError(f"The request can't be read: {error.detail}.", hint="Send it again.", code="body_invalid")
    )


async def _gone(request: Request, error: ClientDisconnect) -> Response:
    # Nobody reads this answer; the server drops it.
    return Response(status_code=HTTPStatus.BAD_REQUEST)


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("request failed in a way nobody foresaw", path=request.url.path, exc_info=error)
    return response_of(
        HomeportError(
            "Something went wrong that Homeport did not foresee.",
            hint="Look for the trace id in the node's log and report it.",
            code="internal_error",
        )
    )
