"""`homeport key`: the emergency brake for everything that people are signed in with."""

from __future__ import annotations

import click

from appliance.cli.common import Context, verb
from appliance.cli.secret_input import confirm
from appliance.run.people_commands import people_commands


@click.group()
def key() -> None:
    """Keys that people's tokens are made with."""


@key.command()
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def rotate(context: Context, yes: bool) -> None:
    """End every browser, program and API token that people are signed in with, at once. Devices notice nothing."""
    confirm("Sign everybody out everywhere and end all API tokens?", yes=yes)
    with people_commands(context.config(), verb="key") as commands:
        ended = commands.rotate_keys()
    context.emit(
        ended,
        f"{ended['sign_ins_ended']} sign-ins and {ended['api_tokens_ended']} API tokens have ended; "
        f"the new key is {ended['key_id']}.",
    )
