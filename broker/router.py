"""Which connections get a message: the subscription tree, asked once per topic of a block."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .mqtt.subscriptions import SubscriptionTree

if TYPE_CHECKING:
    from .connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A subscription as it was granted.

    Attributes:
        qos: 0, 1 or 2.
        retain_as_published: The RETAIN flag is passed on as the publisher set it (MQTT 5.0 §3.8.3.1).
        no_local: The subscriber's own publishes are not sent to it (MQTT 5.0 §3.8.3.1).
        since_seq: First log record that it gets.
    """

    qos: int
    no_local: bool
    retain_as_published: bool = False
    since_seq: int


class Router:
    """Subscriptions of the connections of this broker."""

    def __init__(self) -> None:
        self._tree: SubscriptionTree[tuple[Connection, Grant]] = SubscriptionTree()
        self.subscription_count = 0

    def subscribe(self, connection: Connection, topic_filter: str, grant: Grant) -> None:
        """Add a subscription, or replace the one with the same filter (MQTT 5.0 §3.8.4)."""
        if topic_filter not in connection.filters:
            self.subscription_count += 1
            connection.filter_bytes += len(topic_filter)
        connection.filters[topic_filter] = grant
        self._tree.add(topic_filter, id(connection), (connection, grant))

    def unsubscribe(self, connection: Connection, topic_filter: str) -> bool:
        """Remove a subscription; False if there was none."""
        if connection.filters.pop(topic_filter, None) is None:
            return False
        self._tree.remove(topic_filter, id(connection))
        self.subscription_count -= 1
        connection.filter_bytes -= len(topic_filter)
        return True

    def forget(self, connection: Connection) -> None:
        """Remove all subscriptions of a connection that is closing."""
        for topic_filter in list(connection.filters):
            self.unsubscribe(connection, topic_filter)

    def receivers(self, topic: bytes) -> list[tuple[Connection, Grant]]:
        """Who gets messages of a topic, each connection once, by its subscription with the highest QoS.

        Source: MQTT 5.0 §3.3.4 (overlapping subscriptions may be answered with one copy).
        """
        best: dict[Hashable, tuple[Connection, Grant]] = {}
        for key, entry in self._tree.match(topic.decode()):
            held = best.get(key)
            if held is None or entry[1].qos > held[1].qos:
                best[key] = entry
        return list(best.values())
