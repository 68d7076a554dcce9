"""All sessions, by client id, and when those of clients who are away are due."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count
from typing import TYPE_CHECKING, Final

from ..outbound import Step
from ..router import Router
from .session import Session

if TYPE_CHECKING:
    from ..shared import SharedGroup

STALE_DEADLINES_MIN: Final = 1024
"""Deadlines of clients that have come back since are swept when there are so many and four for each session."""


class Due(Enum):
    """What is to be done with a session whose client is away."""

    WILL = auto()
    EXPIRY = auto()


@dataclass(order=True, slots=True)
class _Deadline:
    mono_ms: int
    number: int
    session: Session = field(compare=False)
    closed_mono_ms: int = field(compare=False)
    due: Due = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsStatistics:
    """Gauges of now, and counters since start.

    Attributes:
        durable: Sessions that outlive their connections.
        away: Of those, whose client is not connected.
        waiting_messages, waiting_bytes: In all queues, in memory and as positions in the log.
        dropped_messages: The oldest of a full queue of a client that is away.
        expired_messages: Their message expiry interval passed while they waited.
        lost_messages: No longer in the log, or damaged there, when their turn came.
    """

    durable: int
    away: int
    waiting_messages: int
    waiting_bytes: int
    in_flight_messages: int
    dropped_messages: int
    expired_messages: int
    lost_messages: int
    expired_sessions: int
    shared_subscriptions: int


class Sessions:
    """See the module's docstring.

    Args:
        queue_messages_max, queue_bytes_max: Bounds of what waits for one client.
    """

    def __init__(self, router: Router, *, queue_messages_max: int, queue_bytes_max: int) -> None:
        self.router = router
        self._queue_messages_max = queue_messages_max
        self._queue_bytes_max = queue_bytes_max
        self._by_client_id: dict[str, Session] = {}
        self._by_principal: dict[str, dict[int, Session]] = {}
        self._deadlines: list[_Deadline] = []
        self._numbers = count()
        self.expired_count = self.change_count = 0
        self._gone = {"dropped": 0, "expired": 0, "lost": 0}
        """What sessions that have ended had counted."""

    def __len__(self) -> int:
        return len(self._by_client_id)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._by_client_id.values())

    def get(self, client_id: str) -> Session | None:
        return self._by_client_id.get(client_id)

    def of(self, principal: str) -> list[Session]:
        """Those of one device or application, in the order of their beginning."""
        return list(self._by_principal.get(principal, {}).values())

    def new(self, client_id: str, principal: str, expiry_s: int) -> Session:
        """A new session; one with the same client id must have ended."""
        assert client_id not in self._by_client_id
        session = Session(
            client_id,
            principal,
            expiry_s=expiry_s,
            queue_messages_max=self._queue_messages_max,
            queue_bytes_max=self._queue_bytes_max,
        )
        self._by_client_id[client_id] = session
        self._by_principal.setdefault(principal, {})[id(session)] = session
        self.change_count += 1
        return session

    def remove(self, session: Session) -> list[SharedGroup]:
        """End a session: its subscriptions go.

        Returns:
            Shared subscriptions that have something of it for others now.
        """
        outbound = session.outbound
        groups = [*outbound.shared.values(), *outbound.detach()]
        for packet_id, group in outbound.shared.items():
            sent = outbound.sent(packet_id)
            assert sent is not None
            if sent.step is Step.PUBACK:
                group.give_back(sent.seq)
            else:
                group.finish(sent.seq)
        outbound.shared.clear()
        outbound.lag_seq = None  # Nothing is read for it any more, even if that was begun.
        gone = self._gone
        gone["dropped"] += outbound.dropped_count
        gone["expired"] += outbound.expired_count
        gone["lost"] += outbound.lost_count
        self.router.forget(session)
        session.retained.clear()
        self.change_count += 1
        if self._by_client_id.get(session.client_id) is session:
            del self._by_client_id[session.client_id]
            theirs = self._by_principal[session.principal]
            del theirs[id(session)]
            if not theirs:
                del self._by_principal[session.principal]
        return groups

    # --- those whose client is away -----------------------------------------------------------------------

    @property
    def durable_count(self) -> int:
        """Sessions that outlive their connections."""
        return sum(session.is_durable for session in self)

    def needed_seq(self) -> int | None:
        """The first record that somebody has still to get; None if nobody waits for any."""
        needed: list[int] = []
        for session in self:
            outbound = session.outbound
            if outbound.lag_seq is not None:
                needed.append(outbound.lag_seq)
            if (position := outbound.positions.first()) is not None:
                needed.append(position.seq)
            if outbound.in_flight and session.is_durable:
                # In the order of sending, which is the log's but for retained messages: those may be gone.
                needed.append(next(iter(outbound.in_flight.values())) >> 3)
        for group in self.router.groups.values():
            if group.lag_seq is not None:
                needed.append(group.lag_seq)
            if group.returned:
                needed.append(group.returned[0])
        return min(needed, default=None)

    def statistics(self) -> SessionsStatistics:
        durable = away = waiting = waiting_bytes = in_flight = dropped = expired = lost = 0
        for session in self:
            outbound = session.outbound
            durable += session.is_durable
            away += session.connection is None
            waiting += len(outbound.positions) + len(outbound.queue)
            waiting_bytes += outbound.positions.size_bytes + outbound.queue_bytes
            in_flight += len(outbound.in_flight)
            dropped += outbound.dropped_count
            expired += outbound.expired_count
            lost += outbound.lost_count
        gone = self._gone
        return SessionsStatistics(
            durable=durable,
            away=away,
            waiting_messages=waiting,
            waiting_bytes=waiting_bytes,
            in_flight_messages=in_flight,
            dropped_messages=dropped + gone["dropped"],
            expired_messages=expired + gone["expired"],
            lost_messages=lost + gone["lost"],
            expired_sessions=self.expired_count,
            shared_subscriptions=self.router.shared_count,
        )

    def set_deadlines(self, session: Session, *, since_ms: int, mono_ms: int) -> None:
        """The client has gone.

        Args:
            since_ms: How long ago.
        """
        self.change_count += 1
        session.closed_mono_ms = mono_ms
        if session.will is not None:
            self._set(session, mono_ms + session.will_delay_s() * 1000 - since_ms, Due.WILL)
        self._set(session, mono_ms + session.expiry_s * 1000 - since_ms, Due.EXPIRY)

    def due(self, mono_ms: int) -> Iterator[tuple[Session, Due]]:
        """Take those whose time has come; one whose client has come back since is passed over."""
        while self._deadlines and self._deadlines[0].mono_ms <= mono_ms:
            deadline = heapq.heappop(self._deadlines)
            if self._is_current(deadline):
                yield deadline.session, deadline.due

    def _is_current(self, deadline: _Deadline) -> bool:
        session = deadline.session
        return (
            session.connection is None
            and session.closed_mono_ms == deadline.closed_mono_ms
            and self._by_client_id.get(session.client_id) is session
        )

    def _set(self, session: Session, mono_ms: int, due: Due) -> None:
        if len(self._deadlines) > STALE_DEADLINES_MIN + 4 * len(self):
            self._deadlines = [deadline for deadline in self._deadlines if self._is_current(deadline)]
            heapq.heapify(self._deadlines)
        heapq.heappush(
            self._deadlines, _Deadline(mono_ms, next(self._numbers), session, session.closed_mono_ms, due)
        )
