"""`homeport device executions`: a device's updates."""

from __future__ import annotations

from urllib.parse import quote

import click

from appliance.cli.common import Context, table, verb
from appliance.cli.rollout import execution_row

_COLUMNS = {
    "execution_id": "EXECUTION",
    "state": "STATE",
    "from_version": "FROM",
    "to_version": "TO",
    "attempt": "ATTEMPT",
    "rollbacks": "ROLLBACKS",
    "why": "WHY",
}


@click.command("executions")
@click.argument("device_id")
@verb
def executions(context: Context, device_id: str) -> None:
    """List the updates of DEVICE_ID. Needs the running appliance."""
    found = context.api().get(f"/api/v1/devices/{quote(device_id, safe='')}/executions?limit=1000")
    rows = found["executions"]
    context.emit(
        found, table([execution_row(each) for each in rows], _COLUMNS) if rows else "It has had no update."
    )
