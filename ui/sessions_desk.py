"""Who is signed in with what, for the API and the pages. Everybody sees and ends their own; those of others need `users.manage`."""

from __future__ import annotations

from starlette.requests import Request

from appliance.core.errors import NotAuthorized
from appliance.management.permissions import check, may
from storage.catalog import Catalog
from ui.account_desk import person_of
from ui.auth import require, services_of
from ui.people_desk import write
from ui.signed_in import SignedIn, all_signed_in, end_one


async def list_signed_in(request: Request, user_id: str | None) -> list[SignedIn]:
    """All that a user is signed in with, the last used first.

    Args:
        user_id: None for everybody's.
    Raises:
        NotAuthorized: it is somebody else's, and who asks may not manage users.
    """
    identity = await require(request)
    if user_id != identity.user_id:
        check(identity.role, identity.scope, "users.manage")
    secrets = services_of(request).people.secrets
    return await services_of(request).catalog.read(
        lambda catalog: all_signed_in(
            catalog,
            secrets,
            user_id,
            session_hash=identity.session_hash,
            family_id=identity.family_id,
        )
    )


async def end_signed_in(request: Request, session_id: str) -> None:
    """End one of them at once.

    Raises:
        NotFound: `session_unknown`: it ended, or is somebody else's and who asks may not manage users.
        NotAuthorized: `forbidden` to an API token that may not manage users: it changes nothing of its user's.
    """
    identity = await require(request)
    manages = may(identity.role, identity.scope, "users.manage")
    if identity.via == "api_token" and not manages:
        raise NotAuthorized(
            "This API token can't end what its user is signed in with.",
            hint="Sign in and end it yourself.",
            code="forbidden",
        )
    whose = None if manages else identity.user_id
    secrets = services_of(request).people.secrets
    await write(request, "session.end", lambda catalog: end_one(catalog, secrets, session_id, user_id=whose))


async def end_others(request: Request) -> int:
    """End all that one is signed in with, but what asks now; returns how many.

    Raises:
        NotAuthorized: `forbidden`, as person_of: a token that leaked must not keep its user out.
    """
    identity = await person_of(request)

    def end(catalog: Catalog) -> int:
        count = catalog.end_sign_ins(
            identity.user_id,
            because="ended",
            keep_session=identity.session_hash,
            keep_family=identity.family_id,
        )
        catalog.note(
            "session.end_others", object_kind="user", object_id=identity.user_id, detail=f"{count} ended"
        )
        return count

    return await write(request, "session.end_others", end)
