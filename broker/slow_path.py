"""Packets other than PUBLISH, one by one and in order: SUBSCRIBE, UNSUBSCRIBE, PUBACK, PINGREQ, DISCONNECT.

What this release does not do is refused the way the specification says: shared subscriptions and subscription
identifiers by their reason codes, a second CONNECT and packets that only a server sends as
protocol errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import SUBSCRIPTION_BYTES_MAX, SUBSCRIPTION_COUNT_MAX
from appliance.management.access import AccessPolicy
from storage.log.columns import Kind

from . import session_records
from .limit_counts import Limit
from .mqtt.codec import decode, encode
from .mqtt.constants import Sender
from .mqtt.packets import (
    Disconnect,
    Packet,
    Pingreq,
    Puback,
    Pubcomp,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
)
from .mqtt.property_table import PropertyId
from .mqtt.reason_codes import SUBACK_FAILURE_3, ReasonCode
from .mqtt.topics import parse_shared
from .mqtt.wire import remaining_length
from .open_block import PendingRecord
from .outbound import Step
from .router import Grant, Router
from .session_records import CloseReason

if TYPE_CHECKING:
    from .connection import Connection
    from .data_plane import DataPlane

PINGRESP: Final = b"\xd0\x00"
ANSWER_BYTES_MAX: Final = 6
"""Of a SUBACK or UNSUBACK but its reason codes: type 1, length 2 (at most 1,024 filters), identifier 2, properties 1."""
SEND_RETAINED: Final = 0
SEND_RETAINED_IF_NEW: Final = 1
"""Retain handling (MQTT 5.0 §3.8.3.1); 2 sends none."""


class SlowPath:
    """Handles one packet at a time for the data plane, which sets `plane` when it is made."""

    plane: DataPlane

    def __init__(self, router: Router, policy: AccessPolicy, subscriptions_max: int) -> None:
        self._router = router
        self._policy = policy
        self._subscriptions_max = subscriptions_max
        self.delivered_messages = 0
        """Queued ones, sent because an acknowledgement made room."""
        self.received_packets = self.answered_packets = self.refused_subscriptions = 0
        self._handlers: dict[type[Packet], Callable[[Connection, Packet], None]] = {
            Subscribe: self._subscribe,
            Unsubscribe: self._unsubscribe,
            Puback: self._puback,
            Pubrec: self._pubrec,
            Pubrel: self._pubrel,
            Pubcomp: self._pubcomp,
            Pingreq: self._pingreq,
            Disconnect: self._disconnect,
        }

    def handle_next(self, connection: Connection, data: bytes, pos: int) -> int:
        """Handle the packet at `data[pos:]`, which is no PUBLISH.

        Returns:
            Where the next packet begins, or `pos` if this one has not come whole.
        Raises:
            RemoteProtocolError: malformed, too large, or not allowed now.
        """
        length, at = remaining_length(data[pos : pos + 5], 1, is_shortest=connection.has_properties)
        if length < 0:
            return pos
        total = at + length
        if total > connection.limits.packet_bytes_max:
            raise RemoteProtocolError(
                f"A packet of {total} bytes is larger than the maximum packet size.",
                reason_code=ReasonCode.PACKET_TOO_LARGE,
                code=Limit.PACKET_BYTES_MAX,
            )
        if pos + total > len(data):
            return pos
        packet = decode(data[pos], data[pos + at : pos + total], connection.version, Sender.CLIENT)
        handler = self._handlers.get(type(packet))
        if handler is None:
            raise RemoteProtocolError(f"{type(packet).__name__.upper()} is not expected from a client now.")
        handler(connection, packet)
        self.received_packets += 1
        return pos + total

    def _say(self, connection: Connection, data: bytes) -> None:
        self.answered_packets += 1
        connection.outbox.append(data)
        self.plane.mark_dirty(connection)

    def _pingreq(self, connection: Connection, packet: Packet) -> None:
        self._say(connection, PINGRESP)

    def _puback(self, connection: Connection, packet: Packet) -> None:
        assert isinstance(packet, Puback)
        self._complete(connection, packet.packet_id, Step.PUBACK)

    # --- QoS 2, from us to the client -------------------------------------------------------------------------

    def _pubrec(self, connection: Connection, packet: Packet) -> None:
        """The client has the message: it is released, unless it was refused, which ends it (MQTT 5.0 §4.3.3)."""
        assert isinstance(packet, Pubrec)
        if packet.reason_code >= ReasonCode.UNSPECIFIED_ERROR:
            self._complete(connection, packet.packet_id, Step.PUBREC)
            return
        is_known = connection.outbound.receive(packet.packet_id)
        answer = Pubrel(packet_id=packet.packet_id)
        if not is_known and connection.has_properties:
            answer = Pubrel(packet_id=packet.packet_id, reason_code=ReasonCode.PACKET_IDENTIFIER_NOT_FOUND)
        self._say(connection, encode(answer, connection.version))

    def _pubcomp(self, connection: Connection, packet: Packet) -> None:
        assert isinstance(packet, Pubcomp)
        self._complete(connection, packet.packet_id, Step.PUBCOMP)

    def _complete(self, connection: Connection, packet_id: int, step: Step) -> None:
        """A delivery is done; the next of the queue takes its place."""
        outbound = connection.outbound
        before = outbound.delivered_count
        more = outbound.complete(packet_id, step)
        self.delivered_messages += outbound.delivered_count - before
        if more:
            self._say(connection, more)
        elif outbound.lag_seq is not None:
            self.plane.mark_dirty(connection)

    # --- QoS 2, from the client to us -------------------------------------------------------------------------

    def answer_repeated(self, connection: Connection) -> None:
        """PUBREC for messages that were taken before, once that is certainly on disk: behind a record of its own."""
        for packet_id in connection.parser.repeated:
            self._record_step(connection, Pubrec(packet_id=int.from_bytes(packet_id, "big")))
        connection.parser.repeated.clear()

    def _pubrel(self, connection: Connection, packet: Packet) -> None:
        """PUBCOMP follows the record that says so; from then on the identifier is free (MQTT 5.0 §4.3.3)."""
        assert isinstance(packet, Pubrel)
        if connection.parser.unreleased.discard(packet.packet_id):
            self._record_step(connection, Pubcomp(packet_id=packet.packet_id))
            return
        answer = Pubcomp(packet_id=packet.packet_id)
        if connection.has_properties:
            answer = Pubcomp(packet_id=packet.packet_id, reason_code=ReasonCode.PACKET_IDENTIFIER_NOT_FOUND)
        self._say(connection, encode(answer, connection.version))

    def _record_step(self, connection: Connection, answer: Pubrec | Pubcomp) -> None:
        def then(_seq: int) -> None:
            if connection.fd >= 0:
                self._say(connection, encode(answer, connection.version))

        self.plane.record(
            PendingRecord(
                Kind.QOS2_STEP,
                connection.client,
                payload=session_records.qos2_step(answer.packet_id, is_released=isinstance(answer, Pubcomp)),
                then=then,
            )
        )

    def _disconnect(self, connection: Connection, packet: Packet) -> None:
        assert isinstance(packet, Disconnect)
        self.plane.close(connection, CloseReason.CLIENT_DISCONNECT, packet.reason_code)

    def _subscribe(self, connection: Connection, packet: Packet) -> None:
        assert isinstance(packet, Subscribe)
        if PropertyId.SUBSCRIPTION_IDENTIFIER in packet.properties:
            raise RemoteProtocolError(
                "Subscription identifiers are not supported; CONNACK said so.",
                reason_code=ReasonCode.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED,
            )
        self._check_room(connection, len(packet.subscriptions))
        codes = tuple(self._grant(connection, subscription) for subscription in packet.subscriptions)
        if not connection.has_properties:
            codes = tuple(code if code < 0x80 else SUBACK_FAILURE_3 for code in codes)
        self._say(
            connection, encode(Suback(packet_id=packet.packet_id, reason_codes=codes), connection.version)
        )

    @staticmethod
    def _check_room(connection: Connection, filter_count: int) -> None:
        """Refuse a packet whose answer, a byte for each filter, would be larger than the client takes (MQTT 5.0 §3.1.2.11.4)."""
        if not connection.outbound.has_room_for(ANSWER_BYTES_MAX + filter_count):
            raise RemoteProtocolError(
                f"The answer to {filter_count} filters would be larger than the client takes.",
                reason_code=ReasonCode.PACKET_TOO_LARGE,
                hint="Send fewer filters in a packet, or raise the client's maximum packet size.",
            )

    def _grant(self, connection: Connection, wanted: Subscription) -> int:
        if parse_shared(wanted.topic_filter) is not None:
            return ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
        if not self._policy.may_subscribe(connection.principal, wanted.topic_filter, connection.client_id):
            return ReasonCode.NOT_AUTHORIZED
        held = connection.filters.get(wanted.topic_filter)
        if held is None and (limit := self._full(connection, wanted.topic_filter)) is not None:
            self.refused_subscriptions += 1
            self.plane.limits.reached(limit)
            return ReasonCode.QUOTA_EXCEEDED
        qos = wanted.qos
        # A subscription that replaces another goes on where that one is: nothing is lost (MQTT 5.0 §3.8.4).
        since_seq = self.plane.durable_next_seq if held is None else held.since_seq
        grant = Grant(
            qos=qos,
            no_local=wanted.no_local or connection.is_bridge,
            retain_as_published=wanted.retain_as_published or connection.is_bridge,
            since_seq=since_seq,
        )
        self._router.subscribe(connection, wanted.topic_filter, grant)
        if wanted.retain_handling == SEND_RETAINED or (
            wanted.retain_handling == SEND_RETAINED_IF_NEW and held is None
        ):
            self.plane.offer_retained(connection, wanted.topic_filter, grant)
        return qos

    def _full(self, connection: Connection, topic_filter: str) -> Limit | None:
        """Which limit one more subscription would exceed."""
        if len(connection.filters) >= SUBSCRIPTION_COUNT_MAX:
            return Limit.SUBSCRIPTION_COUNT_MAX
        if connection.filter_bytes + len(topic_filter) > SUBSCRIPTION_BYTES_MAX:
            return Limit.SUBSCRIPTION_BYTES_MAX
        if self._router.subscription_count >= self._subscriptions_max:
            return Limit.SUBSCRIPTIONS_MAX
        return None

    def _unsubscribe(self, connection: Connection, packet: Packet) -> None:
        assert isinstance(packet, Unsubscribe)
        self._check_room(connection, len(packet.topic_filters))
        for topic_filter in packet.topic_filters:
            connection.retained.pop(topic_filter, None)
        codes = tuple(
            ReasonCode.SUCCESS
            if self._router.unsubscribe(connection, f)
            else ReasonCode.NO_SUBSCRIPTION_EXISTED
            for f in packet.topic_filters
        )
        self._say(
            connection, encode(Unsuback(packet_id=packet.packet_id, reason_codes=codes), connection.version)
        )
