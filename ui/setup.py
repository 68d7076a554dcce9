"""Claiming a new box: the first admin, by the setup code."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request

from appliance.core.errors import Conflict
from appliance.management.audit import Act, Actor
from storage.catalog import Catalog, User
from ui.auth import Identity, open_session, peer_address, services_of


async def claim_box(
    request: Request,
    code: str,
    user_id: str,
    password: str,
    *,
    also: Callable[[Catalog], None] = lambda catalog: None,
) -> tuple[Identity, str]:
    """Make the first admin and sign them in. Two who try at once: one wins, the other is told.

    Args:
        also: What else is written in the same transaction.
    Returns:
        Who it is now, and the cookie's value for `auth.set_cookie`.
    Raises:
        Retryable: `too_many_attempts`. NotAuthorized: the code is wrong or void. UsageError: the name or password can't be
            used; the code stays valid then. Conflict: `claimed_already`.
    """
    services = services_of(request)
    services.sign_in_limiter.take(peer_address(request))
    with services.setup_code.claiming(code):
        password_hash = await services.passwords.hash(password, user_id=user_id)

        def write(catalog: Catalog) -> User:
            if catalog.has_admin():
                raise Conflict(
                    "The box has an admin already.", hint="Sign in with that account.", code="claimed_already"
                )
            also(catalog)
            return catalog.add_user(user_id, role="admin", password_hash=password_hash)

        by = Act(action="box.claim", actor=Actor(name=user_id, kind="user", address=peer_address(request)))
        user = await services.catalog.write(write, by=by)
    return await open_session(request, user.user_id, user.role)
