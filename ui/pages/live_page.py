"""The stream behind a page: for the one who is signed in, for as long as they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ui import auth
from ui.live.stream import LiveStream, Render
from ui.pages.shell import Shell


class StreamResponse(Response):
    """A LiveStream where Starlette wants a Response."""

    def __init__(self, live_stream: LiveStream) -> None:
        super().__init__()
        self._live_stream = live_stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._live_stream(scope, receive, send)


def stream(
    shell: Shell,
    request: Request,
    keys: Iterable[str] | None,
    render: Render,
    *,
    still_shown: Callable[[], Awaitable[bool]] | None = None,
) -> Response:
    """A page's stream; ends when the session does or its user may something else, looked up now and then.

    Args:
        still_shown: Whether whoever looks may still see what the page shows: devices leave groups.
    """

    async def still_allowed() -> bool:
        return await auth.is_still(request) and (still_shown is None or await still_shown())

    return StreamResponse(
        LiveStream(
            shell.services.hub,
            keys,
            render,
            stopping=shell.services.stopping,
            version=shell.services.version,
            still_allowed=still_allowed,
        )
    )
