"""Sessions with a PostgreSQL server: work in threads, each call within its time, errors in our words.

What is given up ends at once: its connection is cut, and the thread that waits on it comes back. Knows nothing of pieces.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from threading import Lock
from typing import Any, Final, TypeVar

import outcome
import psycopg
import trio
from psycopg import Connection, errors
from psycopg.pq import TransactionStatus

from appliance.core.errors import HomeportError
from appliance.core.limits_replication import TIER_SESSIONS_MAX, TIER_TRIES_MAX
from replication.tier.engine import TierAway, TierUnfit
from replication.tier.engines.pace import Pace
from replication.tier.engines.requests import Kind, Requests

T = TypeVar("T")
Session = Connection[Any]
_PAUSE_S: Final = 0.3
_SETTINGS: Final = (
    # A statement's time counts while a large piece is on its way to the server, so it is bounded here and not there.
    "SET statement_timeout = 0",
    "SET lock_timeout = '10s'",
    "SET client_connection_check_interval = '5s'",
    "SET idle_in_transaction_session_timeout = '60s'",
    "SET search_path = pg_catalog",
    # A plan of its own for each piece has the piece in it, and copies it some times.
    "SET plan_cache_mode = force_generic_plan",
    "SET timezone = 'UTC'",
)
_NOT_LET_IN: Final = (
    "authentication failed",
    "pg_hba.conf",
    "does not exist",
    "is not permitted",
    "certificate",
    "SSL",
)
"""What a server or a TLS handshake says where it would say so again. Matched, because a refused connection brings no code."""


class Sessions:
    """Up to TIER_SESSIONS_MAX connections, made when they are needed and kept while they are good."""

    def __init__(self, conninfo: Mapping[str, str | int], prepare: Callable[[Session], None]) -> None:
        self._conninfo, self._prepare = dict(conninfo), prepare
        self._idle: list[Session] = []
        self._turns = trio.CapacityLimiter(TIER_SESSIONS_MAX)
        self._threads = trio.CapacityLimiter(TIER_SESSIONS_MAX)
        self.pace, self.requests = Pace(), Requests()

    def __repr__(self) -> str:
        return f"Sessions({self._conninfo.get('host')})"

    async def run(
        self,
        kind: Kind,
        work: Callable[[Session], T],
        *,
        size_bytes: int = 0,
        tries_max: int = TIER_TRIES_MAX,
    ) -> T:
        """Do some work in a thread with a connection that is in no transaction; as one request of this kind.

        Raises:
            TierAway, TierUnfit: as the engine's contract says. Whatever else `work` raises.
        """
        deadline_s, begun = self.pace.deadline_s(size_bytes), time.monotonic()
        with trio.move_on_after(deadline_s):
            async with self._turns:
                for tries_left in reversed(range(tries_max)):
                    self.requests.count(kind)
                    try:
                        value = await self._once(work)
                    except psycopg.Error as error:
                        told = in_our_words(error)
                        if isinstance(told, TierAway):
                            self.requests.failed_count += 1
                            if tries_left:
                                await trio.sleep(_PAUSE_S)
                                continue
                        raise told from error
                    if size_bytes:
                        self.pace.took(size_bytes, time.monotonic() - begun)
                    return value
        self.requests.failed_count += 1
        if size_bytes:
            self.pace.gave_up(size_bytes, time.monotonic() - begun)
        raise TierAway(
            f"PostgreSQL didn't answer within {deadline_s:.0f} s.",
            hint="It is tried again by itself; look whether the server can be reached from here.",
            code="tier_away",
        )

    async def close(self) -> None:
        """Close the connections, and wait for threads that still try to make one: TIER_CONNECT_S at most."""
        with trio.CancelScope(shield=True):
            everyone = [object() for _ in range(TIER_SESSIONS_MAX)]
            for one in everyone:
                await self._threads.acquire_on_behalf_of(one)
            while self._idle:
                await trio.to_thread.run_sync(self._idle.pop().close)

    async def _once(self, work: Callable[[Session], T]) -> T:
        session = self._good_one() or await self._connected()
        try:
            return await self._in_thread(partial(work, session), session)
        finally:
            if session.closed or session.info.transaction_status != TransactionStatus.IDLE:
                session.close()
            else:
                self._idle.append(session)

    def _good_one(self) -> Session | None:
        """A connection on which the server has said nothing since; one that it closed would be readable."""
        while self._idle:
            session = self._idle.pop()
            poll = select.poll()
            poll.register(session.fileno(), select.POLLIN)
            if not poll.poll(0):
                return session
            session.close()
        return None

    async def _connected(self) -> Session:
        made = _Made()
        try:
            await trio.to_thread.run_sync(
                made.by, self._connect, abandon_on_cancel=True, limiter=self._threads
            )
        except trio.Cancelled:
            made.drop()
            raise
        assert made.session is not None
        return made.session

    def _connect(self) -> Session:
        session: Session = psycopg.connect(**self._conninfo, autocommit=True)  # type: ignore[arg-type]
        try:
            self._prepare(session)
            for setting in _SETTINGS:
                session.execute(setting)
        except BaseException:
            session.close()
            raise
        return session

    async def _in_thread(self, call: Callable[[], T], session: Session) -> T:
        is_over = False

        async def cut_if_given_up() -> None:
            try:
                await trio.sleep_forever()
            finally:
                if not is_over:
                    _cut(session)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cut_if_given_up)
            with trio.CancelScope(shield=True):
                # Its own errors come as a value, so that they don't come as a group.
                got: outcome.Outcome[T] = await trio.to_thread.run_sync(
                    outcome.capture, call, limiter=self._threads
                )
            is_over = True
            nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint_if_cancelled()
        return got.unwrap()


class _Made:
    """A connection that a thread makes, for somebody who may have left when it is done."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self._lock = Lock()
        self._is_dropped = False

    def by(self, connect: Callable[[], Session]) -> None:
        session = connect()
        with self._lock:
            if not self._is_dropped:
                self.session = session
                return
        session.close()

    def drop(self) -> None:
        with self._lock:
            self._is_dropped = True
            if self.session is not None:
                self.session.close()


def _cut(session: Session) -> None:
    """End a connection under the thread that waits on it."""
    try:
        with socket.socket(fileno=socket.dup(session.fileno())) as ours:
            ours.shutdown(socket.SHUT_RDWR)
    except (OSError, psycopg.Error):
        return  # the thread or the other side was quicker


def in_our_words(error: psycopg.Error) -> HomeportError:
    """What an error of the server or of the way to it is for the engine's contract."""
    said = (error.diag.message_primary or str(error)).strip().splitlines()
    what = said[-1][:300] if said else type(error).__name__
    if isinstance(error, errors.InsufficientPrivilege):
        return TierUnfit(
            f"PostgreSQL doesn't let this box do that ({what}).",
            hint="Let the tier's user own its schema, or create it in that database; docs/CLOUD.md has the statements.",
            code="tier_unfit",
        )
    if isinstance(error, errors.UndefinedTable | errors.InvalidSchemaName | errors.UndefinedColumn):
        return TierUnfit(
            f"The tier's tables in PostgreSQL are gone or changed ({what}).",
            hint="Somebody dropped or altered them; with the next start they are made again where they are missing.",
            code="tier_unfit",
        )
    if isinstance(error, psycopg.OperationalError) and not (
        error.sqlstate is None and any(word in str(error) for word in _NOT_LET_IN)
    ):
        return TierAway(
            f"PostgreSQL is away: {what}.",
            hint="It is tried again by itself; look whether the server runs and can be reached from here.",
            code="tier_away",
        )
    if isinstance(error, errors.CheckViolation):
        return TierAway(
            f"Somebody changed PostgreSQL's tables meanwhile ({what}).",
            hint="It is tried again by itself.",
            code="tier_away",
        )
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return TierAway(
            "PostgreSQL is a standby, which takes nothing.",
            hint="Name all servers in the address, with commas between: the one that writes is found.",
            code="tier_away",
        )
    return TierUnfit(
        f"PostgreSQL refuses: {what}.",
        hint="Correct the address, the user, the password or the database's settings.",
        code="tier_unfit",
    )


@asynccontextmanager
async def sessions(
    conninfo: Mapping[str, str | int], prepare: Callable[[Session], None]
) -> AsyncIterator[Sessions]:
    """Connections to a server until the end of the `async with`.

    Args:
        prepare: Is called with each new connection, in its thread; may refuse it.
    """
    made = Sessions(conninfo, prepare)
    try:
        yield made
    finally:
        await made.close()
