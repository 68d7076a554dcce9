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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import duckdb

from appliance.core.clock import Clock, SystemClock
from appliance.core.errors import StorageError
from storage.telemetry.archive_view import create_archive_view
from storage.telemetry.batch import Cursor, StoreBatch
from storage.telemetry.behind import has_happened
from storage.telemetry.checks import check_counts
from storage.telemetry.damage import Damage
from storage.telemetry.database import (
    StoreDamaged,
    StoreUnavailable,
    archive_folder,
    as_store_error,
    closed,
    connect,
    lacks_memory,
    run,
    set_aside,
    set_aside_files,
)
from storage.telemetry.journal import Unfolded, encode_state, state_of
from storage.telemetry.letters import count_letters
from storage.telemetry.readers import Readers
from storage.telemetry.removing import drop_day, forget_newest, remove_series, series_of
from storage.telemetry.rolled import held_days
from storage.telemetry.rolling import Rolling
from storage.telemetry.rolling_archive import RollingArchive
from storage.telemetry.schema import is_other, migrate, table_names
from storage.telemetry.settling import Settling
from storage.telemetry.state import StoreState, read_cursor, read_state
from storage.telemetry.statistics import StoreStatistics, size_bytes
from storage.telemetry.writing import fold, forget_commits, move_cursor, skip, write_batch

_T = TypeVar("_T")

FOLD_COMMITS: Final = 64
FOLD_NEWEST: Final = 200_000
"""Commits, or newest values, that gather before they are folded into the tables of state: at most 6 MB of memory."""


class TelemetryStore:
    """An open store. Make it with `open`."""

    def __init__(
        self, path: Path, *, memory_limit_mib: int, threads: int, clock: Clock, waits: bool = False
    ) -> None:
        self._path = path
        self._memory_limit_mib = memory_limit_mib
        self._threads = threads
        self._clock = clock
        self._interrupt_lock = threading.Lock()
        self._is_interruptible = False
        self._readers = Readers()
        self._tables: set[str] = set()
        self._state: StoreState | None = None
        self._unfolded = Unfolded()
        self._set_aside: Path | None = None
        self.damage = Damage()
        self._rolling = Rolling()
        self._settling = Settling(RollingArchive(archive_folder(path)))
        self._commits_total = 0
        self._commits_failed_total = 0
        self._checkpoints_total = 0
        self._commit_ms_last = 0.0
        self.dead_letters = 0
        self._away: StoreUnavailable | None = None  # why the file is not open
        try:
            self._connection = self._connect_or_begin_anew()
        except StoreUnavailable:
            if not waits:
                raise
            self._connection = closed()
            self._readers.close()

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        memory_limit_mib: int = 512,
        threads: int = 2,
        clock: Clock | None = None,
        waits: bool = False,
    ) -> TelemetryStore:
        """Open the store, or make an empty one, and bring its schema up to date.

        A file that can't be read is set aside (`set_aside_path` says where it is) and an empty one begun; the
        pipeline then fills it from the log.

        Args:
            path: The DuckDB file; its directory must exist. memory_limit_mib, threads: What DuckDB may use.
            waits: While another process has the file, or the disk is full, it is only closed, until `reopen`.
        Raises:
            StoreUnavailable: another process has it, or the system refuses, and nobody `waits`.
        """
        at = clock or SystemClock()
        return cls(path, memory_limit_mib=memory_limit_mib, threads=threads, clock=at, waits=waits)

    def reopen(self, *, anew: bool = False) -> None:
        """Close and open again, after an error that left doubts; `anew`: set the file aside, there are none left.

        Raises: as open; also StoreUnavailable while queries run (they are interrupted: try again).
        """
        self._readers.close()
        self._connection.close()
        if anew:
            self._set_aside = set_aside(self._path, self._clock.now_ms())
        self._connection = self._connect_or_begin_anew()
        self._readers.open()

    def _connect_or_begin_anew(self) -> duckdb.DuckDBPyConnection:
        self._away = None
        try:
            try:
                return self._connect()
            except StoreDamaged:
                self._set_aside = set_aside(self._path, self._clock.now_ms())
                return self._connect()
        except StoreUnavailable as error:
            self._away = error
            raise

    def _connect(self) -> duckdb.DuckDBPyConnection:
        """Open the file and read the state, so that damage to what can't be done without is found here."""
        connection = connect(self._path, memory_limit_mib=self._memory_limit_mib, threads=self._threads)
        try:
            migrate(connection)
            self._tables = set(table_names(connection))
            self._settling.abandon(connection)
            create_archive_view(connection, self.archive_folder)
            self._rolling.load(connection, self._clock.mono_ms())
            self._state, self._unfolded = read_state(connection)
            self.dead_letters = count_letters(connection)
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
    def archive_folder(self) -> Path:  # below which the paths of `archive_files` lie
        return archive_folder(self._path)

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
            raise as_store_error(error, self._path, self._away) from error

    def read_cursor(self) -> Cursor:
        """Where the last committed transaction left off. Raises as read_state."""
        try:
            return read_cursor(self._connection)[0]
        except duckdb.Error as error:
            raise as_store_error(error, self._path, self._away) from error

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
            if lacks_memory(error):
                self.interrupt_readers()  # Readings come first: what questions hold is there for the next try.
            if not has_happened(self._connection, batch):
                self._commits_failed_total += 1
                raise as_store_error(error, self._path, self._away) from error
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
        self._rolling.committed(batch, self._clock.mono_ms())
        if batch.dead_letters:
            self.dead_letters = count_letters(self._connection)
        self._commits_total += 1
        self._commit_ms_last = (time.perf_counter() - started) * 1_000

    def tidy(self) -> None:
        """In a quiet moment: fold the state of the last commits into the tables, and checkpoint. Raises as commit."""
        if self._unfolded.commits:
            # Whether it happens or not: folding again what is folded already changes nothing.
            with self.transaction() as connection:
                fold(connection, self._unfolded)
                forget_commits(connection)
                run(connection, "UPDATE commits SET state = ''::BLOB")
            self._unfolded = Unfolded()
        self._checkpoint()

    def skip(self, before: Cursor, after: Cursor, *, is_behind: bool = False) -> None:
        """Move the cursor (or the reader in order behind it) over records that can't be read any more, and count them.

        Raises as commit.
        """
        with self.transaction() as connection:
            skip(connection, before, after, is_behind=is_behind)

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The writer's connection, in a transaction of its own, in the writer's thread. Raises as commit."""
        try:
            run(self._connection, "BEGIN")
            yield self._connection
            run(self._connection, "COMMIT")
            self._state = None  # what was read when the file was opened
        except duckdb.Error as error:
            self._roll_back()
            raise as_store_error(error, self._path, self._away) from error
        except BaseException:
            self._roll_back()
            raise

    def _checkpoint(self) -> None:
        """Bring what is in the write-ahead log into the file, now rather than within a later commit."""
        try:
            run(self._connection, "CHECKPOINT")
        except duckdb.TransactionException:
            # A reader's transaction is open: the next one will do.
            return
        except duckdb.Error as error:
            raise as_store_error(error, self._path, self._away) from error
        self._checkpoints_total += 1

    def interrupt(self) -> None:
        """End a commit at its next opportunity. From any thread; does nothing when none is running."""
        with self._interrupt_lock:
            if self._is_interruptible:
                self._connection.interrupt()

    def interrupt_readers(self) -> None:
        """End all questions at their next opportunity, such as when a commit needs their memory. From any thread."""
        self._readers.interrupt()

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of its own to the same database, for one query. From any thread.

        Raises:
            StoreUnavailable: the store is being opened anew.
        """
        with self._readers.reading(lambda: self._connection.cursor()) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """As transaction, for what makes, drops or changes tables of readings.

        Keep it short: no batch is committed meanwhile. Raises as commit.
        """
        with self.transaction() as connection:
            yield connection
        self._tables = set(table_names(self._connection))
        self._rolling.load(self._connection, self._clock.mono_ms())
        self.dead_letters = count_letters(self._connection)

    def reading_tables(self) -> list[str]:
        """Tables of readings: numbers before texts, of each the oldest day first, the shared one last."""
        # Letters come after digits: `other` is behind the days.
        return sorted(self._tables)

    def roll_up(self, *, everything: bool = False) -> bool:
        """Between two commits: one bounded step of rolling up or of settling a closed day, if one is due.

        Args:
            everything: Whatever waits is due, and nobody else waits for the writer.
        Returns whether there was one; there may be more. Raises as commit; nothing was changed.
        """
        now_ms, now_mono_ms = self._clock.now_ms(), self._clock.mono_ms()
        try:
            return self._rolling.step(
                self._connection, now_mono_ms, everything=everything
            ) or self._settling.step(self._connection, now_ms, now_mono_ms, at_once=everything)
        except duckdb.Error as error:
            self._roll_back()
            if self._settling.failed(error):
                return True
            raise as_store_error(error, self._path, self._away) from error

    def drop_day(self, day: int) -> None:
        """Drop a day's tables (days since 1970-01-01 UTC): its readings are in the archive, or go altogether. Raises as commit."""
        with self.writing() as connection:
            drop_day(connection, day)

    def remove_series(self, day: int | None, series: Sequence[int]) -> int:
        """Take some series' readings out of a day, with their rollups; says how many. Raises as commit."""
        with self.writing() as connection:
            return remove_series(connection, day, series)

    def erase(self, device: str) -> int:
        """Take all of a device's readings out, a transaction for each day; its newest values and dead letters too.

        What is in the archive's files stays. Returns how many went. Raises as commit; the same again goes on.
        """
        with self.writing() as connection:
            series, days = series_of(connection, device), held_days(connection)
        removed = sum(self.remove_series(day, series) for day in days)
        self.tidy()
        with self.writing() as connection:
            forget_newest(connection, device)
        return removed

    def statistics(self) -> StoreStatistics:
        return StoreStatistics(
            database_bytes=size_bytes(self._path),
            wal_bytes=size_bytes(self._path.with_name(f"{self._path.name}.wal")),
            day_tables=sum(not is_other(table) for table in self._tables),
            set_aside=len(set_aside_files(self._path)),
            commits_total=self._commits_total,
            commits_failed_total=self._commits_failed_total,
            commit_ms_last=self._commit_ms_last,
            checkpoints_total=self._checkpoints_total,
            rolling=self._rolling.statistics(),
            settled_total=self._settling.settled_total,
            archive_days_unusable=len(self._settling.archive.unusable),
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
            # No transaction is left, or the database is invalid: nothing was kept, and the error is on its way.
            return


__all__ = ["StoreDamaged", "StoreStatistics", "StoreUnavailable", "TelemetryStore", "check_counts"]
