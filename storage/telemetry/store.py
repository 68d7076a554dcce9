"""The time-series store: one DuckDB file, one writer, a batch per transaction.

Theory of operation. `commit` writes a batch's rows, newest values, dedup windows, presence, dead letters and the
cursor in one transaction, and first checks that each record of each block is accounted for. Newest values, windows and
presence go into the commit's own row and are folded into their tables every FOLD_COMMITS commits (journal.py). Whether
a commit that failed half-way has happened after all is never guessed: the cursor is read back, and says so. `interrupt` may be
called from any thread and ends what the writer is doing; the transaction is then rolled back.

Readers take connections of their own (`reading`), which see the last committed state and never wait for the
writer. Must not know what trio is: every method blocks and belongs in a thread; only `interrupt` is
quick. One thread at a time, but for `interrupt`, `reading` and `statistics`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb

from appliance.core.clock import Clock, SystemClock
from appliance.core.errors import StorageError
from storage.telemetry.batch import Counts, Cursor, StoreBatch
from storage.telemetry.database import (
    StoreDamaged,
    StoreUnavailable,
    as_store_error,
    connect,
    run,
    set_aside,
    set_aside_files,
    use,
)
from storage.telemetry.journal import Unfolded, encode_state, state_of
from storage.telemetry.schema import create_view, day_table, is_other, migrate, table_names
from storage.telemetry.state import StoreState, read_cursor, read_state
from storage.telemetry.writing import fold, forget_commits, move_cursor, skip, write_batch


@dataclass(frozen=True, slots=True)
class StoreStatistics:
    """Attributes:
    database_bytes, wal_bytes: Sizes on disk (a DuckDB file doesn't shrink; it reuses what is free).
    day_tables: Tables of readings. set_aside: Damaged stores that are kept.
    commits_total, commits_failed_total: Since the process began. commit_ms_last: Of the last one.
    """

    database_bytes: int
    wal_bytes: int
    day_tables: int
    set_aside: int
    commits_total: int
    commits_failed_total: int
    commit_ms_last: float
    checkpoints_total: int


FOLD_COMMITS: Final = 64
FOLD_NEWEST: Final = 200_000
"""Commits, or newest values, that gather before they are folded into the tables of state: at most 6 MB of memory."""


class TelemetryStore:
    """An open store. Make it with `open`."""

    def __init__(self, path: Path, *, memory_limit_mib: int, threads: int, clock: Clock) -> None:
        self._path = path
        self._memory_limit_mib = memory_limit_mib
        self._threads = threads
        self._clock = clock
        self._interrupt_lock = threading.Lock()
        self._is_interruptible = False
        self._readers_lock = threading.Lock()
        self._readers: set[duckdb.DuckDBPyConnection] = set()
        self._is_reopening = False
        self._tables: set[str] = set()
        self._state: StoreState | None = None
        self._unfolded = Unfolded()
        self._set_aside: Path | None = None
        self._commits_total = 0
        self._commits_failed_total = 0
        self._checkpoints_total = 0
        self._commit_ms_last = 0.0
        self._connection = self._connect_or_begin_anew()

    @classmethod
    def open(
        cls, path: Path, *, memory_limit_mib: int = 512, threads: int = 2, clock: Clock | None = None
    ) -> TelemetryStore:
        """Open the store, or make an empty one, and bring its schema up to date.

        A file that can't be read is set aside (`set_aside_path` says where it is) and an empty one begun; the
        pipeline then fills it from the log.

        Args:
            path: The DuckDB file; its directory must exist. memory_limit_mib, threads: What DuckDB may use.
        Raises:
            StoreUnavailable: another process has it, or the system refuses.
            StorageError: a newer Homeport wrote it.
        """
        return cls(path, memory_limit_mib=memory_limit_mib, threads=threads, clock=clock or SystemClock())

    def reopen(self) -> None:
        """Close and open again, after an error that left doubts.

        Raises: as open; also StoreUnavailable while queries run (they are interrupted: try again).
        """
        # DuckDB keeps one instance per path for as long as any connection lives: with a query still running, the
        # old, doubtful database would be handed out again, even after its file was set aside.
        with self._readers_lock:
            self._is_reopening = True
            for reader in self._readers:
                reader.interrupt()
            if self._readers:
                raise StoreUnavailable(
                    "Queries still use the store.", hint="They were interrupted; it goes on by itself."
                )
        self._connection.close()
        self._connection = self._connect_or_begin_anew()
        self._is_reopening = False

    def _connect_or_begin_anew(self) -> duckdb.DuckDBPyConnection:
        try:
            return self._connect()
        except StoreDamaged:
            self._set_aside = set_aside(self._path, self._clock.now_ms())
            return self._connect()

    def _connect(self) -> duckdb.DuckDBPyConnection:
        """Open the file and read the state, so that damage to what can't be done without is found here."""
        connection = connect(self._path, memory_limit_mib=self._memory_limit_mib, threads=self._threads)
        try:
            migrate(connection)
            self._tables = set(table_names(connection))
            self._state, self._unfolded = read_state(connection)
        except duckdb.Error as error:
            connection.close()
            raise as_store_error(error, self._path) from error
        except StorageError:
            connection.close()
            raise
        return connection

    @property
    def path(self) -> Path:
        return self._path

    @property
    def set_aside_path(self) -> Path | None:
        """Where the damaged file is that this store took the place of since the process began."""
        return self._set_aside

    def read_state(self) -> StoreState:
        """Everything that decoding goes on from; the caller owns it.

        Raises:
            StoreDamaged: a block that holds it can't be read.
        """
        state, self._state = self._state, None
        if state is not None:
            return state
        try:
            return read_state(self._connection)[0]
        except duckdb.Error as error:
            raise as_store_error(error, self._path) from error

    def read_cursor(self) -> Cursor:
        """Where the last committed transaction left off. Raises as read_state."""
        try:
            return read_cursor(self._connection)[0]
        except duckdb.Error as error:
            raise as_store_error(error, self._path) from error

    def commit(self, batch: StoreBatch) -> None:
        """Write a batch in one transaction. After it returned, the batch is on disk.

        Raises:
            StorageError: the batch's own counts don't add up, rows went missing, or the cursor had moved.
            StoreUnavailable, StoreDamaged: DuckDB failed or was interrupted. In all cases nothing was written.
        """
        check_counts(batch)
        state = state_of(batch)
        started = time.perf_counter()
        made: list[str] = []
        is_folding = self._unfolded.commits >= FOLD_COMMITS or self._unfolded.newest_count >= FOLD_NEWEST
        try:
            self._is_interruptible = True
            run(self._connection, "BEGIN")
            made = write_batch(self._connection, batch, self._tables)
            if is_folding:
                fold(self._connection, self._unfolded)
            move_cursor(self._connection, batch, encode_state(state))
            if is_folding:
                forget_commits(self._connection)
            run(self._connection, "COMMIT")
        except duckdb.Error as error:
            self._roll_back()
            if not self._has_happened(batch):
                self._commits_failed_total += 1
                raise as_store_error(error, self._path) from error
        except StorageError:
            self._roll_back()
            self._commits_failed_total += 1
            raise
        with self._interrupt_lock:
            self._is_interruptible = False
        if is_folding:
            self._unfolded = Unfolded()
        self._unfolded.add(state)
        self._tables = self._tables.union(made)
        self._commits_total += 1
        self._commit_ms_last = (time.perf_counter() - started) * 1_000

    def _has_happened(self, batch: StoreBatch) -> bool:
        """Whether a commit that failed has happened after all: its transaction moved the cursor, or did nothing."""
        try:
            return read_cursor(self._connection)[0] == batch.after
        except duckdb.Error:
            # The database is invalid: the caller's error says more, and opening it anew reads the cursor again.
            return False

    def tidy(self) -> None:
        """In a quiet moment: fold the state of the last commits into the tables, and checkpoint. Raises as commit."""
        if self._unfolded.commits:
            try:
                run(self._connection, "BEGIN")
                fold(self._connection, self._unfolded)
                forget_commits(self._connection)
                run(self._connection, "UPDATE commits SET state = ''::BLOB")
                run(self._connection, "COMMIT")
            except duckdb.Error as error:
                self._roll_back()
                # Whether it happened or not: folding again what is folded already changes nothing.
                raise as_store_error(error, self._path) from error
            self._unfolded = Unfolded()
        self._checkpoint()

    def skip(self, before: Cursor, after: Cursor) -> None:
        """Move the cursor over records that can't be read any more, and count them as skipped. Raises as commit."""
        try:
            run(self._connection, "BEGIN")
            skip(self._connection, before, after)
            run(self._connection, "COMMIT")
        except duckdb.Error as error:
            self._roll_back()
            raise as_store_error(error, self._path) from error

    def _checkpoint(self) -> None:
        """Bring what is in the write-ahead log into the file, now rather than within a later commit."""
        try:
            run(self._connection, "CHECKPOINT")
        except duckdb.TransactionException:
            # A reader's transaction is open: the next one will do.
            return
        except duckdb.Error as error:
            raise as_store_error(error, self._path) from error
        self._checkpoints_total += 1

    def interrupt(self) -> None:
        """End a commit at its next opportunity. From any thread; does nothing when none is running."""
        with self._interrupt_lock:
            if self._is_interruptible:
                self._connection.interrupt()

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own to the same database, for one query. From any thread.

        Raises:
            StoreUnavailable: the store is being opened anew.
        """
        with self._readers_lock:
            if self._is_reopening:
                raise StoreUnavailable("The store is being opened anew.", hint="Ask again in a moment.")
            connection = self._connection.cursor()
            self._readers.add(connection)
        try:
            use(connection)
            yield connection
        finally:
            with self._readers_lock:
                self._readers.discard(connection)
            connection.close()

    def reading_tables(self) -> list[str]:
        """Tables of readings: numbers before texts, of each the oldest day first, the shared one last."""
        # Letters come after digits: `other` is behind the days.
        return sorted(self._tables)

    def drop_day(self, day: int) -> None:
        """Remove a day's tables (days since 1970-01-01 UTC) and their readings (retention). Raises as commit."""
        dropped = self._tables & {day_table(day), day_table(day, "text")}
        kept = self._tables - dropped
        try:
            run(self._connection, "BEGIN")
            run(self._connection, create_view(kept))
            for table in sorted(dropped):
                run(self._connection, f"DROP TABLE {table}")
            run(self._connection, "COMMIT")
        except duckdb.Error as error:
            self._roll_back()
            raise as_store_error(error, self._path) from error
        self._tables = kept

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(
            database_bytes=_size_bytes(self._path),
            wal_bytes=_size_bytes(self._path.with_name(f"{self._path.name}.wal")),
            day_tables=sum(not is_other(table) for table in self._tables),
            set_aside=len(set_aside_files(self._path)),
            commits_total=self._commits_total,
            commits_failed_total=self._commits_failed_total,
            commit_ms_last=self._commit_ms_last,
            checkpoints_total=self._checkpoints_total,
        )

    def close(self) -> None:
        self._connection.close()

    def _roll_back(self) -> None:
        # An interrupt must end the commit, never the rollback: that would leave the transaction open.
        with self._interrupt_lock:
            self._is_interruptible = False
        try:
            run(self._connection, "ROLLBACK")
        except duckdb.Error:
            # No transaction is left, or the database is invalid: in both cases nothing was kept, and the error
            # that led here is on its way to the caller, who reads the cursor back.
            return


def check_counts(batch: StoreBatch) -> None:
    """Refuse a batch in which a record is in no row, no dead letter and no other count, or in two of them.

    Raises:
        StorageError: with the numbers.
    """
    counts: Counts = batch.counts
    span = batch.after.next_seq - batch.before.next_seq
    rows = sum(map(len, batch.numbers.values())) + sum(map(len, batch.texts.values()))
    uneven = [number for number, (records, accounted) in enumerate(batch.blocks) if records != accounted]
    if (
        uneven
        or counts.accounted != counts.records
        or sum(records for records, _ in batch.blocks) != counts.records
        or span < counts.records
        or rows != counts.rows
        or len(batch.dead_letters) != counts.dead_letters
    ):
        raise StorageError(
            f"A batch does not add up: {counts}, {rows} rows, {len(batch.dead_letters)} dead letters, "
            f"{span} sequences, uneven blocks {uneven}.",
            hint="This is a defect of Homeport; nothing was written. Please report it with this message.",
            code="batch_uneven",
        )


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


__all__ = ["StoreDamaged", "StoreStatistics", "StoreUnavailable", "TelemetryStore", "check_counts"]
