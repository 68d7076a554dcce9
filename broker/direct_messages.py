"""Messages straight to a connection: answers of the node, and what it says unasked. QoS 0, in no log and in no session's queue.

Bounded by the client's maximum packet size, and by what all clients together have not taken yet: what has no room is not sent, and whoever
wanted to send it knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import TYPE_CHECKING

from appliance.core.limits_requests import REQUEST_ANSWERS_UNSENT_BYTES_MAX

from .mqtt.codec import encode
from .mqtt.packets import Publish
from .mqtt.properties import Properties, Value
from .mqtt.property_table import PropertyId

if TYPE_CHECKING:
    from .connection import Connection
    from .data_plane import DataPlane
    from .router import Grant, Router


class Outcome(Enum):
    """What became of a message."""

    SENT = auto()
    GONE = auto()
    """The connection is closed."""
    TOO_LARGE = auto()
    """Larger than the client takes."""
    NO_ROOM = auto()
    """Clients have too much to take already."""


class DirectMessages:
    """See the module's docstring. `plane` is set once it is made; whoever is not within its turn wakes it."""

    plane: DataPlane

    def __init__(self, router: Router) -> None:
        self._router = router
        self._receivers: dict[Connection, None] = {}
        """Who was sent something and may not have taken it."""
        self._unsent_bytes = 0
        """At least as much as they have not taken."""

    def send(
        self,
        connection: Connection,
        topic: str,
        payload: bytes,
        *,
        correlation: bytes | None = None,
        identifiers: tuple[int, ...] = (),
    ) -> Outcome:
        """Send a message, whether or not the client has subscribed to it.

        Args:
            correlation: What an MQTT 5 client knows an answer by.
            identifiers: As `identifiers` gives them.
        """
        if connection.fd < 0:
            return Outcome.GONE
        properties = _properties(correlation, identifiers) if connection.has_properties else Properties.EMPTY
        packet = encode(Publish(topic=topic, payload=payload, properties=properties), connection.version)
        bytes_max = connection.packet_bytes_max
        if bytes_max is not None and len(packet) > bytes_max:
            return Outcome.TOO_LARGE
        if not self._has_room(len(packet)):
            return Outcome.NO_ROOM
        self._unsent_bytes += len(packet)
        self._receivers[connection] = None
        connection.outbox.append(packet)
        self.plane.mark_dirty(connection)
        return Outcome.SENT

    def identifiers(self, connection: Connection, topic: str) -> tuple[int, ...]:
        """Subscription identifiers that a message must carry because subscriptions of an MQTT 5 client match it.

        Source: MQTT 5.0 §3.3.4, [MQTT-3.3.4-3].
        """
        if not connection.has_properties or not connection.session.filters:
            return ()
        return identifiers_of(self._router.grants_by_session(topic).get(id(connection.session), ()))

    def grants_by_session(self, topic: str) -> dict[int, list[Grant]]:
        """Who has subscribed to a topic (Router)."""
        return self._router.grants_by_session(topic)

    def _has_room(self, size_bytes: int) -> bool:
        """Whether so many bytes more may wait; what was taken since is only looked at when it matters."""
        if self._unsent_bytes + size_bytes > REQUEST_ANSWERS_UNSENT_BYTES_MAX:
            self.look()
        return self._unsent_bytes + size_bytes <= REQUEST_ANSWERS_UNSENT_BYTES_MAX

    def look(self) -> None:
        """Forget who has taken everything, or is gone. To be called from time to time."""
        waiting = {each: _unsent_bytes(each) for each in self._receivers if each.fd >= 0}
        self._receivers = {each: None for each, count in waiting.items() if count}
        self._unsent_bytes = sum(waiting.values())

    @property
    def receiver_count(self) -> int:
        """Connections that may not have taken everything, as of the last look."""
        return len(self._receivers)


def identifiers_of(grants: Iterable[Grant]) -> tuple[int, ...]:
    """Those of subscriptions that match a message."""
    return tuple(number for grant in grants for number in grant.identifiers)


def _unsent_bytes(connection: Connection) -> int:
    return connection.unsent_bytes + sum(map(len, connection.outbox))


def _properties(correlation: bytes | None, identifiers: tuple[int, ...]) -> Properties:
    values: dict[PropertyId, Value] = {}
    if correlation is not None:
        values[PropertyId.CORRELATION_DATA] = correlation
    if identifiers:
        values[PropertyId.SUBSCRIPTION_IDENTIFIER] = identifiers
    return Properties(values) if values else Properties.EMPTY
