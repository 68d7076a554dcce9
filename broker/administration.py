"""What an operator or the node may do to clients: cut a connection, end a session, take access away."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .mqtt.reason_codes import ReasonCode
from .session_records import CloseReason

if TYPE_CHECKING:
    from .data_plane import DataPlane
    from .lifecycle import Lifecycle


class Administration:
    """See the module's docstring. Called from the event loop, from any task."""

    def __init__(self, plane: DataPlane, lifecycle: Lifecycle) -> None:
        self._plane = plane
        self._lifecycle = lifecycle
        self._sessions = lifecycle.sessions

    def kick(self, client_id: str) -> bool:
        """Close a client's connection; False if it has none."""
        session = self._sessions.get(client_id)
        if session is None or session.connection is None:
            return False
        self._plane.close(session.connection, CloseReason.KICKED, ReasonCode.ADMINISTRATIVE_ACTION)
        self._plane.wake()
        return True

    def end_session(self, client_id: str) -> bool:
        """Close a client's connection if it has one, and end its session; False if there is none."""
        session = self._sessions.get(client_id)
        if session is None:
            return False
        self.kick(client_id)
        if self._sessions.get(client_id) is session:
            self._lifecycle.end(session, "administrator")
        self._plane.wake()
        return True

    def revoke(self, principal: str) -> int:
        """Close all connections of a device or application and end its sessions; returns how many connections."""
        count = 0
        for session in self._sessions.of(principal):
            if session.connection is not None:
                count += 1
                self._plane.close(session.connection, CloseReason.KICKED, ReasonCode.NOT_AUTHORIZED)
            if self._sessions.get(session.client_id) is session:
                self._lifecycle.end(session, "revoked")
        self._plane.wake()
        return count
