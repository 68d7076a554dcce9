"""The part of a device's page about commands: sending one, what became of the newest; and the page with all of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, cast

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, UsageError
from appliance.core.limits_twins import (
    PAGE_COMMAND_COUNT,
    PAGE_COMMAND_COUNT_NEWEST,
    PAGE_TWIN_VALUE_LENGTH_MAX,
)
from appliance.management.commands import CommandState, CommandWish, WhenAway, decode_params
from storage.catalog import Catalog, Device
from storage.catalog.commands import Command, CommandPage
from ui import auth
from ui.pages.looks import Look
from ui.pages.scoped import scope_of
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.views import device_url
from ui.problem import status_of

LOOKS: Final[dict[CommandState, Look]] = {
    CommandState.QUEUED: Look("waits for the device", "waiting", "idle"),
    CommandState.SENT: Look("sent, no answer yet", "info", "idle"),
    CommandState.SUCCEEDED: Look("succeeded", "ok", "good"),
    CommandState.FAILED: Look("failed", "bad", "bad"),
    CommandState.EXPIRED: Look("expired, never sent", "late", "warn"),
    CommandState.UNANSWERED: Look("unanswered", "lost", "warn"),
    CommandState.CANCELED: Look("canceled", "rejected", "idle"),
    CommandState.REFUSED: Look("refused: it went away", "offline", "warn"),
}
EXPIRIES: Final = (
    (60, "1 minute"),
    (600, "10 minutes"),
    (3_600, "1 hour"),
    (86_400, "1 day"),
    (604_800, "7 days"),
)
"""Seconds; the API takes any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandView:
    """A command as it is shown; texts of params, answer and error are as they came, cut when long."""

    command_id: str
    method: str
    params: str
    look: Look
    created_by: str
    created_at_ms: int
    expires_at_ms: int
    sent_at_ms: int | None
    answered_at_ms: int | None
    answer: str
    is_late: bool
    may_cancel: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandForm:
    """What the form holds: what was typed, when it comes back with a problem."""

    method: str = ""
    params: str = ""
    when_away: str = "queue"
    expires_s: int = 60
    choices: tuple[tuple[int, str], ...] = EXPIRIES


def view_of_command(command: Command) -> CommandView:
    """How a command is shown."""
    said = [command.error] if command.error else []
    if command.answered_at_ms is not None and command.result is not None:
        said.append(_text(command.result))
    return CommandView(
        command_id=command.command_id,
        method=command.method,
        params="" if command.params is None else _text(command.params),
        look=LOOKS[command.state],
        created_by=command.created_by,
        created_at_ms=command.created_at_ms,
        expires_at_ms=command.expires_at_ms,
        sent_at_ms=command.sent_at_ms,
        answered_at_ms=command.answered_at_ms,
        answer=" ".join(said),
        is_late=command.is_late,
        may_cancel=command.state is CommandState.QUEUED,
    )


async def newest_commands(shell: Shell, device_id: str) -> list[CommandView]:
    """The newest of a device that whoever asks may see."""
    page = await shell.services.catalog.read(
        lambda catalog: catalog.list_commands(device_id, limit=PAGE_COMMAND_COUNT_NEWEST)
    )
    return [view_of_command(each) for each in page.commands]


async def show(shell: Shell, request: Request) -> Response:
    """`GET /devices/{id}/commands?before=`: all of them, and the form. Raises NotFound: `device_unknown`."""
    return await _page(shell, request)


async def send(shell: Shell, request: Request) -> Response:
    """`POST /devices/{id}/commands` with method, params, when_away and expires_s. Raises NotFound: `device_unknown`."""
    form = await form_of(request)
    typed = CommandForm(
        method=form.get("method", "").strip()[:200],
        params=form.get("params", ""),
        when_away=form.get("when_away", "queue"),
        expires_s=_seconds(form.get("expires_s", "")),
    )
    device_id, scope = request.path_params["device_id"], await scope_of(request)
    desk, sender = shell.services.twins.commands, (await auth.actor_of(request)).name

    def write(catalog: Catalog) -> None:
        catalog.get_device(device_id, scope=scope)
        desk.add(catalog, device_id, wish, created_by=sender)

    try:
        wish = CommandWish(
            method=typed.method,
            params=decode_params(typed.params),
            when_away=cast(WhenAway, typed.when_away),
            expires_in_ms=typed.expires_s * 1000,
        )
        await shell.write(request, "command.send", write)
    except HomeportError as error:
        return await _page(shell, request, form=typed, problem=error)
    desk.look([device_id])
    return RedirectResponse(f"{device_url(device_id)}?done=command_sent#commands", 303)


async def cancel(shell: Shell, request: Request) -> Response:
    """`POST /devices/{id}/commands/{command_id}/cancel`. Raises NotFound: `device_unknown`, `command_unknown`. Conflict: it was sent."""
    device_id, scope = request.path_params["device_id"], await scope_of(request)

    def write(catalog: Catalog) -> None:
        catalog.get_device(device_id, scope=scope)
        catalog.cancel_command(device_id, request.path_params["command_id"])

    await shell.write(request, "command.cancel", write)
    shell.services.twins.commands.look([device_id])
    return RedirectResponse(f"{device_url(device_id)}?done=command_canceled#commands", 303)


async def _page(
    shell: Shell, request: Request, *, form: CommandForm | None = None, problem: HomeportError | None = None
) -> Response:
    device_id, scope = request.path_params["device_id"], await scope_of(request)
    before = _before(request.query_params.get("before"))

    def read(catalog: Catalog) -> tuple[Device, CommandPage]:
        device = catalog.get_device(device_id, scope=scope)
        return device, catalog.list_commands(device_id, before=before, limit=PAGE_COMMAND_COUNT)

    device, page = await shell.services.catalog.read(read)
    return await shell.render(
        request,
        "device_commands_all.html",
        status=200 if problem is None else status_of(problem),
        title=f"Commands to {device.device_id}",
        section="devices",
        device=device,
        url=device_url(device_id),
        commands=[view_of_command(each) for each in page.commands],
        next_before=page.next_before,
        command_form=form or CommandForm(),
        problem=problem_text(problem) if problem is not None else "",
    )


def _before(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise UsageError("There is no such page.", hint="Begin with the newest.", code="query_invalid")
    return int(text)


def _seconds(text: str) -> int:
    """What was chosen; 0, which is refused with its reason, for what is no number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= PAGE_TWIN_VALUE_LENGTH_MAX else text[:PAGE_TWIN_VALUE_LENGTH_MAX] + "…"
