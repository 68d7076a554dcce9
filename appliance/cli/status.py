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
    health = context.api().request("GET", "/health/ready", accept=(503,))
    lines = announcement.read(config.node.run_dir)
    context.emit({"health": health, "announcement": lines}, "\n".join([*_text(health), *lines]))


def _text(value: Any, name: str = "") -> list[str]:
    """Nested JSON as lines of `a.b: value`."""
    if isinstance(value, dict):
        return [
            line
            for key, inner in value.items()
            for line in _text(inner, f"{name}.{key}" if name else str(key))
        ]
    if isinstance(value, list):
        return [line for index, inner in enumerate(value) for line in _text(inner, f"{name}[{index}]")]
    return [f"{name}: {value}"]
