"""`homeport sim`: simulated devices; everything after the verb goes to device_fw_sim."""

from __future__ import annotations

import click

from appliance.cli.common import fail
from appliance.cli.passthrough import UNTOUCHED, become
from appliance.core.errors import HomeportError


@click.command(context_settings=UNTOUCHED, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def sim(arguments: tuple[str, ...]) -> None:
    """Simulated devices: one, a fleet, or a recording played back (see `homeport sim --help`)."""
    try:
        become("device_fw_sim.__main__", list(arguments), missing_hint="Install all of Homeport.")
    except HomeportError as error:
        fail(error, "--json" in arguments)
