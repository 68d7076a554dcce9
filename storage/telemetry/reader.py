"""Questions to the store, beside the writer: telemetry of a device, dead letters.

Each question has a connection of its own, a place in a limiter, and a timeout after which it is interrupted; more
than QUERY_WAITING_COUNT_MAX waiting ones are refused. None of it makes the writer wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import trio

from appliance.core.errors import LimitExceeded, StorageError, Unavailable, UsageError
from appliance.core.limits import EXPORT_CONCURRENCY_MAX, QUERY_WAITING_COUNT_MAX
from appliance.management.readings import ValueKind
from storage.telemetry.answers import (
    AGGREGATIONS,
    SeriesData,
    TopEntry,
    aggregated,
    fitting_interval_ms,
    raw,
    top,
)
from storage.telemetry.batch import DeadLetter
from storage.telemetry.database import as_store_error, run
from storage.telemetry.letters import LetterGroup, groups
from storage.telemetry.newest import NewestColumns, newest_of_all
from storage.telemetry.portions import Portions, ReadingColumns, names_of
from storage.telemetry.store import TelemetryStore

_T = TypeVar("_T")
_Connection = duckdb.DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class ReaderStatistics:
    running: int
    waiting: int
    queries_total: int
    timeouts_total: int
    refused_total: int


class TelemetryReader:
    """Answers questions about what is in a store.

    Args:
        concurrency_max: Questions that run at once; more wait. timeout_ms: Of each, waiting not counted.
    """

    def __init__(self, store: TelemetryStore, *, concurrency_max: int = 2, timeout_ms: int = 10_000) -> None:
        self._store = store
        self._limiter = trio.CapacityLimiter(concurrency_max)
        self._exports = trio.CapacityLimiter(EXPORT_CONCURRENCY_MAX)
        self._timeout_ms = timeout_ms
        self._queries_total = 0
        self._timeouts_total = 0
        self._refused_total = 0

    async def query(
        self,
        device: str,
        metrics: Sequence[str],
        from_ms: int,
        to_ms: int,
        *,
        aggregation: str = "raw",
        interval_ms: int | None = None,
        limit: int = 10_000,
    ) -> list[SeriesData]:
        """Values of a device's metrics with from_ms <= observed_at < to_ms.

        Args:
            metrics: Names; empty for all of the device's.
            interval_ms: Width of an interval, for any aggregation but raw; chosen to fit the limit when None.
            limit: Most values per metric.
        Returns:
            One entry per metric asked for, in that order, also where there is nothing. Aggregates leave out text (but for `count`)
            and readings of bad quality; a mean of booleans is the share of true. Intervals begin at multiples of
            their width since 1970, UTC; one without a reading is not there.
        Raises:
            UsageError: no such aggregation, or an empty range. Unavailable: it took longer than the timeout.
            LimitExceeded: too many questions wait. StorageError: the store failed.
        """
        _check(aggregation, from_ms, to_ms, limit, interval_ms)

        def ask(connection: _Connection) -> list[SeriesData]:
            found = metrics or sorted(_series_of(connection, device, ()))
            names = [(device, metric) for metric in found]
            return self._series(connection, names, from_ms, to_ms, aggregation, interval_ms, limit)

        return await self._ask(ask)

    async def query_many(
        self,
        series: Sequence[tuple[str, str]],
        from_ms: int,
        to_ms: int,
        *,
        aggregation: str = "raw",
        interval_ms: int | None = None,
        limit_total: int = 10_000,
    ) -> list[SeriesData]:
        """Values of several devices' metrics, in one statement.

        Args:
            series: (device, metric), none of them twice.
            limit_total: Most values of the answer; each metric may have the same share of it, and at least one.
        Returns: as query, in the order asked for.
        Raises: as query.
        """
        limit = max(1, limit_total // max(1, len(series)))
        _check(aggregation, from_ms, to_ms, limit, interval_ms)
        if len(set(series)) < len(series):
            raise UsageError("A series was asked for twice.", hint="Ask for each device and metric once.")
        return await self._ask(
            lambda connection: self._series(
                connection, series, from_ms, to_ms, aggregation, interval_ms, limit
            )
        )

    def _series(
        self,
        connection: _Connection,
        names: Sequence[tuple[str, str]],
        from_ms: int,
        to_ms: int,
        aggregation: str,
        interval_ms: int | None,
        limit: int,
    ) -> list[SeriesData]:
        archive = self._store.archive_folder
        if aggregation == "raw":
            return raw(connection, archive, names, from_ms, to_ms, limit)
        width_ms = interval_ms or fitting_interval_ms(from_ms, to_ms, limit)
        if interval_ms is None:
            # The first and the last interval stick out of the range on both sides.
            limit += 1
        return aggregated(connection, archive, names, from_ms, to_ms, aggregation, width_ms, limit)

    async def top(
        self,
        metrics: str,
        aggregation: str,
        from_ms: int,
        to_ms: int,
        count: int = 10,
        *,
        lowest: bool = False,
        devices: Sequence[str] | None = None,
    ) -> list[TopEntry]:
        """The devices' metrics with the highest value over a range, the highest first.

        Args:
            metrics: A name, or a glob of names. aggregation: One that gives one value: neither raw nor band.
            devices: Only these; None for all.
        Raises: as query.
        """
        _check(aggregation, from_ms, to_ms, count, None)
        if aggregation in ("raw", "band"):
            raise UsageError(
                f"{aggregation} is not one value to be compared.",
                hint="Use mean, min, max, count, first, last or sum.",
            )
        archive = self._store.archive_folder
        return await self._ask(
            lambda connection: top(
                connection,
                archive,
                metrics,
                from_ms,
                to_ms,
                aggregation,
                count,
                lowest=lowest,
                devices=devices,
            )
        )

    async def newest(self) -> NewestColumns:
        """The newest reading of every series. Raises as query."""
        return await self._ask(newest_of_all)

    def stream(
        self, devices: Sequence[str], metrics: Sequence[str], from_ms: int, to_ms: int
    ) -> AsyncIterator[ReadingColumns]:
        """All readings of some devices with from_ms <= observed_at < to_ms, in order of device, metric and time.

        Args:
            metrics: Names; empty for all of each device's.
        Returns:
            Portions of one metric, at most EXPORT_PORTION_ROWS_MAX readings each, and none that is empty. The next one is read when it is
            asked for, in a place of its own limiter, and may have readings that came meanwhile; nothing is held in between, so
            one may stop at any.
        Raises: as query, from each step; the timeout holds for each portion.
        """
        _check("raw", from_ms, to_ms, 1, None)
        archive = self._store.archive_folder

        def ask(call: Callable[[_Connection], _T]) -> Awaitable[_T]:
            return self._ask(call, self._exports)

        return _Stream(ask, partial(names_of, devices=devices, metrics=metrics), archive, (from_ms, to_ms))

    async def metrics(self, device: str) -> list[str]:
        """Names of all metrics that a device ever had, sorted. Raises as query."""
        return await self._ask(lambda connection: sorted(_series_of(connection, device, ())))

    async def dead_letters(self, limit: int = 100, before: tuple[int, int] | None = None) -> list[DeadLetter]:
        """Dead letters, newest first.

        Args:
            before: Only those before this (epoch, seq): of the last one of the page before.
        Raises: as query.
        """
        epoch, seq = (2**62, 0) if before is None else before

        def ask(connection: _Connection) -> list[DeadLetter]:
            found = run(
                connection,
                "SELECT epoch, seq, received_at, device, topic, client_id, reason, detail, payload, payload_bytes"
                " FROM dead_letters WHERE epoch < $epoch OR (epoch = $epoch AND seq < $seq)"
                " ORDER BY epoch DESC, seq DESC LIMIT $limit",
                {"epoch": epoch, "seq": seq, "limit": limit},
            )
            return [DeadLetter(*row) for row in found]

        return await self._ask(ask)

    async def dead_letter_counts(self) -> dict[str, int]:
        """How many dead letters of each reason are kept."""

        def ask(connection: _Connection) -> dict[str, int]:
            return dict(
                run(connection, "SELECT reason, count(*) FROM dead_letters GROUP BY ALL ORDER BY ALL")
            )

        return await self._ask(ask)

    async def letter_groups(self, limit: int) -> list[LetterGroup]:
        """Dead letters by reason and topic pattern, the group with the newest first. Raises as query."""
        return await self._ask(lambda connection: groups(connection, limit))

    def statistics(self) -> ReaderStatistics:
        now = self._limiter.statistics()
        return ReaderStatistics(
            running=now.borrowed_tokens,
            waiting=now.tasks_waiting,
            queries_total=self._queries_total,
            timeouts_total=self._timeouts_total,
            refused_total=self._refused_total,
        )

    async def _ask(self, ask: Callable[[_Connection], _T], limiter: trio.CapacityLimiter | None = None) -> _T:
        """Run a question in a thread, with its timeout; a cancelled one is interrupted too."""
        limiter = limiter or self._limiter
        if limiter.statistics().tasks_waiting >= QUERY_WAITING_COUNT_MAX:
            self._refused_total += 1
            raise LimitExceeded(
                f"{QUERY_WAITING_COUNT_MAX} queries wait for the store already.",
                hint="Ask again in a few seconds.",
            )
        self._queries_total += 1
        async with limiter:
            with self._store.reading() as connection:
                return await self._ask_within(connection, ask)

    async def _ask_within(self, connection: _Connection, ask: Callable[[_Connection], _T]) -> _T:
        answers: list[_T] = []
        errors: list[duckdb.Error] = []
        done = trio.Event()

        def in_thread() -> None:
            try:
                # One transaction for all statements of a question: they see the same commit. Closing the connection ends it.
                run(connection, "BEGIN")
                answers.append(ask(connection))
            except duckdb.Error as error:
                errors.append(error)

        async def work() -> None:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(in_thread, limiter=trio.CapacityLimiter(1))
            done.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            try:
                with trio.move_on_after(self._timeout_ms / 1_000):
                    await done.wait()
            finally:
                timed_out = not done.is_set()
                with trio.CancelScope(shield=True):
                    while not done.is_set():
                        # Again and again: an interrupt ends one statement, a question may have several.
                        connection.interrupt()
                        with trio.move_on_after(0.05):
                            await done.wait()
        if timed_out and not answers:
            self._timeouts_total += 1
            raise Unavailable(
                f"The query took longer than {self._timeout_ms / 1_000:g} s and was interrupted.",
                hint="Ask for a shorter range or fewer metrics, or raise store.query_timeout_ms.",
                code="query_timeout",
            )
        if errors:
            raise meaning_of(errors[0], self._store) from errors[0]
        return answers[0]


class _Stream:
    """A class and no generator: one that is left half-way has nothing to be closed."""

    def __init__(
        self,
        ask: Callable[[Callable[[_Connection], Any]], Awaitable[Any]],
        names: Callable[[_Connection], list[tuple[str, str]]],
        archive: Path,
        span_ms: tuple[int, int],
    ) -> None:
        self._ask = ask
        self._find_names = names
        self._archive = archive
        self._span_ms = span_ms
        self._names: deque[tuple[str, str]] | None = None
        self._portions: Portions | None = None

    def __aiter__(self) -> AsyncIterator[ReadingColumns]:
        return self

    async def __anext__(self) -> ReadingColumns:
        if self._names is None:
            self._names = deque(await self._ask(self._find_names))
        while True:
            if self._portions is None or self._portions.is_done:
                if not self._names:
                    raise StopAsyncIteration
                self._portions = Portions(*self._names.popleft(), *self._span_ms)
            columns: ReadingColumns | None = await self._ask(
                partial(self._portions.next, archive=self._archive)
            )
            if columns is not None:
                return columns


def meaning_of(error: duckdb.Error, store: TelemetryStore) -> StorageError:
    """What an error of a question means: a file of the archive that is broken is not the store's own."""
    text = str(error)
    if str(store.archive_folder) in text and not isinstance(error, duckdb.InterruptException):
        return StorageError(
            f"A file of the archive can't be read: {text.splitlines()[0]}",
            hint="Ask for days without it meanwhile; homeport archive verify names the files that are broken or gone.",
            code="archive_file_unreadable",
        )
    return store.damage.note(as_store_error(error, store.path))


def _check(aggregation: str, from_ms: int, to_ms: int, limit: int, interval_ms: int | None) -> None:
    if aggregation not in AGGREGATIONS:
        raise UsageError(
            f"There is no aggregation {aggregation!r}.", hint=f"Use one of {', '.join(AGGREGATIONS)}."
        )
    if to_ms <= from_ms or limit < 1 or (interval_ms is not None and interval_ms < 1):
        raise UsageError("The range, the interval or the limit is empty.", hint="from must be before to.")


def _series_of(
    connection: _Connection, device: str, metrics: Sequence[str]
) -> dict[str, dict[int, ValueKind]]:
    """Metric → series id → kind: a metric that changed its type has several."""
    found: dict[str, dict[int, ValueKind]] = {}
    for number, metric, kind in run(
        connection, "SELECT id, metric, kind FROM series WHERE device = ?", [device]
    ):
        if not metrics or metric in metrics:
            found.setdefault(metric, {})[number] = ValueKind(kind)
    return found
