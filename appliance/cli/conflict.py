"""`homeport conflict`: values that people wrote on nodes of a site that did not know of each other."""

from __future__ import annotations

import json
from typing import Any, Final

import click

from appliance.cli.common import Context, table, verb
from appliance.cli.times import shown_at
from appliance.run.conflict_commands import conflict_commands

_COLUMNS: Final = {
    "conflict_id": "CONFLICT",
    "what": "WHAT",
    "number": "VALUE",
    "values": "IS",
    "node": "NODE",
    "written": "WRITTEN",
}


@click.group()
def conflict() -> None:
    """Values that contradict each other, from nodes of this site. Works whether the appliance runs or not."""


@conflict.command("list")
@click.option("--resolved", is_flag=True, help="Those that were decided instead of those that are open.")
@verb
def list_(context: Context, resolved: bool) -> None:
    """List conflicts with their values, the newest first; value 0 is in force."""
    with conflict_commands(context.config()) as commands:
        found = list(commands.list("resolved" if resolved else "open"))
    rows = [row for each in found for row in _rows(each)]
    context.emit({"conflicts": found}, table(rows, _COLUMNS) if rows else "There is none.")


@conflict.command()
@click.argument("conflict_id", metavar="CONFLICT")
@click.argument("value", type=click.IntRange(min=0))
@verb
def resolve(context: Context, conflict_id: str, value: int) -> None:
    """Put VALUE of CONFLICT in force on all nodes; 0 keeps the one that is."""
    with conflict_commands(context.config()) as commands:
        found = commands.resolve(conflict_id, value)
    context.emit(
        found, f"Value {value} of {found['table']} {found['key']}, {found['register']}, is in force."
    )


def _rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "conflict_id": found["conflict_id"] if number == 0 else "",
            "what": f"{found['table']} {found['key']}, {found['register']}" if number == 0 else "",
            "number": number,
            "values": json.dumps(each["values"], ensure_ascii=False),
            "node": each["node"][:8],
            "written": shown_at(each["written_at_ms"]),
        }
        for number, each in enumerate(found["values"])
    ]
