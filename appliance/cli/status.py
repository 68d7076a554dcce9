"""`homeport status`: how the running appliance is."""

from __future__ import annotations

from typing import Any

import click

from appliance.cli.common import Context, verb
from appliance.run import announcement


@click.command()
@verb
def status(context: Context) -> None:
    """How the running appliance is: each dependency, counts, lag, and the addresses to open."""
    config = context.config()
    api = context.api()
    health = api.request("GET", "/health/ready", accept=(503,))
    node = api.get("/api/v1/status")
    lines = announcement.read(config.node.run_dir)
    context.emit(
        {"health": health, "status": node, "announcement": lines}, "\n".join([*_lines(health, node), *lines])
    )


def _lines(health: dict[str, Any], node: dict[str, Any]) -> list[str]:
    """What a person wants to know first; --json has all of it."""
    pipeline, devices = node["pipeline"], node["devices"]
    uptime_s = (node["now_ms"] - node["started_at_ms"]) // 1000
    return [
        f"{node['node']} {node['version']}, up {uptime_s} s: {'ready' if health['ready'] else 'NOT READY'}",
        *(f"  {each['name']}: {_dependency(each)}" for each in health["dependencies"]),
        f"devices: {_counts(devices['state'])}; {_counts(devices['presence'])}",
        f"messages: {node['message_rate']:.1f}/s",
        f"store: {pipeline['lag_s']:.1f} s behind, {pipeline['behind_records']} records to go, "
        f"{pipeline['rows_total']} rows, {pipeline['dead_letters_total']} dead letters, breaker {pipeline['breaker']}",
    ]


def _dependency(one: dict[str, Any]) -> str:
    words = " ".join(part for part in (one.get("detail"), one.get("hint")) if part)
    return words if one["ok"] else f"FAILED ({one['code']}) {words}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count) or "none"
