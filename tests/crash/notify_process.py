"""A node's alarms and notifications in a process that is killed again and again: alarm book, telling, scheduler, sender and ways over the real catalog.

One process imports everything and forks one for each life of the node, because a life lasts for a moment only. It kills each at random, and lets the
last one live until nothing is open. Prints how many were killed.

    python -m tests.crash.notify_process FOLDER ALARM_COUNT KILL_COUNT SEED
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Final

import trio

from appliance.alarms.book import AlarmBook
from appliance.core.clock import SystemClock
from appliance.core.config import Config, NodeConfig
from appliance.identity import SiteKeys
from appliance.management.audit import Act
from appliance.management.rule_transition import Transition
from appliance.run.notifications_wiring import make_notifications
from storage.catalog import AsyncCatalog
from storage.catalog.catalog import Catalog
from tests.alarm_kit import found
from tests.node_kit import Broker

ACT: Final = Act(action="alarms.apply")
WAIT_MAX_S: Final = 120


async def live(folder: Path, alarm_count: int, running: int) -> None:
    """One life: raise and clear alarms, go on where the one before was cut off, and tell of them until nothing is open."""
    clock, keys = SystemClock(), SiteKeys.load_or_create(folder)
    config = Config(node=NodeConfig(data_dir=folder, run_dir=folder))
    async with AsyncCatalog.opened(folder / "catalog.db", clock=clock, node_id=keys.node_id) as catalog:
        book = AlarmBook(clock=clock, flap_ms=0, wait_ms=0)
        parts = make_notifications(config, catalog, keys, Broker(), clock=clock, flap_ms=0)
        book.on_moves = parts.desk.telling.on_moves
        async with trio.open_nursery() as nursery:
            nursery.start_soon(parts.run)
            os.write(running, b".")
            await load(catalog, book, clock, alarm_count)
            with trio.fail_after(WAIT_MAX_S):
                while await catalog.read(is_open):  # noqa: ASYNC110 - rows on disk tell no event
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


async def load(catalog: AsyncCatalog, book: AlarmBook, clock: SystemClock, alarm_count: int) -> None:
    """Each alarm is raised in a transaction and cleared in another."""
    for number in range(alarm_count):
        name = f"d{number}"
        for is_raised in (True, False):
            if await catalog.read(lambda reader, of=(name, is_raised): is_done(reader, *of)):  # type: ignore[misc]
                continue
            transition = found(name, "urgent", is_raised=is_raised, at_ms=clock.now_ms())
            await catalog.write(
                lambda writer, each=transition: apply(writer, book, each),  # type: ignore[misc]
                by=ACT,
            )


def apply(writer: Catalog, book: AlarmBook, transition: Transition) -> None:
    book.apply(writer, [transition])


def is_done(reader: Catalog, device_id: str, is_raised: bool) -> bool:
    row = reader.row("SELECT state FROM alarms WHERE device_id = ?", (device_id,))
    return row is not None and (is_raised or row["state"] == "cleared_unacknowledged")


def is_open(reader: Catalog) -> bool:
    waiting = reader.row("SELECT count(*) FROM notifications WHERE state IN ('waiting', 'sending')")
    going_on = reader.row("SELECT count(*) FROM alarm_escalations WHERE is_over = 0")
    assert waiting is not None
    assert going_on is not None
    return bool(waiting[0] or going_on[0])


def main() -> None:
    folder, alarm_count, kill_count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(int(sys.argv[4]))
    killed = 0
    while killed < kill_count:
        reads, writes = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reads)
            trio.run(live, folder, alarm_count, writes)
            os._exit(0)
        os.close(writes)
        os.read(reads, 1)
        os.close(reads)
        time.sleep(chance.uniform(0.0, 0.25))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            break  # It was done before it could be killed.
        killed += 1
    trio.run(live, folder, alarm_count, os.open(os.devnull, os.O_WRONLY))
    sys.stdout.write(f"{killed}\n")


if __name__ == "__main__":
    main()
