"""Maintenance: times in which alarms of some devices are expected, and told to nobody. Planned, running and over; begun and ended here."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError
from appliance.core.limits import PAGE_FORM_FIELD_COUNT_MAX
from storage.catalog import Catalog
from storage.catalog.maintenances import Maintenance
from ui import auth
from ui.pages.alarm_facts import MAINTENANCE_URL
from ui.pages.alarm_views import MaintenanceView
from ui.pages.duration_words import read_s
from ui.pages.rule_sentence import scope_words
from ui.pages.scope_form import ScopeForm, choices, counted
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, problem_text
from ui.pages.telemetry_choice import in_utc
from ui.pages.views import Notice
from ui.problem import status_of
from ui.telemetry_question import parse_when

ID_BYTES: Final = 8
LIST_COUNT: Final = 100
_NOTICES: Final = {
    "made": "Planned. Nobody is told of alarms of these devices while it lasts.",
    "ended": "Ended. What is still wrong is told of now.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The form's other fields as text."""

    reason: str = ""
    begins: str = ""
    lasts: str = "2 h"


async def show(shell: Shell, request: Request) -> Response:
    """`GET /alarms/maintenance?devices=`: the list, and a form that may begin with a device."""
    form = ScopeForm(devices=request.query_params.get("device", "")[:300])
    return await _page(shell, request, form, Wish())


async def make(shell: Shell, request: Request) -> Response:
    """`POST /alarms/maintenance` with reason, begins, lasts and the devices."""
    sent = await request.form(max_files=0, max_fields=PAGE_FORM_FIELD_COUNT_MAX)
    form = ScopeForm.of(sent)
    wish = Wish(**{name: str(sent.get(name, ""))[:500].strip() for name in ("reason", "begins", "lasts")})
    now_ms = shell.services.clock.now_ms()
    by = (await auth.actor_of(request)).name
    try:
        from_ms = parse_when(in_utc(wish.begins), now_ms, name="begins") if wish.begins else now_ms
        until_ms = from_ms + round(read_s(wish.lasts, name="Lasts") * 1_000)
        await shell.write(
            request,
            "maintenance.create",
            lambda catalog: catalog.add_maintenance(
                secrets.token_hex(ID_BYTES),
                scope=form.scope(),
                reason=wish.reason,
                from_at_ms=from_ms,
                until_at_ms=until_ms,
                by=by,
            ),
        )
    except HomeportError as error:
        return await _page(shell, request, form, wish, problem=problem_text(error), status=status_of(error))
    shell.alarms.changed()
    return RedirectResponse(f"{MAINTENANCE_URL}?done=made", 303)


async def end(shell: Shell, request: Request) -> Response:
    """`POST /alarms/maintenance/{id}/end`. Raises NotFound: `maintenance_unknown`. Conflict: `maintenance_over`."""
    maintenance_id = request.path_params["maintenance_id"]
    await shell.write(request, "maintenance.end", lambda catalog: catalog.end_maintenance(maintenance_id))
    shell.alarms.changed()
    return RedirectResponse(f"{MAINTENANCE_URL}?done=ended", 303)


def view_of(found: Maintenance, now_ms: int) -> MaintenanceView:
    """A maintenance as a row."""
    return MaintenanceView(
        maintenance_id=found.maintenance_id,
        scope=scope_words(found.scope),
        reason=found.reason,
        from_ms=found.from_at_ms,
        until_ms=found.until_at_ms,
        created_by=found.created_by,
        state=found.state(now_ms),
    )


async def _page(
    shell: Shell, request: Request, form: ScopeForm, wish: Wish, *, problem: str = "", status: int = 200
) -> Response:
    scope = await scope_of(request)
    now_ms = shell.services.clock.now_ms()

    def read(catalog: Catalog) -> tuple[dict[str, Any], list[MaintenanceView]]:
        context = {**choices(catalog, scope), **counted(catalog, form.scope(), scope)}
        return context, [view_of(each, now_ms) for each in catalog.list_maintenances(limit=LIST_COUNT)]

    context, listed = await shell.services.catalog.read(read)
    notice = _NOTICES.get(request.query_params.get("done", ""))
    return await shell.render(
        request,
        "maintenance.html",
        status=status,
        title="Maintenance",
        section="maintenance",
        sections=[
            (word.capitalize(), [each for each in listed if each.state == word])
            for word in ("running", "planned", "over")
        ],
        form=form,
        wish=wish,
        problem=problem,
        notice=Notice(tone="good", text=notice) if notice and not problem else None,
        may_manage="maintenance.manage" in await shell.permissions_of(request),
        **context,
    )
