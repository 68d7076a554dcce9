"""`homeport command`: have devices do something, at most once, and see what came of it."""

from __future__ import annotations

import json
import time
from typing import Any, Final
from urllib.parse import quote, urlencode

import click

from appliance.cli.chosen_devices import Chosen, choosing, do_for_many
from appliance.cli.common import Context, printable, table, verb
from appliance.cli.times import shown_at
from appliance.cli.twin import json_argument
from appliance.core.limits_twins import COMMAND_EXPIRY_MS_DEFAULT
from appliance.management.commands import ENDED, WHEN_AWAY
from appliance.run.local_api import LocalApi

WAIT_S: Final = 10
"""Of one question to the node; the verb asks again until the command has ended."""
_COLUMNS: Final = {
    "command_id": "COMMAND",
    "method": "METHOD",
    "state": "STATE",
    "sent": "SENT",
    "created_by": "BY",
    "came": "ANSWER",
}


_when_away = click.option(
    "--when-away",
    type=click.Choice(WHEN_AWAY),
    default="queue",
    show_default=True,
    help="When a device does not listen.",
)
_expires = click.option(
    "--expires",
    "expires_s",
    type=int,
    default=COMMAND_EXPIRY_MS_DEFAULT // 1000,
    show_default=True,
    help="Seconds until it is not to be begun any more.",
)


@click.group()
def command() -> None:
    """Commands to devices: send, list, cancel. Needs the running appliance."""


@command.command()
@click.argument("device_id")
@click.argument("method")
@click.argument("params", required=False, default="null")
@_when_away
@_expires
@click.option("--no-wait", is_flag=True, help="Don't wait for the answer.")
@verb
def send(
    context: Context, device_id: str, method: str, params: str, when_away: str, expires_s: int, no_wait: bool
) -> None:
    """Have DEVICE_ID do METHOD with PARAMS (JSON), and wait for its answer until the command has ended."""
    body = _body(method, params, when_away, expires_s)
    api, address = context.api(), _address(device_id)
    made = api.post(address, body)
    if not no_wait:
        made = _ended(api, address, made, expires_s)
    context.emit(made, _text(made))


@command.command("send-many")
@click.argument("method")
@click.argument("params", required=False, default="null")
@_when_away
@_expires
@choosing
@verb
def send_many(
    context: Context, method: str, params: str, when_away: str, expires_s: int, **chosen: Any
) -> None:
    """Have all active devices of --group, --tag and --filter do METHOD; doesn't wait for answers."""
    more = {"command": _body(method, params, when_away, expires_s)}
    do_for_many(context, "/api/v1/commands/bulk", Chosen(**chosen), more, f"Send {method} to")


@command.command("list")
@click.argument("device_id")
@click.option("--state", "states", multiple=True, help="In any of these states.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="The newest so many."
)
@verb
def list_(context: Context, device_id: str, states: tuple[str, ...], limit: int) -> None:
    """List commands to DEVICE_ID, the newest first."""
    query = urlencode({"limit": limit, "state": states}, doseq=True)
    page = context.api().get(f"{_address(device_id)}?{query}")
    rows = [{**each, "sent": shown_at(each["sent_at_ms"]), "came": _came(each)} for each in page["commands"]]
    context.emit(page, table(rows, _COLUMNS))


@command.command()
@click.argument("device_id")
@click.argument("command_id")
@verb
def show(context: Context, device_id: str, command_id: str) -> None:
    """Show COMMAND_ID to DEVICE_ID."""
    found = context.api().get(f"{_address(device_id)}/{quote(command_id, safe='')}")
    context.emit(found, _text(found))


@command.command()
@click.argument("device_id")
@click.argument("command_id")
@verb
def cancel(context: Context, device_id: str, command_id: str) -> None:
    """Take back COMMAND_ID, while DEVICE_ID was not told."""
    done = context.api().post(f"{_address(device_id)}/{quote(command_id, safe='')}/cancel", None)
    context.emit(done, f"{command_id} is canceled.")


def _address(device_id: str) -> str:
    return f"/api/v1/devices/{quote(device_id, safe='')}/commands"


def _body(method: str, params: str, when_away: str, expires_s: int) -> dict[str, Any]:
    return {
        "method": method,
        "params": json_argument(params),
        "when_away": when_away,
        "expires_s": expires_s,
    }


def _ended(api: LocalApi, address: str, made: dict[str, Any], expires_s: int) -> dict[str, Any]:
    """Ask until the command has ended; what the node says of its time is what counts."""
    give_up_at = time.monotonic() + expires_s + 3 * WAIT_S
    while made["state"] not in ENDED and time.monotonic() < give_up_at:
        made = api.get(f"{address}/{made['command_id']}?wait_s={WAIT_S}")
    return made


def _text(one: dict[str, Any]) -> str:
    words = [f"{one['command_id']}: {one['state']}"]
    if one["sent_at_ms"] is not None:
        words.append(f"sent {shown_at(one['sent_at_ms'])}")
    if came := _came(one):
        words.append(came)
    return ", ".join(words)


def _came(one: dict[str, Any]) -> str:
    """What the device answered, for people."""
    said = printable(one["error"]) if one["error"] else ""
    if one["answered_at_ms"] is not None and one["result"] is not None:
        said = " ".join(filter(None, [said, printable(json.dumps(one["result"], ensure_ascii=False))]))
    return f"{said} (late)".strip() if one["is_late"] else said
