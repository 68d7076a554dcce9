"""Holds those who are connected to what they may do now: the catalog may have changed since they came in.

The node says so over the control socket (`access_changed`); when it is away, or its word was lost, the catalog is looked
at every CHECK_INTERVAL_MS, which costs a stat and a pragma in a thread. Whoever would not be let in any more is
disconnected; for everybody else what was cached is forgotten, and subscriptions that are not allowed any more end, as does a
will. Nothing here decides what is allowed: that is AccessPolicy, and who somebody is the source says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import structlog
import trio

from appliance.core.errors import NotAuthorized, Unavailable
from appliance.management.access import Principal

from .identity import LOCAL
from .lifecycle import Lifecycle
from .mqtt.reason_codes import ReasonCode
from .session_records import CloseReason

if TYPE_CHECKING:
    from .connection import Connection
    from .data_plane import DataPlane

CHECK_INTERVAL_MS: Final = 1000
Key: TypeAlias = tuple[str, bytes]
"""A principal's name, and what it proved to be that with: one token may be revoked and another not."""

log = structlog.get_logger(__name__)


class AccessSource(Protocol):
    """Who somebody is now; appliance.identity has the real one. Both block for as long as the catalog takes."""

    def take_changes(self) -> frozenset[str] | None:
        """Names whose access may have changed since the last call; None for anybody's."""

    def reconsider(self, principal: Principal) -> Principal | NotAuthorized:
        """Who it is now, or why it would not be let in any more. Raises Unavailable if nobody can say."""


class AccessWatch:
    """See the module's docstring."""

    def __init__(self, source: AccessSource, lifecycle: Lifecycle, plane: DataPlane) -> None:
        self._source = source
        self._lifecycle = lifecycle
        self._plane = plane
        self._limiter = trio.CapacityLimiter(1)
        self._told: set[str] = set()
        self._work = trio.Event()
        self._before: frozenset[str] | None = frozenset()
        """Who was looked at in the last round, and is once more: a client that was asked about just before the change may
        have been admitted just after that round."""
        self.changed = self.cut_off = self.subscriptions_ended = 0

    def numbers(self) -> dict[str, int]:
        """Connections whose access changed, those cut off, and subscriptions that ended, since the start."""
        return {
            "changed": self.changed,
            "cut_off": self.cut_off,
            "subscriptions_ended": self.subscriptions_ended,
        }

    def look_now(self, principal: str) -> None:
        """The node has changed what somebody may do."""
        self._told.add(principal)
        self._work.set()

    async def run(self) -> None:
        """Look whenever told to, and from time to time. Runs until cancelled."""
        while True:
            with trio.move_on_after(CHECK_INTERVAL_MS / 1000):
                await self._work.wait()
            self._work = trio.Event()
            await self._look()

    async def _look(self) -> None:
        told, self._told = self._told, set()
        found = await trio.to_thread.run_sync(self._source.take_changes, limiter=self._limiter)
        before, self._before = self._before, None if found is None else found | told
        affected: dict[Key, Principal] = {}
        for connection in self._plane.connections():
            who = connection.principal
            if who == LOCAL:
                continue  # The kernel's word for it, not the catalog's.
            if found is None or before is None or who.name in found or who.name in before or who.name in told:
                affected[who.name, who.proof] = who
        if not affected:
            return
        try:
            now = await trio.to_thread.run_sync(self._reconsider, affected, limiter=self._limiter)
        except Unavailable as error:
            # Whoever is in stays in, as those who are known do while the catalog can't be read.
            log.warning("access can't be looked at anew", error=error.message, hint=error.hint)
            self._before = None
            return
        for connection in self._plane.connections():
            who = connection.principal
            if (who.name, who.proof) in now:
                self._apply(connection, now[who.name, who.proof])
        self._plane.wake()

    def _reconsider(self, principals: dict[Key, Principal]) -> dict[Key, Principal | NotAuthorized]:
        return {key: self._source.reconsider(principal) for key, principal in principals.items()}

    def _apply(self, connection: Connection, principal: Principal | NotAuthorized) -> None:
        if isinstance(principal, NotAuthorized):
            self.cut_off += 1
            self._plane.close(connection, CloseReason.KICKED, ReasonCode.NOT_AUTHORIZED, principal.message)
            return
        if principal == connection.principal:
            return
        self.changed += 1
        connection.principal = principal
        connection.parser.forget_topics()
        ended_count = self._lifecycle.narrow(connection.session, principal)
        self.subscriptions_ended += ended_count
        log.info(
            "access changed", client_id=connection.client_id, device=principal.name, access=principal.access,
            role=principal.role, subscriptions_ended=ended_count,
        )  # fmt: skip
