"""The command line: `homeport VERB`, one file per verb.

A verb parses, asks a room to do the work, and prints; each takes --json and --config. What an error's exit code is
stands in exit_codes.py, and nowhere else.
"""

from __future__ import annotations

import click

from appliance.cli.bench import bench
from appliance.cli.device import device
from appliance.cli.doctor import doctor
from appliance.cli.log import log
from appliance.cli.run import run
from appliance.cli.sim import sim
from appliance.cli.status import status
from appliance.core.version import VERSION


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version=VERSION, message="%(version)s")
def main() -> None:
    """Homeport: MQTT broker, append-only log and time-series store in one box."""


for _verb in (run, status, doctor, device, sim, bench, log):
    main.add_command(_verb)
