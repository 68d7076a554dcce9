"""`homeport twin`: what devices should be, and what they say that they are."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import click

from appliance.cli.chosen_devices import Chosen, choosing, do_for_many
from appliance.cli.common import Context, printable, verb
from appliance.cli.confirming import confirm
from appliance.cli.times import shown_at
from appliance.core.errors import HomeportError
from appliance.management.twin_json import decode

_NAME = click.option("--name", default="", help="The named twin; the one without a name if left out.")


@click.group()
def twin() -> None:
    """Twins of devices: desired, reported, and what differs. Needs the running appliance."""


@twin.command()
@click.argument("device_id")
@_NAME
@click.option("--all", "is_all", is_flag=True, help="All twins of the device.")
@verb
def show(context: Context, device_id: str, name: str, is_all: bool) -> None:
    """Show a twin of DEVICE_ID."""
    api = context.api()
    if is_all:
        found = api.get(f"/api/v1/devices/{quote(device_id, safe='')}/twins")
        context.emit(found, "\n\n".join(map(_text, found["twins"])) or "It has no twin.")
        return
    one = api.get(_address(device_id, name))
    context.emit(one, _text(one))


_REPLACE = click.option("--replace", is_flag=True, help="Forget what was desired before.")


@twin.command("set")
@click.argument("device_id")
@click.argument("desired")
@_NAME
@_REPLACE
@verb
def set_(context: Context, device_id: str, desired: str, name: str, replace: bool) -> None:
    """Put DESIRED, a JSON object in which null deletes, on top of what DEVICE_ID is wanted to be."""
    edit = {"desired": json_argument(desired), "replace": replace}
    after = context.api().request("PATCH", _address(device_id, name), edit)
    context.emit(after, _text(after))


@twin.command("set-many")
@click.argument("desired")
@_NAME
@_REPLACE
@choosing
@verb
def set_many(context: Context, desired: str, name: str, replace: bool, **chosen: Any) -> None:
    """Put DESIRED on top of what all active devices of --group, --tag and --filter are wanted to be."""
    more = {"name": name, "edit": {"desired": json_argument(desired), "replace": replace}}
    do_for_many(context, "/api/v1/twins/bulk", Chosen(**chosen), more, "Set what is desired of")


@twin.command()
@click.argument("device_id")
@_NAME
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def delete(context: Context, device_id: str, name: str, yes: bool) -> None:
    """Forget a twin of DEVICE_ID: what is desired, and what was reported."""
    confirm(
        f"This forgets both sides of the twin “{name or 'without a name'}” of {device_id}.",
        device_id,
        yes=yes,
    )
    gone = context.api().request("DELETE", _address(device_id, name))
    context.emit(gone, f"Forgotten; the version is {gone['version']} now.")


def _address(device_id: str, name: str) -> str:
    device = f"/api/v1/devices/{quote(device_id, safe='')}"
    return f"{device}/twins/{quote(name, safe='')}" if name else f"{device}/twin"


def _text(one: dict[str, Any]) -> str:
    """A twin for people: what differs comes first."""
    lines = [
        f"twin: {one['name'] or '(without a name)'}, version {one['version']}",
        f"differs: {_json(one['delta']) if one['delta'] else 'nothing'}",
        f"desired: {_json(one['desired'])}  {_when('set', one['desired_set_at_ms'])}",
        f"reported: {_json(one['reported'])}  {_when('said', one['reported_at_ms'])}",
    ]
    return "\n".join(lines)


def _json(value: Any) -> str:
    return printable(json.dumps(value, ensure_ascii=False))


def _when(word: str, at_ms: int | None) -> str:
    return f"({word} {shown_at(at_ms)})" if at_ms is not None else "(never)"


def json_argument(text: str) -> Any:
    """JSON that was typed as an argument. Raises UsageError: `json_invalid`."""
    try:
        return decode(text.encode("utf-8", "surrogateescape"))
    except HomeportError as error:
        error.hint = "Give JSON, in quotes for the shell: '{\"rate_s\": 5}'."
        raise
