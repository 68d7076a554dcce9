"""What all pages share: the frame around them, who may see them, and how an error reads.

A handler is `async def (page: Page, request: Request) -> Response`; `Shell.page` makes an endpoint of it. Errors of
the HomeportError tree become a page with the message and the next step; anything else is a mistake in our code and
goes up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits import PAGE_FORM_FIELD_COUNT_MAX
from appliance.identity import SetupState
from appliance.management.audit import Act
from appliance.management.permissions import PERMISSIONS, Permission, check, may
from appliance.management.site_settings import UTC
from storage.catalog import Catalog
from ui import auth
from ui.pages.alarm_facts import AlarmFacts, count_words, unacknowledged_by_severity
from ui.pages.assets import Assets
from ui.pages.overview_facts import OverviewFacts
from ui.pages.templating import Templates
from ui.pages.update_facts import UpdateFacts
from ui.problem import Retryable, status_of
from ui.refused_permissions import note_refusal
from ui.services import Services
from ui.site import SiteFacts

T = TypeVar("T")


class NavItem(NamedTuple):
    """A page in the navigation of those who may see it. `waiting` is how much waits there, 0 for nothing; `waiting_text` what it is."""

    key: str
    label: str
    url: str
    needs: Permission
    waiting: int = 0
    waiting_text: str = ""


class NavGroup(NamedTuple):
    """An entry of the navigation: one page, or several that are shown below it while one of them is open.

    One row of all pages is wider than a tablet and three rows on a phone; eight entries fit both.
    """

    label: str
    items: tuple[NavItem, ...]

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(item.key for item in self.items)


WORK_QUEUE_KEY: Final = "work_queue"
ALARMS_KEY: Final = "alarms"
BRIDGES_KEY: Final = "bridges"
"""Only where a bridge is configured: most boxes have none."""
CLOUD_KEYS: Final = frozenset(
    {ALARMS_KEY, "notifications", "maintenance", "backups", "sites", "settings", "people", "audit"}
)
"""What a cloud node has: it has no devices, and no readings of its own."""
NAV: Final = (
    NavGroup("Overview", (NavItem("overview", "Overview", "/", "node.read"),)),
    NavGroup(
        "Alarms",
        (
            NavItem(ALARMS_KEY, "Alarms", "/alarms", "alarms.read"),
            NavItem("rules", "Rules", "/alarms/rules", "rules.read"),
            NavItem("notifications", "Notifications", "/alarms/notifications", "notifications.read"),
            NavItem("maintenance", "Maintenance", "/alarms/maintenance", "alarms.read"),
        ),
    ),
    NavGroup("Devices", (NavItem("devices", "Devices", "/devices", "devices.read"),)),
    NavGroup("Telemetry", (NavItem("telemetry", "Telemetry", "/telemetry", "telemetry.read"),)),
    NavGroup(
        "Firmware",
        (
            NavItem("rollouts", "Rollouts", "/firmware", "firmware.read"),
            NavItem("artifacts", "Artifacts", "/firmware/artifacts", "firmware.read"),
            NavItem(WORK_QUEUE_KEY, "Work queue", "/firmware/work-queue", "firmware.read"),
        ),
    ),
    NavGroup(
        "Messages",
        (
            NavItem("broker", "Broker", "/broker", "broker.read"),
            NavItem("mappings", "Mappings", "/mappings", "mappings.read"),
            NavItem("dead_letters", "Dead letters", "/dead-letters", "dead_letters.read"),
            NavItem(BRIDGES_KEY, "Bridges", "/bridges", "bridges.read"),
        ),
    ),
    NavGroup(
        "Data",
        (
            NavItem("storage", "Storage", "/storage", "archive.read"),
            NavItem("backups", "Backups", "/backups", "backups.read"),
            NavItem("sites", "Sites", "/sites", "sites.read"),
        ),
    ),
    NavGroup(
        "Box",
        (
            NavItem("settings", "Settings", "/settings", "settings.read"),
            NavItem("people", "People", "/people", "users.manage"),
            NavItem("audit", "Audit", "/audit", "audit.read"),
        ),
    ),
)
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
        self.site = SiteFacts(services.catalog)
        self.templates = Templates(self.assets, local_text=self._local_text)
        self.updates = UpdateFacts(services)
        self.alarms = AlarmFacts(services)
        self.overview = OverviewFacts(services, self.updates)

    def page(self, handler: Handler, *, needs: Permission | None, reads_form: bool = True) -> Endpoint:
        """An endpoint that checks who is asking (and the CSRF token of unsafe requests) before the handler runs.

        Args:
            needs: The permission that whoever asks must have; None: also for those who haven't signed in.
            reads_form: False for a handler that reads the form as it comes, and checks its token by itself.
        """

        async def endpoint(request: Request) -> Response:
            try:
                if needs is not None:
                    identity = await auth.identify(request)
                    if identity is None:
                        return self._to_door(request)
                    check(identity.role, identity.scope, needs)
                if reads_form:
                    await auth.require_csrf(request)
                if reads_form and needs is not None and request.method not in auth.SAFE_METHODS:
                    await request.form()
                    await auth.require_still(request)
                return await handler(self, request)
            except HomeportError as error:
                return await self._error(request, error)
            finally:
                await request.close()  # A file that came with a form is a file on the disk until then.

        return endpoint

    def stream(self, handler: Handler, *, needs: Permission) -> Endpoint:
        """An endpoint for a page's stream: who isn't signed in gets 401, and the page loads itself again."""

        async def endpoint(request: Request) -> Response:
            identity = await auth.identify(request)
            if identity is None:
                return Response("Sign in first.", 401, media_type="text/plain")
            try:
                check(identity.role, identity.scope, needs)
                return await handler(self, request)
            except HomeportError as error:
                await note_refusal(request, error)
                return Response(problem_text(error), status_of(error), media_type="text/plain")

        return endpoint

    async def write(self, request: Request, action: str, fn: Callable[[Catalog], T]) -> T:
        """Write to the catalog as whoever asks: what changes is in the audit under their name.

        Args:
            action: What the audit calls it, `noun.verb`.
        """
        by = Act(action=action, actor=await auth.actor_of(request))
        return await self.services.catalog.write(fn, by=by)

    async def render(self, request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
        """A whole page. Never cached: it shows what is now, and to whom."""
        identity = await auth.identify(request)
        site = await self.site.get()
        html = self.templates.render(
            template,
            now_ms=self.services.clock.now_ms(),
            csrf=identity.csrf_token if identity else "",
            frame={
                "node_name": site.name or self.services.node_name,
                "version": self.services.version,
                "user": identity.user_id if identity else "",
                "nav": await self._nav(identity),
                "may": _permissions(identity),
            },
            **{"live_url": "", "charts": False, "section": "", "notice": None, "problem": "", **context},
        )
        return Response(
            html, status, media_type="text/html", headers={"cache-control": "no-store", "vary": "cookie"}
        )

    async def permissions_of(self, request: Request) -> frozenset[Permission]:
        """What whoever asks may do, for a partial that comes without the frame."""
        return _permissions(await auth.identify(request))

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

    def _local_text(self, at_ms: int) -> str:
        site = self.site.current
        return "" if site.time_zone == UTC else site.local_text(at_ms)

    async def _nav(self, identity: auth.Identity | None) -> tuple[NavGroup, ...]:
        """What whoever asks may open. A group of one page has that page's name."""
        allowed = _permissions(identity)
        in_need = await self.updates.in_need(identity.scope) if identity and "firmware.read" in allowed else 0
        unacknowledged = (
            unacknowledged_by_severity(await self.alarms.counts(identity.scope))
            if identity and "alarms.read" in allowed
            else {}
        )
        waiting = {
            WORK_QUEUE_KEY: (in_need, "waiting"),
            ALARMS_KEY: (
                sum(unacknowledged.values()),
                f"not acknowledged: {count_words(unacknowledged)}",
            ),
        }
        groups = []
        for group in NAV:
            items = tuple(
                item._replace(waiting=waiting[item.key][0], waiting_text=waiting[item.key][1])
                if item.key in waiting
                else item
                for item in group.items
                if item.needs in allowed
                and (item.key != BRIDGES_KEY or self.services.config.bridge)
                and (item.key in CLOUD_KEYS or self.services.config.node.role != "cloud")
            )
            if items:
                groups.append(NavGroup(group.label if len(items) > 1 else items[0].label, items))
        return tuple(groups)

    def _to_door(self, request: Request) -> Response:
        if self.services.setup_code.state in SETUP_STATES:
            return RedirectResponse("/setup", 303)
        wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        suffix = f"?next={quote(wanted, safe='')}" if request.method == "GET" and wanted != "/" else ""
        return RedirectResponse(f"/sign-in{suffix}", 303)

    async def _error(self, request: Request, error: HomeportError) -> Response:
        await note_refusal(request, error)
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


def _permissions(identity: auth.Identity | None) -> frozenset[Permission]:
    """What whoever asks may do: templates show no button that would be refused."""
    if identity is None:
        return frozenset()
    return frozenset(each for each in PERMISSIONS if may(identity.role, identity.scope, each))


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
