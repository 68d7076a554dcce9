"""Endpoints about users, for admins."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from appliance.management.permissions import Scope
from storage.catalog import User
from ui import people_desk as desk
from ui.api import people_structs as structs
from ui.api.endpoint import Call, Endpoint, Reply
from ui.people_desk import Person


async def list_users(call: Call) -> Reply:
    people = await desk.list_people(call.request)
    return Reply(content=structs.People(users=[person_answer(each) for each in people]))


async def get_user(call: Call) -> Reply:
    return Reply(content=person_answer(await desk.get_person(call.request, call.path["user_id"])))


async def create_user(call: Call) -> Reply:
    body: structs.CreateUser = call.body
    user = await desk.create_user(
        call.request,
        body.user_id,
        password=body.password,
        role=body.role,
        scope=scope_of(body.scope),
        display_name=body.display_name,
        writer=call.write,
    )
    return Reply(content=structs.UserAnswer(**user_fields(user)))


async def change_user(call: Call) -> Reply:
    body: structs.ChangeUser = call.body
    user = await desk.change_user(
        call.request,
        call.path["user_id"],
        role=None if body.role is UNSET else body.role,
        scope=... if body.scope is UNSET else scope_of(body.scope),
        display_name=None if body.display_name is UNSET else body.display_name,
        disabled=None if body.disabled is UNSET else body.disabled,
    )
    return Reply(content=structs.UserAnswer(**user_fields(user)))


async def remove_user(call: Call) -> Reply:
    await desk.remove_user(call.request, call.path["user_id"])
    return Reply(content=None)


async def set_user_password(call: Call) -> Reply:
    body: structs.SetPassword = call.body
    await desk.set_password(call.request, call.path["user_id"], body.password)
    return Reply(content=None)


async def reset_user_totp(call: Call) -> Reply:
    await desk.reset_totp(call.request, call.path["user_id"])
    return Reply(content=None)


async def sign_out_user(call: Call) -> Reply:
    return Reply(
        content=structs.EndedCount(ended=await desk.sign_out_user(call.request, call.path["user_id"]))
    )


def scope_of(groups: list[str] | None) -> Scope:
    """A scope as the API writes it."""
    return None if groups is None else frozenset(groups)


def scope_answer(scope: Scope) -> list[str] | None:
    """A scope as the API answers it: ids in order."""
    return None if scope is None else sorted(scope)


def user_fields(user: User) -> dict[str, Any]:
    """The members of structs.UserAnswer: never a hash or a secret."""
    return {
        "user_id": user.user_id,
        "display_name": user.display_name,
        "role": user.role,
        "scope": scope_answer(user.scope),
        "disabled": user.disabled,
        "has_second_factor": user.totp_sealed is not None,
        "created_at_ms": user.created_at_ms,
        "credentials_changed_at_ms": user.credentials_changed_at_ms,
    }


def person_answer(person: Person) -> structs.PersonAnswer:
    return structs.PersonAnswer(
        **user_fields(person.user),
        last_sign_in_at_ms=person.last_sign_in_at_ms,
        sign_in_count=person.sign_in_count,
        api_token_count=person.api_token_count,
    )


_TAGS = ("users",)
_ONE = "/users/{user_id}"

ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/users",
        handler=list_users,
        needs="users.manage",
        summary="All users, with when they last signed in",
        answer=structs.People,
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path="/users",
        handler=create_user,
        needs="users.manage",
        action="user.create",
        summary="Create a user",
        idempotent=True,
        body=structs.CreateUser,
        answer=structs.UserAnswer,
        status=201,
        errors=(409, 429),
        tags=_TAGS,
    ),
    Endpoint(
        method="GET",
        path=_ONE,
        handler=get_user,
        needs="users.manage",
        summary="A user",
        answer=structs.PersonAnswer,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="PATCH",
        path=_ONE,
        handler=change_user,
        needs="users.manage",
        action="user.change",
        summary="Change a user's role, scope, name, or whether they may sign in; it holds for their next request",
        body=structs.ChangeUser,
        answer=structs.UserAnswer,
        errors=(404, 409, 429),
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path=_ONE,
        handler=remove_user,
        needs="users.manage",
        action="user.remove",
        summary="Remove a user with all that signs them in",
        status=204,
        errors=(404, 409),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/password",
        handler=set_user_password,
        needs="users.manage",
        action="user.set_password",
        summary="Give a user a new password and sign them out everywhere",
        body=structs.SetPassword,
        status=204,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="DELETE",
        path=f"{_ONE}/totp",
        handler=reset_user_totp,
        needs="users.manage",
        action="user.reset_totp",
        summary="Take the second factor from a user who lost it and sign them out everywhere",
        status=204,
        errors=(404,),
        tags=_TAGS,
    ),
    Endpoint(
        method="POST",
        path=f"{_ONE}/sign-out",
        handler=sign_out_user,
        needs="users.manage",
        action="user.sign_out",
        summary="Sign a user out everywhere; API tokens stay",
        answer=structs.EndedCount,
        errors=(404,),
        tags=_TAGS,
    ),
)
