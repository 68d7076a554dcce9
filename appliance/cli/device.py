"""`homeport device`: the devices that may connect. `device_lists` has import and export."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import click

from appliance.cli.common import Context, table, verb
from appliance.cli.confirming import confirm
from appliance.cli.device_executions import executions
from appliance.cli.device_lists import export_, import_
from appliance.core.errors import HomeportError, NotFound, UsageError
from appliance.management.access import check_device_id
from appliance.run.device_commands import device_commands
from appliance.run.local_api import LocalApi

Row = dict[str, Any]
_COLUMNS = {
    "device_id": "DEVICE",
    "state": "STATE",
    "kind": "KIND",
    "access": "ACCESS",
    "role": "ROLE",
    "name": "NAME",
    "tags": "TAGS",
    "groups": "GROUPS",
    "serial": "SERIAL",
}
_ROLE_HELP = "A [[broker_role]] of the configuration, which opens more than its own topics."
_STATES = click.Choice(["active", "waiting", "rejected", "decommissioned"])
_yes = click.option("--yes", is_flag=True, help="Don't ask.")


@click.group()
def device() -> None:
    """Devices: register, edit, adopt, replace, end; lists in and out. Works whether the appliance runs or not."""


device.add_command(import_)
device.add_command(export_)
device.add_command(executions)


@device.command()
@click.argument("device_id")
@click.option("--name", default="", help="What people call it.")
@click.option("--tag", "tags", multiple=True, help="A tag; may be given several times.")
@click.option("--group", "groups", multiple=True, help="A group that it is in; may be given several times.")
@click.option("--serial", default="", help="The hardware's number, as printed on it.")
@click.option("--kind", type=click.Choice(["device", "application"]), default="device", show_default=True)
@click.option(
    "--access",
    type=click.Choice(["own", "site"]),
    default="own",
    show_default=True,
    help="own: its own topics; site: every topic.",
)
@click.option("--role", default="", help=_ROLE_HELP)
@verb
def add(context: Context, device_id: str, **said: Any) -> None:
    """Register DEVICE_ID and print its token, this once."""
    check_device_id(device_id)
    with device_commands(context.config()) as commands:
        added = commands.add(device_id, **said)
    context.emit(added, f"Device {device_id} is registered. {_credential(added)}")


@device.command()
@click.argument("device_id")
@verb
def show(context: Context, device_id: str) -> None:
    """Show DEVICE_ID and when its tokens were made."""
    with device_commands(context.config()) as commands:
        found = commands.show(device_id)
    lines = [f"{heading.title():10}{_text(found.get(key))}" for key, heading in _COLUMNS.items()]
    if found.get("replaced_at_ms"):
        lines.append(f"{'Replaced':10}{_time(found['replaced_at_ms'])}")
    lines += _live_lines(found)
    tokens = [
        {
            "token_id": token["token_id"],
            "created": _time(token["created_at_ms"]),
            "ends": _time(token["expires_at_ms"]),
        }
        for token in found["tokens"]
    ]
    shown = table(tokens, {"token_id": "TOKEN", "created": "CREATED", "ends": "ENDS"})
    context.emit(found, "\n".join([*lines, "", shown]))


@device.command()
@click.argument("device_id")
@click.option("--name", help="What people call it.")
@click.option("--tag", "tags", multiple=True, help="All of its tags; may be given several times.")
@click.option("--no-tags", is_flag=True, help="Take all tags off.")
@click.option("--group", "groups", multiple=True, help="All of its groups; may be given several times.")
@click.option("--no-groups", is_flag=True, help="Take it out of all groups.")
@click.option("--serial", help="The hardware's number.")
@verb
def edit(
    context: Context,
    device_id: str,
    name: str | None,
    tags: tuple[str, ...],
    no_tags: bool,
    groups: tuple[str, ...],
    no_groups: bool,
    serial: str | None,
) -> None:
    """Change what is said of DEVICE_ID; what isn't given stays."""
    wanted: dict[str, Any] = {
        "name": name,
        "serial": serial,
        "tags": list(tags) if tags or no_tags else None,
        "groups": list(groups) if groups or no_groups else None,
    }
    changes = {key: value for key, value in wanted.items() if value is not None}
    if not changes:
        raise UsageError("Say what is to change.", hint="Give --name, --tag, --group or --serial.")
    with device_commands(context.config()) as commands:
        changed = commands.edit(device_id, **changes)
    context.emit(changed, table([changed], _COLUMNS))


@device.command("access")
@click.argument("device_id")
@click.option("--access", type=click.Choice(["own", "site"]), help="own: its own topics; site: every topic.")
@click.option("--role", default="", help=_ROLE_HELP)
@verb
def access_(context: Context, device_id: str, access: str | None, role: str) -> None:
    """Change what DEVICE_ID may publish and subscribe. It holds at once, for its connections too."""
    if access is None and not role:
        raise UsageError(
            "Say what the device may do.", hint="Give --role NAME, --access own (no role) or --access site."
        )
    with device_commands(context.config()) as commands:
        changed = commands.set_access(device_id, access=access or "own", role=role)
    shown = f"access {changed['access']}" + (f" with the role {changed['role']}" if changed["role"] else "")
    context.emit(changed, f"Device {device_id} has {shown}.")


@device.command("list")
@click.option("--state", type=_STATES, help="Only those in this state.")
@click.option("--group", "groups", multiple=True, help="Only those in any of these groups.")
@click.option("--tag", "tags", multiple=True, help="Only those with all of these tags.")
@click.option("--serial", default="", help="Only those with this serial number.")
@click.option("--filter", "q", default="", help="Part of an id, name, serial number or tag.")
@verb
def list_(context: Context, **chosen: Any) -> None:
    """List devices."""
    with device_commands(context.config()) as commands:
        devices = list(commands.list(**chosen))
    context.emit({"devices": devices}, table(devices, _COLUMNS))


@device.command()
@click.argument("device_ids", nargs=-1, required=True)
@verb
def adopt(context: Context, device_ids: Sequence[str]) -> None:
    """Let DEVICE_IDS in, which wait for adoption."""
    with device_commands(context.config()) as commands:
        _each(context, device_ids, commands.adopt)


@device.command()
@click.argument("device_ids", nargs=-1, required=True)
@verb
def reject(context: Context, device_ids: Sequence[str]) -> None:
    """Keep DEVICE_IDS out, which wait for adoption."""
    with device_commands(context.config()) as commands:
        _each(context, device_ids, commands.reject)


@device.command()
@click.argument("device_ids", nargs=-1, required=True)
@_yes
@verb
def decommission(context: Context, device_ids: Sequence[str], yes: bool) -> None:
    """End DEVICE_IDS for good: their credentials end, their readings stay."""
    count = len(device_ids)
    typed = device_ids[0] if count == 1 else f"decommission {count}"
    named = ", ".join(device_ids[:10]) + (", …" if count > 10 else "")
    confirm(f"{named}: decommissioned for good, credentials end.", typed, yes=yes)
    with device_commands(context.config()) as commands:
        _each(context, device_ids, commands.decommission)


@device.command()
@click.argument("device_id")
@click.option("--serial", default="", help="The new hardware's number.")
@_yes
@verb
def replace(context: Context, device_id: str, serial: str, yes: bool) -> None:
    """Let other hardware take over DEVICE_ID and its history, and print its token, this once."""
    confirm(f"Every credential of the hardware that is {device_id} now ends at once.", device_id, yes=yes)
    with device_commands(context.config()) as commands:
        replaced = commands.replace(device_id, serial=serial)
    context.emit(replaced, f"Device {device_id} is other hardware now. {_credential(replaced)}")


@device.command()
@click.argument("device_id")
@click.option(
    "--overlap-h",
    type=click.IntRange(0, 30 * 24),
    default=24,
    show_default=True,
    help="How many hours the token before stays valid; 0 ends it at once.",
)
@verb
def token(context: Context, device_id: str, overlap_h: int) -> None:
    """Make a new token for DEVICE_ID and print it, this once."""
    with device_commands(context.config()) as commands:
        made = commands.new_token(device_id, overlap_s=overlap_h * 3600)
    context.emit(made, _credential(made))


@device.command("revoke-token")
@click.argument("device_id")
@click.argument("token_id")
@verb
def revoke_token(context: Context, device_id: str, token_id: str) -> None:
    """End one token of DEVICE_ID; `device show` has their ids."""
    with device_commands(context.config()) as commands:
        commands.revoke_token(device_id, token_id)
    context.emit(
        {"device_id": device_id, "token_id": token_id}, f"The token {token_id} of {device_id} has ended."
    )


@device.command()
@click.argument("device_id")
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def erase(context: Context, device_id: str, yes: bool) -> None:
    """Erase the readings of DEVICE_ID for good: store and archive at once, the log as it goes. Needs the running appliance."""
    api = context.api()
    words = f"All readings of {device_id} so far are erased for good."
    if not _is_registered(api, device_id):
        # Readings may be older than the registration that there was, so it is not refused; a mistyped id must not look like a success.
        words = f"No device {device_id} is registered: what there is under that id is erased for good."
    confirm(words, device_id, yes=yes)
    if yes:
        click.echo(words, err=True)
    target = f"/api/v1/devices/{quote(device_id, safe='')}/erase-readings"
    asked = api.post(target, {"confirm": device_id})
    context.emit(asked, f"The readings of {device_id} are being erased; the page Storage says how far it is.")


def _is_registered(api: LocalApi, device_id: str) -> bool:
    try:
        api.get(f"/api/v1/devices/{quote(device_id, safe='')}")
    except NotFound:
        return False
    return True


def _each(context: Context, device_ids: Sequence[str], change: Any) -> None:
    """One device: its row, or its error. Several: each by itself, and an error at the end if one failed."""
    if len(device_ids) == 1:
        changed = change(device_ids[0])
        text = f"Device {device_ids[0]} is {changed['state']}. {_credential(changed)}".rstrip()
        context.emit(changed, text)
        return
    rows: list[Row] = []
    for device_id in device_ids:
        try:
            rows.append(change(device_id))
        except HomeportError as error:
            rows.append({"device_id": device_id, "state": "", "code": error.code, "error": error.message})
    columns = {"device_id": "DEVICE", "state": "STATE", "token": "TOKEN", "error": "ERROR"}
    failed = sum("error" in row for row in rows)
    if not failed:
        context.emit({"devices": rows}, table(rows, columns))
        return
    if not context.json:
        click.echo(table(rows, columns))
    raise UsageError(
        f"{failed} of {len(rows)} devices could not be changed: "
        + "; ".join(f"{row['device_id']}: {row['error']}" for row in rows if "error" in row),
        hint="The others were; look at `homeport device list`.",
        code="some_failed",
    )


def _credential(device: Row) -> str:
    if not device.get("token"):
        return ""
    return f"User name: {device['device_id']}, password (shown only now):\n{device['token']}"


def _live_lines(found: Row) -> list[str]:
    """What only a running appliance knows: how fresh the device's readings are, and how right its clock."""
    if "freshness" not in found:
        return []
    offset_ms = found["clock_offset_ms"] or 0
    how_far = f", {abs(offset_ms) / 1000:.0f} s {'ahead' if offset_ms > 0 else 'behind'}"
    return [
        f"{'Readings':10}{found['freshness']}, the last came {_time(found['last_reading_at_ms'])}",
        f"{'Up to':10}{_time(found['watermark_at_ms'])} by its clock",
        f"{'Clock':10}{found['clock']}{how_far if abs(offset_ms) >= 1000 else ''}",
    ]


def _text(value: Any) -> str:
    return ", ".join(value) if isinstance(value, (list, tuple)) else str(value or "")


def _time(at_ms: int | None) -> str:
    if at_ms is None:
        return "never"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
