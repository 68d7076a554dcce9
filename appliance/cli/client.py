"""`homeport client`: who is connected to the broker, or has a session there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import click

from appliance.cli.common import Context, table, verb
from appliance.core.limits import BROKER_PAGE_ITEM_COUNT_MAX
from appliance.run.local_api import LocalApi

_COLUMNS = {
    "client_id": "CLIENT",
    "principal": "USER",
    "state": "STATE",
    "address": "ADDRESS",
    "transport": "BY",
    "version": "MQTT",
    "subscriptions": "SUBSCRIPTIONS",
    "queued": "WAITING",
}
_FACTS = (
    "client_id", "principal", "is_connected", "address", "transport", "version", "keep_alive_s", "session_expiry_s",
    "in_flight", "queued_messages", "queued_bytes", "is_lagging", "lag_records", "oversize_messages", "dropped_messages",
    "expired_messages", "lost_messages", "delivered_messages", "received_bytes", "sent_bytes",
)  # fmt: skip
"""What a person is shown of a client; what belongs to a connection only while there is one."""
_SUBSCRIPTION_COLUMNS = {"topic_filter": "FILTER", "qos": "QOS", "options": "OPTIONS"}


@click.group()
def client() -> None:
    """Clients of the broker: list, look at, disconnect, end sessions. Needs the running appliance."""


@client.command("list")
@click.option("--state", type=click.Choice(["connected", "away"]), help="Only those.")
@click.option("--filter", "q", default="", help="Part of a client id, user name or address.")
@verb
def list_(context: Context, state: str | None, q: str) -> None:
    """List clients that are connected or have a session."""
    rows = list(_clients(context.api(), q, state or ""))
    shown = [
        {**row, "queued": _queued(row), "state": "connected" if row["is_connected"] else "away"}
        for row in rows
    ]
    context.emit({"clients": rows}, table(shown, _COLUMNS))


@client.command()
@click.argument("client_id")
@verb
def show(context: Context, client_id: str) -> None:
    """Show CLIENT_ID with its subscriptions and what waits for it."""
    found = context.api().get(_address(client_id))
    subscriptions = [{**one, "options": _options(one)} for one in found["subscription_list"]]
    facts = "\n".join(
        f"{name.replace('_', ' ')}: {value}" for name in _FACTS if (value := found[name]) is not None
    )
    context.emit(found, f"{facts}\n{table(subscriptions, _SUBSCRIPTION_COLUMNS)}")


@client.command()
@click.argument("client_id")
@verb
def kick(context: Context, client_id: str) -> None:
    """Close CLIENT_ID's connection. It may come back; `device` verbs keep a device out."""
    done = context.api().post(_address(client_id) + "/kick", None)
    context.emit(done, f"The connection of {client_id} is closed.")


@client.command("end-session")
@click.argument("client_id")
@verb
def end_session(context: Context, client_id: str) -> None:
    """End CLIENT_ID's session: its connection, its subscriptions, and the messages that wait for it."""
    done = context.api().request("DELETE", _address(client_id))
    context.emit(done, f"The session of {client_id} is ended.")


def _address(client_id: str) -> str:
    return f"/api/v1/broker/clients/{quote(client_id, safe='')}"


def _clients(api: LocalApi, q: str, state: str) -> Iterator[dict[str, Any]]:
    query: dict[str, Any] = {"limit": BROKER_PAGE_ITEM_COUNT_MAX, "q": q, "state": state}
    while True:
        page = api.get(f"/api/v1/broker/clients?{urlencode(query)}")
        yield from page["clients"]
        if page["next_cursor"] is None:
            return
        query["cursor"] = page["next_cursor"]


def _queued(row: dict[str, Any]) -> str:
    waiting = row["in_flight"] + row["queued_messages"]
    return f"{waiting} (from the log: {row['lag_records']} behind)" if row["is_lagging"] else str(waiting)


def _options(subscription: dict[str, Any]) -> list[str]:
    return [name for name in ("no_local", "retain_as_published") if subscription[name]]
