"""Questions in SQL, asked by people and programs: read-only, of the allowed kind, bounded in time, memory, rows and bytes.

Four things stand between a question and the rest, each of which would do alone against most of what could be tried: the
check (sql_check.py), names that lead nowhere but to views (sql_views.py), a transaction that DuckDB itself holds to reading,
and a database that may reach no file but the archive's. One question runs at a time, in a thread of its own that gives way
to the pipeline's; a few wait, more are refused. None of it takes a place of those that pages ask with (reader.py).

Must not know what HTTP is, nor who asks.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import duckdb
import trio

from appliance.core.errors import HomeportError, LimitExceeded, StorageError, Unavailable
from appliance.core.limits import (
    MIB,
    SQL_ANSWER_BYTES_MAX,
    SQL_COLUMN_COUNT_MAX,
    SQL_FETCH_ROW_COUNT,
    SQL_LIST_COLUMN_COUNT_MAX,
    SQL_MEMORY_GROWTH_MIB_MAX,
    SQL_MEMORY_PERCENT_MAX,
    SQL_MEMORY_WATCH_MS,
    SQL_NICENESS,
    SQL_WAITING_COUNT_MAX,
)
from storage.telemetry.archive_view import missing_days
from storage.telemetry.database import StoreUnavailable, lacks_memory, run
from storage.telemetry.niceness import give_way
from storage.telemetry.reader import meaning_of
from storage.telemetry.sql_check import SqlChecker
from storage.telemetry.sql_refused import SqlRefused
from storage.telemetry.sql_views import TABLE_NAMES, make_views
from storage.telemetry.store import TelemetryStore

Value: TypeAlias = "bool | int | float | str | list[Value] | None"
_INTEGER_MAX: Final = 2**63
_INTERRUPT_EVERY_S: Final = 0.05
_HELD: Final = "SELECT coalesce(sum(memory_usage_bytes), 0) FROM duckdb_memory() WHERE tag = 'ALLOCATOR'"
_STATM: Final = Path("/proc/self/statm")
_ASKERS_FAULT: Final = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.ConstraintException,
    duckdb.InvalidInputException,
    duckdb.InvalidTypeException,
    duckdb.NotImplementedException,
    duckdb.OutOfRangeException,
    duckdb.ParserException,
    duckdb.PermissionException,
    duckdb.SyntaxException,
    duckdb.TransactionException,
    duckdb.TypeMismatchException,
)
"""What DuckDB raises about a question itself; everything else is about the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlAnswer:
    """An answer's table.

    Attributes:
        columns: Name and DuckDB's type of each.
        rows: As many values as columns each. Times are ISO 8601, UTC; whole numbers beyond 64 bits are texts.
        cut_by: What kept further rows out: "" where these are all, "rows" or "bytes".
        duration_ms: How long it took, waiting not counted. missing_days: Of which readings are missing: a file of the archive is gone.
    """

    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Value, ...], ...]
    cut_by: Literal["", "rows", "bytes"]
    duration_ms: float
    missing_days: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlStatistics:
    running: int
    waiting: int
    questions_total: int
    refused_total: int
    timeouts_total: int
    busy_total: int
    interrupted_total: int
    busy_ms_total: int


class SqlBox:
    """Answers questions in SQL about a store.

    Args:
        timeout_ms: Of each, waiting not counted. memory_mib: Of one operator, before it uses the disk.
        rows_max: Of an answer. memory_limit_mib: What DuckDB may use in all; see SQL_MEMORY_GROWTH_MIB_MAX.
    """

    def __init__(
        self,
        store: TelemetryStore,
        *,
        timeout_ms: int = 10_000,
        memory_mib: int = 128,
        rows_max: int = 10_000,
        memory_limit_mib: int = 512,
        answer_bytes_max: int = SQL_ANSWER_BYTES_MAX,
    ) -> None:
        self._store = store
        self._timeout_ms = timeout_ms
        self._memory_mib = memory_mib
        self._rows_max = rows_max
        self._held_bytes_max = memory_limit_mib * MIB * SQL_MEMORY_PERCENT_MAX // 100
        self._growth_bytes_max = (memory_limit_mib + SQL_MEMORY_GROWTH_MIB_MAX) * MIB
        self._answer_bytes_max = answer_bytes_max
        self._limiter = trio.CapacityLimiter(1)
        self._checker = SqlChecker(TABLE_NAMES)
        self._questions_total = 0
        self._refused_total = 0
        self._timeouts_total = 0
        self._busy_total = 0
        self._interrupted_total = 0
        self._busy_ms_total = 0.0

    async def ask(self, text: str) -> SqlAnswer:
        """Ask one SELECT. Cancelled, it is interrupted.

        Raises:
            SqlRefused: it is not of the allowed kind, or DuckDB finds a mistake in it.
            LimitExceeded: `sql_busy`: others wait already.
            Unavailable: `sql_timeout`, `sql_memory`; `sql_interrupted`: the store needed its readers to go; ask again.
            StorageError: the store failed.
        """
        if self._limiter.statistics().tasks_waiting >= SQL_WAITING_COUNT_MAX:
            self._busy_total += 1
            raise LimitExceeded(
                f"One question in SQL runs at a time, and {SQL_WAITING_COUNT_MAX} wait already.",
                hint="Ask again in a few seconds.",
                code="sql_busy",
            )
        async with self._limiter:
            self._questions_total += 1
            started = time.perf_counter()
            try:
                with self._store.reading() as connection, self._store.reading() as watch:
                    return await self._ask_within(connection, watch, text, started)
            except SqlRefused:
                self._refused_total += 1
                raise
            except StoreUnavailable as error:
                # Being opened anew, or away: the same later is right.
                raise Unavailable(error.message, hint=error.hint, code="sql_interrupted") from error
            finally:
                self._busy_ms_total += (time.perf_counter() - started) * 1_000

    def statistics(self) -> SqlStatistics:
        now = self._limiter.statistics()
        return SqlStatistics(
            running=now.borrowed_tokens,
            waiting=now.tasks_waiting,
            questions_total=self._questions_total,
            refused_total=self._refused_total,
            timeouts_total=self._timeouts_total,
            busy_total=self._busy_total,
            interrupted_total=self._interrupted_total,
            busy_ms_total=int(self._busy_ms_total),
        )

    def close(self) -> None:
        """Give the parser back. Nothing may be asked any more."""
        self._checker.close()

    async def _ask_within(
        self,
        connection: duckdb.DuckDBPyConnection,
        watch: duckdb.DuckDBPyConnection,
        text: str,
        started: float,
    ) -> SqlAnswer:
        """Run a question in a thread of its own, and interrupt it when its time, memory or asker is gone."""
        done = trio.Event()
        answers: list[SqlAnswer] = []
        errors: list[duckdb.Error | HomeportError] = []
        token = trio.lowlevel.current_trio_token()

        def in_thread() -> None:
            try:
                answers.append(self._answer(connection, text, started))
            except (duckdb.Error, HomeportError) as error:
                errors.append(error)
            finally:
                with contextlib.suppress(trio.RunFinishedError):
                    token.run_sync_soon(done.set)

        # Not one of trio's threads: those are used again, and a thread that isn't root can't become less nice.
        threading.Thread(target=in_thread, name="sql", daemon=True).start()
        why = "cancelled"
        try:
            why = await self._why_it_must_end(done, watch, started)
        finally:
            with trio.CancelScope(shield=True):
                while not done.is_set():
                    # Again and again: planning can't be interrupted, what comes after it can.
                    connection.interrupt()
                    with trio.move_on_after(_INTERRUPT_EVERY_S):
                        await done.wait()
        if answers:
            return answers[0]
        if not errors:
            raise StorageError(
                "A question in SQL ended without an answer.",
                hint="This is a defect of Homeport; its log says where. Please report it with the question.",
                code="sql_failed",
            )
        error = errors[0]
        if isinstance(error, duckdb.InterruptException):
            raise self._interrupted(why) from error
        raise self._as_error(error) if isinstance(error, duckdb.Error) else error

    async def _why_it_must_end(
        self, done: trio.Event, watch: duckdb.DuckDBPyConnection, started: float
    ) -> str:
        """Wait for the answer: "" when it came by itself, else what ran out."""
        before = _resident_bytes()
        while True:
            left_s = started + self._timeout_ms / 1_000 - time.perf_counter()
            with trio.move_on_after(min(max(left_s, 0), SQL_MEMORY_WATCH_MS / 1_000)):
                await done.wait()
            if done.is_set():
                return ""
            if time.perf_counter() - started >= self._timeout_ms / 1_000:
                return "timeout"
            if _resident_bytes() - before > self._growth_bytes_max:
                return "memory"
            if await trio.to_thread.run_sync(_held_bytes, watch) > self._held_bytes_max:
                return "memory"

    def _interrupted(self, why: str) -> HomeportError:
        if why == "timeout":
            self._timeouts_total += 1
            return Unavailable(
                f"The question took longer than {self._timeout_ms / 1_000:g} s and was interrupted.",
                hint="Ask for a shorter range or fewer devices, or raise store.sql_timeout_ms.",
                code="sql_timeout",
            )
        if why == "memory":
            return _out_of_memory()
        self._interrupted_total += 1
        return Unavailable(
            "The store needed all questions to end, and this one was interrupted.",
            hint="Ask again in a moment.",
            code="sql_interrupted",
        )

    def _as_error(self, error: duckdb.Error) -> HomeportError:
        if lacks_memory(error):
            return _out_of_memory()
        if isinstance(error, _ASKERS_FAULT) and str(self._store.archive_folder) not in str(error):
            return _asked_wrongly(error)
        return meaning_of(error, self._store)

    # --- In the question's thread

    def _answer(self, connection: duckdb.DuckDBPyConnection, text: str, started: float) -> SqlAnswer:
        give_way(SQL_NICENESS)
        self._checker.check(text)
        run(connection, f"SET operator_memory_limit = '{self._memory_mib}MiB'")
        run(connection, "SET TimeZone = 'UTC'")
        make_views(connection)
        # A second lock, of DuckDB's own; and all of a question sees the same moment.
        run(connection, "BEGIN TRANSACTION READ ONLY")
        missing = missing_days(connection, self._store.archive_folder)
        connection.execute(text)
        columns = tuple((str(each[0]), str(each[1])) for each in connection.description or ())
        _check_columns(columns)
        # Python makes an object of each element of a list, and nothing else runs meanwhile.
        at_once = 1 if _list_count(columns) else SQL_FETCH_ROW_COUNT
        rows: list[tuple[Value, ...]] = []
        cut_by: Literal["", "rows", "bytes"] = ""
        size_bytes = 0
        while not cut_by:
            fetched = connection.fetchmany(min(at_once, self._rows_max + 1 - len(rows)))
            if not fetched:
                break
            for row in fetched:
                values = tuple(map(_value, row))
                size_bytes += sum(map(_size_bytes, values))
                if size_bytes > self._answer_bytes_max:
                    cut_by = "bytes"
                    break
                rows.append(values)
            if len(rows) > self._rows_max:
                rows.pop()
                cut_by = "rows"
        return SqlAnswer(
            columns=columns,
            rows=tuple(rows),
            cut_by=cut_by,
            duration_ms=round((time.perf_counter() - started) * 1_000, 1),
            missing_days=missing,
        )


def _check_columns(columns: Sequence[tuple[str, str]]) -> None:
    if len(columns) > SQL_COLUMN_COUNT_MAX:
        raise SqlRefused(
            f"The answer has {len(columns)} columns; {SQL_COLUMN_COUNT_MAX} is the most.",
            hint="Name those that you need.",
            code="sql_too_large",
        )
    if _list_count(columns) > SQL_LIST_COLUMN_COUNT_MAX:
        raise SqlRefused(
            f"The answer has {_list_count(columns)} columns of lists; {SQL_LIST_COLUMN_COUNT_MAX} is the most.",
            hint="Name those that you need.",
            code="sql_too_large",
        )
    for name, kind in columns:
        if kind.startswith(("STRUCT", "MAP", "UNION")):
            raise SqlRefused(
                f"The column {name!r} is a whole row in one value.",
                hint="Name the row's columns, or write .* behind it.",
            )
        if "WITH TIME ZONE" in kind:
            raise SqlRefused(
                f"The column {name!r} is a time with a time zone.",
                hint="End it with AT TIME ZONE 'UTC' or another zone: all times here are without one.",
            )


def _list_count(columns: Sequence[tuple[str, str]]) -> int:
    return sum(kind.endswith("]") for _, kind in columns)


def _value(value: Any) -> Value:
    """One of DuckDB's values as JSON has it."""
    if value is None or isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int):
        return value if -_INTEGER_MAX <= value < _INTEGER_MAX else str(value)
    if isinstance(value, datetime.datetime):
        timespec = "microseconds" if value.microsecond % 1_000 else "milliseconds"
        return f"{value.isoformat(timespec=timespec)}Z"
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, (list, tuple)):
        return [_value(each) for each in value]
    return str(value)


def _size_bytes(value: Value) -> int:
    """About what a value takes in an answer: a DOUBLE is up to 20 digits of JSON."""
    if isinstance(value, (str, list)):
        return len(value) + 3 if isinstance(value, str) else sum(map(_size_bytes, value)) + 2
    return 5 if value is None or isinstance(value, bool) else 20


def _resident_bytes() -> int:
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _asked_wrongly(error: duckdb.Error) -> SqlRefused:
    """DuckDB's words, without its drawing of the place: of that only the line."""
    message, _, drawing = str(error).partition("\n\nLINE ")
    line = drawing.partition(":")[0]
    at = f"Line {line}: " if line.isdigit() else ""
    words = " ".join(message.partition("Error: ")[2].split() or [type(error).__name__])
    return SqlRefused(
        f"{at}{words}",
        hint="The tables and their columns are listed beside the question.",
        code="sql_invalid",
    )


def _held_bytes(watch: duckdb.DuckDBPyConnection) -> int:
    """What DuckDB's memory holds that can't be put on the disk, such as lists that grow. 0 where it can't be asked now."""
    try:
        return int(run(watch, _HELD)[0][0])
    except duckdb.Error:
        # Interrupted, as all questions are: the one that is watched is so too.
        return 0


def _out_of_memory() -> Unavailable:
    return Unavailable(
        "The question needs more memory than it may use.",
        hint="Ask for a shorter range or fewer groups, or raise store.memory_limit_mib and store.sql_memory_mib.",
        code="sql_memory",
    )
