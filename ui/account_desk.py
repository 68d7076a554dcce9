"""What people do with their own account, for the API and the pages: password, second factor.

What outlasts a session needs the password once more: who finds a browser open can't take the account over. An API token can't
change its user's account at all, and a program on the box has none.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from appliance.core.errors import Conflict, NotAuthorized
from appliance.identity.totp import totp_uri
from storage.catalog import Catalog, User
from ui.auth import Identity, require, services_of
from ui.people_desk import write
from ui.proof import prove_again


@dataclass(frozen=True, slots=True, kw_only=True)
class TotpEnrolment:
    """What is shown to set up the second factor, this once.

    Attributes:
        secret: Base32, to type into an app.
        uri: The same as an otpauth: address, for a QR code.
        enrolment: Comes back with the first code.
    """

    secret: str
    uri: str
    enrolment: str


async def person_of(request: Request) -> Identity:
    """Who asks, if they are a person.

    Raises:
        NotAuthorized: `forbidden`: an API token or a program on the box.
    """
    identity = await require(request)
    if identity.via in ("local", "api_token"):
        raise NotAuthorized(
            "This is for people who signed in themselves.",
            hint="Sign in; on the box itself use `homeport user`.",
            code="forbidden",
        )
    return identity


async def own_user(request: Request) -> User:
    """The account of who asks.

    Raises:
        NotFound: `user_unknown`: a program on the box has none.
    """
    identity = await require(request)
    return await services_of(request).catalog.read(lambda catalog: catalog.get_user(identity.user_id))


async def set_own_name(request: Request, display_name: str) -> User:
    """Change what people call one. Raises as person_of; UsageError: `display_name_invalid`."""
    identity = await person_of(request)
    return await write(
        request, "account.change", lambda catalog: catalog.set_display_name(identity.user_id, display_name)
    )


async def change_own_password(request: Request, old: str, new: str) -> None:
    """Change one's password: everything else that one is signed in with ends, this browser stays.

    Raises:
        As person_of, prove_again and Passwords.hash.
    """
    identity = await person_of(request)
    user = await prove_again(request, identity, old)
    password_hash = await services_of(request).passwords.hash(new, user_id=identity.user_id)

    def change(catalog: Catalog) -> None:
        catalog.check_unchanged(user)
        catalog.set_password(identity.user_id, password_hash, keep_session=identity.session_hash)

    await write(request, "account.set_password", change)


async def begin_totp(request: Request) -> TotpEnrolment:
    """A new secret for the second factor. Nothing is kept until `confirm_totp`.

    Raises:
        As person_of. Conflict: `totp_active`.
    """
    identity = await person_of(request)
    _refuse_second_one(await own_user(request))
    services = services_of(request)
    secret, enrolment = services.people.totp.begin(identity.user_id)
    await write(
        request,
        "account.begin_totp",
        lambda catalog: catalog.note("account.begin_totp", object_kind="user", object_id=identity.user_id),
    )
    uri = totp_uri(identity.user_id, secret, node_name=services.node_name)
    return TotpEnrolment(secret=secret, uri=uri, enrolment=enrolment)


async def confirm_totp(request: Request, *, enrolment: str, code: str, password: str) -> None:
    """Make the second factor count from now on: everything else that one is signed in with ends.

    Args:
        code: The first one that the app shows.
    Raises:
        As person_of and prove_again. UsageError: `totp_enrolment_invalid`, `totp_code_wrong`. Conflict: `totp_active`.
    """
    identity = await person_of(request)
    user = await prove_again(request, identity, password)
    sealed, step = services_of(request).people.totp.finish(identity.user_id, enrolment, code)

    def change(catalog: Catalog) -> None:
        catalog.check_unchanged(user)
        _refuse_second_one(catalog.get_user(identity.user_id))
        catalog.set_totp(identity.user_id, sealed, keep_session=identity.session_hash)
        catalog.use_totp_step(identity.user_id, step)

    await write(request, "account.set_totp", change)


async def remove_own_totp(request: Request, password: str) -> None:
    """Go back to the password alone: everything else that one is signed in with ends.

    Raises:
        As person_of and prove_again. Conflict: `totp_inactive`.
    """
    identity = await person_of(request)
    user = await prove_again(request, identity, password)
    if user.totp_sealed is None:
        raise Conflict("You have no second factor.", hint="There is nothing to remove.", code="totp_inactive")

    def change(catalog: Catalog) -> None:
        catalog.check_unchanged(user)
        catalog.set_totp(identity.user_id, None, keep_session=identity.session_hash)

    await write(request, "account.remove_totp", change)


def _refuse_second_one(user: User) -> None:
    if user.totp_sealed is not None:
        raise Conflict(
            "You have a second factor already.",
            hint="Remove it first; the new app gets a secret of its own.",
            code="totp_active",
        )
