"""`homeport bridge`: the bridges to other brokers."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import click

from appliance.cli.common import Context, table, verb
from ui.pages.format import age_text, duration_text

_COLUMNS = {
    "name": "BRIDGE",
    "address": "ADDRESS",
    "state": "STATE",
    "since": "SINCE",
    "lag": "BEHIND",
    "acknowledged_messages": "OUT",
    "received_messages": "IN",
    "error": "LAST ERROR",
}
_TOPIC_COLUMNS = {
    "direction": "DIRECTION",
    "topic": "TOPIC",
    "qos": "QOS",
    "local_prefix": "PREFIX HERE",
    "remote_prefix": "PREFIX THERE",
}


@click.group()
def bridge() -> None:
    """Bridges to other brokers: list, look at. Needs the running appliance."""


@bridge.command("list")
@verb
def list_(context: Context) -> None:
    """List the bridges."""
    found = context.api().get("/api/v1/bridges")
    context.emit(found, table([_row(one) for one in found["bridges"]], _COLUMNS))


@bridge.command()
@click.argument("name")
@verb
def show(context: Context, name: str) -> None:
    """Show the bridge NAME: its state, its topics, what has crossed and what was left out."""
    found = context.api().get(f"/api/v1/bridges/{quote(name, safe='')}")
    facts = "\n".join(f"{key.replace('_', ' ')}: {value}" for key, value in _facts(found).items())
    context.emit(found, f"{facts}\n{table(found['topics'], _TOPIC_COLUMNS)}")


def _row(one: dict[str, Any]) -> dict[str, Any]:
    now_ms = time.time_ns() // 1_000_000
    return {
        **one,
        "state": one["state"].replace("_", " "),
        "since": age_text(one["since_ms"], now_ms) if one["since_ms"] else "",
        "lag": f"{one['lag_records']} ({duration_text(one['lag_ms'])})" if one["lag_records"] else "0",
        "error": one["error"] if one["state"] != "connected" else "",
    }


def _facts(one: dict[str, Any]) -> dict[str, Any]:
    shown = {key: value for key, value in one.items() if key != "topics" and not key.endswith("_ms")}
    row = _row(one)
    return {**shown, "state": row["state"], "since": row["since"], "behind": row["lag"]}
