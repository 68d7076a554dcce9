"""`homeport notify`: who is told of alarms, by which way, and what came of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import click

from appliance.cli.common import Context, printable, table, verb
from appliance.cli.secret_input import confirm, read_secret
from appliance.cli.times import shown_at
from appliance.core.errors import UsageError
from appliance.core.limits_notifications import NOTIFICATION_ATTEMPT_TIMEOUT_S, NOTIFICATION_CA_BYTES_MAX
from storage.catalog.notifications import STATES

_TARGETS: Final = {
    "name": "NAME",
    "kind": "KIND",
    "where": "WHERE",
    "secret": "SECRET",
    "state": "STATE",
    "target_id": "ID",
}
_LISTS: Final = {
    "name": "NAME",
    "severities": "SEVERITIES",
    "now": "ON CALL NOW",
    "state": "STATE",
    "list_id": "ID",
}
_LOG: Final = {
    "at": "MADE",
    "step": "STEP",
    "target_name": "TARGET",
    "state": "STATE",
    "attempts": "TRIED",
    "said": "OUTCOME",
    "key": "KEY",
}
_FILE = click.Path(path_type=Path, dir_okay=False)
_DEFINITION_BYTES_MAX: Final = 1 << 20


@click.group()
def notify() -> None:
    """Notifications: targets, on-call lists, what was sent. Needs the running appliance."""


@notify.group()
def target() -> None:
    """Targets: where somebody is told."""


@target.command("list")
@verb
def list_targets(context: Context) -> None:
    """List targets by name."""
    found = context.api().get("/api/v1/notification-targets")
    context.emit(found, table(list(map(_target_row, found["targets"])), _TARGETS))


@target.command("add-webhook")
@click.argument("name")
@click.argument("url")
@click.option(
    "--secret",
    "has_secret",
    is_flag=True,
    help="Sign requests: ask for the secret, or read it from standard input.",
)
@click.option(
    "--ca", type=_FILE, help="Authorities (PEM) that may vouch for the receiver, instead of the machine's."
)
@verb
def add_webhook(context: Context, name: str, url: str, has_secret: bool, ca: Path | None) -> None:
    """Have alarms posted to URL as JSON (docs/NOTIFICATIONS.md)."""
    settings = {"kind": "webhook", "url": url, "ca_pem": _pem(ca)}
    _add(context, name, settings, read_secret("Secret", is_new=True) if has_secret else "")


@target.command("add-email")
@click.argument("name")
@click.argument("to")
@click.option("--from", "from_", required=True, help="The address it comes from.")
@click.option("--server", required=True, help="The mail server that takes it.")
@click.option("--port", type=int, help="587 for starttls, 465 for tls, 25 for none.")
@click.option(
    "--security",
    type=click.Choice(("starttls", "tls", "none")),
    default="starttls",
    show_default=True,
    help="How the connection is encrypted.",
)
@click.option(
    "--username", default="", help="Sign in as; the password is asked for, or read from standard input."
)
@click.option(
    "--ca", type=_FILE, help="Authorities (PEM) that may vouch for the server, instead of the machine's."
)
@verb
def add_email(
    context: Context,
    name: str,
    to: str,
    from_: str,
    server: str,
    port: int | None,
    security: str,
    username: str,
    ca: Path | None,
) -> None:
    """Have alarms mailed to the address TO."""
    settings = {
        "kind": "email",
        "to": to,
        "from": from_,
        "host": server,
        "port": port or {"starttls": 587, "tls": 465, "none": 25}[security],
        "security": security,
        "username": username,
        "ca_pem": _pem(ca),
    }
    _add(context, name, settings, read_secret("Password", is_new=False) if username else "")


@target.command("add-mqtt")
@click.argument("name")
@click.argument("topic")
@click.option("--retained", is_flag=True, help="Keep the newest for whoever subscribes later.")
@verb
def add_mqtt(context: Context, name: str, topic: str, retained: bool) -> None:
    """Have alarms published on TOPIC of this box's broker, at QoS 1."""
    _add(context, name, {"kind": "mqtt", "topic": topic, "retained": retained}, "")


@target.command("secret")
@click.argument("target_id")
@verb
def change_secret(context: Context, target_id: str) -> None:
    """Give TARGET_ID another secret: it is asked for, or read from standard input."""
    changed = context.api().request(
        "PATCH", _target(target_id), {"secret": read_secret("Secret", is_new=True)}
    )
    context.emit(changed, table([_target_row(changed)], _TARGETS))


@target.command("enable")
@click.argument("target_id")
@verb
def enable_target(context: Context, target_id: str) -> None:
    """Switch TARGET_ID on."""
    changed = context.api().request("PATCH", _target(target_id), {"enabled": True})
    context.emit(changed, table([_target_row(changed)], _TARGETS))


@target.command("disable")
@click.argument("target_id")
@verb
def disable_target(context: Context, target_id: str) -> None:
    """Switch TARGET_ID off; what waits for it is withdrawn."""
    changed = context.api().request("PATCH", _target(target_id), {"enabled": False})
    context.emit(changed, table([_target_row(changed)], _TARGETS))


@target.command("remove")
@click.argument("target_id")
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def remove_target(context: Context, target_id: str, yes: bool) -> None:
    """Remove TARGET_ID, which no on-call list names."""
    confirm(f"Remove the target {target_id}?", yes=yes)
    context.api().request("DELETE", _target(target_id))
    context.emit({"target_id": target_id}, "The target is gone.")


@target.command("test")
@click.argument("target_id")
@verb
def try_target(context: Context, target_id: str) -> None:
    """Send a try to TARGET_ID now, and say what came of it. Fails with exit code 1 when nobody got it."""
    sent = context.api().request(
        "POST", f"{_target(target_id)}/test", timeout_s=NOTIFICATION_ATTEMPT_TIMEOUT_S + 10
    )
    is_sent = sent["state"] == "sent"
    context.emit(
        sent,
        f"It was sent. {printable(sent['outcome'])}"
        if is_sent
        else f"It was not sent. {printable(sent['error'])}",
    )
    if not is_sent:
        sys.exit(1)


@notify.group("list")
def list_() -> None:
    """On-call lists: of which alarms whom is told."""


@list_.command("list")
@verb
def list_lists(context: Context) -> None:
    """List on-call lists, and who has its turn now."""
    found = context.api().get("/api/v1/on-call-lists")
    context.emit(found, table(list(map(_list_row, found["lists"])), _LISTS))


@list_.command("show")
@click.argument("list_id")
@verb
def show_list(context: Context, list_id: str) -> None:
    """Show LIST_ID with its definition, as `notify list add --definition` takes it."""
    found = context.api().get(_list(list_id))
    context.emit(found, f"{table([_list_row(found)], _LISTS)}\n\n{json.dumps(found['definition'], indent=2)}")


@list_.command("add")
@click.argument("name")
@click.option(
    "--target", "targets", multiple=True, help="The id of a target that is always told; several times."
)
@click.option("--definition", type=_FILE, help="The whole definition as JSON, - for standard input.")
@verb
def add_list(context: Context, name: str, targets: tuple[str, ...], definition: Path | None) -> None:
    """Add an on-call list NAME: --target for those that are always told, or --definition with turns, steps and quiet hours."""
    if bool(targets) == (definition is not None):
        raise UsageError("Give --target or --definition.", hint="See homeport notify list add --help.")
    wish = (
        _read(definition)
        if definition is not None
        else {"members": [{"name": name, "targets": list(targets)}]}
    )
    made = context.api().post("/api/v1/on-call-lists", {"name": name, "definition": wish})
    context.emit(made, table([_list_row(made)], _LISTS))


@list_.command("edit")
@click.argument("list_id")
@click.option("--name", help="Another name.")
@click.option("--definition", type=_FILE, help="The whole definition as JSON, - for standard input.")
@click.option("--on/--off", "is_on", default=None, help="Switch it on or off.")
@verb
def edit_list(
    context: Context, list_id: str, name: str | None, definition: Path | None, is_on: bool | None
) -> None:
    """Change LIST_ID; what isn't given stays."""
    given = {"name": name, "definition": None if definition is None else _read(definition), "enabled": is_on}
    changes = {key: value for key, value in given.items() if value is not None}
    if not changes:
        raise UsageError("Say what is to change.", hint="See homeport notify list edit --help.")
    changed = context.api().request("PATCH", _list(list_id), changes)
    context.emit(changed, table([_list_row(changed)], _LISTS))


@list_.command("remove")
@click.argument("list_id")
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def remove_list(context: Context, list_id: str, yes: bool) -> None:
    """Remove LIST_ID."""
    confirm(f"Remove the on-call list {list_id}?", yes=yes)
    context.api().request("DELETE", _list(list_id))
    context.emit({"list_id": list_id}, "The list is gone.")


@notify.command()
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES),
    help="Only those in this state; several times.",
)
@click.option("--alarm", "alarm_id", help="Only those of an alarm.")
@click.option("--target", "target_id", help="Only those to a target.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 200))
@verb
def log(
    context: Context, states: tuple[str, ...], alarm_id: str | None, target_id: str | None, limit: int
) -> None:
    """What was told, the newest first, and what came of it."""
    query: list[tuple[str, Any]] = [("limit", limit), *(("state", state) for state in states)]
    query += [(key, value) for key, value in (("alarm_id", alarm_id), ("target_id", target_id)) if value]
    found = context.api().get(f"/api/v1/notifications?{urlencode(query)}")
    context.emit(found, table(list(map(_log_row, found["notifications"])), _LOG))


def _add(context: Context, name: str, settings: dict[str, Any], secret: str) -> None:
    made = context.api().post(
        "/api/v1/notification-targets", {"name": name, "settings": settings, "secret": secret}
    )
    context.emit(
        made,
        f"{table([_target_row(made)], _TARGETS)}\nTry it: homeport notify target test {made['target_id']}",
    )


def _target(target_id: str) -> str:
    return f"/api/v1/notification-targets/{quote(target_id, safe='')}"


def _list(list_id: str) -> str:
    return f"/api/v1/on-call-lists/{quote(list_id, safe='')}"


def _pem(path: Path | None) -> str:
    return "" if path is None else _text(path, NOTIFICATION_CA_BYTES_MAX)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path, _DEFINITION_BYTES_MAX))
    except ValueError as error:
        raise UsageError(
            f"{path} is no JSON: {error}.", hint="Write what `notify list show` shows."
        ) from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} is no JSON object.", hint="Write what `notify list show` shows.")
    return found


def _text(path: Path, size_max: int) -> str:
    """A file's text, of at most that many bytes; - is standard input."""
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(size_max + 1)
        else:
            with path.open("rb") as file:
                data = file.read(size_max + 1)
        if len(data) > size_max:
            raise UsageError(f"{path} is larger than {size_max} bytes.", hint="Name the right file.")
        return data.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} can't be read: {error}.", hint="Name a text file that you may read."
        ) from error


def _target_row(found: dict[str, Any]) -> dict[str, Any]:
    settings = found["settings"]
    return {
        **found,
        "where": settings.get("url") or settings.get("to") or settings.get("topic"),
        "secret": "yes" if found["has_secret"] else "no",
        "state": "on" if found["enabled"] else "off",
    }


def _list_row(found: dict[str, Any]) -> dict[str, Any]:
    now = ", ".join(found["now"]["members"])
    return {
        **found,
        "severities": [
            severity for severity in ("P1", "P2", "P3") if found["definition"][severity] is not None
        ],
        "now": f"nobody; all are told: {now}" if found["now"]["fallback"] else now,
        "state": "on" if found["enabled"] else "off",
    }


def _log_row(found: dict[str, Any]) -> dict[str, Any]:
    return {**found, "at": shown_at(found["created_at_ms"]), "said": found["outcome"] or found["error"]}
