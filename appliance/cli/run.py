"""`homeport run`: the supervisor and everything it starts."""

from __future__ import annotations

import dataclasses
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import click
import trio

from appliance.cli.common import Context, shows_blocks, verb
from appliance.core import logs
from appliance.core.clock import SystemClock
from appliance.core.config import CONFIG_VARIABLE, Config
from appliance.core.errors import UsageError
from appliance.core.version import VERSION
from appliance.run import demo, layout
from appliance.run.announcement import Announcement
from appliance.run.bridge_cursors import put_aside_removed
from appliance.run.child_process import ChildSpec
from appliance.run.first_run import lock, prepare_folders, raise_file_limit
from appliance.run.past_joining import join_pending_past
from appliance.run.restore_pending import finish_pending
from appliance.run.sd_notify import Notifier
from appliance.run.supervisor import Supervisor

NODE_OOM_SCORE_ADJ = 500
"""The kernel takes the node long before the broker: devices go on being served."""
BRIDGE_OOM_SCORE_ADJ = 600
REPLICATOR_OOM_SCORE_ADJ = 300
"""Copies go on when the node has taken all the memory."""
DEMO_OOM_SCORE_ADJ = 800
ROLE_VARIABLE = "HOMEPORT_NODE__ROLE"

_log = logs.get(__name__)


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
@click.option(
    "--role",
    type=click.Choice(["edge", "cloud"]),
    help="Instead of the configuration's node.role, for this run.",
)
@verb
def run(context: Context, as_demo: bool, devices: int, role: str | None) -> None:
    """Serve devices and pages until SIGTERM or Ctrl-C. As a cloud node: serve boxes of other sites, and pages."""
    with ExitStack() as held:
        if role is not None:
            # All processes read the same configuration: it goes the way that any key of it can.
            os.environ[ROLE_VARIABLE] = role
        if as_demo:
            context = dataclasses.replace(context, config_path=_playground(context, held))
        config = context.config()
        logs.set_up(process="supervisor", level=config.logging.level, format=config.logging.format)
        prepare_folders(config)
        held.enter_context(lock(layout.supervisor_lock(config), holder="homeport run"))
        finish_pending(config)
        join_pending_past(config)
        to_terminal = as_demo or sys.stdout.isatty()
        announcement = held.enter_context(
            Announcement(
                config.node.run_dir, to_terminal=to_terminal, echo=click.echo, shows_blocks=shows_blocks()
            )
        )
        put_aside_removed(config)
        later = [child_spec("bridge", BRIDGE_OOM_SCORE_ADJ)] if config.bridge else []
        later += [child_spec("demo", DEMO_OOM_SCORE_ADJ, str(devices))] if as_demo else []
        killed = _supervise(config, announcement, later)
    if context.json:
        context.emit({"drained": not killed, "killed": killed}, "")
    sys.exit(1 if killed else 0)


def child_spec(name: str, oom_score_adj: int, *arguments: str) -> ChildSpec:
    """The process whose program is `appliance.run.{name}_process`."""
    # -P keeps the current folder off the import path: what lies there must not become part of the program.
    argv = (sys.executable, "-P", "-m", f"appliance.run.{name}_process", *arguments)
    return ChildSpec(name=name, argv=argv, oom_score_adj=oom_score_adj)


def _supervise(config: Config, announcement: Announcement, later: list[ChildSpec]) -> list[str]:
    """Run everything until told to stop; returns who had to be killed."""
    file_count_max = raise_file_limit()
    _log.info(
        "starting",
        version=VERSION,
        config=str(config.source or "built-in defaults"),
        role=config.node.role,
        data_dir=str(config.node.data_dir),
        file_count_max=file_count_max,
    )
    broker = [] if config.node.role == "cloud" else [child_spec("broker", 0)]
    supervisor = Supervisor(
        [*broker, child_spec("node", NODE_OOM_SCORE_ADJ)],
        later=later,
        when_there={layout.fleet(config): child_spec("replicator", REPLICATOR_OOM_SCORE_ADJ)},
        environ=_environ(config),
        notifier=Notifier(os.environ),
        clock=SystemClock(),
        announce=announcement.print,
    )
    return trio.run(supervisor.run)


def _playground(context: Context, held: ExitStack) -> Path:
    """Lock and prepare ./var/demo; returns its configuration's path."""
    if context.config_path is not None:
        raise UsageError("--demo makes a configuration of its own.", hint="Leave --config out.")
    folder = Path("var/demo")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Held before the configuration is written anew: a running playground reads it again when a process restarts.
    held.enter_context(lock(folder / "lock", holder="homeport run --demo"))
    return demo.prepare(folder)


def _environ(config: Config) -> dict[str, str]:
    environ = dict(os.environ)
    environ.pop(CONFIG_VARIABLE, None)
    if config.source is not None:
        environ[CONFIG_VARIABLE] = str(config.source.absolute())
    return environ
