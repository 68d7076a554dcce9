"""`homeport device`: the devices that may connect."""

from __future__ import annotations

import click

from appliance.cli.common import Context, table, verb
from appliance.run.device_commands import Row, device_commands

_COLUMNS = {
    "device_id": "DEVICE",
    "state": "STATE",
    "kind": "KIND",
    "access": "ACCESS",
    "name": "NAME",
    "tags": "TAGS",
}
_STATES = click.Choice(["active", "waiting", "rejected", "decommissioned"])


@click.group()
def device() -> None:
    """Devices: register, list, adopt. Works whether the appliance runs or not."""


@device.command()
@click.argument("device_id")
@click.option("--name", default="", help="What people call it.")
@click.option("--tag", "tags", multiple=True, help="A tag; may be given several times.")
@click.option("--kind", type=click.Choice(["device", "application"]), default="device", show_default=True)
@click.option(
    "--access",
    type=click.Choice(["own", "site"]),
    default="own",
    show_default=True,
    help="own: its own topics; site: every topic.",
)
@verb
def add(context: Context, device_id: str, name: str, tags: tuple[str, ...], kind: str, access: str) -> None:
    """Register DEVICE_ID and print its token, this once."""
    with device_commands(context.config()) as commands:
        added = commands.add(device_id, kind=kind, access=access, name=name, tags=tags)
    context.emit(added, f"Device {device_id} is registered. {_credential(added)}")


@device.command("list")
@click.option("--state", type=_STATES, help="Only those in this state.")
@verb
def list_(context: Context, state: str | None) -> None:
    """List devices."""
    with device_commands(context.config()) as commands:
        devices = list(commands.list(state=state))
    context.emit({"devices": devices}, table(devices, _COLUMNS))


@device.command()
@click.argument("device_id")
@verb
def adopt(context: Context, device_id: str) -> None:
    """Let DEVICE_ID in, which waits for adoption."""
    with device_commands(context.config()) as commands:
        adopted = commands.adopt(device_id)
    context.emit(adopted, f"Device {device_id} is {adopted['state']}. {_credential(adopted)}".rstrip())


def _credential(device: Row) -> str:
    if not device["token"]:
        return ""
    return f"User name: {device['device_id']}, password (shown only now):\n{device['token']}"
