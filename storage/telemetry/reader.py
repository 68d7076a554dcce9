"""Questions to the store, beside the writer: telemetry of a device, dead letters.

Each question has a connection of its own, a place in a limiter, and a timeout after which it is interrupted; more
than QUERY_WAITING_COUNT_MAX waiting ones are refused. None of it makes the writer wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import duckdb
import trio

from appliance.core.errors import LimitExceeded, Unavailable, UsageError
from appliance.core.limits import QUERY_WAITING_COUNT_MAX
from appliance.management.readings import Quality, Scalar, ValueKind
from storage.telemetry.batch import DAY_MS, DeadLetter
from storage.telemetry.database import as_store_error, run
from storage.telemetry.schema import Value, day_table, is_other, suffix_of, value_of
from storage.telemetry.state import scalar_of
from storage.telemetry.store import TelemetryStore

_T = TypeVar("_T")
_Connection = duckdb.DuckDBPyConnection

AGGREGATIONS: Final = ("raw", "mean", "min", "max", "count", "band")
"""`band` is the mean with the lowest and highest value of each interval."""
_FETCH_ROWS: Final = 5_000


@dataclass(slots=True)
class SeriesData:
    """One metric's values, ascending in time.

    Attributes:
        at_ms: UTC ms; the beginning of each interval where values were aggregated.
        value: One per time. min, max: For `band` only, else empty. quality: For `raw` only.
        truncated: There were more than `limit`; the earliest are here.
        interval_ms: The width of an interval, None for `raw`.
    """

    metric: str
    at_ms: list[int] = field(default_factory=list)
    value: list[Scalar | None] = field(default_factory=list)
    min: list[float] = field(default_factory=list)
    max: list[float] = field(default_factory=list)
    quality: list[int] = field(default_factory=list)
    truncated: bool = False
    interval_ms: int | None = None


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
            One entry per metric asked for, in that order, also where there is nothing. Aggregates leave out text and
            readings of bad quality; a mean of booleans is the share of true.
        Raises:
            UsageError: no such aggregation, or an empty range. Unavailable: it took longer than the timeout.
            LimitExceeded: too many questions wait. StorageError: the store failed.
        """
        if aggregation not in AGGREGATIONS:
            raise UsageError(
                f"There is no aggregation {aggregation!r}.", hint=f"Use one of {', '.join(AGGREGATIONS)}."
            )
        if to_ms <= from_ms or limit < 1 or (interval_ms is not None and interval_ms < 1):
            raise UsageError("The range, the interval or the limit is empty.", hint="from must be before to.")
        if aggregation == "raw":
            interval_ms = None
        elif interval_ms is None:
            interval_ms = -(-(to_ms - from_ms) // limit)
        tables = tables_between(self._store.reading_tables(), from_ms, to_ms)

        def ask(connection: _Connection) -> list[SeriesData]:
            series = _series_of(connection, device, metrics)
            names = list(metrics) or sorted(series)
            return [
                _aggregated(
                    connection,
                    tables,
                    name,
                    series.get(name, {}),
                    from_ms,
                    to_ms,
                    aggregation,
                    interval_ms,
                    limit,
                )
                if interval_ms is not None
                else _raw(connection, tables, name, series.get(name, {}), from_ms, to_ms, limit)
                for name in names
            ]

        return await self._ask(ask)

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

    def statistics(self) -> ReaderStatistics:
        now = self._limiter.statistics()
        return ReaderStatistics(
            running=now.borrowed_tokens,
            waiting=now.tasks_waiting,
            queries_total=self._queries_total,
            timeouts_total=self._timeouts_total,
            refused_total=self._refused_total,
        )

    async def _ask(self, ask: Callable[[_Connection], _T]) -> _T:
        """Run a question in a thread, with its timeout; a cancelled one is interrupted too."""
        if self._limiter.statistics().tasks_waiting >= QUERY_WAITING_COUNT_MAX:
            self._refused_total += 1
            raise LimitExceeded(
                f"{QUERY_WAITING_COUNT_MAX} queries wait for the store already.",
                hint="Ask again in a few seconds.",
            )
        self._queries_total += 1
        async with self._limiter:
            with self._store.reading() as connection:
                return await self._ask_within(connection, ask)

    async def _ask_within(self, connection: _Connection, ask: Callable[[_Connection], _T]) -> _T:
        answers: list[_T] = []
        errors: list[duckdb.Error] = []
        done = trio.Event()

        def in_thread() -> None:
            try:
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
            raise as_store_error(errors[0], self._store.path) from errors[0]
        return answers[0]


def tables_between(tables: Sequence[str], from_ms: int, to_ms: int) -> list[str]:
    """The tables that may hold readings of a time range."""
    first, last = suffix_of(day_table(_day(from_ms))), suffix_of(day_table(_day(to_ms - 1)))
    return [table for table in tables if is_other(table) or first <= suffix_of(table) <= last]


def _day(at_ms: int) -> int:
    """Days since 1970, kept within the years that a table's name can say."""
    return min(max(at_ms // DAY_MS, 0), 2_932_896)


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


def _union(tables: Sequence[str], series: dict[int, ValueKind]) -> str:
    """A SELECT of (series, observed_at, num, text, quality) over these series, one part for each table and series."""
    # Table names come from the catalog of the store, ids are whole numbers: neither is text from outside. `=` rather
    # than IN: only that lets DuckDB skip the row groups that don't hold the series.
    parts = []
    for number, kind in series.items():
        value: Value = "text" if kind is ValueKind.TEXT else "num"
        columns = (
            "series, observed_at, num, NULL, quality"
            if value == "num"
            else "series, observed_at, NULL, text, quality"
        )
        parts += [
            f"SELECT {columns} FROM {table} WHERE series = {number} AND observed_at >= $from AND observed_at < $to"  # noqa: S608
            for table in tables
            if value_of(table) == value
        ]
    return f"({' UNION ALL '.join(parts)}) r(series, observed_at, num, text, quality)"


def _has_tables(tables: Sequence[str], series: dict[int, ValueKind]) -> bool:
    """Whether there is a table that may hold any of these series."""
    values = set(map(value_of, tables))
    return any(("text" if kind is ValueKind.TEXT else "num") in values for kind in series.values())


def _raw(
    connection: _Connection,
    tables: Sequence[str],
    metric: str,
    series: dict[int, ValueKind],
    from_ms: int,
    to_ms: int,
    limit: int,
) -> SeriesData:
    data = SeriesData(metric)
    if not _has_tables(tables, series):
        return data
    found = connection.execute(
        f"SELECT series, observed_at, num, text, quality FROM {_union(tables, series)}"  # noqa: S608
        " ORDER BY observed_at LIMIT $limit",
        {"from": from_ms, "to": to_ms, "limit": limit + 1},
    )
    for number, at_ms, num, text, quality in _portions(found):
        if len(data.at_ms) == limit:
            data.truncated = True
            continue  # the last row of LIMIT: a result must be fetched to its end
        data.at_ms.append(at_ms)
        data.value.append(scalar_of(series[number], num, text))
        data.quality.append(quality)
    return data


def _aggregated(
    connection: _Connection,
    tables: Sequence[str],
    metric: str,
    series: dict[int, ValueKind],
    from_ms: int,
    to_ms: int,
    aggregation: str,
    interval_ms: int,
    limit: int,
) -> SeriesData:
    data = SeriesData(metric, interval_ms=interval_ms)
    counted = {n: kind for n, kind in series.items() if kind is not ValueKind.TEXT or aggregation == "count"}
    if not _has_tables(tables, counted):
        return data
    wanted = "observed_at // $interval * $interval AS at_ms, avg(num), min(num), max(num), count(*)"
    grouped = "WHERE quality <> $bad GROUP BY at_ms ORDER BY at_ms LIMIT $limit"
    found = connection.execute(
        f"SELECT {wanted} FROM {_union(tables, counted)} {grouped}",  # noqa: S608
        {"from": from_ms, "to": to_ms, "interval": interval_ms, "bad": int(Quality.BAD), "limit": limit + 1},
    )
    column = {"mean": 1, "band": 1, "min": 2, "max": 3, "count": 4}[aggregation]
    for row in _portions(found):
        if len(data.at_ms) == limit:
            data.truncated = True
            continue  # the last row of LIMIT: a result must be fetched to its end
        data.at_ms.append(row[0])
        data.value.append(row[column])
        if aggregation == "band":
            data.min.append(row[2])
            data.max.append(row[3])
    return data


def _portions(found: _Connection) -> Any:
    while rows := found.fetchmany(_FETCH_ROWS):
        yield from rows
