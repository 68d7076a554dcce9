"""Long work of the archive: one thread of low priority, beside everything else.

A thread can't take its priority back, so it is no thread of a pool that others use. One piece of work at a time. When
whoever waits is cancelled, the work is told to stop and waited for: at most until DuckDB has looked at its interrupt.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final, TypeVar

import duckdb
import trio

from appliance.core.errors import StorageError, Unavailable
from storage.telemetry.database import StoreUnavailable
from storage.telemetry.store import TelemetryStore

_T = TypeVar("_T")
Connection = duckdb.DuckDBPyConnection

NICENESS: Final = 15
_INTERRUPT_AGAIN_S: Final = 0.1


class Background:
    """See the module. `close` it when nothing waits any more."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, "archive", initializer=_lower_priority)
        self._limiter = trio.CapacityLimiter(1)

    async def run(self, store: TelemetryStore, work: Callable[[Connection, Callable[[], bool]], _T]) -> _T:
        """Do work with a connection of its own to the store.

        Args:
            work: Gets the connection, and a function that says whether to stop.
        Raises:
            What the work raises, errors of DuckDB as StorageError: `archive_failed`. Unavailable: `archive_interrupted`: the store is opened
            anew, or needed everybody who reads to go; the same later is right.
        """
        async with self._limiter:
            with ExitStack() as stack:
                try:
                    connection = stack.enter_context(store.reading())
                except StoreUnavailable as error:
                    raise _interrupted() from error
                stop, done = threading.Event(), trio.Event()
                token = trio.lowlevel.current_trio_token()
                future = self._executor.submit(work, connection, stop.is_set)
                future.add_done_callback(lambda _: token.run_sync_soon(done.set))
                try:
                    await done.wait()
                finally:
                    stop.set()
                    with trio.CancelScope(shield=True):
                        while not done.is_set():
                            # Again and again: an interrupt ends one statement.
                            connection.interrupt()
                            with trio.move_on_after(_INTERRUPT_AGAIN_S):
                                await done.wait()
                try:
                    return future.result()
                except duckdb.InterruptException as error:
                    raise _interrupted() from error
                except duckdb.Error as error:
                    raise _as_error(error) from error

    def close(self) -> None:
        self._executor.shutdown()


def _interrupted() -> Unavailable:
    return Unavailable(
        "The store needed the archive's work to end, or is being opened anew.",
        hint="It goes on by itself.",
        code="archive_interrupted",
    )


def _as_error(error: duckdb.Error) -> StorageError:
    text = str(error)
    return StorageError(
        f"The archive's work on the store failed: {text.splitlines()[0] if text else type(error).__name__}",
        hint="It is tried again by itself; look at the disk's room and health.",
        code="archive_failed",
    )


def _lower_priority() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
