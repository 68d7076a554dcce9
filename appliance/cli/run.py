"""`homeport run`: the supervisor and everything it starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import trio

from appliance.cli.common import Context, verb
from appliance.core import logs
from appliance.core.clock import SystemClock
from appliance.core.config import CONFIG_VARIABLE, Config
from appliance.core.errors import UsageError
from appliance.run import demo, layout
from appliance.run.announcement import Announcement
from appliance.run.child_process import ChildSpec
from appliance.run.first_run import lock, prepare_folders, raise_file_limit
from appliance.run.sd_notify import Notifier
from appliance.run.supervisor import Supervisor

NODE_OOM_SCORE_ADJ = 500
"""The kernel takes the node long before the broker: devices go on being served."""
DEMO_OOM_SCORE_ADJ = 800


@click.command()
@click.option(
    "--demo",
    "as_demo",
    is_flag=True,
    help="A playground: loopback only, simulated devices, data in ./var/demo.",
)
@click.option(
    "--devices",
    default=demo.DEVICE_COUNT_DEFAULT,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Simulated devices of --demo.",
)
@verb
def run(context: Context, as_demo: bool, devices: int) -> None:
    """Serve devices and pages until SIGTERM or Ctrl-C."""
    if as_demo:
        if context.config_path is not None:
            raise UsageError("--demo makes a configuration of its own.", hint="Leave --config out.")
        context = Context(config_path=demo.prepare(Path("var/demo")), json=context.json)
    config = context.config()
    logs.set_up(process="supervisor", level=config.logging.level, format=config.logging.format)
    prepare_folders(config)
    file_count_max = raise_file_limit()
    announcement = Announcement(
        config.node.run_dir, to_terminal=as_demo or sys.stdout.isatty(), echo=click.echo
    )
    with lock(layout.supervisor_lock(config), holder="homeport run"), announcement:
        logs.get(__name__).info(
            "starting", config=str(config.source), data=str(config.node.data_dir), files=file_count_max
        )
        supervisor = Supervisor(
            [_child("broker", 0), _child("node", NODE_OOM_SCORE_ADJ)],
            later=[demo_child(devices)] if as_demo else [],
            environ=_environ(config),
            notifier=Notifier(os.environ),
            clock=SystemClock(),
            announce=announcement.print,
        )
        killed = trio.run(supervisor.run)
    if context.json:
        context.emit({"drained": not killed, "killed": killed}, "")
    sys.exit(1 if killed else 0)


def _child(name: str, oom_score_adj: int, *arguments: str) -> ChildSpec:
    # -P keeps the current folder off the import path: what lies there must not become part of the program.
    argv = (sys.executable, "-P", "-m", f"appliance.run.{name}_process", *arguments)
    return ChildSpec(name=name, argv=argv, oom_score_adj=oom_score_adj)


def demo_child(device_count: int) -> ChildSpec:
    """The process that plays the devices of --demo."""
    return _child("demo", DEMO_OOM_SCORE_ADJ, str(device_count))


def _environ(config: Config) -> dict[str, str]:
    environ = dict(os.environ)
    environ.pop(CONFIG_VARIABLE, None)
    if config.source is not None:
        environ[CONFIG_VARIABLE] = str(config.source.absolute())
    return environ
