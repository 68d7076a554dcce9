"""Endpoints about one's own account."""

from __future__ import annotations

from appliance.core.errors import NotFound
from appliance.management.permissions import PERMISSIONS, may
from storage.catalog import User
from ui import account_desk as desk
from ui.api import people_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.api.users import user_fields


async def get_account(call: Call) -> Reply:
    return Reply(content=_answer(call, await desk.own_user(call.request)))


async def change_account(call: Call) -> Reply:
    body: structs.ChangeAccount = call.body
    return Reply(content=_answer(call, await desk.set_own_name(call.request, body.display_name)))


async def change_password(call: Call) -> Reply:
    body: structs.ChangePassword = call.body
    await desk.change_own_password(call.request, body.old_password, body.password)
    return Reply(content=None)


async def begin_totp(call: Call) -> Reply:
    made = await desk.begin_totp(call.request)
    return Reply(
        content=structs.TotpEnrolment(secret=made.secret, uri=made.uri, enrolment=made.enrolment),
        dress=None,
    )


async def confirm_totp(call: Call) -> Reply:
    body: structs.ConfirmTotp = call.body
    await desk.confirm_totp(call.request, enrolment=body.enrolment, code=body.code, password=body.password)
    return Reply(content=None)


async def remove_totp(call: Call) -> Reply:
    body: structs.ProvePassword = call.body
    await desk.remove_own_totp(call.request, body.password)
    return Reply(content=None)


def _answer(call: Call, user: User) -> structs.Account:
    identity = call.identity
    assert identity is not None
    if identity.via == "local":
        raise NotFound(
            "A program on the box has no account.", hint="Use `homeport user`.", code="user_unknown"
        )
    assert identity.via != "cloud", "a cloud node reads what appliance/management/site_reading.py names"
    return structs.Account(
        **user_fields(user),
        via=identity.via,
        may=[each for each in PERMISSIONS if may(identity.role, identity.scope, each)],
    )


_TAGS = ("account",)

ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/account",
        handler=get_account,
        needs="account.own",
        summary="One's own account and what this request may",
        answer=structs.Account,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="PATCH",
        path="/account",
        handler=change_account,
        needs="account.own",
        action="account.change",
        summary="Change what people call one",
        body=structs.ChangeAccount,
        answer=structs.Account,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/account/password",
        handler=change_password,
        needs="account.own",
        action="account.set_password",
        summary="Change one's password; everything else that one is signed in with ends",
        body=structs.ChangePassword,
        status=204,
        errors=(429,),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/account/totp",
        handler=begin_totp,
        needs="account.own",
        action="account.begin_totp",
        summary="Make a secret for the second factor; it counts once it is confirmed",
        answer=structs.TotpEnrolment,
        status=201,
        errors=(404, 409),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/account/totp/confirm",
        handler=confirm_totp,
        needs="account.own",
        action="account.set_totp",
        summary="Make the second factor count, with its first code; everything else that one is signed in with ends",
        body=structs.ConfirmTotp,
        status=204,
        errors=(409, 429),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/account/totp/remove",
        handler=remove_totp,
        needs="account.own",
        action="account.remove_totp",
        summary="Remove one's second factor",
        body=structs.ProvePassword,
        status=204,
        errors=(409, 429),
        tags=_TAGS,
    ),
)
