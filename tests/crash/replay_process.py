"""A replay to be killed: `python -m tests.crash.replay_process FOLDER POINT COUNT` dies at a planted point.

Reads the log by a mapping that doesn't fit, mends it if that was not done yet, has all dead letters read again in parts of three,
and ends when that is done. POINT is a step of a part; `none` is none.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import trio

from appliance.core.clock import SystemClock
from appliance.management.audit import Act
from appliance.management.mapping import TopicMapping
from appliance.pipeline import pipeline as pipeline_module
from appliance.pipeline import reading as reading_module
from appliance.pipeline import replay_desk as desk_module
from appliance.pipeline.kept_messages import KeptMessages
from appliance.pipeline.live import LiveView
from appliance.pipeline.mapping_desk import MappingDesk
from appliance.pipeline.pipeline import Pipeline
from appliance.pipeline.replay_desk import ReplayDesk
from storage.catalog import AsyncCatalog, Catalog
from storage.catalog.replays import Replay
from storage.log.reader import LogReader
from storage.telemetry import replaying
from storage.telemetry.store import TelemetryStore
from tests.pipeline_kit import EveryDevice

POINTS = ("letters taken", "rows written", "part noted", "stored", "told")
ACT = Act(action="dead_letters.replay")
_WHERE: dict[str, tuple[Any, str]] = {
    "letters taken": (replaying, "take_letters"),
    "rows written": (replaying, "note_replay"),
    "part noted": (replaying, "note_part"),
    "stored": (reading_module, "store_replay"),
    "told": (Catalog, "note_replay"),
}


def plant(point: str, count: int) -> None:
    """Make the process die behind the `count`-th passage of a point."""
    if point == "none":
        return
    owner, name = _WHERE[point]
    original, left = getattr(owner, name), count

    def planted(*args: Any, **options: Any) -> Any:
        nonlocal left
        result = original(*args, **options)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, planted)


async def main(folder: Path) -> None:
    clock = SystemClock()
    store = TelemetryStore.open(folder / "telemetry.duckdb")
    async with AsyncCatalog.opened(folder / "catalog.db", clock=clock, node_id=bytes(16)) as catalog:
        configured = TopicMapping(pattern="plant/{device}/level")
        desk = await MappingDesk.opened(catalog, LogReader(folder / "log"), [configured])
        pipeline = Pipeline(
            reader=LogReader(folder / "log"), store=store, mappings=desk.sets, directory=EveryDevice(), clock=clock, live=LiveView(clock)
        )  # fmt: skip
        replays = ReplayDesk(
            catalog=catalog, pipeline=pipeline, store=store, sets=desk.sets, directory=EveryDevice(),
            kept=KeptMessages(LogReader(folder / "log"), clock.mono_ms), poll_s=0.01,
        )  # fmt: skip
        await replays.prepare()
        async with trio.open_nursery() as nursery:
            await nursery.start(pipeline.run)
            nursery.start_soon(replays.run)
            with trio.fail_after(30):
                await _work(catalog, desk, pipeline, LogReader(folder / "log"))
            nursery.cancel_scope.cancel()
    store.close()


async def _work(catalog: AsyncCatalog, desk: MappingDesk, pipeline: Pipeline, reader: LogReader) -> None:
    head = reader.head()
    while pipeline.reading.position is None or pipeline.reading.position[1] < head.next_seq:  # noqa: ASYNC110
        await trio.sleep(0.01)
    if not await catalog.read(lambda c: c.list_mappings()):
        async with desk.changing() as record:
            mended = TopicMapping(pattern="plant/{device}/level", metric="level")
            await catalog.write(lambda c: (c.add_mapping(mended), record(c)), by=ACT)
    if not await catalog.read(lambda c: c.list_replays(limit=1)):
        await catalog.write(lambda c: c.request_replay(epoch=head.epoch, at_seq=head.next_seq), by=ACT)
    while True:
        (replay,) = await catalog.read(lambda c: c.list_replays(limit=2))
        if _is_done(replay):
            return
        await trio.sleep(0.01)


def _is_done(replay: Replay) -> bool:
    return replay.state == "done"


if __name__ == "__main__":
    setattr(desk_module, "REPLAY_PART_LETTER_COUNT_MAX", 3)  # noqa: B010 - the name is imported there
    pipeline_module.POLL_MS = 20  # type: ignore[misc]
    plant(sys.argv[2], int(sys.argv[3]))
    trio.run(main, Path(sys.argv[1]))
