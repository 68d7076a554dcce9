"""`homeport maintenance`: times in which alarms of some devices are expected."""

from __future__ import annotations

from typing import Any, Final, get_args

import click

from appliance.cli.common import Context, table, verb
from appliance.cli.scope_wish import scope_of, scope_options
from appliance.cli.times import after_ms, shown_at
from appliance.core.errors import UsageError
from appliance.run.alarm_commands import alarm_commands
from storage.catalog.maintenances import MaintenanceState

_COLUMNS: Final = {
    "state": "STATE",
    "what": "DEVICES",
    "reason": "REASON",
    "from": "FROM",
    "until": "UNTIL",
    "created_by": "BY",
    "suppressed_count": "SUPPRESSED",
    "maintenance_id": "MAINTENANCE",
}


@click.group()
def maintenance() -> None:
    """Maintenances: nobody is told of alarms of some devices meanwhile. Works whether the appliance runs or not."""


@maintenance.command("list")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(get_args(MaintenanceState)),
    help="Only those in it; repeatable.",
)
@verb
def list_(context: Context, states: tuple[str, ...]) -> None:
    """List maintenances, that which is over last first."""
    with alarm_commands(context.config()) as commands:
        found = list(commands.maintenances(states=states))
    context.emit(
        {"maintenances": found}, table(list(map(_row, found)), _COLUMNS) if found else "There is none."
    )


@maintenance.command()
@scope_options
@click.option("--reason", required=True, help="What is done, in one line.")
@click.option("--in", "ahead", default="", help="When it begins, such as 30m or 2d from now; now without.")
@click.option("--for", "duration", required=True, help="How long, such as 90m, 8h or 2d; at most 31 days.")
@verb
def add(context: Context, reason: str, ahead: str, duration: str, **scope: Any) -> None:
    """Begin a maintenance of these devices, or plan it."""
    devices = scope_of(scope)
    if devices is None:
        raise UsageError(
            "Say for which devices.",
            hint="Give --device, --group, --tag or --all.",
            code="maintenance_invalid",
        )
    with alarm_commands(context.config()) as commands:
        from_ms = after_ms(commands.now_ms(), ahead) if ahead else None
        until_ms = after_ms(commands.now_ms() if from_ms is None else from_ms, duration)
        made = commands.add_maintenance(devices, reason=reason, from_at_ms=from_ms, until_at_ms=until_ms)
    context.emit(made, table([_row(made)], _COLUMNS))


@maintenance.command()
@click.argument("maintenance_id", metavar="MAINTENANCE")
@verb
def end(context: Context, maintenance_id: str) -> None:
    """End MAINTENANCE now: what is still wrong is told."""
    with alarm_commands(context.config()) as commands:
        ended = commands.end_maintenance(maintenance_id)
    context.emit(ended, table([_row(ended)], _COLUMNS))


def _row(found: dict[str, Any]) -> dict[str, Any]:
    scope = found["scope"]
    words = ["all"] if scope["all"] else []
    for name, mark in (("devices", ""), ("groups", "group "), ("tags", "tag "), ("except", "not ")):
        words += [f"{mark}{each}" for each in scope[name]]
    return {
        **found,
        "what": words,
        "from": shown_at(found["from_at_ms"]),
        "until": shown_at(found["until_at_ms"]),
    }
