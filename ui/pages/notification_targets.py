"""The form of a target: where somebody is told. Its secret is written and never shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from appliance.core.errors import HomeportError, NotFound, UsageError
from appliance.core.limits_notifications import NOTIFICATION_TARGET_NAME_LENGTH_MAX
from appliance.management.audit import Act
from appliance.management.notification_targets import Settings, of_fields
from storage.catalog.notification_targets import NotificationTarget
from ui import auth
from ui.pages.notifications import KIND_WORDS, URL
from ui.pages.shell import Shell, form_of, problem_text
from ui.pages.typed import check_typed
from ui.problem import status_of

FIELDS: Final[dict[str, tuple[str, ...]]] = {
    "webhook": ("url", "ca_pem"),
    "email": ("to", "from", "host", "port", "security", "username", "ca_pem"),
    "mqtt": ("topic", "retained"),
}
"""What each kind has, by the names in its JSON; a test compares them with the settings."""
USUAL: Final = {"port": "587", "security": "starttls", "topic": "alarms/homeport"}
SECURITIES: Final = {
    "starttls": "STARTTLS (usually port 587)",
    "tls": "TLS from the first byte on (usually port 465)",
    "none": "none: only within one's own network",
}


async def show_new(shell: Shell, request: Request) -> Response:
    """`GET /alarms/notifications/targets/new?kind=`. Raises UsageError: `target_invalid`: there is no such kind."""
    kind = request.query_params.get("kind", "webhook")
    _known(kind)
    return await _page(shell, request, kind, {**USUAL, "enabled": "1"})


async def show_one(shell: Shell, request: Request) -> Response:
    """`GET /alarms/notifications/targets/{id}`. Raises NotFound: `target_unknown`."""
    target = await _target(shell, request)
    return await _page(shell, request, target.kind, _wish_of(target), target=target)


async def save_new(shell: Shell, request: Request) -> Response:
    """`POST /alarms/notifications/targets` with the form's fields."""
    wish = await form_of(request)
    kind = wish.get("kind", "")
    _known(kind)
    desk = shell.services.notifications
    try:
        settings = settings_of(kind, wish)
        await shell.write(
            request,
            "notification_target.create",
            lambda catalog: desk.add_target(
                catalog,
                name=wish.get("name", "").strip(),
                settings=settings,
                secret=wish.get("secret", ""),
                is_enabled=wish.get("enabled") == "1",
            ),
        )
    except HomeportError as error:
        return await _page(shell, request, kind, wish, problem=problem_text(error), status=status_of(error))
    return RedirectResponse(f"{URL}?done=target_saved", 303)


async def save(shell: Shell, request: Request) -> Response:
    """`POST /alarms/notifications/targets/{id}`: an empty secret stays as it is. Raises NotFound: `target_unknown`."""
    target = await _target(shell, request)
    wish = await form_of(request)
    desk = shell.services.notifications
    secret = "" if wish.get("no_secret") == "1" else wish.get("secret", "") or None
    try:
        settings = settings_of(target.kind, wish)
        await shell.write(
            request,
            "notification_target.edit",
            lambda catalog: desk.edit_target(
                catalog,
                target.target_id,
                name=wish.get("name", "").strip(),
                settings=settings,
                secret=secret,
                is_enabled=wish.get("enabled") == "1",
            ),
        )
    except NotFound:
        raise
    except HomeportError as error:
        return await _page(
            shell,
            request,
            target.kind,
            wish,
            target=target,
            problem=problem_text(error),
            status=status_of(error),
        )
    return RedirectResponse(f"{URL}?done=target_saved", 303)


async def remove(shell: Shell, request: Request) -> Response:
    """`POST /alarms/notifications/targets/{id}/remove` with confirm. Raises NotFound: `target_unknown`."""
    target = await _target(shell, request)
    confirm = (await form_of(request)).get("confirm", "")
    try:
        check_typed(confirm, "remove")
        await shell.write(
            request,
            "notification_target.remove",
            lambda catalog: catalog.remove_target(target.target_id),
        )
    except HomeportError as error:
        return await _page(
            shell,
            request,
            target.kind,
            _wish_of(target),
            target=target,
            problem=problem_text(error),
            status=status_of(error),
        )
    return RedirectResponse(f"{URL}?done=target_removed", 303)


async def test(shell: Shell, request: Request) -> Response:
    """`POST /alarms/notifications/targets/{id}/test`: send a try now, and say what came of it. Raises NotFound: `target_unknown`."""
    by = Act(action="notification_target.test", actor=await auth.actor_of(request))
    sent = await shell.services.notifications.try_target(request.path_params["target_id"], by=by)
    return RedirectResponse(f"{URL}?tried={sent.notification_id}", 303)


def settings_of(kind: str, wish: Mapping[str, str]) -> Settings:
    """What the fields mean. Raises UsageError: `target_invalid`."""
    fields: dict[str, Any] = {"kind": kind}
    for name in FIELDS[kind]:
        text = wish.get(name, "").strip()
        match name:
            case "port":
                if not text.isascii() or not text.isdigit() or len(text) > 5:
                    raise UsageError(
                        f"“{text[:20]}” is no port.", hint="587 and 465 are usual.", code="target_invalid"
                    )
                fields[name] = int(text)
            case "retained":
                fields[name] = text == "1"
            case _:
                fields[name] = text
    return of_fields(fields)


def _wish_of(target: NotificationTarget) -> dict[str, str]:
    written: dict[str, Any] = msgspec.to_builtins(target.settings)
    wish = {
        name: ("1" if value else "") if isinstance(value, bool) else str(value)
        for name, value in written.items()
        if name != "kind"
    }
    return {**wish, "name": target.name, "enabled": "1" if target.is_enabled else ""}


def _known(kind: str) -> None:
    if kind not in FIELDS:
        raise UsageError("There is no such kind of target.", hint="Use the links.", code="target_invalid")


async def _target(shell: Shell, request: Request) -> NotificationTarget:
    target_id = request.path_params["target_id"]
    return await shell.services.catalog.read(lambda catalog: catalog.get_target(target_id))


async def _page(
    shell: Shell,
    request: Request,
    kind: str,
    wish: Mapping[str, str],
    *,
    target: NotificationTarget | None = None,
    problem: str = "",
    status: int = 200,
) -> Response:
    blank = dict.fromkeys(("name", "enabled", *FIELDS[kind]), "")
    return await shell.render(
        request,
        "notification_target.html",
        status=status,
        title=target.name if target is not None else "New target",
        section="notifications",
        kind=kind,
        kind_word=KIND_WORDS[kind],
        wish={**blank, **{name: value for name, value in wish.items() if name != "secret"}},
        target=target,
        save_url=f"{URL}/targets/{target.target_id}" if target is not None else f"{URL}/targets",
        securities=SECURITIES,
        name_length_max=NOTIFICATION_TARGET_NAME_LENGTH_MAX,
        problem=problem,
    )
