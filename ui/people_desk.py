"""What admins do with accounts, for the API and the pages: both call these, so that both keep the same rules.

Who asks has the permission already (Endpoint and Shell see to that). Nobody changes their own role, scope or standing here:
raising oneself is impossible for those who may not, and locking oneself out is a mistake for those who may.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from types import EllipsisType
from typing import Protocol, TypeVar

from starlette.requests import Request

from appliance.core.errors import NotAuthorized
from appliance.management.audit import Act
from appliance.management.permissions import Role, Scope
from storage.catalog import Catalog, User
from storage.catalog.api_tokens import is_valid
from ui.auth import actor_of, require, services_of

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user as a list shows them.

    Attributes:
        last_sign_in_at_ms: On this node, UTC ms; None for never.
        sign_in_count: Browsers and programs that are signed in now.
        api_token_count: Valid ones.
    """

    user: User
    last_sign_in_at_ms: int | None
    sign_in_count: int
    api_token_count: int


class Writer(Protocol):
    """Writes as whoever asks, with what belongs to the request beside it (ui.api.endpoint.Call.write)."""

    async def __call__(self, fn: Callable[[Catalog], T], /) -> T: ...


async def write(request: Request, action: str, fn: Callable[[Catalog], T]) -> T:
    """Write as whoever asks.

    Args:
        action: What the audit calls it.
    """
    by = Act(action=action, actor=await actor_of(request))
    return await services_of(request).catalog.write(fn, by=by)


async def list_people(request: Request) -> list[Person]:
    """All users in the order of their names."""
    now_ms = services_of(request).clock.now_ms()

    def read(catalog: Catalog) -> list[Person]:
        return _persons(catalog, catalog.list_users(), now_ms, None)

    return await services_of(request).catalog.read(read)


async def get_person(request: Request, user_id: str) -> Person:
    """One user.

    Raises:
        NotFound: `user_unknown`.
    """
    now_ms = services_of(request).clock.now_ms()

    def read(catalog: Catalog) -> Person:
        return _persons(catalog, [catalog.get_user(user_id)], now_ms, user_id)[0]

    return await services_of(request).catalog.read(read)


async def create_user(
    request: Request,
    user_id: str,
    *,
    password: str,
    role: Role,
    scope: Scope,
    display_name: str = "",
    writer: Writer | None = None,
) -> User:
    """Create a user; an admin ends the setup code. Raises as Passwords.hash and PeopleTable.add_user."""
    password_hash = await services_of(request).passwords.hash(password, user_id=user_id)

    def add(catalog: Catalog) -> User:
        return catalog.add_user(
            user_id, role=role, password_hash=password_hash, scope=scope, display_name=display_name
        )

    user = await (writer(add) if writer else write(request, "user.create", add))
    _end_setup(request, user)
    return user


async def change_user(
    request: Request,
    user_id: str,
    *,
    role: Role | None = None,
    scope: Scope | EllipsisType = ...,
    display_name: str | None = None,
    disabled: bool | None = None,
) -> User:
    """Change what is given: all of it or, at an error, nothing. It holds for the user's next request.

    Args:
        scope: `...` leaves it; None gives the whole site.
    Raises:
        NotFound: `user_unknown`. Conflict: `last_admin`. NotAuthorized: `own_account`.
        UsageError: `group_unknown`, `display_name_invalid`.
    """
    if role is not None or scope is not ... or disabled is not None:
        await _not_oneself(request, user_id)

    def change(catalog: Catalog) -> User:
        user = catalog.get_user(user_id)
        if role is not None or scope is not ...:
            catalog.set_role(user_id, role or user.role, user.scope if scope is ... else scope)
        if display_name is not None:
            catalog.set_display_name(user_id, display_name)
        if disabled is not None:
            (catalog.disable_user if disabled else catalog.enable_user)(user_id)
        return catalog.get_user(user_id)

    user = await write(request, "user.change", change)
    _end_setup(request, user)
    return user


def _end_setup(request: Request, user: User) -> None:
    """A box that has an admin isn't set up any more: else every page would lead there, and nobody could sign in."""
    if user.role == "admin" and not user.disabled:
        services_of(request).setup_code.end()


async def remove_user(request: Request, user_id: str) -> None:
    """Remove a user with all that signs them in.

    Raises:
        NotFound: `user_unknown`. Conflict: `last_admin`. NotAuthorized: `own_account`.
    """
    await _not_oneself(request, user_id)
    await write(request, "user.remove", lambda catalog: catalog.remove_user(user_id))


async def set_password(request: Request, user_id: str, password: str) -> None:
    """Give somebody else a new password, which ends all that they are signed in with.

    Raises:
        As Passwords.hash. NotFound: `user_unknown`. NotAuthorized: `own_account`: one's own needs the old one.
    """
    await _not_oneself(request, user_id, hint="Change your own password on the Account page.")
    await get_person(request, user_id)
    password_hash = await services_of(request).passwords.hash(password, user_id=user_id)
    await write(request, "user.set_password", lambda catalog: catalog.set_password(user_id, password_hash))


async def reset_totp(request: Request, user_id: str) -> None:
    """Take the second factor from somebody who lost it, which ends all that they are signed in with.

    Raises:
        NotFound: `user_unknown`. NotAuthorized: `own_account`: one's own needs the password.
    """
    await _not_oneself(request, user_id, hint="Remove your own second factor on the Account page.")
    await write(request, "user.reset_totp", lambda catalog: catalog.set_totp(user_id, None))


async def sign_out_user(request: Request, user_id: str) -> int:
    """End all browsers and programs that somebody is signed in with; API tokens stay. Returns how many.

    Raises:
        NotFound: `user_unknown`.
    """

    def end(catalog: Catalog) -> int:
        catalog.get_user(user_id)
        count = catalog.end_sign_ins(user_id, because="ended_by_admin")
        catalog.note("user.sign_out", object_kind="user", object_id=user_id, detail=f"{count} ended")
        return count

    return await write(request, "user.sign_out", end)


async def _not_oneself(
    request: Request, user_id: str, *, hint: str = "Ask another admin, or use `homeport user` on the box."
) -> None:
    identity = await require(request)
    if identity.via != "local" and identity.user_id == user_id:
        raise NotAuthorized(
            "Nobody changes their own role, scope or standing, or their own secrets without proving them.",
            hint=hint,
            code="own_account",
        )


def _persons(catalog: Catalog, users: list[User], now_ms: int, user_id: str | None) -> list[Person]:
    last = catalog.last_sign_ins()
    signed_in = Counter(s.user_id for s in catalog.list_sessions(user_id))
    signed_in.update(f.user_id for f in catalog.list_families(user_id))
    tokens = Counter(t.user_id for t in catalog.list_api_tokens(user_id) if is_valid(t, now_ms))
    return [
        Person(
            user=user,
            last_sign_in_at_ms=last.get(user.user_id),
            sign_in_count=signed_in[user.user_id],
            api_token_count=tokens[user.user_id],
        )
        for user in users
    ]
