"""Signing in for browsers: prove to be somebody, and open a session."""

from __future__ import annotations

from starlette.requests import Request

from ui.auth import Identity, open_session
from ui.proof import prove


async def sign_in(request: Request, user_id: str, password: str, code: str = "") -> tuple[Identity, str]:
    """Check what proves somebody and open a session.

    Args:
        code: Of the second factor; "" for none.
    Returns:
        Who it is now, and the cookie's value for `auth.set_cookie`.
    Raises:
        As ui.proof.prove.
    """
    user = await prove(request, user_id, password, code)
    return await open_session(request, user.user_id, user.role, user.scope, proved=user)
