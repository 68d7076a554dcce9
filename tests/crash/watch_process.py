"""A pipeline with rules, to be killed: `python -m tests.crash.watch_process FOLDER POINT COUNT` as tests.crash.pipeline_process.

POINT is one of POINTS, or `none`: then it runs until all of FOLDER/log has been seen by the rules.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio

from appliance.core.clock import SystemClock
from appliance.core.config import WatchConfig
from appliance.pipeline import checkpoints, watch_feed
from appliance.pipeline import pipeline as pipeline_module
from appliance.pipeline.live import LiveView
from appliance.pipeline.pipeline import Pipeline
from appliance.pipeline.watching import Watched
from appliance.run.watch_wiring import make_watch
from appliance.watch.watch import Watch
from storage.log.reader import LogReader
from storage.telemetry import store as store_module
from storage.telemetry import writing
from storage.telemetry.alarm_outbox import AlarmOutbox
from storage.telemetry.store import TelemetryStore
from tests.pipeline_kit import EveryDevice
from tests.properties.test_watch_exactly_once import of_all_kinds
from tests.watch_kit import NOW

POINTS = ("found", "part written", "cursor moved", "committed", "saved", "put", "shown")
END_MS = NOW + 3_600_000


class LogClock(SystemClock):
    """The log's end has come, and time stands still; the monotonic clock is the machine's."""

    def now_ms(self) -> int:
        return END_MS


def plant(point: str, count: int) -> None:
    """Make the process die when it passes the point the `count`-th time."""
    left = count

    def die() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def behind(owner: Any, name: str, passes: Callable[..., bool] = lambda *_: True) -> None:
        original = getattr(owner, name)

        def planted(*args: Any, **options: Any) -> Any:
            result = original(*args, **options)
            if passes(*args):
                die()
            return result

        setattr(owner, name, planted)

    match point:
        case "found":
            behind(Watch, "see")
        case "part written":
            behind(writing, "write_part")
        case "cursor moved":
            behind(store_module, "move_cursor")
        case "committed":
            behind(store_module, "run", lambda _, sql, *rest: sql == "COMMIT")
        case "saved":
            behind(Watch, "save")
        case "put":
            behind(AlarmOutbox, "put")
        case "shown":
            behind(LiveView, "apply")


async def main(folder: Path) -> None:
    clock = LogClock()
    store = TelemetryStore.open(folder / "telemetry.duckdb")
    pipeline = Pipeline(
        reader=LogReader(folder / "log"),
        store=store,
        mappings=[],
        directory=EveryDevice(),
        clock=clock,
        live=LiveView(clock),
        batch_messages_max=100,
        watch=Watched(watch=make_watch(WatchConfig()), rules=of_all_kinds()),
    )

    def is_done() -> bool:
        now = pipeline.statistics()
        watch = now.watch
        return bool(
            now.head_seq > 1
            and not now.behind_records
            and watch
            and watch.state == "up_to_date"
            and watch.rebuild_s is not None
            and watch.watch.watermark_ms >= END_MS - 1_000
        )

    async with trio.open_nursery() as nursery:
        await nursery.start(pipeline.run)
        with trio.fail_after(50):
            while not is_done():  # noqa: ASYNC110
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    store.close()


if __name__ == "__main__":
    pipeline_module.COMMIT_INTERVAL_MS_MIN = 1  # type: ignore[misc]
    pipeline_module.POLL_MS = 20  # type: ignore[misc]
    checkpoints.INTERVAL_MS = 30  # type: ignore[misc]
    checkpoints.SHARE = 1  # type: ignore[misc]
    watch_feed.TICK_INTERVAL_MS = 20  # type: ignore[misc]
    checkpoints.BYTES_PER_S = 10**9  # type: ignore[misc]
    plant(sys.argv[2], int(sys.argv[3]))
    trio.run(partial(main, Path(sys.argv[1])))
