"""API tokens and the emergency brake, for the API and the pages.

Everybody makes tokens for themselves, admins for others too: a token never may more than its user. A token can't make tokens,
or a stolen one would outlive its own end; and it ends itself and no other, unless it may manage users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType

from starlette.requests import Request

from appliance.core.errors import NotAuthorized, NotFound
from appliance.identity.bearer_secrets import new_api_token, new_id
from appliance.management.permissions import Role, Scope, check, may
from storage.catalog import Catalog
from storage.catalog.rows import ApiToken
from ui.auth import Identity, require, services_of
from ui.people_desk import Writer, write


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What the emergency brake ended."""

    sign_in_count: int
    api_token_count: int
    key_id: str


async def create_api_token(
    request: Request,
    *,
    user_id: str,
    name: str,
    role: Role,
    scope: Scope | EllipsisType = ...,
    expires_at_ms: int,
    writer: Writer | None = None,
) -> tuple[ApiToken, str]:
    """Make a token; the answer's second part is the secret, which nobody can read again.

    Args:
        scope: `...` for the user's own.
    Raises:
        NotAuthorized: `forbidden` to an API token; for somebody else without users.manage.
        NotFound: `user_unknown`. Otherwise as ApiTokenTable.add_api_token.
    """
    identity = await require(request)
    if identity.via == "api_token":
        raise NotAuthorized(
            "An API token can't make API tokens.", hint="Sign in and make it yourself.", code="forbidden"
        )
    _check_own(identity, user_id)
    secret = new_api_token()
    secret_hash = services_of(request).people.secrets.api_hash(secret)

    def add(catalog: Catalog) -> ApiToken:
        user = catalog.get_user(user_id)
        return catalog.add_api_token(
            new_id(),
            token_hash=secret_hash,
            user=user,
            name=name,
            role=role,
            scope=user.scope if scope is ... else scope,
            expires_at_ms=expires_at_ms,
        )

    return await (writer(add) if writer else write(request, "api_token.create", add)), secret


async def list_api_tokens(request: Request, user_id: str | None) -> Sequence[ApiToken]:
    """Tokens of a user, of everybody for None, ended ones too.

    Raises:
        NotAuthorized: they are somebody else's, and who asks may not manage users.
    """
    _check_own(await require(request), user_id)
    return await services_of(request).catalog.read(lambda catalog: catalog.list_api_tokens(user_id))


async def revoke_api_token(request: Request, token_id: str) -> ApiToken:
    """End a token at once.

    Raises:
        NotFound: `api_token_unknown`: also where it is somebody else's, and who asks may not manage users.
        NotAuthorized: `forbidden` to an API token, of another token, unless it may manage users.
    """
    identity = await require(request)
    manages = may(identity.role, identity.scope, "users.manage")
    if identity.via == "api_token" and not manages and token_id != identity.token_id:
        raise NotAuthorized(
            "This API token can end itself and no other.",
            hint="Sign in and end it yourself.",
            code="forbidden",
        )

    def revoke(catalog: Catalog) -> ApiToken:
        token = catalog.get_api_token(token_id)
        if token.user_id != identity.user_id and not manages:
            raise NotFound(
                "There is no such API token.", hint="See GET /api/v1/api-tokens.", code="api_token_unknown"
            )
        return catalog.revoke_api_token(token_id)

    return await write(request, "api_token.revoke", revoke)


async def rotate_keys(request: Request) -> Ended:
    """The emergency brake: a new key for access tokens, and the end of everything that people and their programs are signed in
    with, API tokens too. Devices notice nothing.

    Raises:
        StorageError: the key can't be written; then everything has ended all the same, and the old key signs on.
    """
    services = services_of(request)
    # First what ends by itself on disk: should the node die in between, nothing that was signed in before is any more.
    sign_ins, tokens = await write(request, "key.rotate", end_everything)
    key_id = services.people.access_tokens.rotate()
    return Ended(sign_in_count=sign_ins, api_token_count=tokens, key_id=key_id)


def end_everything(catalog: Catalog) -> tuple[int, int]:
    """End all sign-ins and API tokens of everybody, and have the audit say so. Within a transaction.

    Returns:
        How many of each.
    """
    sign_ins = catalog.end_sign_ins(None, because="keys_rotated")
    tokens = catalog.revoke_api_tokens(None)
    catalog.note(
        "key.rotate",
        object_kind="site",
        object_id="access.key",
        detail=f"{sign_ins} sign-ins and {tokens} API tokens ended",
    )
    return sign_ins, tokens


def _check_own(identity: Identity, user_id: str | None) -> None:
    if user_id != identity.user_id:
        check(identity.role, identity.scope, "users.manage")
