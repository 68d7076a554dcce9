"""`homeport tag`: words that people give devices to find them by."""

from __future__ import annotations

import click

from appliance.cli.common import Context, table, verb
from appliance.run.group_commands import group_commands


@click.group()
def tag() -> None:
    """Tags of all devices. Works whether the appliance runs or not."""


@tag.command("list")
@verb
def list_(context: Context) -> None:
    """List tags, with how many devices have each."""
    with group_commands(context.config()) as commands:
        tags = list(commands.tags())
    context.emit({"tags": tags}, table(tags, {"tag": "TAG", "device_count": "DEVICES"}))


@tag.command()
@click.argument("old")
@click.argument("new")
@verb
def rename(context: Context, old: str, new: str) -> None:
    """Rename the tag OLD to NEW on every device that has it."""
    with group_commands(context.config()) as commands:
        count = commands.rename_tag(old, new)
    context.emit({"device_count": count}, f"Renamed on {count} device{'s' * (count != 1)}.")


@tag.command()
@click.argument("old")
@verb
def remove(context: Context, old: str) -> None:
    """Take the tag OLD off every device that has it."""
    with group_commands(context.config()) as commands:
        count = commands.remove_tag(old)
    context.emit({"device_count": count}, f"Taken off {count} device{'s' * (count != 1)}.")
