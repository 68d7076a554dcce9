"""`homeport setting`: what the site is called and how its times are shown."""

from __future__ import annotations

import click

from appliance.cli.common import Context, table, verb
from appliance.management.site_settings import find_setting
from appliance.run.setting_commands import setting_commands

_COLUMNS = {"key": "SETTING", "value": "VALUE", "default": "DEFAULT", "label": "WHAT"}


@click.group()
def setting() -> None:
    """Settings of the site, which hold at once. All others are in homeport.toml. Works whether the appliance runs or not."""


@setting.command("list")
@verb
def list_(context: Context) -> None:
    """List the settings."""
    with setting_commands(context.config()) as commands:
        settings = commands.list()
    context.emit({"settings": settings}, table(settings, _COLUMNS))


@setting.command()
@click.argument("key")
@verb
def get(context: Context, key: str) -> None:
    """Show the setting KEY."""
    find_setting(key)
    with setting_commands(context.config()) as commands:
        (found,) = [each for each in commands.list() if each["key"] == key]
    context.emit(found, found["value"])


@setting.command("set")
@click.argument("key")
@click.argument("value")
@verb
def set_(context: Context, key: str, value: str) -> None:
    """Change the setting KEY to VALUE; it holds at once."""
    with setting_commands(context.config()) as commands:
        (found,) = [each for each in commands.set(key, value) if each["key"] == key]
    context.emit(found, f"{key} is now “{found['value']}”.")
