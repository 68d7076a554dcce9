"""A pipeline to be killed: `python -m tests.crash.pipeline_process FOLDER POINT COUNT` dies at a planted point.

POINT is a step of a commit; the process sends itself SIGKILL when it comes there the COUNT-th time. With POINT `none` it
runs until the cursor is at the head.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from appliance.core.clock import SystemClock
from appliance.pipeline import pipeline as pipeline_module
from appliance.pipeline.live import LiveView
from appliance.pipeline.pipeline import Pipeline
from storage.log.reader import LogReader
from storage.telemetry import store as store_module
from storage.telemetry.store import TelemetryStore
from tests.pipeline_kit import EveryDevice

POINTS = ("begun", "rows written", "folded", "cursor moved", "committed", "shown", "tidied")


def plant(point: str, count: int) -> None:
    """Make the process die when it passes the point the `count`-th time."""
    left = count

    def die() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(
        owner: Any,
        name: str,
        *,
        before: Callable[..., bool] | None = None,
        after: Callable[..., bool] | None = None,
    ) -> None:
        original = getattr(owner, name)

        def planted(*args: Any, **options: Any) -> Any:
            if before is not None and before(*args):
                die()
            result = original(*args, **options)
            if after is not None and after(*args):
                die()
            return result

        setattr(owner, name, planted)

    match point:
        case "begun":
            around(store_module, "write_batch", before=lambda *_: True)
        case "rows written":
            around(store_module, "write_batch", after=lambda *_: True)
        case "folded":
            around(store_module, "fold", after=lambda *_: True)
        case "cursor moved":
            around(store_module, "move_cursor", after=lambda *_: True)
        case "committed":
            around(store_module, "run", after=lambda _, sql, *rest: sql == "COMMIT")
        case "shown":
            around(LiveView, "apply", after=lambda *_: True)
        case "tidied":
            around(TelemetryStore, "tidy", after=lambda *_: True)


async def main(folder: Path) -> None:
    store = TelemetryStore.open(folder / "telemetry.duckdb")
    reader = LogReader(folder / "log")
    pipeline = Pipeline(
        reader=reader, store=store, mappings=[], directory=EveryDevice(), clock=SystemClock(),
        live=LiveView(SystemClock()), batch_messages_max=100,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        await nursery.start(pipeline.run)
        while pipeline.statistics().head_seq == 1 or pipeline.statistics().behind_records:  # noqa: ASYNC110
            await trio.sleep(0.01)
        with trio.fail_after(60):
            while pipeline.statistics().batches_total and not store.statistics().checkpoints_total:  # noqa: ASYNC110
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    store.close()


if __name__ == "__main__":
    store_module.FOLD_COMMITS = 3  # type: ignore[misc]
    pipeline_module.COMMIT_INTERVAL_MS_MIN = 1  # type: ignore[misc]
    pipeline_module.TIDY_AFTER_MS = 0  # type: ignore[misc]
    pipeline_module.POLL_MS = 20  # type: ignore[misc]
    plant(sys.argv[2], int(sys.argv[3]))
    trio.run(main, Path(sys.argv[1]))
