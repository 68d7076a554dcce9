"""`homeport archive`: closed days as files, checking them, bringing one back into the store."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import click

from appliance.cli.common import Context, table, verb
from appliance.cli.exit_codes import EXIT_CODES
from appliance.cli.times import shown_at
from appliance.core.errors import LogDamaged
from appliance.core.limits import PAGE_ITEM_COUNT_MAX
from appliance.run import layout
from appliance.run.local_api import LocalApi

_COLUMNS = {
    "day": "DAY",
    "where": "WHERE",
    "hot_rows": "IN STORE",
    "pending_rows": "NOT ARCHIVED",
    "archived_rows": "ARCHIVED",
    "archived_bytes": "BYTES",
    "verified": "VERIFIED",
    "restored_until": "RESTORED UNTIL",
    "wrong": "WRONG",
}
_WORK_TIMEOUT_S = 3_600.0
"""A day of a large site is read back or brought in within minutes; the answer comes when it is done."""


@click.group()
def archive() -> None:
    """Closed days as verified files. Needs the running appliance."""


@archive.command("list")
@verb
def list_(context: Context) -> None:
    """List days with where their readings lie, the newest first."""
    api = context.api()
    status, days = api.get("/api/v1/archive"), list(_days(api))
    rows = [
        {
            **day,
            "verified": shown_at(day["verified_at_ms"]) if day["verified_at_ms"] else "",
            "wrong": "; ".join(f"{f['file'] or 'manifest'}: {f['problem']}" for f in day["faults"]),
        }
        for day in days
    ]
    doing = status["step"] or status["paused_because"] or status["state"]
    context.emit({"status": status, "days": days}, f"{table(rows, _COLUMNS)}\n\nThe keeper: {doing}")


@archive.command()
@click.argument("days", nargs=-1, metavar="[DAY]...")
@verb
def verify(context: Context, days: tuple[str, ...]) -> None:
    """Read back the files of DAY (YYYY-MM-DD, UTC), or of all days; exit code 9 if something is damaged."""
    api = context.api()
    wanted = list(days) or [day["day"] for day in _days(api) if day["generation"] is not None]
    slow = LocalApi(layout.node_socket(context.config()), timeout_s=_WORK_TIMEOUT_S)
    found = [slow.post(f"/api/v1/archive/days/{day}/verify", None) for day in wanted]
    lines = []
    for each in found:
        lines += [f"{each['day']} {f['file'] or 'manifest'}: {f['problem']}" for f in each["faults"]]
    context.emit({"days": found}, "\n".join([*lines, f"{len(found)} days read back, {len(lines)} faults."]))
    if lines:
        sys.exit(EXIT_CODES[LogDamaged])


@archive.command()
@click.argument("day")
@click.option(
    "--until",
    "until_day",
    required=True,
    type=click.DateTime(["%Y-%m-%d"]),
    help="The last day on which it stays in the store, YYYY-MM-DD.",
)
@verb
def restore(context: Context, day: str, until_day: datetime) -> None:
    """Bring DAY (YYYY-MM-DD, UTC) back into the store, as quick to ask as before."""
    until = until_day.date().isoformat()
    slow = LocalApi(layout.node_socket(context.config()), timeout_s=_WORK_TIMEOUT_S)
    done = slow.post(f"/api/v1/archive/days/{day}/restore", {"until": until})
    context.emit(done, f"{done['row_count']} readings of {day} are in the store until {until}.")


def _days(api: LocalApi) -> Iterator[dict[str, Any]]:
    query: dict[str, Any] = {"limit": PAGE_ITEM_COUNT_MAX}
    while True:
        page = api.get(f"/api/v1/archive/days?{urlencode(query)}")
        yield from page["days"]
        if page["next_before"] is None:
            return
        query["before"] = page["next_before"]
