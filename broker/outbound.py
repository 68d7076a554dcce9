"""What goes to one session's client: deliveries, bounded, never lost to slowness.

Deliveries go out at once while the client keeps up. When its window (Receive Maximum) is full they wait in a queue bounded by
count and bytes. When that is full too the session becomes a cursor: it remembers the log sequence it has come to, drops
nothing, and is fed from the log again once the queue has drained (`lag_seq`; refill.py reads the blocks). So a slow client
costs bounded memory and holds up nobody.

While the client is away the queue is `positions`, places in the log, bounded by the same count and bytes: when it is full the
oldest goes, and is counted. When it comes back, what it had not acknowledged is sent again under the same packet
identifiers, then what `positions` name, then what the log holds after `lag_seq`, then what comes live.

Exactly once over a loss of power (MQTT 5.0 §4.3.3) needs more of a session that outlives its connection: a QoS 2 message goes
out only when a record says under which identifier, so it is `withheld` until the caller has written that.

Sans-IO: bytes come out of `offer` and `complete`, the caller sends them.
Source: MQTT 5.0 §4.3 (QoS), §4.4 (delivery retry), §4.9 (flow control); MQTT 3.1.1 §4.3, §4.4.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from .delivery import Delivery, Recipe
from .mqtt.packet_ids import PACKET_ID_MAX
from .state.positions import Positions
from .topic_aliases import OutgoingAliases

if TYPE_CHECKING:
    from .shared import SharedGroup

IN_FLIGHT_COUNT_MAX: Final = 16_384
"""Whatever the client allows. A quarter of the identifiers: looking for a free one takes at most so many steps once in
49,151 packets, even where a client never acknowledges the others."""
RESUME_RATIO: Final = 0.5
"""A session that became a cursor is fed again when its queue has drained to this share of its bounds."""


class Step(IntEnum):
    """Which answer of the client is waited for."""

    PUBACK = 1
    PUBREC = 2
    PUBCOMP = 3


class Sent(NamedTuple):
    """A message that is in flight.

    Attributes:
        seq: Of its record in the log.
        retain: The RETAIN flag it was sent with.
    """

    seq: int
    step: Step
    retain: bool


class Outbound:
    """The sending half of one session; it outlives connections.

    Args:
        queue_messages_max, queue_bytes_max: Bounds of what waits, in memory or as positions.
        is_durable: The session outlives its connection.
    """

    __slots__ = (
        "_aliases",
        "_has_properties",
        "_next_packet_id",
        "_packet_bytes_max",
        "_queue_bytes_max",
        "_queue_messages_max",
        "completed",
        "delivered_bytes",
        "delivered_count",
        "dropped_count",
        "expired_count",
        "handed",
        "in_flight",
        "is_changed",
        "is_durable",
        "is_online",
        "keeps_all",
        "lag_count",
        "lag_seq",
        "lost_count",
        "oversize_count",
        "positions",
        "queue",
        "queue_bytes",
        "receive_maximum",
        "resend",
        "shared",
        "unsent_bytes",
        "withheld",
        "withheld_bytes",
    )

    def __init__(self, *, queue_messages_max: int, queue_bytes_max: int, is_durable: bool = False) -> None:
        self._queue_messages_max = queue_messages_max
        self._queue_bytes_max = queue_bytes_max
        self.is_durable = is_durable
        self._has_properties = False
        self.receive_maximum = 1
        self._packet_bytes_max: int | None = None
        self._aliases: OutgoingAliases | None = None
        self._next_packet_id = 0
        self.is_online = False
        self.keeps_all = False
        """The client is connected as far as the log says: what has no room makes a cursor, and drops nothing."""
        self.queue: deque[tuple[Delivery, Recipe, SharedGroup | None]] = deque()
        self.queue_bytes = 0
        self.positions = Positions()
        self.in_flight: dict[int, int] = {}
        """Packet identifier → record's sequence << 3 | RETAIN << 2 | `Step`, in the order of sending."""
        self.shared: dict[int, SharedGroup] = {}
        """Of which shared subscription a message in flight is."""
        self.resend: deque[int] = deque()
        """Identifiers of messages in flight that are still to be sent on this connection."""
        self.withheld: list[tuple[int, int, bytes]] = []
        """Identifier, entry of `in_flight` and packet: to be sent when a record says so."""
        self.completed: dict[int, None] = {}
        """Identifiers of QoS 2 messages that are done and of which no record says so yet."""
        self.handed: set[int] = set()
        """Sequences from `lag_seq` on that went out at QoS 2 before a restart: the cursor passes over them."""
        self.is_changed = False
        """Something happened that progress.py would say."""
        self.unsent_bytes = self.withheld_bytes = 0
        """What the socket has not taken yet, kept up to date by the connection; what waits for its record to be on disk."""
        self.lag_seq: int | None = None
        # Of this connection:
        self.lag_count = self.delivered_count = self.delivered_bytes = 0
        self.oversize_count = 0
        """Too large for the client (MQTT 5.0 §3.1.2.11.4)."""
        # Of the session:
        self.expired_count = 0
        """Their message expiry interval passed while they waited."""
        self.dropped_count = 0
        """The oldest of a full queue of a client that is away."""
        self.lost_count = 0
        """No longer in the log, or damaged there, when their turn came."""

    # --- the connection comes and goes --------------------------------------------------------------------

    def attach(
        self,
        *,
        has_properties: bool,
        receive_maximum: int,
        packet_bytes_max: int | None,
        topic_alias_max: int,
        next_seq: int,
    ) -> list[int]:
        """The client is here.

        Args:
            receive_maximum: Deliveries of QoS 1 and 2 that may be unacknowledged, 1..65535; no more than IN_FLIGHT_COUNT_MAX are.
            packet_bytes_max: Largest packet the client accepts, or None.
            topic_alias_max: Aliases the client accepts.
            next_seq: First record that has not been offered yet.
        Returns:
            Identifiers to release again (PUBREL); what else is in flight follows from the log.
        """
        self._has_properties = has_properties
        self.receive_maximum = min(receive_maximum, IN_FLIGHT_COUNT_MAX)
        self._packet_bytes_max = packet_bytes_max
        self._aliases = OutgoingAliases(topic_alias_max) if topic_alias_max else None
        self.is_online = self.keeps_all = True
        self.lag_count = self.delivered_count = self.delivered_bytes = self.oversize_count = 0
        self.unsent_bytes = 0
        self.resend = deque(i for i, entry in self.in_flight.items() if entry & 3 != Step.PUBCOMP)
        if self.resend or self.positions:
            self.hold_back(next_seq)
        return [i for i, entry in self.in_flight.items() if entry & 3 == Step.PUBCOMP]

    def detach(self) -> list[SharedGroup]:
        """The client is away: what waits becomes places in the log.

        Returns:
            Shared subscriptions that something was given back to.
        """
        self.is_online = self.keeps_all = False
        self._aliases = None
        self.resend.clear()
        self.withheld.clear()
        self.unsent_bytes = self.withheld_bytes = 0
        waiting, returned_to = Positions(), {}
        for delivery, _, group in self.queue:
            if group is not None:
                group.give_back(delivery.seq)
                returned_to[id(group)] = group
            else:
                waiting.append(delivery.seq, delivery.size_bytes, is_retained=delivery.is_kept)
        self.queue.clear()
        self.queue_bytes = 0
        self.positions.put_in_front(waiting)
        return list(returned_to.values())

    def has_room_for(self, packet_bytes: int) -> bool:
        """Whether the client takes a packet as large as this."""
        return self._packet_bytes_max is None or packet_bytes <= self._packet_bytes_max

    # --- messages come ------------------------------------------------------------------------------------

    def offer(self, delivery: Delivery, recipe: Recipe, group: SharedGroup | None = None) -> bytes:
        """Deliver, queue, remember, or fall back to the log.

        Args:
            group: The shared subscription that chose this session.
        Returns:
            Bytes to send now, b"" where nothing is.
        """
        if self.lag_seq is not None:
            return b""
        if not self.is_online:
            if recipe.qos:
                self.park(delivery.seq, delivery.size_bytes)
            return b""
        if self.is_full:
            self.fall_behind(delivery.seq)
            return b""
        return self.refill(delivery, recipe, group)

    def park(self, seq: int, size_bytes: int, *, is_retained: bool = False) -> None:
        """Remember where a message is, for when the client comes back.

        When there is no room the oldest goes, so that what a client finds is the newest.
        """
        positions = self.positions
        while self._is_over(size_bytes):
            if self.keeps_all:
                self.fall_behind(seq)
                return
            self.dropped_count += 1
            if not positions:
                return
            positions.drop_first()
        positions.append(seq, size_bytes, is_retained=is_retained)

    def _is_over(self, size_bytes: int) -> bool:
        positions = self.positions
        return (
            len(positions) >= self._queue_messages_max
            or positions.size_bytes + size_bytes > self._queue_bytes_max
        )

    def fall_behind(self, seq: int) -> None:
        """Become a cursor: everything from this sequence on comes out of the log."""
        self.lag_seq = seq
        self.lag_count += 1

    def hold_back(self, seq: int) -> None:
        """The same because something else goes first, not because the client is slow."""
        if self.lag_seq is None:
            self.lag_seq = seq

    def refill(self, delivery: Delivery, recipe: Recipe, group: SharedGroup | None = None) -> bytes:
        """Deliver or queue; the caller has seen that there is room."""
        if recipe.qos and (self.queue or len(self.in_flight) >= self.receive_maximum):
            self.queue.append((delivery, recipe, group))
            self.queue_bytes += delivery.size_bytes
            return b""
        return self._packet(delivery, recipe, group)

    def send_again(self, packet_id: int, delivery: Delivery, recipe: Recipe) -> bytes:
        """The packet of a message in flight once more; the caller sets DUP."""
        return delivery.packet(recipe, packet_id, has_properties=self._has_properties)

    @property
    def can_take(self) -> bool:
        """Whether a message offered now would go out or wait in memory."""
        return self.is_online and self.lag_seq is None and not self.is_full

    @property
    def is_window_open(self) -> bool:
        """Whether one more message may be in flight on this connection."""
        return len(self.in_flight) - len(self.resend) < self.receive_maximum

    @property
    def is_full(self) -> bool:
        return (
            len(self.queue) >= self._queue_messages_max
            or self.queue_bytes + self.unsent_bytes + self.withheld_bytes >= self._queue_bytes_max
        )

    @property
    def wants_refill(self) -> bool:
        """Whether the log should be read for this session now."""
        if self.lag_seq is None:
            return False
        if not self.is_online:
            return True
        if self.resend and not self.is_window_open:
            return False
        return (
            len(self.queue) <= self._queue_messages_max * RESUME_RATIO
            and self.queue_bytes + self.unsent_bytes + self.withheld_bytes
            <= self._queue_bytes_max * RESUME_RATIO
        )

    # --- answers come -------------------------------------------------------------------------------------

    def sent(self, packet_id: int) -> Sent | None:
        """The message in flight with this identifier."""
        entry = self.in_flight.get(packet_id)
        return None if entry is None else Sent(entry >> 3, Step(entry & 3), bool(entry & 4))

    def receive(self, packet_id: int) -> bool:
        """Take a PUBREC: the client has the message, PUBREL is to follow.

        Returns:
            False if no message of QoS 2 with this identifier was sent; one that was received before is no error.
        """
        entry = self.in_flight.get(packet_id, 0)
        if entry & 3 == Step.PUBREC:
            self.in_flight[packet_id] = entry | Step.PUBCOMP
        return entry & 3 in (Step.PUBREC, Step.PUBCOMP)

    def complete(self, packet_id: int, step: Step, now_ms: int) -> list[bytes] | None:
        """Take the last answer to a delivery: PUBACK, PUBCOMP, or a PUBREC that refuses.

        Returns:
            What to send now (the next of the queue), or None if no delivery with this identifier waits for this answer: the
            client may acknowledge what a connection before this one sent, which is not an error.
        """
        if self.in_flight.get(packet_id, 0) & 3 != step:
            return None
        entry = self.in_flight.pop(packet_id)
        if self.shared and (group := self.shared.pop(packet_id, None)) is not None:
            group.finish(entry >> 3)
        self.is_changed = True
        if step != Step.PUBACK and self.is_durable:
            self.completed[packet_id] = None
        return self._from_queue(now_ms)

    def forget(self, packet_id: int) -> None:
        """End a message in flight that can't be sent again."""
        entry = self.in_flight.pop(packet_id, None)
        if entry is not None and (group := self.shared.pop(packet_id, None)) is not None:
            group.finish(entry >> 3)
        self.is_changed = True

    def _from_queue(self, now_ms: int) -> list[bytes]:
        packets: list[bytes] = []
        while self.queue and not self.resend and len(self.in_flight) < self.receive_maximum:
            delivery, recipe, group = self.queue.popleft()
            self.queue_bytes -= delivery.size_bytes
            aged = delivery.aged(now_ms)
            if aged is None:
                self.expired_count += 1
                if group is not None:
                    group.finish(delivery.seq)
                continue
            # b"" for one too large for the client, or withheld: the next takes its place.
            packet = self._packet(aged, recipe, group)
            if packet:
                packets.append(packet)
        return packets

    def _packet(self, delivery: Delivery, recipe: Recipe, group: SharedGroup | None) -> bytes:
        qos = recipe.qos
        packet_id = self._free_packet_id() if qos else 0
        is_withheld = qos == 2 and self.is_durable
        bytes_max = self._packet_bytes_max
        if self._aliases is not None and not is_withheld:
            packet = self._aliases.packet(delivery, recipe, packet_id, bytes_max)
        else:
            packet = delivery.packet(recipe, packet_id, has_properties=self._has_properties)
        if bytes_max is not None and len(packet) > bytes_max:
            # Dropped as if it had been delivered (MQTT 5.0 §3.1.2.11.4).
            self.oversize_count += 1
            if group is not None:
                group.finish(delivery.seq)
            return b""
        self.delivered_count += 1
        self.delivered_bytes += len(packet)
        if not qos:
            return packet
        entry = delivery.seq << 3 | recipe.retain << 2 | qos
        self.in_flight[packet_id] = entry
        if self.completed:
            self.completed.pop(packet_id, None)  # What is said of the new one says it all.
        if group is not None:
            self.shared[packet_id] = group
        self.is_changed = True
        if is_withheld:
            self.withheld.append((packet_id, entry, packet))
            self.withheld_bytes += len(packet)
            return b""
        return packet

    def _free_packet_id(self) -> int:
        # The window is at most 65,535 wide and not full here, so a free identifier is found.
        while True:
            self._next_packet_id = self._next_packet_id % PACKET_ID_MAX + 1
            if self._next_packet_id not in self.in_flight:
                return self._next_packet_id
