"""Readings of some devices as one Parquet file, which DuckDB writes and somebody then sends.

The file lies in the archive's folder, the only one that statements may write, under `tmp`; it is removed by whoever asked for it, and what a
process that was killed left there is removed when the next one starts. Sorting spills to the store's temporary directory
beyond EXPORT_PARQUET_MEMORY_MIB. Must not know who asks, nor over which protocol the file goes out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Final

import duckdb
import trio

from appliance.core.errors import Unavailable, UsageError
from appliance.core.limits import (
    EXPORT_PARQUET_MEMORY_MIB,
    EXPORT_PARQUET_ROW_COUNT_MAX,
    EXPORT_PARQUET_TIMEOUT_MS,
    TELEMETRY_EXPORT_COUNT_MAX,
)
from storage.telemetry.database import archive_folder, run
from storage.telemetry.reader import meaning_of
from storage.telemetry.store import TelemetryStore

_FOLDER: Final = "tmp"
_PREFIX: Final = "export-"
_COLUMNS: Final = (
    "device AS device_id, metric, make_timestamp_ms(observed_at) AS observed_at, num AS number, text,"
    " CASE kind WHEN 0 THEN 'number' WHEN 1 THEN 'boolean' ELSE 'text' END AS kind,"
    " CASE quality WHEN 0 THEN 'good' WHEN 1 THEN 'uncertain' ELSE 'bad' END AS quality"
)
"""Numbers of ValueKind and Quality, which never change: they are in every file of the store."""


class ParquetExports:
    """Makes the files. One per process, since it removes what another left.

    Args:
        store: Whose readings; several files may be made at once.
    Raises:
        OSError: the folder can't be made or cleaned.
    """

    def __init__(self, store: TelemetryStore) -> None:
        self._store = store
        self._folder = archive_folder(store.path) / _FOLDER
        self._numbers = count(1)
        self._limiter = trio.CapacityLimiter(TELEMETRY_EXPORT_COUNT_MAX)
        self._folder.mkdir(parents=True, exist_ok=True)
        for left in self._folder.glob(f"{_PREFIX}*.parquet"):
            left.unlink(missing_ok=True)

    async def write(self, devices: Sequence[str], metrics: Sequence[str], from_ms: int, to_ms: int) -> Path:
        """A file of the readings with from_ms <= observed_at < to_ms, in order of device, metric, time; the caller removes it.

        Columns: device_id, metric, observed_at (UTC), number (1 and 0 for booleans), text, kind, quality. There is no file when this raises
        or is cancelled.

        Args:
            devices: By id; none gives a file without rows. metrics: By name; empty for all.
        Raises:
            UsageError: `telemetry_export_too_large`. Unavailable: `telemetry_export_timeout`. StorageError: the store failed.
        """
        path = self._folder / f"{_PREFIX}{next(self._numbers)}.parquet"
        try:
            with self._store.reading() as connection:
                await self._within(
                    connection, lambda: _write(connection, path, devices, metrics, from_ms, to_ms)
                )
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    async def _within(self, connection: duckdb.DuckDBPyConnection, work: Callable[[], None]) -> None:
        """Do the work in a thread; when time is up or nobody waits any more it is interrupted."""
        errors: list[duckdb.Error | UsageError] = []
        done = trio.Event()
        timed_out = False

        def in_thread() -> None:
            try:
                work()
            except (duckdb.Error, UsageError) as error:
                errors.append(error)

        async def interrupt_in_time() -> None:
            nonlocal timed_out
            try:
                with trio.move_on_after(EXPORT_PARQUET_TIMEOUT_MS / 1_000) as waiting:
                    await done.wait()
                timed_out = waiting.cancelled_caught
            finally:
                with trio.CancelScope(shield=True):
                    while not done.is_set():
                        # Again and again: an interrupt ends one statement, and there are two.
                        connection.interrupt()
                        with trio.move_on_after(0.05):
                            await done.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt_in_time)
            try:
                await trio.to_thread.run_sync(in_thread, limiter=self._limiter)
            finally:
                done.set()
        if not errors:
            return
        (error,) = errors
        if isinstance(error, UsageError):
            raise error
        if timed_out:
            raise Unavailable(
                f"The file took longer than {EXPORT_PARQUET_TIMEOUT_MS // 1_000} s to write.",
                hint="Ask for a shorter range or fewer devices, or for CSV or JSON lines, which begin at once.",
                code="telemetry_export_timeout",
            ) from error
        raise meaning_of(error, self._store) from error


def _write(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    devices: Sequence[str],
    metrics: Sequence[str],
    from_ms: int,
    to_ms: int,
) -> None:
    wanted = "device IN (SELECT unnest($devices)) AND observed_at >= $from AND observed_at < $to"
    parameters: dict[str, object] = {"devices": list(devices), "from": from_ms, "to": to_ms}
    if metrics:
        wanted += " AND metric IN (SELECT unnest($metrics))"
        parameters["metrics"] = list(metrics)
    # Counted first, since the sort of what is too much would take the disk before anybody is told.
    rows = run(connection, f"SELECT count(*) FROM v_readings WHERE {wanted}", parameters)[0][0]  # noqa: S608
    if rows > EXPORT_PARQUET_ROW_COUNT_MAX:
        raise UsageError(
            f"That are {rows} readings; a Parquet file has {EXPORT_PARQUET_ROW_COUNT_MAX} at most.",
            hint="Ask for a shorter range or fewer devices, or for CSV or JSON lines, which have no bound.",
            code="telemetry_export_too_large",
        )
    run(connection, f"SET operator_memory_limit = '{EXPORT_PARQUET_MEMORY_MIB}MiB'")
    target = str(path).replace("'", "''")
    run(
        connection,
        f"COPY (SELECT {_COLUMNS} FROM v_readings WHERE {wanted} ORDER BY device, metric, v_readings.observed_at)"  # noqa: S608
        f" TO '{target}' (FORMAT parquet, COMPRESSION zstd)",
        parameters,
    )
