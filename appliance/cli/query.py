"""`homeport query`: ask the node one SELECT over all readings."""

from __future__ import annotations

import sys

import click

from appliance.cli.common import Context, table, verb
from appliance.core.errors import UsageError
from appliance.core.limits import SQL_TEXT_BYTES_MAX, SQL_WAITING_COUNT_MAX
from appliance.run import layout
from appliance.run.local_api import LocalApi

ANSWER_S = 15.0
"""Beside the question's own time."""


@click.command()
@click.argument("sql", required=False)
@click.option("--csv", "as_csv", is_flag=True, help="Answer with CSV.")
@click.option("--tables", "wants_tables", is_flag=True, help="Say which tables and columns there are.")
@verb
def query(context: Context, sql: str | None, as_csv: bool, wants_tables: bool) -> None:
    """Ask SQL, one SELECT; with - it is read from standard input. Needs the running appliance."""
    config = context.config()
    # Those that wait before it may each take as long as they are let.
    timeout_s = ANSWER_S + (SQL_WAITING_COUNT_MAX + 1) * config.store.sql_timeout_ms / 1_000
    api = LocalApi(layout.node_socket(config), timeout_s=timeout_s)
    if wants_tables:
        found = api.get("/api/v1/query/tables")
        rows = [
            {"table": each["name"], "name": column["name"], "type": column["type"], "about": column["about"]}
            for each in found["tables"]
            for column in each["columns"]
        ]
        context.emit(
            found, table(rows, {"table": "TABLE", "name": "COLUMN", "type": "TYPE", "about": "WHAT IT IS"})
        )
        return
    if sql is None:
        raise UsageError(
            "There is no question.",
            hint='Ask: homeport query "SELECT * FROM newest", or - for standard input.',
        )
    if as_csv and context.json:
        raise UsageError("An answer is CSV or JSON.", hint="Leave --csv or --json out.")
    text = sys.stdin.read(SQL_TEXT_BYTES_MAX + 1) if sql == "-" else sql
    if as_csv:
        answer = b"".join(api.download("/api/v1/query", {"sql": text, "format": "csv"}))
        click.echo(answer, nl=False)
        return
    found = api.post("/api/v1/query", {"sql": text})
    names = [column["name"] for column in found["columns"]]
    # Two columns may have one name: they are told apart by their place.
    rows = [{str(index): _cell(value) for index, value in enumerate(row)} for row in found["rows"]]
    context.emit(found, table(rows, {str(index): _cell(name) for index, name in enumerate(names)}))
    if not context.json:
        cut = {"rows": ", cut off: there are more", "bytes": ", cut off for its size"}.get(
            found["cut_by"], ""
        )
        if missing := found.get("missing_days"):
            cut += f", without all of {', '.join(missing)}: files of the archive are gone or broken (homeport archive verify)"
        click.echo(f"{len(rows)} rows{cut}, {found['duration_ms']:g} ms", err=True)


def _cell(value: object) -> str:
    """A value without what a terminal would take for a command: texts come from devices."""
    text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return "".join(each if each.isprintable() else "�" for each in text)
