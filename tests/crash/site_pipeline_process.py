"""A node's pipeline over its site's logs, to be killed: `python -m tests.crash.site_pipeline_process FOLDER POINT COUNT`.

As pipeline_process, whose points are those of a commit; these are of a turn of the order. With POINT `none` it runs until all is stored.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import trio

from appliance.core.clock import SystemClock
from appliance.pipeline import pipeline as pipeline_module
from appliance.pipeline.live import LiveView
from appliance.pipeline.pipeline import Pipeline
from storage.log.disk import OsDisk
from storage.site import SiteOrder, SiteReader
from storage.site import order as order_module
from storage.site.order_format import ENTRY_BYTES
from storage.telemetry import store as store_module
from storage.telemetry.store import TelemetryStore
from tests.crash.pipeline_process import POINTS, plant
from tests.pipeline_kit import EveryDevice
from tests.site_kit import NODES

TURN_POINTS = ("begun", "torn", "written", "synced", "renamed")


class DyingDisk(OsDisk):
    """Kills the process at the `count`-th time that the order's file comes to a point."""

    def __init__(self, folder: Path, point: str, count: int) -> None:
        self._path = folder / "site"
        self._point = point
        self._left = count

    def _at(self, point: str, descriptor: int | None = None) -> bool:
        if descriptor is not None:
            name = os.readlink(f"/proc/self/fd/{descriptor}")
            if Path(name).parent != self._path:
                return False
        if point != self._point:
            return False
        self._left -= 1
        return self._left == 0

    def pwritev(self, descriptor: int, buffers: Any, offset: int) -> int:
        if self._at("begun", descriptor):
            die()
        if self._at("torn", descriptor):
            super().pwritev(descriptor, [b"".join(buffers)[: ENTRY_BYTES + 9]], offset)
            die()
        done = super().pwritev(descriptor, buffers, offset)
        if self._at("written", descriptor):
            die()
        return done

    def fdatasync(self, descriptor: int) -> None:
        super().fdatasync(descriptor)
        if self._at("synced", descriptor):
            die()

    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        if self._at("renamed"):
            die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main(folder: Path, point: str, count: int) -> None:
    store = TelemetryStore.open(folder / "telemetry.duckdb")
    order = SiteOrder(
        folder / "site",
        own_log=folder / "log",
        own_id=NODES[0],
        replicas=folder / "replicas",
        nodes=lambda: NODES,
        clock=SystemClock(),
        disk=DyingDisk(folder, point, count),
    )
    pipeline = Pipeline(
        reader=SiteReader(order, takes_turns=True), store=store, mappings=[], directory=EveryDevice(),
        clock=SystemClock(), live=LiveView(SystemClock()), batch_messages_max=100,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        await nursery.start(pipeline.run)
        records = int((folder / "records").read_text())
        while pipeline.statistics().cursor.next_seq <= records:  # noqa: ASYNC110
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    store.close()
    order.close()


if __name__ == "__main__":
    store_module.FOLD_COMMITS = 3  # type: ignore[misc]
    pipeline_module.COMMIT_INTERVAL_MS_MIN = 1  # type: ignore[misc]
    pipeline_module.POLL_MS = 20  # type: ignore[misc]
    order_module.__dict__["SITE_TURN_MS"] = (1, 1, 1, 1)
    order_module.__dict__["SITE_TURN_RECORDS_MAX"] = 60
    if sys.argv[2] in POINTS and sys.argv[2] != "begun":
        plant(sys.argv[2], int(sys.argv[3]))
    trio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
