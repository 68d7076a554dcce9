"""The stream behind a page: for the one who is signed in, for as long as they are."""

from __future__ import annotations

from collections.abc import Iterable

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


def stream(shell: Shell, request: Request, keys: Iterable[str] | None, render: Render) -> Response:
    """A page's stream; ends when the session does, looked up afresh now and then."""

    async def still_allowed() -> bool:
        # Without the answer that was kept for this request when it began.
        fresh = Request({k: v for k, v in request.scope.items() if k != "homeport.identity"})
        return await auth.identify(fresh) is not None

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
