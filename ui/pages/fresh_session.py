"""What an old session isn't enough for: a browser left open must not give away the site's secrets.

A session that was opened within FRESH_SESSION_MS counts; a program on the box itself owns the files anyway. Others are
led to signing in again, with the second factor where there is one, and come back.
"""

from __future__ import annotations

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.limits import FRESH_SESSION_MS
from ui import auth
from ui.pages.shell import Shell


async def is_fresh(shell: Shell, request: Request) -> bool:
    """Whether whoever asks has proved a short while ago who they are.

    Raises:
        NotAuthorized: nobody is signed in. Unavailable: the catalog can't be asked.
    """
    identity = await auth.require(request)
    if identity.via == "local":
        return True
    session_hash = identity.session_hash
    session = await shell.services.catalog.read(
        lambda catalog: catalog.find_session(session_hash), pool="auth"
    )
    # A session from the future is one from before the clock was set back: its age isn't known.
    return (
        session is not None and 0 <= shell.services.clock.now_ms() - session.created_at_ms < FRESH_SESSION_MS
    )


def sign_in_again(request: Request) -> Response:
    """To the sign-in page, and back to the page that was wanted."""
    return RedirectResponse(f"/sign-in?again=1&next={quote(request.url.path, safe='')}", 303)
