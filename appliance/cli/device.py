"""`homeport device`: the devices that may connect."""

from __future__ import annotations

import click

from appliance.cli.common import Context, table, verb
from appliance.core.errors import UsageError
from appliance.run.device_commands import Row, device_commands

_COLUMNS = {
    "device_id": "DEVICE",
    "state": "STATE",
    "kind": "KIND",
    "access": "ACCESS",
    "role": "ROLE",
    "name": "NAME",
    "tags": "TAGS",
}
_ROLE_HELP = "A [[broker_role]] of the configuration, which opens more than its own topics."
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
@click.option("--role", default="", help=_ROLE_HELP)
@verb
def add(
    context: Context, device_id: str, name: str, tags: tuple[str, ...], kind: str, access: str, role: str
) -> None:
    """Register DEVICE_ID and print its token, this once."""
    with device_commands(context.config()) as commands:
        added = commands.add(device_id, kind=kind, access=access, role=role, name=name, tags=tags)
    context.emit(added, f"Device {device_id} is registered. {_credential(added)}")


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
