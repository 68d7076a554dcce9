"""The process of one drill: at low priority, so that devices notice nothing; over the replicator's links.

It says on standard output how far it is and at last what it found, a line of JSON each: `{"t": "progress", "step": …, "done": …, "total": …}`,
`{"t": "report", "report": {…}}`. It ends with whoever began it: when standard input is closed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TextIO

import click
import msgspec
import trio

from appliance.core import logs
from appliance.core.clock import SystemClock
from appliance.core.config import Config, load
from appliance.core.errors import HomeportError
from appliance.identity.fleet import Fleet
from appliance.identity.keys import SiteKeys
from appliance.management.drill import DrillReport
from appliance.run import layout
from appliance.run.drilling import drill
from appliance.run.drilling_box import box_of, roster_of
from appliance.run.drilling_cloud import carry_out_of_cloud
from appliance.run.first_run import lock
from replication.fetching import Fetcher
from replication.guest_socket import GuestLinks, guest_links

NICENESS: Final = 19
LOOK_S: Final = 0.5
"""Between two lines of how far it is."""


def command() -> list[str]:
    """The program, without the drill's id; its configuration is the environment's."""
    return [sys.executable, "-P", "-m", "appliance.run.drilling_process"]


@click.command()
@click.option("--id", "drill_id", required=True)
@click.option("--scheduled", is_flag=True)
@click.option("--cloud", "is_cloud", is_flag=True)
@click.option("--region", default="")
def main(drill_id: str, scheduled: bool, is_cloud: bool, region: str) -> None:
    """Carry out one drill."""
    config = load(None, os.environ)
    logs.set_up(process="drill", level=config.logging.level, format=config.logging.format)
    os.nice(NICENESS)
    say = _Saying(sys.stdout)
    threading.Thread(target=_end_with_parent, args=(config,), daemon=True).start()
    try:
        with lock(layout.drill_lock(config), holder="a drill"):
            work = partial(carry_out_of_cloud, region=region) if is_cloud else carry_out
            report = trio.run(partial(work, config, drill_id, is_scheduled=scheduled, progress=say.progress))
    except HomeportError as error:
        now_ms = SystemClock().now_ms()
        report = DrillReport(
            drill_id=drill_id,
            outcome="failed",
            is_scheduled=scheduled,
            begun_at_ms=now_ms,
            ended_at_ms=now_ms,
            source="cloud" if is_cloud else "peers",
            problem=f"{error.message} {error.hint or ''}".strip(),
        )
    say.line({"t": "report", "report": msgspec.to_builtins(report)})


async def carry_out(
    config: Config, drill_id: str, *, is_scheduled: bool, progress: Callable[[str, int, int], None]
) -> DrillReport:
    """A drill out of the peers that the replicator is linked with.

    Raises:
        NotFound: `fleet_missing`. Unavailable: `replicator_away`. UsageError, ConfigError, StorageError: as the fleet's folder.
    """
    roster = roster_of(config)
    data_dir = config.node.data_dir
    keys = SiteKeys.load_existing(data_dir)
    fleet = Fleet.load(data_dir, keys)
    fetchers: list[Fetcher] = []

    def listen(links: GuestLinks) -> Fetcher:
        fetchers.append(Fetcher(links, first_request=links.first_request))
        return fetchers[0]

    async with guest_links(layout.guest_socket(config), listen) as links:
        box = box_of(config, keys, fleet, roster, connected=links.peers())
        return await drill(
            box,
            fetchers[0],
            drill_id=drill_id,
            is_scheduled=is_scheduled,
            clock=SystemClock(),
            progress=progress,
        )


class _Saying:
    """Lines of JSON for whoever began this; how far it is, not more often than anybody reads it."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._said = ("", 0.0)
        self._lock = threading.Lock()

    def progress(self, step: str, done: int, total: int) -> None:
        now_s = time.monotonic()
        with self._lock:
            if step == self._said[0] and now_s - self._said[1] < LOOK_S and done < total:
                return
            self._said = (step, now_s)
        self.line({"t": "progress", "step": step, "done": done, "total": total})

    def line(self, content: dict[str, Any]) -> None:
        with self._lock:
            self._out.write(json.dumps(content) + "\n")
            self._out.flush()


def _end_with_parent(config: Config) -> None:
    """Whoever began this has gone, however it ended: so does this, and leaves nothing behind."""
    while os.read(sys.stdin.fileno(), 1):
        pass  # nothing is said there
    shutil.rmtree(layout.drill_folder(config), ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    main()
