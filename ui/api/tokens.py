"""Endpoints about tokens: signing in for programs, API tokens, and the emergency brake."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from appliance.core.errors import NotAuthorized
from storage.catalog.rows import ApiToken
from ui import api_tokens_desk as desk
from ui import auth, token_sign_in
from ui.api import people_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.api.sessions import whose
from ui.api.structs import SignIn
from ui.api.users import scope_answer, scope_of
from ui.token_sign_in import Tokens


async def create_tokens(call: Call) -> Reply:
    body: SignIn = call.body
    if auth.is_local(call.request):
        raise NotAuthorized("A program on the box needs no token.", hint="Just ask.", code="forbidden")
    made = await token_sign_in.sign_in(call.request, body.user_id, body.password, body.code)
    return Reply(content=_tokens(call, made))


async def refresh_tokens(call: Call) -> Reply:
    body: structs.RefreshTokens = call.body
    return Reply(content=_tokens(call, await token_sign_in.refresh(call.request, body.refresh_token)))


async def revoke_token(call: Call) -> Reply:
    body: structs.RevokeToken = call.body
    await token_sign_in.revoke(call.request, body.token)
    return Reply(content=None)


async def list_api_tokens(call: Call) -> Reply:
    found = await desk.list_api_tokens(call.request, whose(call, call.query))
    return Reply(
        content=structs.ApiTokens(api_tokens=[structs.ApiTokenAnswer(**token_fields(each)) for each in found])
    )


async def create_api_token(call: Call) -> Reply:
    body: structs.CreateApiToken = call.body
    assert call.identity is not None
    token, secret = await desk.create_api_token(
        call.request,
        user_id=call.identity.user_id if body.user_id is UNSET else body.user_id,
        name=body.name,
        role=body.role,
        scope=... if body.scope is UNSET else scope_of(body.scope),
        expires_at_ms=call.services.clock.now_ms() + body.expires_in_s * 1000,
        writer=call.write,
    )
    return Reply(content=structs.CreatedApiToken(**token_fields(token), token=secret))


async def revoke_api_token(call: Call) -> Reply:
    token = await desk.revoke_api_token(call.request, call.path["token_id"])
    return Reply(content=structs.ApiTokenAnswer(**token_fields(token)))


async def rotate_keys(call: Call) -> Reply:
    ended = await desk.rotate_keys(call.request)
    return Reply(
        content=structs.KeysRotated(
            sign_ins_ended=ended.sign_in_count,
            api_tokens_ended=ended.api_token_count,
            key_id=ended.key_id,
        )
    )


def _tokens(call: Call, made: Tokens) -> structs.TokensAnswer:
    return structs.TokensAnswer(
        token_type="Bearer",  # noqa: S106 - RFC 6749's name for the kind
        access_token=made.access_token,
        expires_in_s=max(0, made.claims.expires_at_ms - call.services.clock.now_ms()) // 1000,
        refresh_token=made.refresh_token,
        refresh_expires_at_ms=made.family_expires_at_ms,
        user_id=made.user.user_id,
        role=made.user.role,
    )


def token_fields(token: ApiToken) -> dict[str, Any]:
    return {
        "token_id": token.token_id,
        "user_id": token.user_id,
        "name": token.name,
        "role": token.role,
        "scope": scope_answer(token.scope),
        "created_at_ms": token.created_at_ms,
        "expires_at_ms": token.expires_at_ms,
        "revoked_at_ms": token.revoked_at_ms,
        "last_used_at_ms": token.last_used_at_ms,
        "last_address": token.last_address,
    }


_TAGS = ("tokens",)

ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/tokens",
        handler=create_tokens,
        action="token.sign_in",
        summary="Sign in for a program: an access token for an hour and a refresh token",
        access="open",
        body=SignIn,
        answer=structs.TokensAnswer,
        status=201,
        errors=(401, 429),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/tokens/refresh",
        handler=refresh_tokens,
        action="token.refresh",
        summary="Use a refresh token, once: a new access token and the next refresh token",
        access="open",
        body=structs.RefreshTokens,
        answer=structs.TokensAnswer,
        status=201,
        errors=(401,),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/tokens/revoke",
        handler=revoke_token,
        action="token.revoke",
        summary="End a token that one holds: a refresh token with its whole sign-in, an access token alone",
        access="open",
        body=structs.RevokeToken,
        status=204,
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path="/api-tokens",
        handler=list_api_tokens,
        needs="account.own",
        summary="One's API tokens, ended ones too; admins see those of others",
        query=structs.SessionsQuery,
        answer=structs.ApiTokens,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/api-tokens",
        handler=create_api_token,
        needs="account.own",
        action="api_token.create",
        summary="Make an API token; it is shown this once",
        idempotent=True,
        body=structs.CreateApiToken,
        answer=structs.CreatedApiToken,
        status=201,
        errors=(404, 409, 429),
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path="/api-tokens/{token_id}",
        handler=revoke_api_token,
        needs="account.own",
        action="api_token.revoke",
        summary="End an API token at once",
        answer=structs.ApiTokenAnswer,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/keys/rotate",
        handler=rotate_keys,
        needs="keys.manage",
        action="key.rotate",
        summary="Emergency brake: end everything that people and their programs are signed in with, API tokens too",
        answer=structs.KeysRotated,
        tags=_TAGS,
    ),
)
