"""What all pages share: the frame around them, who may see them, and how an error reads.

A handler is `async def (page: Page, request: Request) -> Response`; `Shell.page` makes an endpoint of it. Errors of
the HomeportError tree become a page with the message and the next step; anything else is a mistake in our code and
goes up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits import PAGE_FORM_FIELD_COUNT_MAX
from appliance.identity import SetupState
from ui import auth
from ui.pages.assets import Assets
from ui.pages.overview_facts import OverviewFacts
from ui.pages.templating import Templates
from ui.problem import Retryable, status_of
from ui.services import Services


class NavItem(NamedTuple):
    key: str
    label: str
    url: str


NAV: Final = (
    NavItem("overview", "Overview", "/"),
    NavItem("devices", "Devices", "/devices"),
    NavItem("broker", "Broker", "/broker"),
    NavItem("dead_letters", "Dead letters", "/dead-letters"),
)
BRIDGES_ITEM: Final = NavItem("bridges", "Bridges", "/bridges")
"""Only where a bridge is configured: most boxes have none."""
SETUP_STATES: Final = frozenset(
    {SetupState.VALID, SetupState.CLAIMING, SetupState.EXPIRED, SetupState.LOCKED}
)
"""The box has no admin yet: every page leads to the first-run page."""

Handler = Callable[["Shell", Request], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


class Shell:
    """Templates, assets and services of one node's pages."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.assets = Assets()
        self.templates = Templates(self.assets)
        self.overview = OverviewFacts(services)

    def page(self, handler: Handler, *, public: bool = False) -> Endpoint:
        """An endpoint that checks who is asking (and the CSRF token of unsafe requests) before the handler runs.

        Args:
            public: Also for those who haven't signed in.
        """

        async def endpoint(request: Request) -> Response:
            try:
                if not public and await auth.identify(request) is None:
                    return self._to_door(request)
                await auth.require_csrf(request)
                return await handler(self, request)
            except HomeportError as error:
                return await self._error(request, error)

        return endpoint

    def stream(self, handler: Handler) -> Endpoint:
        """An endpoint for a page's stream: who isn't signed in gets 401, and the page loads itself again."""

        async def endpoint(request: Request) -> Response:
            if await auth.identify(request) is None:
                return Response("Sign in first.", 401, media_type="text/plain")
            try:
                return await handler(self, request)
            except HomeportError as error:
                return Response(problem_text(error), status_of(error), media_type="text/plain")

        return endpoint

    async def render(self, request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
        """A whole page. Never cached: it shows what is now, and to whom."""
        identity = await auth.identify(request)
        html = self.templates.render(
            template,
            now_ms=self.services.clock.now_ms(),
            csrf=identity.csrf_token if identity else "",
            frame={
                "node_name": self.services.node_name,
                "version": self.services.version,
                "user": identity.user_id if identity else "",
                "nav": (*NAV, BRIDGES_ITEM) if self.services.config.bridge else NAV,
            },
            **{"live_url": "", "charts": False, "section": "", "notice": None, "problem": "", **context},
        )
        return Response(
            html, status, media_type="text/html", headers={"cache-control": "no-store", "vary": "cookie"}
        )

    async def not_found(self, request: Request) -> Response:
        """For every address that no page has."""
        return await self.render(
            request,
            "message.html",
            status=404,
            title="There is no such page",
            text="Nothing is at this address.",
            hint="",
            back="Go to the overview",
            back_url="/",
        )

    def _to_door(self, request: Request) -> Response:
        if self.services.setup_code.state in SETUP_STATES:
            return RedirectResponse("/setup", 303)
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        suffix = f"?next={quote(wanted, safe='')}" if request.method == "GET" and wanted != "/" else ""
        return RedirectResponse(f"/sign-in{suffix}", 303)

    async def _error(self, request: Request, error: HomeportError) -> Response:
        status = status_of(error)
        response = await self.render(
            request,
            "message.html",
            status=status,
            title="That did not work",
            text=error.message,
            hint=error.hint,
            back="Go to the overview",
            back_url="/",
        )
        if isinstance(error, Retryable):
            response.headers["retry-after"] = str(error.retry_after_s)
        return response


async def form_of(request: Request) -> dict[str, str]:
    """The text fields of a form.

    Raises:
        UsageError: it holds a file or too many fields.
    """
    form = await request.form(max_files=0, max_fields=PAGE_FORM_FIELD_COUNT_MAX)
    fields: dict[str, str] = {}
    for key, value in form.multi_items():
        if not isinstance(value, str):
            raise UsageError("The form holds a file.", hint="Send text only.", code="body_invalid")
        fields[key] = value
    return fields


def local_path(wanted: str) -> str:
    """Where to go after signing in: a path of this site, "/" for anything else (a foreign page, a trick)."""
    parts = urlsplit(wanted)
    is_ours = not parts.scheme and not parts.netloc and wanted.startswith("/") and not wanted.startswith("//")
    return wanted if is_ours and "\\" not in wanted and wanted.isprintable() else "/"


def problem_text(error: HomeportError) -> str:
    """An error in a form's page: what is wrong and what to do."""
    return f"{error.message} {error.hint}".strip()
