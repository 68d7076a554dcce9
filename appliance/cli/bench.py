"""`homeport bench`: the benchmarks; everything after the verb goes to tests/bench."""

from __future__ import annotations

import click

from appliance.cli.common import fail
from appliance.cli.passthrough import UNTOUCHED, become
from appliance.core.errors import HomeportError


@click.command(context_settings=UNTOUCHED, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Benchmarks against mosquitto on this machine (see `homeport bench --help`)."""
    try:
        become(
            "tests.bench.__main__",
            list(arguments),
            missing_hint="Benchmarks run from a checkout: scripts/bench.",
        )
    except HomeportError as error:
        fail(error, "--json" in arguments)
