"""What people do with alarms on pages: acknowledge, shelve, take off the shelf, one or many. A POST and back to where it came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.alarms.book import Acted
from appliance.core.errors import UsageError
from appliance.core.limits import PAGE_FORM_FIELD_COUNT_MAX
from appliance.management.permissions import Scope
from storage.catalog import Catalog
from ui import auth
from ui.pages.alarm_filter import URL
from ui.pages.format import plural
from ui.pages.scoped import scope_of
from ui.pages.shell import Handler, Shell, form_of, local_path

_HOUR_MS: Final = 3_600_000
SHELF_TIMES: Final[dict[str, tuple[str, int]]] = {
    "1h": ("1 hour", _HOUR_MS),
    "4h": ("4 hours", 4 * _HOUR_MS),
    "8h": ("8 hours", 8 * _HOUR_MS),
    "24h": ("1 day", 24 * _HOUR_MS),
    "72h": ("3 days", 72 * _HOUR_MS),
    "168h": ("7 days", 168 * _HOUR_MS),
}
"""For how long an alarm can be shelved: words, and how long it is."""
ACTS: Final = ("acknowledge", "shelve", "unshelve")
_DONE: Final = {"acknowledge": "acknowledged", "shelve": "shelved", "unshelve": "taken off the shelf"}


def acting(op: str) -> Handler:
    """`POST /alarms/{id}/OP` with back, and note, or for and reason. Raises NotFound: `alarm_unknown`."""

    async def act(shell: Shell, request: Request) -> Response:
        form = await form_of(request)
        alarm_id, scope = request.path_params["alarm_id"], await scope_of(request)
        await shell.services.catalog.read(lambda catalog: catalog.get_alarm(alarm_id, scope=scope))
        acted = await _act(shell, request, op, [alarm_id], form, scope)
        return RedirectResponse(_back(form.get("back", ""), op, acted), 303)

    return act


async def act_on_many(shell: Shell, request: Request) -> Response:
    """`POST /alarms/bulk` with op, ids, back, and for and reason. Raises UsageError: `body_invalid`, or why it can't be done."""
    form = await request.form(max_files=0, max_fields=PAGE_FORM_FIELD_COUNT_MAX)
    fields = {key: value for key, value in form.multi_items() if isinstance(value, str)}
    ids = [each for each in form.getlist("ids") if isinstance(each, str)]
    op = fields.get("op", "")
    if op not in ACTS:
        raise UsageError("There is no such act.", hint="Use the buttons.", code="body_invalid")
    if not ids:
        raise UsageError(
            "No alarm is ticked.", hint="Go back and tick those that are meant.", code="body_invalid"
        )
    acted = await _act(shell, request, op, ids, fields, await scope_of(request))
    return RedirectResponse(_back(fields.get("back", ""), op, acted), 303)


def notice_of(done: str, count: str) -> str:
    """What was done, for the page that is shown next; "" for nothing."""
    if done not in _DONE or not count.isascii() or not count.isdigit() or len(count) > 5:
        return ""
    if count == "0":
        return "Nothing was changed: it was so already, or is over."
    return f"{plural(int(count), 'alarm')} {_DONE[done]}."


async def _act(
    shell: Shell, request: Request, op: str, ids: Sequence[str], form: dict[str, str], scope: Scope
) -> Acted:
    book = shell.services.alarms.book
    actor = (await auth.actor_of(request)).name
    until_ms = shell.services.clock.now_ms() + SHELF_TIMES.get(form.get("for", ""), ("", 0))[1]

    def write(catalog: Catalog) -> Acted:
        match op:
            case "acknowledge":
                note = form.get("note", "").strip()
                return book.acknowledge(catalog, ids, actor=actor, note=note, scope=scope)
            case "shelve":
                reason = form.get("reason", "").strip()
                return book.shelve(catalog, ids, until_ms=until_ms, reason=reason, actor=actor, scope=scope)
            case _:
                return book.unshelve(catalog, ids, actor=actor, scope=scope)

    acted = await shell.write(request, f"alarm.{op}", write)
    shell.alarms.changed()
    return acted


def _back(wanted: str, op: str, acted: Acted) -> str:
    path = local_path(wanted) if wanted else URL
    said = urlencode({"done": op, "count": len(acted.alarms)})
    path, hash_, fragment = path.partition("#")
    return f"{path}{'&' if '?' in path else '?'}{said}{hash_}{fragment}"
