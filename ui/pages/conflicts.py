"""Conflicts on the page “Sites”: values that people wrote on boxes that did not know of each other, side by side, and the choice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import UsageError
from appliance.management import hlc
from appliance.management.audit import shown
from storage.catalog import Catalog
from storage.catalog.conflicts import ConflictValue, FieldConflict
from ui.auth import actor_of
from ui.pages.format import visible
from ui.pages.shell import Shell, form_of
from ui.pages.views import dom_id

CONFLICT_COUNT: Final = 50
"""Shown at once; further ones follow as these are decided."""
_WHAT: Final = {
    "artifact_keys": "Signing key",
    "artifacts": "Firmware image",
    "devices": "Device",
    "maintenances": "Maintenance",
    "mappings": "Mapping",
    "notification_targets": "Whom to tell",
    "on_call_lists": "On-call list",
    "retention_classes": "Retention class",
    "rules": "Rule",
    "settings": "Setting",
    "twins": "Twin",
    "users": "Person",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueView:
    """One of the values. `number` is what a choice names it by; the one in force is 0."""

    number: int
    text: str
    where: str
    at_ms: int
    is_in_force: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictView:
    """A conflict that is open."""

    conflict_id: str
    title: str
    field: str
    found_at_ms: int
    values: tuple[ValueView, ...]
    dom_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictsView:
    """Those that are shown, and how many there are."""

    conflicts: tuple[ConflictView, ...] = ()
    count: int = 0


NO_CONFLICTS: Final = ConflictsView()


async def conflicts_view(shell: Shell, names: Mapping[str, str]) -> ConflictsView:
    """The newest conflicts that are open.

    Args:
        names: Of boxes, by node id.
    Raises:
        Unavailable: the catalog does not answer.
    """

    def read(catalog: Catalog) -> ConflictsView:
        page = catalog.list_conflicts(limit=CONFLICT_COUNT)
        return ConflictsView(
            conflicts=tuple(_view(each, names) for each in page.conflicts), count=catalog.count_conflicts()
        )

    return await shell.services.catalog.read(read)


async def resolve(shell: Shell, request: Request) -> Response:
    """`POST /sites/conflicts` with conflict_id and choice: one of the values is in force on all boxes then.

    Raises:
        UsageError: `conflict_choice`. NotFound, Conflict: as the catalog says.
    """
    form = await form_of(request)
    choice = form.get("choice", "")
    if not choice.isdecimal() or len(choice) > 3:
        raise UsageError("No value was chosen.", hint="Choose one of them.", code="conflict_choice")
    by = (await actor_of(request)).name
    await shell.write(
        request,
        "conflict.resolve",
        lambda catalog: catalog.resolve_conflict(form.get("conflict_id", ""), int(choice), by=by),
    )
    return RedirectResponse("/sites?done=resolved", 303)


def _view(conflict: FieldConflict, names: Mapping[str, str]) -> ConflictView:
    return ConflictView(
        conflict_id=conflict.conflict_id,
        title=f"{_WHAT.get(conflict.table, conflict.table)} {visible(conflict.key)}",
        field=conflict.register.replace("_", " "),
        found_at_ms=conflict.found_at_ms,
        values=tuple(_value(number, each, names) for number, each in enumerate(conflict.candidates)),
        dom_id=dom_id("conflict", conflict.conflict_id),
    )


def _value(number: int, value: ConflictValue, names: Mapping[str, str]) -> ValueView:
    return ValueView(
        number=number,
        text=visible(text_of(shown(value.values))),
        where=visible(names.get(value.clock.origin, f"{value.clock.origin[:8]}…")),
        at_ms=hlc.wall_ms(value.clock.hlc),
        is_in_force=number == 0,
    )


def text_of(values: Mapping[str, Any]) -> str:
    """A value as people read it: alone where there is one, else with the names of its parts."""
    if len(values) == 1:
        (only,) = values.values()
        return _plain(only)
    return "; ".join(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in values.items())


def _plain(value: Any) -> str:
    """One value; lists and structures are kept as JSON."""
    if value is None or value == "":
        return "nothing"
    try:
        found = json.loads(value) if isinstance(value, str) and value[:1] in ("[", "{") else value
    except ValueError:
        return str(value)
    if isinstance(found, list):
        return (
            ", ".join(
                each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in found
            )
            or "none"
        )
    return json.dumps(found, ensure_ascii=False) if isinstance(found, dict) else str(found)
