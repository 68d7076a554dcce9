"""Who a request is from: a browser's session, or a program on this machine over the node's Unix socket.

A session's cookie is 256 random bits; the catalog holds only its keyed hash. It ends when it was unused for
`ui.session_hours`, 30 days after signing in, or at sign-out. Over TLS the cookie has the `__Host-` prefix (RFC 6265bis
§4.1.3): Secure, for this host only, for all paths.

Unsafe methods need two things beside the cookie: the session's CSRF token (header `X-CSRF-Token` or form field
`csrf_token`), and, if the browser says where the request comes from, that it comes from our own pages. Requests without
a session (sign-in, claiming the box) are checked for the second.

Whether a request is local is decided by which listener it came through (`LocalTrust`), never by a header.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import Final, Literal, cast
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from appliance.core.errors import NotAuthorized
from appliance.core.limits import SESSION_LIFETIME_MS, SESSION_TOUCH_MS
from storage.catalog import BrowserSession, Catalog, Role, User
from ui.services import Services

COOKIE_TLS: Final = "__Host-homeport"
COOKIE_PLAIN: Final = "homeport"
CSRF_HEADER: Final = "x-csrf-token"
CSRF_FIELD: Final = "csrf_token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOCAL: Final = "homeport.local"
_IDENTITY: Final = "homeport.identity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who is asking.

    Attributes:
        via: "session" (a signed-in browser) or "local" (the node's Unix socket).
        csrf_token: For forms and the X-CSRF-Token header; empty for local.
    """

    user_id: str
    role: Role
    via: Literal["session", "local"]
    session_hash: bytes = b""
    csrf_token: str = ""


LOCAL_ADMIN: Final = Identity(user_id="local", role="admin", via="local")


class LocalTrust:
    """Wraps the app for the node's Unix socket (mode 0600): who can connect there owns the files anyway."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[_LOCAL] = True
        await self._app(scope, receive, send)


def services_of(connection: HTTPConnection) -> Services:
    """The services of the app that a request came to."""
    return cast(Services, connection.app.state.services)


def is_local(connection: HTTPConnection) -> bool:
    """Whether the request came over the node's Unix socket."""
    return connection.scope.get(_LOCAL) is True


def peer_address(connection: HTTPConnection) -> str:
    """The peer's IP address, "" over a Unix socket."""
    return connection.client.host if connection.client and not is_local(connection) else ""


async def identify(connection: HTTPConnection) -> Identity | None:
    """Who is asking, None for nobody known. Looked up once per request.

    Raises:
        Unavailable: the catalog can't be asked.
    """
    if _IDENTITY not in connection.scope:
        connection.scope[_IDENTITY] = LOCAL_ADMIN if is_local(connection) else await _by_cookie(connection)
    return cast("Identity | None", connection.scope[_IDENTITY])


async def require(connection: HTTPConnection) -> Identity:
    """Who is asking.

    Raises:
        NotAuthorized: `sign_in_required`.
    """
    identity = await identify(connection)
    if identity is None:
        raise NotAuthorized(
            "This needs a signed-in user.",
            hint="Sign in with POST /api/v1/session or on the page /sign-in.",
            code="sign_in_required",
        )
    return identity


async def require_csrf(request: Request) -> None:
    """Refuse an unsafe request that a foreign page may have sent. Reads the form if there is one.

    Raises:
        NotAuthorized: `csrf_failed`.
    """
    if request.method in SAFE_METHODS or is_local(request):
        return
    if not _is_same_origin(request):
        raise _csrf_failed("The request comes from another site's page.")
    identity = await identify(request)
    if identity is None:
        return
    offered = request.headers.get(CSRF_HEADER)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if offered is None and content_type in ("application/x-www-form-urlencoded", "multipart/form-data"):
        field = (await request.form()).get(CSRF_FIELD)
        offered = field if isinstance(field, str) else None
    if not hmac.compare_digest((offered or "").encode(), identity.csrf_token.encode()):
        raise _csrf_failed("The form's token is missing or of another session.")


def _csrf_failed(message: str) -> NotAuthorized:
    return NotAuthorized(message, hint="Reload the page and try again.", code="csrf_failed")


def _is_same_origin(request: Request) -> bool:
    """What the browser itself says (Fetch Metadata, Origin); programs that send neither pass."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()


async def sign_in(request: Request, user_id: str, password: str) -> tuple[Identity, str]:
    """Check a password and open a session.

    Returns:
        Who it is now, and the cookie's value for `set_cookie`.
    Raises:
        Retryable: `too_many_attempts`. NotAuthorized: `sign_in_failed`, after the same time whatever was wrong.
    """
    services = services_of(request)
    services.sign_in_limiter.take(peer_address(request))
    user = await services.catalog.read(lambda catalog: catalog.find_user(user_id), pool="auth")
    right = await services.passwords.verify(user.password_hash if user else None, password)
    if not right or user is None or user.disabled:
        raise NotAuthorized(
            "The user name or the password is wrong.",
            hint="Check both; capital letters count.",
            code="sign_in_failed",
        )
    return await open_session(request, user.user_id, user.role)


async def open_session(request: Request, user_id: str, role: Role) -> tuple[Identity, str]:
    """Open a session for a user who has proved to be one; ends the one that the browser had."""
    services = services_of(request)
    cookie = secrets.token_urlsafe(32)
    session_hash = services.keys.session_hash(cookie.encode())
    before = _cookie_hash(request)
    agent = request.headers.get("user-agent", "")
    expires_at_ms = services.clock.now_ms() + SESSION_LIFETIME_MS

    def write(catalog: Catalog) -> None:
        if before is not None:
            catalog.close_session(before)
        catalog.open_session(
            session_hash,
            user_id=user_id,
            expires_at_ms=expires_at_ms,
            address=peer_address(request),
            agent=agent,
        )

    await services.catalog.write(write)
    identity = Identity(
        user_id=user_id,
        role=role,
        via="session",
        session_hash=session_hash,
        csrf_token=services.keys.csrf_token(session_hash),
    )
    request.scope[_IDENTITY] = identity
    return identity, cookie


async def sign_out(request: Request) -> None:
    """End the request's session, if it has one."""
    identity = await identify(request)
    if identity is not None and identity.via == "session":
        session_hash = identity.session_hash
        await services_of(request).catalog.write(lambda catalog: catalog.close_session(session_hash))
    request.scope[_IDENTITY] = None


def set_cookie(request: HTTPConnection, response: Response, value: str) -> None:
    """Give the browser its session."""
    secure = _is_tls(request)
    response.set_cookie(
        COOKIE_TLS if secure else COOKIE_PLAIN,
        value,
        max_age=SESSION_LIFETIME_MS // 1000,
        path="/",
        secure=secure,
        httponly=True,
        samesite="strict",
    )


def clear_cookie(request: HTTPConnection, response: Response) -> None:
    """Take the session from the browser."""
    secure = _is_tls(request)
    response.delete_cookie(
        COOKIE_TLS if secure else COOKIE_PLAIN, path="/", secure=secure, httponly=True, samesite="strict"
    )


def _is_tls(connection: HTTPConnection) -> bool:
    return connection.scope["scheme"] in ("https", "wss")


def _cookie_hash(connection: HTTPConnection) -> bytes | None:
    cookie = connection.cookies.get(COOKIE_TLS if _is_tls(connection) else COOKIE_PLAIN)
    if not cookie or len(cookie) > 128:
        return None
    return services_of(connection).keys.session_hash(cookie.encode())


async def _by_cookie(connection: HTTPConnection) -> Identity | None:
    services = services_of(connection)
    session_hash = _cookie_hash(connection)
    if session_hash is None:
        return None

    def look(catalog: Catalog) -> tuple[BrowserSession, User] | None:
        session = catalog.find_session(session_hash)
        user = catalog.find_user(session.user_id) if session else None
        return (session, user) if session and user else None

    found = await services.catalog.read(look, pool="auth")
    if found is None:
        return None
    session, user = found
    now_ms = services.clock.now_ms()
    unused_ms = now_ms - session.last_used_at_ms
    if now_ms >= session.expires_at_ms or unused_ms >= services.config.ui.session_hours * 3_600_000:
        return None
    if unused_ms >= SESSION_TOUCH_MS:
        await services.catalog.write(lambda catalog: catalog.touch_session(session_hash))
    return Identity(
        user_id=user.user_id,
        role=user.role,
        via="session",
        session_hash=session_hash,
        csrf_token=services.keys.csrf_token(session_hash),
    )
