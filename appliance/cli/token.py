"""`homeport token`: API tokens of people's programs."""

from __future__ import annotations

import click

from appliance.cli.common import Context, table, verb
from appliance.cli.times import shown_at
from appliance.core.limits import API_TOKEN_LIFETIME_MS_MAX
from appliance.management.permissions import ROLES
from appliance.run.people_commands import people_commands

_DAY_S = 86_400
_COLUMNS = {
    "token_id": "TOKEN",
    "user_id": "USER",
    "name": "NAME",
    "role": "ROLE",
    "scope": "SCOPE",
    "expires": "UNTIL",
    "last_used": "LAST USED",
    "revoked": "REVOKED",
}


@click.group()
def token() -> None:
    """API tokens of programs: create, list, revoke. Works whether the appliance runs or not."""


@token.command()
@click.option("--user", "user_id", required=True, help="Whose it is: it never may more than they.")
@click.option("--name", required=True, help="What it is for.")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it may at most.")
@click.option(
    "--group", "groups", multiple=True, help="A group that it is limited to; by default the user's scope."
)
@click.option(
    "--days",
    type=click.IntRange(1, API_TOKEN_LIFETIME_MS_MAX // 1000 // _DAY_S),
    default=90,
    show_default=True,
    help="Until when it is valid.",
)
@verb
def create(context: Context, user_id: str, name: str, role: str, groups: tuple[str, ...], days: int) -> None:
    """Create an API token and print it, this once."""
    with people_commands(context.config(), verb="token") as commands:
        made = commands.create_api_token(
            user_id, name=name, role=role, groups=groups, lifetime_s=days * _DAY_S
        )
    context.emit(made, f"Send it as “Authorization: Bearer …” (shown only now):\n{made['token']}")


@token.command("list")
@click.option("--user", "user_id", help="Only those of this user.")
@verb
def list_(context: Context, user_id: str | None) -> None:
    """List API tokens, ended ones too."""
    with people_commands(context.config(), verb="token") as commands:
        tokens = commands.api_tokens(user_id)
    rows = [
        {
            **each,
            "scope": "site" if each["scope"] is None else each["scope"],
            "expires": shown_at(each["expires_at_ms"]),
            "last_used": shown_at(each["last_used_at_ms"]),
            "revoked": shown_at(each["revoked_at_ms"]),
        }
        for each in tokens
    ]
    context.emit({"api_tokens": tokens}, table(rows, _COLUMNS))


@token.command()
@click.argument("token_id", metavar="TOKEN")
@verb
def revoke(context: Context, token_id: str) -> None:
    """End TOKEN (its id from the list) at once."""
    with people_commands(context.config(), verb="token") as commands:
        ended = commands.revoke_api_token(token_id)
    context.emit(ended, f"The token {ended['name']} of {ended['user_id']} has ended.")
