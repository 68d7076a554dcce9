"""`homeport retention`: how long readings are kept, by their metric."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from appliance.cli.common import Context, table, verb
from appliance.core.limits import RETENTION_DAYS_MAX

_COLUMNS = {
    "class_id": "CLASS",
    "metric": "METRIC",
    "hot_days": "DAYS IN STORE",
    "archived": "DAYS IN ARCHIVE",
    "rows_per_day": "READINGS A DAY",
    "store_bytes": "BYTES IN STORE",
    "archive_bytes": "BYTES IN ARCHIVE",
}


@click.group()
def retention() -> None:
    """How long readings are kept, by their metric. Needs the running appliance."""


@retention.command("list")
@verb
def list_(context: Context) -> None:
    """List classes in the order in which they are tried, with what each takes at the present rate."""
    _show(context, context.api().get("/api/v1/retention"))


@retention.command("set")
@click.argument("class_id", metavar="CLASS")
@click.option("--metric", required=True, help="Pattern of metrics: * is any characters, ? is one.")
@click.option(
    "--hot-days", required=True, type=click.IntRange(1, RETENTION_DAYS_MAX), help="Days in the store."
)
@click.option(
    "--archive-days",
    required=True,
    type=click.IntRange(0, RETENTION_DAYS_MAX),
    help="Days in the archive; 0 is for ever.",
)
@click.option("--position", type=click.IntRange(min=1), help="Which it is to be tried as, from 1.")
@verb
def set_(
    context: Context, class_id: str, metric: str, hot_days: int, archive_days: int, position: int | None
) -> None:
    """Make CLASS, or change it."""
    wish: dict[str, Any] = {"metric": metric, "hot_days": hot_days, "archive_days": archive_days}
    if position is not None:
        wish["position"] = position
    _show(context, context.api().request("PUT", f"/api/v1/retention/{quote(class_id, safe='')}", wish))


@retention.command()
@click.argument("class_id", metavar="CLASS")
@verb
def remove(context: Context, class_id: str) -> None:
    """Remove CLASS: its metrics are of the next one that fits."""
    context.api().request("DELETE", f"/api/v1/retention/{quote(class_id, safe='')}")
    context.emit({"class_id": class_id}, f"The class {class_id} is gone.")


def _show(context: Context, answer: Any) -> None:
    rows = [{**each, "archived": each["archive_days"] or "for ever"} for each in answer["classes"]]
    context.emit(answer, table(rows, _COLUMNS))
