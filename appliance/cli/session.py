"""`homeport session`: browsers and programs that people are signed in with."""

from __future__ import annotations

import click

from appliance.cli.common import Context, table, verb
from appliance.cli.times import shown_at
from appliance.run.people_commands import people_commands

_COLUMNS = {
    "session_id": "SESSION",
    "user_id": "USER",
    "kind": "KIND",
    "address": "ADDRESS",
    "last_used": "LAST USED",
    "expires": "UNTIL",
}


@click.group()
def session() -> None:
    """Browsers and programs that people are signed in with: list, end."""


@session.command("list")
@click.option("--user", "user_id", help="Only those of this user.")
@verb
def list_(context: Context, user_id: str | None) -> None:
    """List them, the last used first."""
    with people_commands(context.config(), verb="session") as commands:
        sessions = commands.sessions(user_id)
    rows = [
        {**each, "last_used": shown_at(each["last_used_at_ms"]), "expires": shown_at(each["expires_at_ms"])}
        for each in sessions
    ]
    context.emit({"sessions": sessions}, table(rows, _COLUMNS))


@session.command()
@click.argument("session_id", metavar="SESSION")
@verb
def end(context: Context, session_id: str) -> None:
    """End SESSION (its id from the list) at once."""
    with people_commands(context.config(), verb="session") as commands:
        commands.end_session(session_id)
    context.emit({"session_id": session_id}, "It has ended.")
