"""Endpoints about claims: tokens that let devices come in. What a claim's token is is shown once, when it is made."""

from __future__ import annotations

import dataclasses
import secrets

from appliance.identity.keys import new_claim_token
from storage.catalog import claims as catalog
from ui.api import claim_structs
from ui.api.endpoint import Call, Endpoint, Reply


def claim_answer(claim: catalog.Claim, now_ms: int) -> claim_structs.Claim:
    return claim_structs.Claim(**dataclasses.asdict(claim), state=claim.state(now_ms))


async def list_claims(call: Call) -> Reply:
    query: claim_structs.ClaimQuery = call.query
    page = await call.services.catalog.read(
        lambda reader: reader.list_claims(state=query.state, cursor=query.cursor, limit=query.limit)
    )
    now_ms = call.services.clock.now_ms()
    return Reply(
        content=claim_structs.ClaimPage(
            claims=tuple(claim_answer(claim, now_ms) for claim in page.claims), next_cursor=page.next_cursor
        )
    )


async def get_claim(call: Call) -> Reply:
    claim_id = call.path["claim_id"]
    claim = await call.services.catalog.read(lambda reader: reader.get_claim(claim_id))
    return Reply(content=claim_answer(claim, call.services.clock.now_ms()))


async def create_claim(call: Call) -> Reply:
    claim, token = await make_claim(call, call.body)
    state = claim.state(call.services.clock.now_ms())
    return Reply(content=claim_structs.ClaimWithToken(**dataclasses.asdict(claim), state=state, token=token))


async def make_claim(call: Call, new: claim_structs.NewClaim) -> tuple[catalog.Claim, str]:
    """Make a claim; returns it with its token."""
    assert call.identity is not None
    token, now_ms = new_claim_token(), call.services.clock.now_ms()
    token_hash = call.services.keys.claim_hash(token.encode())
    claim_id = catalog.make_claim_id(now_ms, secrets.token_bytes(6))
    created_by = call.identity.user_id
    claim = await call.write(
        lambda writer: writer.create_claim(
            claim_id,
            token_hash,
            name=new.name,
            device_id=new.device_id,
            groups=new.groups,
            tags=new.tags,
            adopt=new.adopt,
            use_count_max=new.use_count_max,
            life_ms=new.life_s * 1000,
            created_by=created_by,
        )
    )
    return claim, token


async def revoke_claim(call: Call) -> Reply:
    claim_id = call.path["claim_id"]
    claim = await call.write(lambda writer: writer.revoke_claim(claim_id))
    return Reply(content=claim_answer(claim, call.services.clock.now_ms()))


_CLAIM = "/claims/{claim_id}"
_TAGS = ("claims",)
ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/claims",
        handler=list_claims,
        needs="claims.manage",
        summary="List claims, the newest first",
        query=claim_structs.ClaimQuery,
        answer=claim_structs.ClaimPage,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/claims",
        handler=create_claim,
        needs="claims.manage",
        action="claim.create",
        idempotent=True,
        summary="Make a claim, and its token",
        body=claim_structs.NewClaim,
        answer=claim_structs.ClaimWithToken,
        status=201,
        errors=(404, 409),
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_CLAIM,
        handler=get_claim,
        needs="claims.manage",
        summary="Get a claim",
        answer=claim_structs.Claim,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=_CLAIM + "/revoke",
        handler=revoke_claim,
        needs="claims.manage",
        action="claim.revoke",
        summary="Let nobody in by a claim any more; devices that came in stay",
        answer=claim_structs.Claim,
        errors=(404,),
        tags=_TAGS,
    ),
)
