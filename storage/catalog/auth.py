"""Credentials for the broker process, read from the catalog's file beside the node that writes it.

All credentials are held in memory, at most DEVICE_COUNT_MAX of them: an unknown name then costs what a known one does,
and a locked catalog keeps nobody out. Before each look-up the reader asks whether the file is still the same one
(stat) and whether it changed (`PRAGMA data_version`), and if so reads the rows that lie behind the position it knows
of (`auth_changes`). So a credential that is served was valid at the last moment when the catalog could be read.

When it can't be read (locked beyond the busy timeout, missing, damaged) that last known good is served for
AUTH_LAST_KNOWN_GOOD_MS and each look-up counts as a fallback; what was revoked before is not in it, and `revoke` takes
out what the node revokes over the control socket meanwhile. After that, nobody is let in and `Unavailable` says so.

A file that does not answer at all (a disk that hangs, another program that keeps the WAL's locks) holds up one thread;
every other one goes by the last known good meanwhile.

`take_changes` names who changed since it was last asked, for those who are connected already.

Read-only, never `immutable`, no cursor left open: the writer's checkpoints are not held up.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from appliance.core.clock import Clock
from appliance.core.errors import StorageError, Unavailable
from appliance.core.limits import AUTH_BUSY_TIMEOUT_MS, AUTH_LAST_KNOWN_GOOD_MS, AUTH_RETRY_AFTER_MS
from appliance.management.access import Access, Kind, certificate_proof
from storage.catalog import schema
from storage.catalog.rows import DeviceState

_CHANGED = """
SELECT c.position, c.device_id, d.kind, d.access, d.state, {role},
    (SELECT group_concat(t.token_hash || ':' || coalesce(t.expires_at_ms, ''))
     FROM device_tokens t WHERE t.device_id = c.device_id AND t.revoked_at_ms IS NULL),
    {revoked}
FROM auth_changes c LEFT JOIN devices d USING (device_id) WHERE c.position > ? ORDER BY c.position
"""
_HAS_ROLE = "SELECT 1 FROM pragma_table_info('devices') WHERE name = 'role'"
"""A node that has not been upgraded yet has left the catalog without that column: then nobody has a role."""
_HAS_CERTIFICATES = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'certificates'"
_HAS_CLAIMS = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'claims'"
_CLAIM = "SELECT expires_at_ms, revoked_at_ms IS NOT NULL, use_count > 0 FROM claims WHERE token_hash = ?"
_REVOKED = """(SELECT group_concat(x.issuer_key_id || '/' || x.serial)
     FROM certificates x WHERE x.device_id = c.device_id AND x.revoked_at_ms IS NOT NULL)"""
"""However old: a box whose clock has gone back would take one that has ended since for valid."""


@dataclass(frozen=True, slots=True)
class TokenHash:
    """A keyed hash (32 bytes) and until when it counts (UTC ms, None for always)."""

    hash: bytes
    expires_at_ms: int | None


@dataclass(frozen=True, slots=True)
class DeviceCredential:
    """What a name may sign in with, and what it is then.

    Attributes:
        revoked: Certificates that it may not sign in with any more (`certificate_proof`). One that is not in the catalog at all
            may: another node of the site issued it, or a backup from before it was restored; the authority's
            signature vouches for it.
    """

    device_id: str
    kind: Kind
    access: Access
    state: DeviceState
    tokens: tuple[TokenHash, ...]
    role: str = ""
    revoked: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class ClaimCredential:
    """What of a claim says whether its token opens the door to enrolment; the node looks at all of it.

    Attributes:
        is_used: Some device has come in by it, and may ask once more after its end.
    """

    expires_at_ms: int
    is_revoked: bool
    is_used: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthReaderStatistics:
    """Numbers since the start.

    Attributes:
        credentials: Held in memory.
        fallbacks_total: Look-ups answered from the last known good (`cache_fallback_rate`).
        failures_total: Times the catalog could not be read.
        reloads_total: Times changes were read.
        readable: Whether the last attempt to read succeeded.
    """

    credentials: int
    lookups_total: int
    fallbacks_total: int
    failures_total: int
    reloads_total: int
    readable: bool


class DeviceAuthReader:
    """See the module's docstring. May be used from several threads at once.

    Args:
        path: The catalog's file; it need not exist yet.
        clock: For the age of the last known good (monotonic time).
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        last_known_good_ms: int = AUTH_LAST_KNOWN_GOOD_MS,
        retry_after_ms: int = AUTH_RETRY_AFTER_MS,
    ) -> None:
        self._path = path
        self._uri = f"file:{quote(str(path))}?mode=ro"
        self._clock = clock
        self._last_known_good_ms = last_known_good_ms
        self._retry_after_ms = retry_after_ms
        self._lock = threading.Lock()
        self._is_held_up = False
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._data_version = -1
        self._position = 0
        self._credentials: dict[str, DeviceCredential] = {}
        self._revoked: set[str] = set()
        self._changed: set[str] | None = set()
        """Whose rows were read since `take_changes`; None for anybody's, when the file is another one."""
        self._read_at_mono_ms: int | None = None
        self._failed_at_mono_ms: int | None = None
        self._failure = ""
        self._lookups = self._fallbacks = self._failures = self._reloads = 0

    def lookup(self, username: str) -> DeviceCredential | None:
        """The credential of a name, None if there is none.

        Raises:
            Unavailable: `catalog_unreadable`, when the catalog can't be read and the last known good is too old.
        """
        self._lookups += 1
        with self._reading() as is_mine:
            if is_mine:
                self._refresh()
            if not is_mine or self._failed_at_mono_ms is not None:
                self._fall_back()
            if username in self._revoked:
                return None
            return self._credentials.get(username)

    def find_claim(self, token_hash: bytes) -> ClaimCredential | None:
        """The claim whose token has this keyed hash, None if there is none.

        Asked of the file each time: claims are used for minutes, and without the node nobody can enrol anyway.

        Raises:
            Unavailable: `catalog_unreadable`.
        """
        self._lookups += 1
        with self._reading() as is_mine:
            if is_mine:
                self._refresh()
            if is_mine and self._connection is not None and self._failed_at_mono_ms is None:
                try:
                    if not self._connection.execute(_HAS_CLAIMS).fetchone():
                        return None
                    found = self._connection.execute(_CLAIM, (token_hash.hex(),)).fetchone()
                    return (
                        None if found is None else ClaimCredential(found[0], bool(found[1]), bool(found[2]))
                    )
                except sqlite3.Error as error:
                    self._fail(str(error))
            raise Unavailable(
                f"The catalog can't be read: {self._failure or 'its file does not answer'}.",
                hint="See that the node process runs and that catalog.db is in the data folder and readable.",
                code="catalog_unreadable",
            )

    def revoke(self, username: str) -> None:
        """Let a name in no more until the catalog was read again: the node revoked it over the control socket.

        Never waits. Only what the catalog says after this moment counts, so a read under way does not end it.
        """
        self._revoked.add(username)

    def take_changes(self) -> frozenset[str] | None:
        """Names whose credential or access may have changed since the last call; None where it may be anybody's.

        Nothing while the catalog can't be read: what changed meanwhile is told when it can be again.
        """
        with self._reading() as is_mine:
            if not is_mine:
                return frozenset()
            self._refresh()
            changed, self._changed = self._changed, set()
            return None if changed is None else frozenset(changed)

    def statistics(self) -> AuthReaderStatistics:
        return AuthReaderStatistics(
            credentials=len(self._credentials),
            lookups_total=self._lookups,
            fallbacks_total=self._fallbacks,
            failures_total=self._failures,
            reloads_total=self._reloads,
            readable=self._failed_at_mono_ms is None
            and self._read_at_mono_ms is not None
            and not self._is_held_up,
        )

    def close(self) -> None:
        with self._reading() as is_mine:
            # A connection that the catalog's file holds up in another thread ends with the process.
            if is_mine:
                self._disconnect()

    @contextmanager
    def _reading(self) -> Iterator[bool]:
        """The connection for this thread alone; False where another thread's read is held up by the file.

        A disk that does not answer, or another program that keeps the WAL's locks (SQLite then tries for 10 s), keeps one
        thread. The others wait for it AUTH_BUSY_TIMEOUT_MS once, and go by the last known good until it is back; only
        before the first read, when nothing is known, do they wait for all of it.
        """
        wait_s = 0.0 if self._is_held_up else AUTH_BUSY_TIMEOUT_MS / 1000
        is_mine = self._lock.acquire(timeout=-1 if self._read_at_mono_ms is None else wait_s)
        self._is_held_up = not is_mine
        try:
            yield is_mine
        finally:
            if is_mine:
                self._lock.release()

    def _refresh(self) -> None:
        revoked_before = tuple(self._revoked)
        now_ms = self._clock.mono_ms()
        if self._failed_at_mono_ms is not None and now_ms - self._failed_at_mono_ms < self._retry_after_ms:
            return
        try:
            file = os.stat(self._path)
            if self._connection is None or (file.st_dev, file.st_ino) != self._file:
                self._connect((file.st_dev, file.st_ino))
            assert self._connection
            (data_version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if data_version != self._data_version:
                self._read_changes(self._connection)
                # Asked for before the changes were read: one that came between is read next time.
                self._data_version = data_version
        except (OSError, sqlite3.Error, StorageError) as error:
            self._fail(str(error))
        else:
            self._failed_at_mono_ms = None
            self._read_at_mono_ms = now_ms
            self._revoked.difference_update(revoked_before)

    def _fail(self, failure: str) -> None:
        self._failures += 1
        self._failed_at_mono_ms = self._clock.mono_ms()
        self._failure = failure
        self._disconnect()

    def _connect(self, file: tuple[int, int]) -> None:
        self._disconnect()
        connection = sqlite3.connect(
            self._uri,
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=AUTH_BUSY_TIMEOUT_MS / 1000,
        )
        try:
            schema.check(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._data_version = -1
        if file != self._file:
            # Another file (a restored backup): its positions are its own. The old credentials are served until
            # the new ones were read.
            self._position = 0
            self._changed = None
        self._file = file

    def _read_changes(self, connection: sqlite3.Connection) -> None:
        column = "d.role" if connection.execute(_HAS_ROLE).fetchone() else "''"
        revoked_column = _REVOKED if connection.execute(_HAS_CERTIFICATES).fetchone() else "NULL"
        sql = _CHANGED.format(role=column, revoked=revoked_column)
        rows = connection.execute(sql, (self._position,)).fetchall()
        credentials = {} if self._position == 0 else self._credentials
        for position, device_id, kind, access, state, role, tokens, revoked in rows:
            self._position = position
            if self._changed is not None:
                self._changed.add(device_id)
            if state is None:
                credentials.pop(device_id, None)
            else:
                credentials[device_id] = DeviceCredential(
                    device_id, kind, access, state, _tokens(tokens), role, _revoked(revoked)
                )
        self._credentials = credentials
        self._reloads += 1

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fall_back(self) -> None:
        age_ms = None
        if self._read_at_mono_ms is not None:
            age_ms = self._clock.mono_ms() - self._read_at_mono_ms
        if age_ms is None or age_ms > self._last_known_good_ms:
            since = "never could be read" if age_ms is None else f"can't be read for {age_ms // 1000} s"
            raise Unavailable(
                f"The catalog {since}: {self._failure or 'its file does not answer'}.",
                hint="See that the node process runs and that catalog.db is in the data folder and readable.",
                code="catalog_unreadable",
            )
        self._fallbacks += 1


def _tokens(joined: str | None) -> tuple[TokenHash, ...]:
    if not joined:
        return ()
    pairs = (pair.partition(":") for pair in joined.split(","))
    return tuple(
        TokenHash(bytes.fromhex(hash_), int(expires) if expires else None) for hash_, _, expires in pairs
    )


def _revoked(joined: str | None) -> frozenset[bytes]:
    if not joined:
        return frozenset()
    pairs = (each.partition("/") for each in joined.split(","))
    return frozenset(certificate_proof(issuer_key_id, serial) for issuer_key_id, _, serial in pairs)
