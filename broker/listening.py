"""Which devices listen: have an open connection with a subscription to what the node may say to them unasked.

The node is told of each that begins to (SUBSCRIBE, or a session that is taken up again), so that it says what is due, and of each whose last such
connection ends. A node that comes new is told of all. What is told is a mark, not a promise: whether somebody
gets a message is decided when it is pushed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from appliance.management.request_topics import listens

from .mqtt.topics import is_shared_filter

if TYPE_CHECKING:
    from .state.session import Session
    from .state.sessions import Sessions

NATIVELY = 1
BY_ALIAS = 2


class Told(Protocol):
    """Who is told (control.ControlServer)."""

    def session_event(self, event: dict[str, Any]) -> None:
        """Tell the node that answers requests, if there is one."""


class Nobody:
    """For a broker that has no control socket."""

    def session_event(self, event: dict[str, Any]) -> None:
        pass


class Listening:
    """See the module's docstring. `node` is set once it is made."""

    node: Told = Nobody()

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._how: dict[tuple[str, str], int] = {}
        """Client id and device → NATIVELY | BY_ALIAS."""

    def __len__(self) -> int:
        """Connections that listen."""
        return len(self._how)

    def subscribed(self, session: Session, topic_filters: Iterable[str]) -> None:
        """A client has subscribed, or has taken up a session with these subscriptions."""
        connection = session.connection
        if connection is None or connection.principal.kind != "device":
            return
        how = 0
        for topic_filter in topic_filters:
            if not is_shared_filter(topic_filter):
                native, aws = listens(topic_filter, session.principal)
                how |= NATIVELY * native | BY_ALIAS * aws
        if how:
            self._how[session.client] = self._how.get(session.client, 0) | how
            for event in _events(session.client, how):
                self.node.session_event(event)

    def left(self, session: Session) -> None:
        """A client's connection has ended."""
        if self._how.pop(session.client, 0) and not any(
            each.client in self._how for each in self._sessions.of(session.principal)
        ):
            self.node.session_event(
                {"principal": session.principal, "client_id": session.client_id, "what": "gone", "aws": False}
            )

    def everybody(self) -> Iterator[dict[str, Any]]:
        """Events as if all who listen had begun just now."""
        for client, how in self._how.items():
            yield from _events(client, how)


def _events(client: tuple[str, str], how: int) -> Iterator[dict[str, Any]]:
    client_id, principal = client
    for flag, is_aws in ((NATIVELY, False), (BY_ALIAS, True)):
        if how & flag:
            yield {"principal": principal, "client_id": client_id, "what": "listening", "aws": is_aws}
