"""Packets other than PUBLISH, one by one and in order: SUBSCRIBE, UNSUBSCRIBE, acknowledgements, PINGREQ, DISCONNECT.

What changes a session that outlives its connection is answered when its record is on disk: SUBACK, UNSUBACK, PUBREL. A second
CONNECT and packets that only a server sends are protocol errors.
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
from .mqtt.topics import is_shared_filter, parse_shared
from .mqtt.wire import remaining_length
from .open_block import PendingRecord
from .outbound import Step
from .router import Grant, Router
from .session_records import CloseReason

if TYPE_CHECKING:
    from .connection import Connection
    from .data_plane import DataPlane
    from .requests import Requests
    from .state.session import Session

PINGRESP: Final = b"\xd0\x00"
ANSWER_BYTES_MAX: Final = 6
"""Of a SUBACK or UNSUBACK but its reason codes: type 1, length 2 (at most 1,024 filters), identifier 2, properties 1."""
SEND_RETAINED: Final = 0
SEND_RETAINED_IF_NEW: Final = 1
"""Retain handling (MQTT 5.0 §3.8.3.1); 2 sends none."""


PUBACK_SHORT: Final = b"\x40\x02"
"""A PUBACK's first two bytes where only the identifier follows."""


class SlowPath:
    """Handles one packet at a time for the data plane; `plane` and `requests` are set once they are made."""

    plane: DataPlane
    requests: Requests

    def __init__(
        self, router: Router, policy: AccessPolicy, *, subscriptions_max: int, session_expiry_s_max: int
    ) -> None:
        self._router = router
        self._policy = policy
        self._subscriptions_max = subscriptions_max
        self._session_expiry_s_max = session_expiry_s_max
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

    def take_pubacks(self, connection: Connection, data: bytes, pos: int, bytes_max: int) -> int:
        """Handle PUBACKs of the shortest form, as many as follow each other at `data[pos:]`; no object is made for one.

        What a subscriber answers to each delivery: success in every version (MQTT 5.0 §3.4.2.1, 3.1.1 §3.4). Identifier 0,
        reason codes and a packet that is not whole are left to `handle_next`.

        Returns:
            Where the next packet begins.
        """
        end = min(len(data), pos + bytes_max) - 3
        while pos < end and data[pos] == 0x40 and data[pos + 1] == 2:
            packet_id = data[pos + 2] << 8 | data[pos + 3]
            if not packet_id:
                break
            pos += 4
            self.received_packets += 1
            self._complete(connection, packet_id, Step.PUBACK)
        return pos

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
        # Only when the log says that the client has it may the client forget it: it would take it for a new one.
        payload = session_records.received(packet.packet_id) if is_known else None
        self._answer(connection, answer, Kind.QOS2_STEP, payload)

    def _pubcomp(self, connection: Connection, packet: Packet) -> None:
        assert isinstance(packet, Pubcomp)
        self._complete(connection, packet.packet_id, Step.PUBCOMP)

    def _complete(self, connection: Connection, packet_id: int, step: Step) -> None:
        """A delivery is done; the next of the queue takes its place."""
        outbound = connection.outbound
        before = outbound.delivered_count
        more = outbound.complete(packet_id, step, self.plane.now_ms)
        if more is None:
            return
        self.delivered_messages += outbound.delivered_count - before
        if outbound.withheld:
            self.plane.lifecycle.record_sent(connection.session)
        self.plane.lifecycle.room_was_made(connection.session)
        if more:
            connection.outbox += more
            self.plane.mark_dirty(connection)
        elif outbound.lag_seq is not None:
            self.plane.mark_dirty(connection)

    # --- QoS 2, from the client to us -------------------------------------------------------------------------

    def answer_repeated(self, connection: Connection) -> None:
        """PUBREC for messages that were taken before, once that is certainly on disk: behind a record of its own."""
        for raw in connection.parser.repeated:
            packet_id = int.from_bytes(raw, "big")
            self._record(
                connection, Pubrec(packet_id=packet_id), Kind.QOS2_STEP, session_records.repeated(packet_id)
            )
        connection.parser.repeated.clear()

    def _pubrel(self, connection: Connection, packet: Packet) -> None:
        """PUBCOMP follows the record that says so; from then on the identifier is free (MQTT 5.0 §4.3.3)."""
        assert isinstance(packet, Pubrel)
        packet_id = packet.packet_id
        if connection.parser.unreleased.discard(packet_id):
            self._record(
                connection, Pubcomp(packet_id=packet_id), Kind.QOS2_STEP, session_records.released(packet_id)
            )
            return
        answer = Pubcomp(packet_id=packet_id)
        if connection.has_properties:
            answer = Pubcomp(packet_id=packet_id, reason_code=ReasonCode.PACKET_IDENTIFIER_NOT_FOUND)
        self._say(connection, encode(answer, connection.version))

    # --- answers that a record goes before --------------------------------------------------------------------

    def _answer(
        self,
        connection: Connection,
        answer: Packet,
        kind: Kind,
        payload: bytes | None,
        *,
        said: Callable[[], None] | None = None,
    ) -> None:
        """Answer: where the session outlives its connection, when the record is on disk.

        Args:
            payload: Of the record; None where nothing has changed.
            said: Called behind the answer.
        """
        if payload is not None and connection.session.is_durable:
            self._record(connection, answer, kind, payload, said=said)
        else:
            self._say(connection, encode(answer, connection.version))
            if said is not None:
                said()

    def _record(
        self,
        connection: Connection,
        answer: Packet,
        kind: Kind,
        payload: bytes,
        *,
        said: Callable[[], None] | None = None,
    ) -> None:
        def then(_seq: int) -> None:
            if connection.fd >= 0:
                self._say(connection, encode(answer, connection.version))
                if said is not None:
                    said()

        self.plane.record(PendingRecord(kind, connection.client, payload=payload, then=then))

    # --- DISCONNECT, SUBSCRIBE, UNSUBSCRIBE -------------------------------------------------------------------

    def _disconnect(self, connection: Connection, packet: Packet) -> None:
        """The client goes; it may change how long its session outlives it (MQTT 5.0 §3.14.2.2.2)."""
        assert isinstance(packet, Disconnect)
        session = connection.session
        wanted = packet.properties.get(PropertyId.SESSION_EXPIRY_INTERVAL)
        if isinstance(wanted, int):
            if wanted and not session.is_durable:
                raise RemoteProtocolError(
                    "A session that ends with its connection can't be prolonged at its end."
                )
            session.set_expiry(min(wanted, self._session_expiry_s_max))
        self.plane.close(connection, CloseReason.CLIENT_DISCONNECT, packet.reason_code)

    def _subscribe(self, connection: Connection, packet: Packet) -> None:
        assert isinstance(packet, Subscribe)
        self._check_room(connection, len(packet.subscriptions))
        identifiers = packet.properties.get(PropertyId.SUBSCRIPTION_IDENTIFIER)
        granted: list[tuple[str, Grant, bool]] = []
        codes = tuple(
            self._grant(connection, wanted, identifiers if isinstance(identifiers, tuple) else (), granted)
            for wanted in packet.subscriptions
        )
        if not connection.has_properties:
            codes = tuple(code if code < 0x80 else SUBACK_FAILURE_3 for code in codes)
        session = connection.session
        if session.is_durable:
            session.retained_due.update(
                topic_filter for topic_filter, _, wants_retained in granted if wants_retained
            )
        payload = session_records.subscribed(granted) if granted else None
        answer = Suback(packet_id=packet.packet_id, reason_codes=codes)
        self._answer(
            connection,
            answer,
            Kind.SESSION_CHANGED,
            payload,
            said=lambda: self.plane.lifecycle.listening.subscribed(session, [each[0] for each in granted]),
        )
        for topic_filter, grant, wants_retained in granted:
            if wants_retained:
                self.plane.refill.offer_retained(session, topic_filter, grant, self.plane)

    @staticmethod
    def _check_room(connection: Connection, filter_count: int) -> None:
        """Refuse a packet whose answer, a byte for each filter, would be larger than the client takes (MQTT 5.0 §3.1.2.11.4)."""
        if not connection.outbound.has_room_for(ANSWER_BYTES_MAX + filter_count):
            raise RemoteProtocolError(
                f"The answer to {filter_count} filters would be larger than the client takes.",
                reason_code=ReasonCode.PACKET_TOO_LARGE,
                hint="Send fewer filters in a packet, or raise the client's maximum packet size.",
            )

    def _grant(
        self,
        connection: Connection,
        wanted: Subscription,
        identifiers: tuple[int, ...],
        granted: list[tuple[str, Grant, bool]],
    ) -> int:
        """Subscribe, if it may be.

        Args:
            granted: Gets filter, grant, and whether retained messages are to be sent.
        Returns:
            The reason code of SUBACK.
        """
        session, topic_filter = connection.session, wanted.topic_filter
        shared = parse_shared(topic_filter)
        if is_shared_filter(topic_filter) and (shared is None or set("+#") & set(shared.share_name)):
            # In MQTT 5 the packet would be malformed; 3.x knows no shared subscriptions, and gets them all the same.
            return ReasonCode.TOPIC_FILTER_INVALID
        if not self._policy.may_subscribe(connection.principal, topic_filter, connection.client_id):
            return ReasonCode.NOT_AUTHORIZED
        held = session.filters.get(topic_filter)
        if held is None and (limit := self._full(session, topic_filter)) is not None:
            self.refused_subscriptions += 1
            self.plane.limits.reached(limit)
            return ReasonCode.QUOTA_EXCEEDED
        # A subscription that replaces another goes on where that one is: nothing is lost (MQTT 5.0 §3.8.4).
        since_seq = self.plane.durable_next_seq if held is None else held.since_seq
        grant = Grant(
            qos=wanted.qos,
            # No local would be a protocol error with a shared subscription [MQTT-3.8.3-4]; a bridge only means its own.
            no_local=wanted.no_local or (connection.is_bridge and shared is None),
            retain_as_published=wanted.retain_as_published or connection.is_bridge,
            identifiers=identifiers,
            since_seq=since_seq,
        )
        self._router.subscribe(session, topic_filter, grant)
        if shared is not None:
            self.plane.shared_refill.want(session)
        wants_retained = shared is None and (
            wanted.retain_handling == SEND_RETAINED
            or (wanted.retain_handling == SEND_RETAINED_IF_NEW and held is None)
        )
        granted.append((topic_filter, grant, wants_retained))
        return wanted.qos

    def _full(self, session: Session, topic_filter: str) -> Limit | None:
        """Which limit one more subscription would exceed."""
        if len(session.filters) >= SUBSCRIPTION_COUNT_MAX:
            return Limit.SUBSCRIPTION_COUNT_MAX
        if session.filter_bytes + len(topic_filter) > SUBSCRIPTION_BYTES_MAX:
            return Limit.SUBSCRIPTION_BYTES_MAX
        if self._router.subscription_count >= self._subscriptions_max:
            return Limit.SUBSCRIPTIONS_MAX
        return None

    def _unsubscribe(self, connection: Connection, packet: Packet) -> None:
        assert isinstance(packet, Unsubscribe)
        self._check_room(connection, len(packet.topic_filters))
        session = connection.session
        removed = []
        codes = []
        for topic_filter in packet.topic_filters:
            session.retained.pop(topic_filter, None)
            session.retained_due.discard(topic_filter)
            if self._router.unsubscribe(session, topic_filter):
                removed.append(topic_filter)
                codes.append(ReasonCode.SUCCESS)
            else:
                codes.append(ReasonCode.NO_SUBSCRIPTION_EXISTED)
        payload = session_records.unsubscribed(removed) if removed else None
        answer = Unsuback(packet_id=packet.packet_id, reason_codes=tuple(codes))
        self._answer(connection, answer, Kind.SESSION_CHANGED, payload)
