"""The part of a device's page about its twins, what differs first, and the page that changes what is desired.

What is desired is edited as a whole, as JSON, on a page of its own: live updates must not take from anybody what they are typing. The
version that was read goes with the form, so that two people don't overwrite each other.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError
from appliance.core.limits_twins import PAGE_TWIN_ROW_COUNT_MAX, PAGE_TWIN_VALUE_LENGTH_MAX
from appliance.management.permissions import may
from appliance.management.twin import check_name
from storage.catalog import Catalog, Device
from storage.catalog.twins import KeptTwin, TwinChanged
from ui import auth
from ui.api.twins import set_desired, wish_of
from ui.live.hub import Frame
from ui.live.twin_keys import commands_key, twin_key
from ui.pages.device_commands import CommandForm, newest_commands
from ui.pages.looks import Look
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.templating import partial
from ui.pages.views import device_url
from ui.problem import status_of

DIFFERS: Final = Look("differs", "warn", "warn")
AS_DESIRED: Final = Look("as desired", "ok", "good")
ONLY_REPORTED: Final = Look("reported", "info", "idle")
"""Nobody wants anything of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinRow:
    """One value of a twin; texts are JSON, None where a side doesn't have it. Times are UTC ms."""

    path: str
    look: Look
    desired: str | None
    desired_at_ms: int | None
    reported: str | None
    reported_at_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinView:
    """A twin as it is shown: rows that differ first, `more` are not shown."""

    name: str
    version: int
    rows: tuple[TwinRow, ...]
    more: int
    differs_count: int
    has_desired: bool
    edit_url: str


def view_of_twin(kept: KeptTwin) -> TwinView:
    """How a twin is shown."""
    twin = kept.twin
    desired = dict(_leaves(twin.desired, twin.desired_at))
    reported = dict(_leaves(twin.reported, twin.reported_at))
    delta = dict(_leaves(twin.delta, {}))
    rows = []
    for path in sorted(desired.keys() | reported.keys(), key=lambda path: (path not in delta, path)):
        wanted, said = desired.get(path), reported.get(path)
        look = DIFFERS if path in delta else AS_DESIRED if wanted else ONLY_REPORTED
        rows.append(
            TwinRow(
                path=path,
                look=look,
                desired=wanted[0] if wanted else None,
                desired_at_ms=wanted[1] if wanted else None,
                reported=said[0] if said else None,
                reported_at_ms=said[1] if said else None,
            )
        )
    return TwinView(
        name=kept.name,
        version=twin.version,
        rows=tuple(rows[:PAGE_TWIN_ROW_COUNT_MAX]),
        more=max(0, len(rows) - PAGE_TWIN_ROW_COUNT_MAX),
        differs_count=len(delta),
        has_desired=bool(desired),
        edit_url=f"{device_url(kept.device_id)}/twin" + (f"?name={quote(kept.name)}" if kept.name else ""),
    )


async def twins_view(shell: Shell, device_id: str) -> list[TwinView]:
    """All twins of a device that whoever asks may see."""
    kept = await shell.services.catalog.read(lambda catalog: catalog.list_twins(device_id))
    return [view_of_twin(each) for each in kept]


async def parts(shell: Shell, request: Request, device_id: str) -> dict[str, Any]:
    """What the device's page needs for its sections Twin and Commands."""
    identity = await auth.require(request)
    return {
        "twins": await twins_view(shell, device_id),
        "commands": await newest_commands(shell, device_id),
        "command_form": CommandForm(),
        "url": device_url(device_id),
        "may_write": may(identity.role, identity.scope, "twins.write"),
        "may_send": may(identity.role, identity.scope, "commands.send"),
    }


async def live_parts(shell: Shell, request: Request, device_id: str, frame: Frame) -> str:
    """These sections as a frame changes them: "" where it doesn't."""
    shown = (
        (twin_key(device_id), "twin-body", "device_twin_body.html"),
        (commands_key(device_id), "commands-body", "device_commands_body.html"),
    )
    changed = [(place, template) for key, place, template in shown if frame.is_first or key in frame.keys]
    if not changed:
        return ""
    identity = await auth.require(request)
    context = await parts(shell, request, device_id)
    context |= {"now_ms": shell.services.clock.now_ms(), "csrf": identity.csrf_token}
    return "".join(partial(place, shell.templates.render(template, **context)) for place, template in changed)


async def show(shell: Shell, request: Request) -> Response:
    """`GET /devices/{id}/twin?name=`, or `?new=1` for one more. Raises NotFound: `device_unknown`. UsageError: a bad name."""
    is_new = request.query_params.get("new") == "1"
    name = "" if is_new else request.query_params.get("name", "")
    device, kept = await _read(shell, request, name)
    return await _page(shell, request, device, kept, is_new=is_new)


async def edit(shell: Shell, request: Request) -> Response:
    """`POST /devices/{id}/twin` with name, desired and seen. Raises NotFound: `device_unknown`."""
    form = await form_of(request)
    name, text, is_new = form.get("name", "").strip(), form.get("desired", ""), form.get("new") == "1"
    device_id, scope = request.path_params["device_id"], await scope_of(request)

    def write(catalog: Catalog) -> TwinChanged:
        catalog.get_device(device_id, scope=scope)
        return set_desired(catalog, device_id, name, wish, expected=form.get("seen", ""))

    try:
        wish = wish_of(text.encode("utf-8", "surrogatepass"), is_whole=True)
        changed = await shell.write(request, "twin.edit", write)
    except HomeportError as error:
        readable = "" if error.code == "twin_name_invalid" else name
        device, kept = await _read(shell, request, readable)
        return await _page(
            shell,
            request,
            device,
            kept,
            is_new=is_new,
            name=name[:100],
            text=text,
            # Who is shown what is there now, beside what they typed, may go on; for who is not it is as they saw it.
            seen=None if error.code == "twin_changed" else form.get("seen", ""),
            problem=error,
        )
    shell.services.twins.desk.changed(changed)
    return RedirectResponse(f"{device_url(device_id)}?done=twin_set#twin", 303)


async def _read(shell: Shell, request: Request, name: str) -> tuple[Device, KeptTwin]:
    check_name(name)
    device_id, scope = request.path_params["device_id"], await scope_of(request)
    return await shell.services.catalog.read(
        lambda catalog: (catalog.get_device(device_id, scope=scope), catalog.find_twin(device_id, name))
    )


async def _page(
    shell: Shell,
    request: Request,
    device: Device,
    kept: KeptTwin,
    *,
    is_new: bool,
    name: str | None = None,
    text: str | None = None,
    seen: str | None = None,
    problem: HomeportError | None = None,
) -> Response:
    now = json.dumps(kept.twin.desired, ensure_ascii=False, indent=2)
    return await shell.render(
        request,
        "device_twin_edit.html",
        status=200 if problem is None else status_of(problem),
        title=f"What is desired of {device.device_id}",
        section="devices",
        device=device,
        url=device_url(device.device_id),
        is_new=is_new,
        name=kept.name if name is None else name,
        text=now if text is None else text,
        seen=str(kept.desired_version) if seen is None else seen,
        now_text=now if problem is not None and problem.code == "twin_changed" else "",
        reported=json.dumps(kept.twin.reported, ensure_ascii=False, indent=2) if kept.twin.reported else "",
        problem=problem_text(problem) if problem is not None else "",
    )


def _leaves(section: dict[str, Any], times: Any, above: str = "") -> list[tuple[str, tuple[str, int | None]]]:
    """Each value by its path, as JSON with its time; an empty object is a value."""
    found: list[tuple[str, tuple[str, int | None]]] = []
    for key, value in section.items():
        path = f"{above}.{key}" if above else key
        at = times.get(key) if isinstance(times, dict) else None
        if isinstance(value, dict) and value:
            found += _leaves(value, at, path)
        else:
            text = json.dumps(value, ensure_ascii=False)
            if len(text) > PAGE_TWIN_VALUE_LENGTH_MAX:
                text = text[:PAGE_TWIN_VALUE_LENGTH_MAX] + "…"
            found.append((path, (text, at * 1000 if isinstance(at, int) else None)))
    return found
