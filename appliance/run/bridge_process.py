"""The bridge process: carries messages to and from other brokers, as the configuration's bridges say.

It is its own, so that a slow or hostile broker somewhere, or a mistake here, costs the devices nothing. It reads the log's files
and its cursors, appends through the broker's control socket, and writes neither log nor catalog.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import trio

from appliance.core import logs
from appliance.core.clock import Clock, SystemClock
from appliance.core.config import Config
from appliance.core.limits import BRIDGE_REPORT_INTERVAL_MS
from appliance.identity.keys import SiteKeys
from appliance.run import layout
from appliance.run.child import ChildLink
from appliance.run.process import run_process
from broker.bridge.bridge import Bridge
from broker.bridge.local import LocalBroker
from broker.bridge.rules import rules_of
from broker.bridge.statistics import write_report
from storage.log.reader import LogReader

_log = logs.get(__name__)


async def serve(config: Config, link: ChildLink) -> None:
    """Run the bridges until `link.stopping`. Raises as SiteKeys does."""
    clock = SystemClock()
    keys = SiteKeys.load_or_create(config.node.data_dir)
    local = LocalBroker(layout.broker_socket(config))
    bridges = [
        Bridge(
            rules_of(
                each,
                config.bridge_topic,
                node_id=keys.node_id,
                packet_bytes_max=config.broker.packet_bytes_max,
            ),
            log_of=lambda: LogReader(layout.telemetry_log(config), stream="telemetry"),
            state_path=layout.bridge_cursor(config, each.name),
            local=local,
            clock=clock,
            random=random.SystemRandom().random,
        )
        for each in config.bridge
    ]
    async with trio.open_nursery() as nursery:
        await nursery.start(link.serve)
        nursery.start_soon(local.run)
        for bridge in bridges:
            nursery.start_soon(bridge.run)
        nursery.start_soon(report, bridges, layout.bridge_report(config), clock, link)
        await link.ready(f"bridges: {', '.join(each.name for each in config.bridge)}")
        await link.stopping.wait()
        nursery.cancel_scope.cancel()
    layout.bridge_report(config).unlink(missing_ok=True)


async def report(bridges: list[Bridge], path: Path, clock: Clock, link: ChildLink) -> None:
    """Leave word for the node, and for systemd's status line, until cancelled."""
    told = ""
    has_failed = False
    while True:
        for bridge in bridges:
            await bridge.measure()
        statistics = [bridge.statistics() for bridge in bridges]
        try:
            await trio.to_thread.run_sync(write_report, path, statistics, clock.now_ms())
            has_failed = False
        except OSError as error:
            if not has_failed:
                _log.error("the bridges' report can't be written", error=str(error), hint="Look at run_dir.")
            has_failed = True
        status = ", ".join(f"{each.name} {each.state}" for each in statistics)
        if status != told:
            told = status
            await link.status(status)
        await trio.sleep(BRIDGE_REPORT_INTERVAL_MS / 1000)


def main() -> int:
    """Run the process; returns its exit code."""
    return run_process("bridge", serve)


if __name__ == "__main__":
    sys.exit(main())
