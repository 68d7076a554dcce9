"""One SQLite connection to the catalog and its transactions.

Invariants: a transaction has one timestamp of the hybrid clock, which all rows it writes carry; the clock is kept
in the catalog, so it does not go back when the machine's does. All SQL has its values as parameters. A connection
is used by one thread at a time (AsyncCatalog sees to that), not by one thread only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

from appliance.core import logs
from appliance.core.clock import Clock
from appliance.core.errors import Conflict, StorageError, Unavailable, UsageError
from appliance.core.limits import CATALOG_BUSY_TIMEOUT_MS
from appliance.management.audit import SYSTEM, Act, Actor, Outcome
from appliance.management.hlc import HybridClock
from storage.catalog import schema
from storage.catalog.auditing import Auditing, Note

Value = str | int | float | bytes | None


UNNAMED_ACT: Final = Act(action="catalog.write", actor=SYSTEM)
"""For programs that open the catalog themselves and say no more; AsyncCatalog always asks who it is."""

_LOCKED: Final = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL)
"""SQLITE_PROTOCOL: a reader found the WAL's locks taken for so long that it gave up (sqlite.org/rescode.html#protocol)."""


@dataclass(frozen=True, slots=True)
class Change:
    """A row that a committed transaction wrote."""

    table: str
    key: str


class CatalogDatabase:
    """A connection; the tables' own methods are in the modules beside this one.

    Args:
        connection: In autocommit mode.
        clock: Wall time of what is written.
        writable: Whether this connection may write.
    """

    def __init__(self, connection: sqlite3.Connection, *, clock: Clock, writable: bool) -> None:
        self._connection = connection
        self._clock = clock
        self._writable = writable
        self._depth = 0
        self._changes: tuple[Change, ...] = ()
        self._auditing: Auditing | None = None
        self._touched: list[Change] = []
        self._hlc = 0
        self._origin = ""
        self._hybrid = HybridClock()

    @classmethod
    def open(cls, path: Path, *, clock: Clock, node_id: bytes) -> Self:
        """Open the catalog for writing, create it (mode 0600) and bring its schema up to date.

        Args:
            path: The file; its folder must exist.
            node_id: 16 bytes.
        Raises:
            StorageError: not a catalog, damaged, too new, or of another node (`catalog_of_another_node`).
        """
        assert len(node_id) == 16
        with translated():
            path.touch(mode=0o600, exist_ok=True)
            connection = _connect(f"file:{quote(str(path))}?mode=rw")
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                # Content that was deleted is overwritten: hashes of revoked secrets don't linger in free pages.
                connection.execute("PRAGMA secure_delete = ON")
                schema.migrate(connection, node_id=node_id.hex(), now_ms=clock.now_ms())
                database = cls(connection, clock=clock, writable=True)
                database._take_clock(node_id.hex())
            except BaseException:
                connection.close()
                raise
        return database

    @classmethod
    def open_read_only(cls, path: Path, *, clock: Clock) -> Self:
        """Open an existing catalog for reading.

        Raises:
            StorageError: there is none, or it needs a newer program.
        """
        with translated():
            connection = _connect(f"file:{quote(str(path))}?mode=ro")
            try:
                schema.check(connection)
            except BaseException:
                connection.close()
                raise
        return cls(connection, clock=clock, writable=False)

    def _take_clock(self, node_id: str) -> None:
        owner, last = self._connection.execute(
            "SELECT node_id, max(hlc, (SELECT coalesce(max(hlc), 0) FROM followed_streams)) FROM change_clock"
        ).fetchone()
        if owner != node_id:
            raise StorageError(
                f"This catalog belongs to node {owner}, and this node is {node_id}.",
                hint="Put the identity folder and the catalog of the same backup back together.",
                code="catalog_of_another_node",
            )
        self._origin = owner
        self._hybrid = HybridClock(last)

    @property
    def connection(self) -> sqlite3.Connection:
        """For AsyncCatalog (time limits) and tests; the tables' modules use `rows`, `row` and `execute`."""
        return self._connection

    @property
    def schema_version(self) -> int:
        return schema.version(self._connection)

    @property
    def origin(self) -> str:
        """This node's id, 32 hex digits."""
        return self._origin

    @property
    def hlc(self) -> int:
        """Timestamp of the transaction under way."""
        assert self._depth, "only within a transaction"
        return self._hlc

    @property
    def last_changes(self) -> tuple[Change, ...]:
        """Replicated rows that the last transaction wrote, each once, in order; then those that `touched` named."""
        return self._changes

    @contextmanager
    def transaction(self, act: Act = UNNAMED_ACT) -> Iterator[None]:
        """All or nothing; within another one it becomes part of that.

        Args:
            act: What the changes are part of and who makes them, for the audit; the outermost transaction's counts.
        Raises:
            UsageError: this connection only reads.
            Conflict, StorageError, Unavailable: see `translated`.
        """
        if not self._writable:
            raise UsageError("This connection to the catalog only reads.", hint="Use write, not read.")
        if self._depth:
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
            return
        with translated():
            self._connection.execute("BEGIN IMMEDIATE")
            self._depth = 1
            self._changes = ()
            self._touched = []
            try:
                before = self._outbox_end()
                self._auditing = Auditing(
                    act=act, trace_id=logs.current_trace_id() or "", outbox_position=before
                )
                self._hlc = self._hybrid.tick(self._clock.now_ms())
                self._connection.execute("UPDATE change_clock SET hlc = ?", (self._hlc,))
                yield
                changes = self._changes_after(before)
                self._auditing.write(
                    self._connection, at_ms=self._clock.now_ms(), origin=self._origin, hlc=self._hlc
                )
                self._connection.execute("COMMIT")
                self._changes = changes + tuple(dict.fromkeys(self._touched))
            except BaseException:
                # An interrupted or failed write may have ended the transaction already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth = 0
                self._auditing = None

    @contextmanager
    def part(self) -> Iterator[None]:
        """A part of a transaction that can fail without it: what it wrote is then undone, and the error goes up.

        Outside of a transaction (of a connection that only reads, too) there is nothing to undo.
        """
        if not self._depth:
            yield
            return
        self._connection.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK TO part")
                self._connection.execute("RELEASE part")
            raise
        self._connection.execute("RELEASE part")

    def note(
        self,
        action: str,
        *,
        object_kind: str,
        object_id: str,
        outcome: Outcome = "done",
        detail: str = "",
        actor: Actor | None = None,
    ) -> None:
        """Put into the audit what changes no row. Within a transaction.

        Args:
            detail: In words, cut after AUDIT_DETAIL_LENGTH_MAX characters; no secrets.
            actor: Somebody else than the transaction's.
        """
        assert self._auditing is not None, "only within a transaction"
        self._auditing.notes.append(
            Note(
                action=action,
                actor=actor or self._auditing.act.actor,
                object_kind=object_kind,
                object_id=object_id,
                outcome=outcome,
                detail=detail,
            )
        )

    def touched(self, table: str, key: str) -> None:
        """Have those who listen to changes hear of a row of this node only, which the outbox does not have.

        Args:
            table, key: As whoever keeps such rows in a cache names them (storage.catalog.cache).
        """
        assert self._depth, "writes need a transaction"
        self._touched.append(Change(table, key))

    def _outbox_end(self) -> int:
        (end,) = self._connection.execute("SELECT coalesce(max(position), 0) FROM outbox").fetchone()
        return int(end)

    def _changes_after(self, position: int) -> tuple[Change, ...]:
        found = self._connection.execute(
            "SELECT table_name, row_key FROM outbox WHERE position > ? ORDER BY position", (position,)
        )
        return tuple(dict.fromkeys(Change(table, key) for table, key in found))

    def rows(self, sql: str, parameters: Sequence[Value] = ()) -> list[Any]:
        """All rows of a query as sqlite3.Row; never a live cursor, which would hold the WAL up."""
        with translated():
            return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Sequence[Value] = ()) -> Any | None:
        """The first row of a query, or None."""
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> int:
        """Run one writing statement within a transaction and return how many rows it touched."""
        assert self._depth, "writes need a transaction"
        with translated():
            return self._connection.execute(sql, parameters).rowcount

    def close(self) -> None:
        """Close; a writer leaves the planner's statistics up to date, unless another program writes just then.

        Raises:
            StorageError: the statistics could not be written for any other reason; it is closed all the same.
        """
        with translated():
            try:
                if self._writable:
                    self._refresh_statistics()
            finally:
                self._connection.close()

    def _refresh_statistics(self) -> None:
        try:
            self._connection.execute("PRAGMA optimize")
        except sqlite3.OperationalError as error:
            # Whoever writes now refreshes them when it closes; all that was asked of this connection is on disk already.
            if _primary_code(error) not in _LOCKED:
                raise


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=CATALOG_BUSY_TIMEOUT_MS / 1000,
        cached_statements=256,
    )
    connection.row_factory = sqlite3.Row
    return connection


@contextmanager
def translated() -> Iterator[None]:
    """Turn SQLite's errors into ours.

    Raises:
        Conflict: a constraint (`constraint_failed`).
        Unavailable: locked for longer than the busy timeout (`catalog_locked`), or interrupted because its time was
            up (`catalog_timeout`).
        StorageError: a full disk (`disk_full`), a damaged file (`catalog_damaged`), anything else.
    """
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise Conflict(
            f"The catalog refused a change: {error}.",
            hint="It exists already or contradicts what is there; look again and repeat.",
            code="constraint_failed",
        ) from error
    except sqlite3.Error as error:
        raise _translate(error) from error


def _primary_code(error: sqlite3.Error) -> int:
    code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    return code & 0xFF


def _translate(error: sqlite3.Error) -> StorageError | Unavailable:
    code = _primary_code(error)
    if code in _LOCKED:
        return Unavailable(
            "The catalog is locked by another program.",
            hint="Try again; if it stays so, look which program has catalog.db open (fuser).",
            code="catalog_locked",
        )
    if code == sqlite3.SQLITE_INTERRUPT:
        return Unavailable(
            "The catalog did not answer in time.",
            hint="Try again; if it stays so, look at the disk and at homeport_catalog_ metrics.",
            code="catalog_timeout",
        )
    if code == sqlite3.SQLITE_FULL:
        return StorageError(
            "The disk that holds the catalog is full.",
            hint="Free space on the data folder's disk; it goes on by itself then.",
            code="disk_full",
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StorageError(
            f"The catalog's file is damaged: {error}.",
            hint="Stop Homeport and restore catalog.db from a backup.",
            code="catalog_damaged",
        )
    return StorageError(
        f"The catalog failed: {error}.",
        hint="Look at the data folder's disk and permissions, then start again.",
        code="catalog_failed",
    )
