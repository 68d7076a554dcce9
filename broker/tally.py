"""The data plane's numbers, and what is counted connection by connection, added up: those of now, and those that have gone.

So nothing is counted twice on the way of a message: a connection counts for itself, and who wants the sum walks them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connection import Connection
    from .session_records import CloseReason


@dataclass(frozen=True, slots=True)
class PlaneStatistics:
    """Counters since start, and gauges of now. `other_packets` are neither PUBLISH nor the answer to one on disk."""

    connections: int
    connections_by_transport: dict[str, int]
    subscriptions: int
    received_messages: int
    received_bytes: int
    acknowledged_messages: int
    delivered_messages: int
    refused_messages: int
    blocks: int
    closed_by_reason: dict[str, int]
    closed_by_code: dict[str, int]
    lagging_subscribers: int
    log_is_full: bool
    received_publish_bytes: int
    other_packets_received: int
    other_packets_sent: int
    refused_subscriptions: int
    missed_local_messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionTotals:
    """Counters since the start, and gauges of now.

    Attributes:
        connections_most: The most that were connected at once.
        sent_bytes: As they went out, TLS included.
        delivered_bytes: Of PUBLISH packets.
        oversize_messages: Deliveries larger than their subscriber takes (MQTT 5.0 §3.1.2.11.4).
        fell_behind: How often a subscriber's queue was full, so that it went on out of the log.
        in_flight_messages: Deliveries of QoS 1 and 2 that wait for their subscriber's answer.
        lag_records_most: Records of the log between the slowest subscriber and the head.
    """

    connections_most: int
    sent_bytes: int
    delivered_bytes: int
    oversize_messages: int
    fell_behind: int
    in_flight_messages: int
    queued_messages: int
    queued_bytes: int
    unsent_bytes: int
    lag_records_most: int


class Tally:
    """See the module's docstring."""

    def __init__(self) -> None:
        self._connections_most = 0
        self._delivered_bytes = self._sent_bytes = self._dropped = self._fell_behind = 0
        self.closed_by_reason: dict[str, int] = {}
        self.closed_by_code: dict[str, int] = {}
        """By MQTT 5 reason code, as 0x.. in lower case."""

    def opened(self, connection_count: int) -> None:
        """One more is connected, so many in all."""
        self._connections_most = max(self._connections_most, connection_count)

    def closed(self, connection: Connection, reason: CloseReason, code: int) -> None:
        """A connection is gone, or about to go with nothing more to be sent but goodbye."""
        self._sent_bytes += connection.sent_bytes
        self._delivered_bytes += connection.outbound.delivered_bytes
        self._dropped += connection.outbound.oversize_count
        self._fell_behind += connection.outbound.lag_count
        self.closed_by_reason[reason] = self.closed_by_reason.get(reason, 0) + 1
        word = f"0x{code:02x}"
        self.closed_by_code[word] = self.closed_by_code.get(word, 0) + 1

    def totals(self, connections: Iterable[Connection], next_seq: int) -> ConnectionTotals:
        """Add up.

        Args:
            connections: All that are connected. Each costs about a microsecond.
            next_seq: Of the log.
        """
        slowest_seq = next_seq
        sent, dropped, fell_behind = self._sent_bytes, self._dropped, self._fell_behind
        delivered_bytes = self._delivered_bytes
        in_flight = queued = queued_bytes = unsent_bytes = 0
        for connection in connections:
            outbound = connection.outbound
            sent += connection.sent_bytes
            delivered_bytes += outbound.delivered_bytes
            dropped += outbound.oversize_count
            fell_behind += outbound.lag_count
            in_flight += len(outbound.in_flight)
            queued += len(outbound.queue)
            queued_bytes += outbound.queue_bytes
            unsent_bytes += outbound.unsent_bytes
            if outbound.lag_seq is not None and outbound.lag_seq < slowest_seq:
                slowest_seq = outbound.lag_seq
        return ConnectionTotals(
            connections_most=self._connections_most,
            sent_bytes=sent,
            delivered_bytes=delivered_bytes,
            oversize_messages=dropped,
            fell_behind=fell_behind,
            in_flight_messages=in_flight,
            queued_messages=queued,
            queued_bytes=queued_bytes,
            unsent_bytes=unsent_bytes,
            lag_records_most=next_seq - slowest_seq,
        )
