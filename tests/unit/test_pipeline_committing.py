"""A commit within its deadline: interrupted until it ends, and its failure returned."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import cast

import trio

from appliance.core.errors import StorageError
from appliance.pipeline.committing import commit_within
from storage.telemetry.batch import Counts, Cursor, StoreBatch
from storage.telemetry.store import TelemetryStore

BATCH = StoreBatch(before=Cursor(), after=Cursor(), counts=Counts(), blocks=[])
DEADLINE_S = 60.0


class Slow:
    """A store whose commit ends at its second interrupt."""

    def __init__(self) -> None:
        self.interrupts = 0

    def interrupt(self) -> None:
        self.interrupts += 1

    def commit(self, _: StoreBatch) -> None:
        until = time.monotonic() + DEADLINE_S
        while self.interrupts < 2 and time.monotonic() < until:
            time.sleep(0.001)
        raise StorageError("interrupted", hint="none")


class Quick(Slow):
    def commit(self, _: StoreBatch) -> None:
        return


async def in_thread(call: Callable[[], StorageError | None]) -> StorageError | None:
    return await trio.to_thread.run_sync(call)


async def test_late() -> None:
    slow = Slow()
    failure = await commit_within(1, cast("TelemetryStore", slow), BATCH, in_thread)
    assert isinstance(failure, StorageError)
    assert slow.interrupts >= 2


async def test_in_time() -> None:
    quick = Quick()
    assert await commit_within(60_000, cast("TelemetryStore", quick), BATCH, in_thread) is None
    assert quick.interrupts == 0
