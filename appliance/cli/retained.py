"""`homeport retained`: the broker's retained messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import click

from appliance.cli.common import Context, table, verb
from appliance.core.limits import BROKER_PAGE_ITEM_COUNT_MAX
from appliance.run.local_api import LocalApi

_COLUMNS = {
    "topic": "TOPIC",
    "payload_bytes": "BYTES",
    "qos": "QOS",
    "client_id": "PUBLISHER",
    "seq": "RECORD",
}


@click.group()
def retained() -> None:
    """Retained messages: list them, clear one. Needs the running appliance."""


@retained.command("list")
@click.option("--filter", "q", default="", help="Part of a topic.")
@verb
def list_(context: Context, q: str) -> None:
    """List retained messages, the newest first."""
    rows = list(_retained(context.api(), q))
    context.emit({"retained": rows}, table(rows, _COLUMNS))


@retained.command()
@click.argument("topic")
@verb
def clear(context: Context, topic: str) -> None:
    """Clear the retained message of TOPIC; who is subscribed gets an empty message, as MQTT says it."""
    done = context.api().request("DELETE", f"/api/v1/broker/retained?{urlencode({'topic': topic})}")
    context.emit(done, f"{topic} has no retained message any more.")


def _retained(api: LocalApi, q: str) -> Iterator[dict[str, Any]]:
    query: dict[str, Any] = {"limit": BROKER_PAGE_ITEM_COUNT_MAX, "q": q}
    while True:
        page = api.get(f"/api/v1/broker/retained?{urlencode(query)}")
        yield from page["retained"]
        if page["next_cursor"] is None:
            return
        query["cursor"] = page["next_cursor"]
