"""Who a request is from: a browser's session, a program with a token, one on this machine over the node's Unix socket,
or a cloud node that the site lets read it.

A session's cookie is 256 random bits; the catalog holds only its keyed hash. It ends when it was unused for
`ui.session_hours`, 30 days after signing in, or at sign-out. Over TLS the cookie has the `__Host-` prefix (RFC 6265bis
§4.1.3): Secure, for this host only, for all paths.

A token comes in the header `Authorization: Bearer …` (RFC 6750 §2.1): an access token or an API token. A request that has that
header is judged by it alone, whatever cookie it has too: a program that shows a token which ended is refused, and never taken
for a browser. Tokens in the query or the body are not looked at.

Unsafe methods of a browser's session need two things beside the cookie: the session's CSRF token (header `X-CSRF-Token` or form field
`csrf_token`), and, if the browser says where the request comes from, that it comes from our own pages. Requests without
a session (sign-in, claiming the box, those with a token) are checked for the second: no page of another site can add a header.

Whether a request is local is decided by which listener it came through (`LocalTrust`), never by a header.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Final, cast
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as AsgiScope

from appliance.core.errors import NotAuthorized
from appliance.core.limits import SESSION_LIFETIME_MS
from appliance.core.token_bucket import network_of
from appliance.identity.bearer_secrets import API_PREFIX, SECRET_LENGTH
from appliance.management.audit import LOCAL, Act, Actor
from appliance.management.permissions import Role, Scope
from storage.catalog import Catalog, User
from ui.identities import LOCAL_ADMIN, Identity, IdentityLookups, Via
from ui.services import Services

__all__ = ["LOCAL_ADMIN", "Identity", "IdentityLookups", "Via"]

COOKIE_TLS: Final = "__Host-homeport"
COOKIE_PLAIN: Final = "homeport"
CSRF_HEADER: Final = "x-csrf-token"
CSRF_FIELD: Final = "csrf_token"
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOCAL: Final = "homeport.local"
_CLOUD: Final = "homeport.cloud"
_IDENTITY: Final = "homeport.identity"
_REFUSED: Final = "homeport.refused"
"""Why a token was refused, for `require`: what is open to all stays open to who shows a token that ended."""


class LocalTrust:
    """Wraps the app for the node's Unix socket (mode 0600): who can connect there owns the files anyway."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[_LOCAL] = True
        await self._app(scope, receive, send)


def as_cloud(scope: AsgiScope, identity: Identity) -> AsgiScope:
    """A request of this process's own making, for a cloud node that may read this site; whatever it bears, it is that cloud node's."""
    assert (identity.via, identity.role) == ("cloud", "viewer"), "a cloud node reads, and nothing else"
    return {**scope, _CLOUD: identity}


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
        connection.scope[_IDENTITY] = await _find(connection)
    return cast("Identity | None", connection.scope[_IDENTITY])


async def is_still(connection: HTTPConnection) -> bool:
    """Whether who asked when a long answer began would be found again now, with the same role and scope.

    Raises:
        Unavailable: the catalog can't be asked.
    """
    began = await identify(connection)
    now = await _find(connection)
    return began is not None and now is not None and (began.role, began.scope) == (now.role, now.scope)


async def require_still(connection: HTTPConnection) -> None:
    """Refuse what somebody began whose right ended while their request's body was arriving, which can take minutes.

    Raises:
        NotAuthorized: `sign_in_required`, or what is wrong with the token now. Unavailable: the catalog can't be asked.
    """
    if not await is_still(connection):
        raise cast("NotAuthorized | None", connection.scope.get(_REFUSED)) or NotAuthorized(
            "What you may do changed while your request was arriving.",
            hint="Send it again; if that is refused, sign in again.",
            code="sign_in_required",
        )


async def _find(connection: HTTPConnection) -> Identity | None:
    if is_local(connection):
        return LOCAL_ADMIN
    if _CLOUD in connection.scope:
        return cast(Identity, connection.scope[_CLOUD])
    lookups = services_of(connection).people.lookups
    if "authorization" in connection.headers:
        try:
            return await _by_token(connection)
        except NotAuthorized as error:
            connection.scope[_REFUSED] = error
            return None
    session_hash = _cookie_hash(connection)
    if session_hash is None:
        return None
    return await lookups.of_session(session_hash, address=peer_address(connection))


async def _by_token(connection: HTTPConnection) -> Identity:
    people = services_of(connection).people
    values = connection.headers.getlist("authorization")
    scheme, _, token = values[0].partition(" ")
    if len(values) > 1 or scheme.lower() != "bearer":
        raise NotAuthorized(
            "The header Authorization can't be used.",
            hint="Send it once, as “Authorization: Bearer TOKEN”.",
            code="authorization_invalid",
        )
    token = token.strip(" ")
    if token.startswith(API_PREFIX) and len(token) == SECRET_LENGTH:
        return await people.lookups.of_api_token(
            people.secrets.api_hash(token), address=peer_address(connection)
        )
    return await people.lookups.of_access_token(people.access_tokens.verify(token))


async def actor_of(connection: HTTPConnection) -> Actor:
    """Who is asking, as the audit names them.

    Raises:
        Unavailable: the catalog can't be asked.
    """
    if is_local(connection):
        return LOCAL
    identity = await identify(connection)
    address = peer_address(connection)
    if identity is None:
        return Actor(name="", kind="nobody", address=address)
    return identity.actor(address)


async def require(connection: HTTPConnection) -> Identity:
    """Who is asking.

    Raises:
        NotAuthorized: `sign_in_required`, or what is wrong with the token that was shown.
    """
    identity = await identify(connection)
    if identity is None:
        if _REFUSED in connection.scope:
            raise cast(NotAuthorized, connection.scope[_REFUSED])
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
    offered = request.headers.get(CSRF_HEADER)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_form = content_type in ("application/x-www-form-urlencoded", "multipart/form-data")
    identity = await identify(request)
    if (
        offered is None
        and is_form
        and identity is not None
        and identity.via == "session"
        and _is_same_origin(request)
    ):
        field = (await request.form()).get(CSRF_FIELD)
        offered = field if isinstance(field, str) else None
    await check_csrf(request, offered)


async def check_csrf(request: Request, offered: str | None) -> None:
    """The same for a token that was found already, where the form is read as it comes (ui/form_stream.py).

    Raises:
        NotAuthorized: `csrf_failed`.
    """
    if not _is_same_origin(request):
        raise _csrf_failed("The request comes from another site's page.")
    identity = await identify(request)
    if identity is None or identity.via != "session":
        return
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


async def open_session(
    request: Request, user_id: str, role: Role, scope: Scope = None, *, proved: User | None = None
) -> tuple[Identity, str]:
    """Open a session for a user who has proved to be one; ends the one that the browser had.

    Args:
        proved: The user as they were when their password was checked; None for one made just now.
    Raises:
        NotAuthorized: `credentials_changed` since.
    """
    services = services_of(request)
    cookie = secrets.token_urlsafe(32)
    session_hash = services.keys.session_hash(cookie.encode())
    before = _cookie_hash(request)
    agent = request.headers.get("user-agent", "")
    expires_at_ms = services.clock.now_ms() + SESSION_LIFETIME_MS

    def write(catalog: Catalog) -> None:
        if proved is not None:
            catalog.check_unchanged(proved)
        if before is not None:
            catalog.close_session(before)
        catalog.note_sign_in(user_id, network_of(peer_address(request)))
        catalog.note("session.sign_in", object_kind="user", object_id=user_id)
        catalog.open_session(
            session_hash,
            user_id=user_id,
            expires_at_ms=expires_at_ms,
            address=peer_address(request),
            agent=agent,
        )

    by = Act(action="session.sign_in", actor=Actor(name=user_id, kind="user", address=peer_address(request)))
    await services.catalog.write(write, by=by)
    identity = Identity(
        user_id=user_id,
        role=role,
        scope=scope,
        via="session",
        session_hash=session_hash,
        csrf_token=services.keys.csrf_token(session_hash),
    )
    request.scope[_IDENTITY] = identity
    return identity, cookie


async def sign_out(request: Request) -> None:
    """End the request's session or, for a program with an access token, its sign-in. Nothing for who isn't signed in.

    Raises:
        NotAuthorized: `forbidden`: an API token, which is revoked instead, or a program on the box.
    """
    identity = await identify(request)
    if identity is None:
        return
    if identity.via in ("api_token", "local"):
        raise NotAuthorized(
            "There is no session to end.",
            hint="Revoke an API token with DELETE /api/v1/api-tokens/{token_id}.",
            code="forbidden",
        )

    def write(catalog: Catalog) -> None:
        if identity.via == "session":
            catalog.close_session(identity.session_hash)
        else:
            catalog.end_family(identity.family_id, because="signed_out")
        catalog.note("session.sign_out", object_kind="user", object_id=identity.user_id)

    by = Act(action="session.sign_out", actor=await actor_of(request))
    await services_of(request).catalog.write(write, by=by)
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
    """Take the session from the browser, and what it keeps of pages (Clear-Site-Data, for those that know it)."""
    secure = _is_tls(request)
    response.headers["clear-site-data"] = '"cache", "storage"'
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
