"""`homeport group`: groups of devices, which people's accounts can be limited to."""

from __future__ import annotations

import click

from appliance.cli.common import Context, table, verb
from appliance.cli.confirming import confirm
from appliance.core.errors import UsageError
from appliance.run.group_commands import group_commands

_COLUMNS = {"group_id": "GROUP", "name": "NAME", "device_count": "DEVICES", "description": "DESCRIPTION"}


@click.group()
def group() -> None:
    """Groups of devices. Works whether the appliance runs or not."""


@group.command()
@click.argument("group_id")
@click.option("--name", default="", help="What people call it.")
@click.option("--description", default="", help="What belongs into it.")
@verb
def add(context: Context, group_id: str, name: str, description: str) -> None:
    """Make the group GROUP_ID."""
    with group_commands(context.config()) as commands:
        made = commands.add(group_id, name=name, description=description)
    context.emit(made, f"The group {group_id} is there.")


@group.command()
@click.argument("group_id")
@click.option("--name", help="What people call it.")
@click.option("--description", help="What belongs into it.")
@verb
def edit(context: Context, group_id: str, name: str | None, description: str | None) -> None:
    """Change the words of GROUP_ID; what isn't given stays."""
    changes = {
        key: value for key, value in (("name", name), ("description", description)) if value is not None
    }
    if not changes:
        raise UsageError("Say what is to change.", hint="Give --name or --description.")
    with group_commands(context.config()) as commands:
        changed = commands.edit(group_id, **changes)
    context.emit(changed, table([changed], _COLUMNS))


@group.command("list")
@verb
def list_(context: Context) -> None:
    """List groups, with how many devices are in each."""
    with group_commands(context.config()) as commands:
        groups = commands.list()
    context.emit({"groups": groups}, table(groups, _COLUMNS))


@group.command()
@click.argument("group_id")
@click.option("--force", is_flag=True, help="Take devices out of it first.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def remove(context: Context, group_id: str, force: bool, yes: bool) -> None:
    """Remove GROUP_ID, which no account, API token or claim may name any more."""
    if force:
        confirm(f"Every device is taken out of the group {group_id}, and it is removed.", group_id, yes=yes)
    with group_commands(context.config()) as commands:
        commands.remove(group_id, force=force)
    context.emit({"group_id": group_id}, f"The group {group_id} is gone.")
