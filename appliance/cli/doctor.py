"""`homeport doctor`: what is wrong on this machine, and what to do."""

from __future__ import annotations

import dataclasses
import sys

import click

from appliance.cli.common import Context, verb
from appliance.core.clock import SystemClock
from appliance.core.errors import ConfigError
from appliance.run.doctor import Check, Result, examine
from appliance.run.first_run import become_owner

_COLOURS = {Result.OK: "green", Result.WARNING: "yellow", Result.FAILED: "red", Result.SKIPPED: None}


@click.command()
@verb
def doctor(context: Context) -> None:
    """Check configuration, folders, disk, clock, log, catalog and sockets; exit code 1 if something failed."""
    try:
        config = context.config()
        become_owner(config.node.data_dir)
        checks = examine(config, SystemClock())
    except ConfigError as error:
        checks = [Check(name="configuration", result=Result.FAILED, detail=error.message, hint=error.hint)]
    data = [{**dataclasses.asdict(check), "result": check.result.value} for check in checks]
    context.emit({"checks": data}, "\n".join(map(_line, checks)))
    sys.exit(1 if any(check.result is Result.FAILED for check in checks) else 0)


def _line(check: Check) -> str:
    result = click.style(f"{check.result.value:8}", fg=_COLOURS[check.result])
    hint = f"\n         → {check.hint}" if check.hint else ""
    return f"{result} {check.name}: {check.detail}{hint}"
