"""Signing in for programs: an access token for an hour, and a refresh token for the next one.

Everything is on disk before the answer leaves: a family that ended, a token that was revoked or used stays so over a SIGKILL.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from appliance.core.errors import NotAuthorized
from appliance.core.limits import TOKEN_FAMILY_LIFETIME_MS
from appliance.identity.access_tokens import AccessClaims
from appliance.identity.bearer_secrets import REFRESH_PREFIX, SECRET_LENGTH, new_id, new_refresh_token
from appliance.management.audit import Act, Actor
from storage.catalog import Catalog, User
from storage.catalog.token_families import Refresh
from ui.auth import peer_address, services_of
from ui.proof import prove


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a program gets. `claims` are the access token's; the refresh token ends with its family, UTC ms."""

    user: User
    access_token: str
    claims: AccessClaims
    refresh_token: str
    family_expires_at_ms: int


async def sign_in(request: Request, user_id: str, password: str, code: str) -> Tokens:
    """Prove to be somebody and open a family of tokens. Raises as `prove`."""
    services = services_of(request)
    user = await prove(request, user_id, password, code)
    family_id, refresh_token = new_id(), new_refresh_token()
    expires_at_ms = services.clock.now_ms() + TOKEN_FAMILY_LIFETIME_MS

    def write(catalog: Catalog) -> None:
        catalog.check_unchanged(user)
        catalog.note("token.sign_in", object_kind="user", object_id=user.user_id)
        catalog.open_family(
            family_id,
            user_id=user.user_id,
            refresh_hash=services.people.secrets.refresh_hash(refresh_token),
            expires_at_ms=expires_at_ms,
            address=peer_address(request),
            agent=request.headers.get("user-agent", ""),
        )

    await services.catalog.write(write, by=Act(action="token.sign_in", actor=_actor(request, user.user_id)))
    return _tokens(request, user, family_id, refresh_token, expires_at_ms)


async def refresh(request: Request, token: str) -> Tokens:
    """Use a refresh token. One that was used before ends its family, since somebody copied it.

    Raises:
        NotAuthorized: `refresh_token_invalid`, `refresh_token_reused`.
    """
    services = services_of(request)
    if not _looks_like_refresh_token(token):
        raise _invalid()
    token_hash = services.people.secrets.refresh_hash(token)
    known = await services.catalog.read(
        lambda catalog: catalog.family_of_refresh_token(token_hash), pool="auth"
    )
    if known is None:
        raise _invalid()  # Guesses at random cost no write.
    new_token = new_refresh_token()
    new_hash = services.people.secrets.refresh_hash(new_token)

    def write(catalog: Catalog) -> tuple[Refresh, User | None]:
        result = catalog.refresh(token_hash, new_hash=new_hash)
        user = catalog.find_user(known.user_id)
        if result.outcome == "reused":
            catalog.note(
                "token.refresh",
                object_kind="user",
                object_id=known.user_id,
                outcome="refused",
                detail=f"refresh_token_reused: sign-in {known.family_id} ended",
                actor=Actor(name="", kind="nobody", address=peer_address(request)),
            )
        elif result.outcome == "rotated":
            if user is None or user.disabled:
                catalog.end_family(known.family_id, because="user_gone")
            else:
                catalog.note("token.refresh", object_kind="user", object_id=known.user_id)
        return result, user

    by = Act(action="token.refresh", actor=_actor(request, known.user_id))
    result, user = await services.catalog.write(write, by=by)
    if result.outcome == "reused":
        raise NotAuthorized(
            "This refresh token was used before, so somebody may have copied it: the sign-in has ended.",
            hint="Sign in again; if this program didn't use it twice, change the password.",
            code="refresh_token_reused",
        )
    if result.outcome != "rotated" or user is None or user.disabled:
        raise _invalid()
    return _tokens(request, user, known.family_id, new_token, known.expires_at_ms)


async def revoke(request: Request, token: str) -> None:
    """End a token that somebody holds: a refresh token with its whole family, an access token alone (RFC 7009 §2.1).

    What is no token of ours, or ended already, is as good as revoked (RFC 7009 §2.2).
    """
    services = services_of(request)
    if _looks_like_refresh_token(token):
        token_hash = services.people.secrets.refresh_hash(token)
        family = await services.catalog.read(
            lambda catalog: catalog.family_of_refresh_token(token_hash), pool="auth"
        )
        if family is None or family.revoked_at_ms is not None:
            return

        def end(catalog: Catalog) -> None:
            if catalog.end_family(family.family_id, because="revoked"):
                catalog.note("token.revoke", object_kind="user", object_id=family.user_id, detail="sign-in")

        await services.catalog.write(
            end, by=Act(action="token.revoke", actor=_actor(request, family.user_id))
        )
        return
    try:
        claims = services.people.access_tokens.verify(token)
    except NotAuthorized:
        return  # Not ours, or void by now: there is nothing to end.

    def write(catalog: Catalog) -> None:
        if catalog.revoke_access_token(
            claims.token_id, family_id=claims.family_id, expires_at_ms=claims.expires_at_ms
        ):
            catalog.note("token.revoke", object_kind="user", object_id=claims.user_id, detail="access token")

    await services.catalog.write(write, by=Act(action="token.revoke", actor=_actor(request, claims.user_id)))


def _tokens(
    request: Request, user: User, family_id: str, refresh_token: str, family_expires_at_ms: int
) -> Tokens:
    access_token, claims = services_of(request).people.access_tokens.issue(
        user_id=user.user_id,
        family_id=family_id,
        credentials_changed_at_ms=user.credentials_changed_at_ms,
    )
    return Tokens(
        user=user,
        access_token=access_token,
        claims=claims,
        refresh_token=refresh_token,
        family_expires_at_ms=family_expires_at_ms,
    )


def _actor(request: Request, user_id: str) -> Actor:
    return Actor(name=user_id, kind="user", address=peer_address(request))


def _looks_like_refresh_token(token: str) -> bool:
    return len(token) == SECRET_LENGTH and token.startswith(REFRESH_PREFIX)


def _invalid() -> NotAuthorized:
    return NotAuthorized(
        "The refresh token is unknown or has ended.",
        hint="Sign in again with POST /api/v1/tokens.",
        code="refresh_token_invalid",
    )
