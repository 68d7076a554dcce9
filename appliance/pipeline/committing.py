"""One batch to the store, within a deadline: interrupted when it is late, and never left alone in its thread."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from appliance.core.errors import StorageError
from storage.telemetry.batch import StoreBatch
from storage.telemetry.store import TelemetryStore

INTERRUPT_INTERVAL_MS: Final = 100
"""Again and again: an interrupt ends the statement that runs, not the one after it."""

InThread = Callable[[Callable[[], StorageError | None]], Awaitable[StorageError | None]]


async def commit_within(
    deadline_ms: int, store: TelemetryStore, batch: StoreBatch, in_thread: InThread
) -> StorageError | None:
    """Commit a batch.

    Returns:
        None when the batch is in the store, whichever way that came to be known; otherwise why it isn't.
    """

    async def interrupt_late() -> None:
        await trio.sleep(deadline_ms / 1_000)
        while True:
            store.interrupt()
            await trio.sleep(INTERRUPT_INTERVAL_MS / 1_000)

    with trio.CancelScope(shield=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt_late)
            failure = await in_thread(lambda: _try_commit(store, batch))
            nursery.cancel_scope.cancel()
    return failure


def _try_commit(store: TelemetryStore, batch: StoreBatch) -> StorageError | None:
    try:
        store.commit(batch)
    except StorageError as error:
        return error
    return None
