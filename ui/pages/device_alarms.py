"""A device's alarms on its own page: those that are open first, then the last ones."""

from __future__ import annotations

from starlette.requests import Request

from appliance.management.permissions import Scope
from storage.catalog import Catalog
from ui.pages.alarm_facts import views_of
from ui.pages.alarm_views import AlarmView
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell

ROW_COUNT = 8


def read(catalog: Catalog, device_id: str, scope: Scope) -> tuple[AlarmView, ...]:
    """The ones that want somebody first."""
    page = catalog.list_alarms(device_id=device_id, scope=scope, order="attention", limit=ROW_COUNT)
    return views_of(catalog, page.alarms, scope)


async def rows_of(shell: Shell, request: Request, device_id: str) -> tuple[AlarmView, ...] | None:
    """What the page shows; None for whoever may not see alarms."""
    if "alarms.read" not in await shell.permissions_of(request):
        return None
    scope = await scope_of(request)
    return await shell.services.catalog.read(lambda catalog: read(catalog, device_id, scope))
