"""`homeport user`: people who may sign in."""

from __future__ import annotations

import click

from appliance.cli.common import Context, table, verb
from appliance.cli.secret_input import confirm, read_new_password
from appliance.core.errors import UsageError
from appliance.management.permissions import ROLES
from appliance.run.people_commands import Groups, Row, people_commands

_COLUMNS = {
    "user_id": "USER",
    "role": "ROLE",
    "scope": "SCOPE",
    "second_factor": "2ND FACTOR",
    "state": "STATE",
    "display_name": "NAME",
}
_ROLES = click.Choice(ROLES)
_GROUP_HELP = "A group of devices that they are limited to; may be given several times."


@click.group()
def user() -> None:
    """People who may sign in: list, add, change, remove. Works whether the appliance runs or not."""


@user.command("list")
@verb
def list_(context: Context) -> None:
    """List users."""
    with people_commands(context.config(), verb="user") as commands:
        users = commands.users()
    context.emit({"users": users}, table([_shown(each) for each in users], _COLUMNS))


@user.command()
@click.argument("user_id", metavar="USER")
@click.option("--role", type=_ROLES, required=True, help="What they may.")
@click.option("--group", "groups", multiple=True, help=_GROUP_HELP)
@click.option("--display-name", default="", help="What people call them.")
@verb
def add(context: Context, user_id: str, role: str, groups: tuple[str, ...], display_name: str) -> None:
    """Add USER; the password is asked for, or comes on standard input."""
    password = read_new_password()
    with people_commands(context.config(), verb="user") as commands:
        added = commands.add_user(
            user_id, password=password, role=role, scope=groups or None, display_name=display_name
        )
    context.emit(added, f"{user_id} may sign in as {_what(added)}.")


@user.command("set-role")
@click.argument("user_id", metavar="USER")
@click.option("--role", type=_ROLES, required=True, help="What they may from now on.")
@click.option("--group", "groups", multiple=True, help=_GROUP_HELP)
@click.option("--site", is_flag=True, help="For the whole site.")
@verb
def set_role(context: Context, user_id: str, role: str, groups: tuple[str, ...], site: bool) -> None:
    """Change what USER may and for which devices. It holds for their next request."""
    if site == bool(groups):
        raise UsageError(
            "Say for which devices.", hint="Give --site, or --group once or several times.", code="usage"
        )
    scope: Groups = None if site else groups
    with people_commands(context.config(), verb="user") as commands:
        changed = commands.set_role(user_id, role=role, scope=scope)
    context.emit(changed, f"{user_id} is {_what(changed)}.")


@user.command("set-password")
@click.argument("user_id", metavar="USER")
@verb
def set_password(context: Context, user_id: str) -> None:
    """Give USER a new password and sign them out everywhere; it is asked for, or comes on standard input."""
    password = read_new_password()
    with people_commands(context.config(), verb="user") as commands:
        commands.set_password(user_id, password)
    context.emit({"user_id": user_id}, f"{user_id} has a new password and is signed out everywhere.")


@user.command()
@click.argument("user_id", metavar="USER")
@verb
def disable(context: Context, user_id: str) -> None:
    """Keep USER from signing in, and end what they are signed in with."""
    with people_commands(context.config(), verb="user") as commands:
        changed = commands.set_disabled(user_id, disabled=True)
    context.emit(changed, f"{user_id} can't sign in any more.")


@user.command()
@click.argument("user_id", metavar="USER")
@verb
def enable(context: Context, user_id: str) -> None:
    """Let USER sign in again."""
    with people_commands(context.config(), verb="user") as commands:
        changed = commands.set_disabled(user_id, disabled=False)
    context.emit(changed, f"{user_id} may sign in again as {_what(changed)}.")


@user.command()
@click.argument("user_id", metavar="USER")
@click.option("--yes", is_flag=True, help="Don't ask.")
@verb
def remove(context: Context, user_id: str, yes: bool) -> None:
    """Remove USER with all that signs them in, API tokens too."""
    confirm(f"Remove {user_id} and end their API tokens?", yes=yes)
    with people_commands(context.config(), verb="user") as commands:
        commands.remove_user(user_id)
    context.emit({"user_id": user_id}, f"{user_id} is removed.")


@user.command("reset-totp")
@click.argument("user_id", metavar="USER")
@verb
def reset_totp(context: Context, user_id: str) -> None:
    """Take the second factor from USER, who lost it, and sign them out everywhere."""
    with people_commands(context.config(), verb="user") as commands:
        commands.reset_totp(user_id)
    context.emit(
        {"user_id": user_id}, f"{user_id} signs in with the password alone, until they set up a new one."
    )


@user.command("sign-out")
@click.argument("user_id", metavar="USER")
@verb
def sign_out(context: Context, user_id: str) -> None:
    """Sign USER out of all browsers and programs; API tokens stay."""
    with people_commands(context.config(), verb="user") as commands:
        ended = commands.sign_out(user_id)
    context.emit({"user_id": user_id, "ended": ended}, f"{user_id} is signed out of {ended}.")


def _what(user: Row) -> str:
    where = (
        "the whole site" if user["scope"] is None else f"the groups {', '.join(user['scope']) or '(none)'}"
    )
    return f"{user['role']} of {where}"


def _shown(user: Row) -> Row:
    return {
        **user,
        "scope": "site" if user["scope"] is None else user["scope"] or "(none)",
        "second_factor": "yes" if user["has_second_factor"] else "no",
        "state": "disabled" if user["disabled"] else "active",
    }
