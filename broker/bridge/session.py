"""A client's session with another broker, MQTT 3.1.1 or 5.0, without a socket: bytes in, events out.

Guarantees: any way of cutting the same bytes gives the same events; any bytes at all give events, `Lost` among them where
the remote has broken a rule.
Bytes that depend on something that must be saved first come as `Owed` or in `Message.answer`; whoever drives the session
saves `outgoing` and `incoming`, then sends them. It must not know sockets, clocks, files, the log.

    NEW ──Open──▶ CONNECTING ──CONNACK 0──▶ SUBSCRIBING ──SUBACK──▶ OPEN
                       │                        └ nothing to ask for ──▶ OPEN
                       └──CONNACK, not 0──▶ CLOSED ◀──DISCONNECT, silence── any

Source: MQTT 5.0 §4.1 (session), §4.3 (QoS), §4.4 (delivery retry), §4.9 (flow control); MQTT 3.1.1 the same sections.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from appliance.core.errors import LocalProtocolError, RemoteProtocolError
from appliance.core.limits import BRIDGE_CONNECT_TIMEOUT_MS, BRIDGE_PONG_TIMEOUT_MS, BRIDGE_SESSION_EXPIRY_S
from broker.mqtt.codec import PacketReader, encode
from broker.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    Version,
)
from broker.mqtt.properties import Properties
from broker.mqtt.property_table import PropertyId
from broker.mqtt.reason_codes import ReasonCode

from .events import (
    Close,
    Command,
    Delivered,
    Event,
    Lost,
    Message,
    Open,
    Opened,
    Owed,
    Send,
    SessionSettings,
    Subscribed,
)
from .incoming_ids import IncomingIds
from .window import SUBSCRIBE_ID, UNSUBSCRIBE_ID, OutgoingWindow

FAILURE: Final = 0x80
"""Reason codes from here on say that it was not done (MQTT 5.0 §2.4)."""
FOR_GOOD: Final = frozenset(
    {
        ReasonCode.NOT_AUTHORIZED,
        ReasonCode.TOPIC_NAME_INVALID,
        ReasonCode.PACKET_TOO_LARGE,
        ReasonCode.PAYLOAD_FORMAT_INVALID,
        ReasonCode.RETAIN_NOT_SUPPORTED,
        ReasonCode.QOS_NOT_SUPPORTED,
    }
)
"""Refusals of a message that will be the same the next time; after any other it is sent again later."""


REASON_CHARACTERS_MAX: Final = 200
RETURN_CODES: Final = {
    1: ReasonCode.UNSUPPORTED_PROTOCOL_VERSION,
    2: ReasonCode.CLIENT_IDENTIFIER_NOT_VALID,
    3: ReasonCode.SERVER_UNAVAILABLE,
    4: ReasonCode.BAD_USER_NAME_OR_PASSWORD,
    5: ReasonCode.NOT_AUTHORIZED,
}
"""What a CONNACK of 3.1.1 says, in the words of MQTT 5 (MQTT 3.1.1 §3.2.2.3)."""


class State(Enum):
    NEW = "new"
    CONNECTING = "connecting"
    SUBSCRIBING = "subscribing"
    OPEN = "open"
    CLOSED = "closed"


_RUNNING: Final[tuple[type[Packet], ...]] = (
    Publish, Puback, Pubrec, Pubrel, Pubcomp, Suback, Unsuback, Pingresp, Disconnect
)  # fmt: skip
EXPECTED: Final[dict[State, tuple[type[Packet], ...]]] = {
    State.NEW: (),
    State.CONNECTING: (Connack,),
    State.SUBSCRIBING: _RUNNING,
    State.OPEN: _RUNNING,
    State.CLOSED: (),
}
"""Which packets may come in which state; any other is the remote's mistake."""


class ClientSession:
    """One connection of the session; see the module's docstring.

    Args:
        outgoing, incoming: What outlives the connection.
    """

    def __init__(self, settings: SessionSettings, outgoing: OutgoingWindow, incoming: IncomingIds) -> None:
        self.state = State.NEW
        self._settings = settings
        self._outgoing = outgoing
        self._incoming = incoming
        self._version = settings.version
        self._reader = PacketReader(settings.version, packet_bytes_max=settings.packet_bytes_max)
        self._began_ms = self._sent_ms = self._heard_ms = 0
        self._pinged_ms: int | None = None
        self._keep_alive_ms = settings.keep_alive_s * 1000
        self._handlers: dict[type[Packet], Callable[[Packet], list[Event]]] = {
            Connack: self._connack,
            Suback: self._suback,
            Unsuback: self._unsuback,
            Publish: self._publish,
            Puback: self._puback,
            Pubrec: self._pubrec,
            Pubrel: self._pubrel,
            Pubcomp: self._pubcomp,
            Pingresp: self._pingresp,
            Disconnect: self._disconnect,
        }

    # --- the four verbs ---------------------------------------------------------------------------------------

    def receive_bytes(self, data: bytes, now_ms: int) -> list[Event]:
        """What the remote's bytes mean; nothing any more behind `Lost`."""
        self._heard_ms = now_ms
        events: list[Event] = []
        self._reader.feed(data)
        while self.state is not State.CLOSED:
            try:
                packet = self._reader.next_packet()
                if packet is None:
                    break
                if not isinstance(packet, EXPECTED[self.state]):
                    raise RemoteProtocolError(
                        f"{type(packet).__name__.upper()} came in state {self.state.value}."
                    )
                events += self._handlers[type(packet)](packet)
            except RemoteProtocolError as error:
                self.state = State.CLOSED
                events.append(Lost(text=error.message, reason_code=error.reason_code))
        return events

    def send(self, command: Command, now_ms: int) -> bytes:
        """The bytes of a command.

        Raises:
            LocalProtocolError: not in this state, or the codec refuses it.
        """
        self._sent_ms = now_ms
        match command:
            case Open() if self.state is State.NEW:
                self.state = State.CONNECTING
                self._began_ms = self._heard_ms = now_ms
                return encode(self._connect(), self._version)
            case Send(publish=publish) if self.state is State.OPEN:
                return encode(publish, self._version)
            case Close() if self.state in (State.SUBSCRIBING, State.OPEN):
                self.state = State.CLOSED
                return encode(Disconnect(), self._version)
        raise LocalProtocolError(f"{type(command).__name__} is not possible in state {self.state.value}.")

    def release(self, packet_id: int) -> bytes:
        """PUBREL for a message that goes out no more, as `OutgoingWindow.pass_to` says."""
        return encode(Pubrel(packet_id=packet_id), self._version)

    def next_deadline_ms(self) -> int | None:
        """When `on_deadline` is to be called if nothing happens before; None for never."""
        if self.state in (State.CONNECTING, State.SUBSCRIBING):
            return self._began_ms + BRIDGE_CONNECT_TIMEOUT_MS
        if self.state is not State.OPEN or not self._keep_alive_ms:
            return None
        if self._pinged_ms is not None:
            return max(self._pinged_ms, self._heard_ms) + BRIDGE_PONG_TIMEOUT_MS
        return min(self._sent_ms, self._heard_ms) + self._keep_alive_ms * 3 // 4

    def on_deadline(self, now_ms: int) -> list[Event]:
        """A PINGREQ, or the end of a connection that is silent."""
        deadline_ms = self.next_deadline_ms()
        if deadline_ms is None or now_ms < deadline_ms:
            return []
        if self.state is not State.OPEN:
            waited_for = "CONNACK" if self.state is State.CONNECTING else "SUBACK"
            self.state = State.CLOSED
            return [Lost(text=f"No {waited_for} within {BRIDGE_CONNECT_TIMEOUT_MS // 1000} s.")]
        if self._pinged_ms is not None:
            self.state = State.CLOSED
            return [Lost(text=f"No answer to PINGREQ within {BRIDGE_PONG_TIMEOUT_MS // 1000} s.")]
        self._pinged_ms = self._sent_ms = now_ms
        return [Owed(data=encode(Pingreq(), self._version))]

    def not_listening(self, now_ms: int) -> None:
        """Nothing was received for a reason of our own (our disk is full, say): the remote's silence means nothing."""
        self._heard_ms = now_ms
        self._pinged_ms = None  # PINGREQ goes on being sent, whose answers lie unread

    # --- opening ----------------------------------------------------------------------------------------------

    def _connect(self) -> Connect:
        settings = self._settings
        properties = Properties.EMPTY
        if self._version is Version.MQTT_5:
            properties = Properties(
                {
                    PropertyId.SESSION_EXPIRY_INTERVAL: BRIDGE_SESSION_EXPIRY_S,
                    PropertyId.RECEIVE_MAXIMUM: settings.receive_maximum,
                    PropertyId.MAXIMUM_PACKET_SIZE: settings.packet_bytes_max,
                }
            )
        return Connect(
            client_id=settings.client_id,
            clean_start=False,
            keep_alive_s=settings.keep_alive_s,
            username=settings.username,
            password=settings.password,
            version=self._version,
            is_bridge=settings.is_private and self._version is not Version.MQTT_5,
            properties=properties,
        )

    def _connack(self, packet: Packet) -> list[Event]:
        assert isinstance(packet, Connack)
        properties = packet.properties
        if packet.reason_code:
            self.state = State.CLOSED
            reason = _reason(properties)
            code = packet.reason_code
            if self._version is not Version.MQTT_5:
                code = RETURN_CODES.get(code, ReasonCode.UNSPECIFIED_ERROR)
            return [Lost(text=f"The other broker refused the connection. {reason}".strip(), reason_code=code)]
        keep_alive_s = properties.integer(PropertyId.SERVER_KEEP_ALIVE, 0)
        # Where the remote wants none we keep ours: it is how we notice that it is gone.
        self._keep_alive_ms = 1000 * (keep_alive_s or self._settings.keep_alive_s)
        if not packet.session_present:
            self._incoming.forget()
        release = self._outgoing.begin(
            session_present=packet.session_present,
            receive_maximum=properties.integer(PropertyId.RECEIVE_MAXIMUM, 65_535),
        )
        packet_bytes_max = properties.get(PropertyId.MAXIMUM_PACKET_SIZE)
        events: list[Event] = [
            Opened(
                session_present=packet.session_present,
                qos_max=properties.integer(PropertyId.MAXIMUM_QOS, 2),
                takes_retained=bool(properties.integer(PropertyId.RETAIN_AVAILABLE, 1)),
                packet_bytes_max=packet_bytes_max if isinstance(packet_bytes_max, int) else None,
            )
        ]
        self.state = State.SUBSCRIBING
        owed = b"".join(encode(Pubrel(packet_id=packet_id), self._version) for packet_id in release)
        return [*events, *self._ask(session_present=packet.session_present, owed=owed)]

    def _ask(self, *, session_present: bool, owed: bytes) -> list[Event]:
        """UNSUBSCRIBE and SUBSCRIBE for what the session at the remote lacks or has too much; often nothing."""
        settings = self._settings
        wanted = settings.wanted
        is_same = session_present and set(wanted) == set(settings.known)
        removed = tuple(
            topic_filter
            for topic_filter, _ in settings.known
            if session_present and topic_filter not in dict(wanted)
        )
        if removed:
            owed += encode(Unsubscribe(packet_id=UNSUBSCRIBE_ID, topic_filters=removed), self._version)
        if wanted and not is_same:
            owed += encode(
                Subscribe(packet_id=SUBSCRIBE_ID, subscriptions=settings.subscriptions), self._version
            )
            return [Owed(data=owed)]
        self.state = State.OPEN
        return [*([Owed(data=owed)] if owed else []), Subscribed()]

    def _suback(self, packet: Packet) -> list[Event]:
        assert isinstance(packet, Suback)
        wanted = self._settings.wanted
        if self.state is not State.SUBSCRIBING or packet.packet_id != SUBSCRIBE_ID:
            raise RemoteProtocolError("A SUBACK that nothing was asked for.")
        if len(packet.reason_codes) != len(wanted):
            raise RemoteProtocolError(
                f"SUBACK answers {len(packet.reason_codes)} of {len(wanted)} topic filters."
            )
        self.state = State.OPEN
        refused = tuple(
            (topic_filter, code)
            for (topic_filter, _), code in zip(wanted, packet.reason_codes, strict=True)
            if code >= FAILURE
        )
        return [Subscribed(refused=refused)]

    def _unsuback(self, packet: Packet) -> list[Event]:
        assert isinstance(packet, Unsuback)
        if packet.packet_id != UNSUBSCRIBE_ID:
            raise RemoteProtocolError("An UNSUBACK that nothing was asked for.")
        return []

    # --- messages from the remote -----------------------------------------------------------------------------

    def _publish(self, packet: Packet) -> list[Event]:
        assert isinstance(packet, Publish)
        if PropertyId.TOPIC_ALIAS in packet.properties:
            raise RemoteProtocolError(
                "The other broker used a topic alias, and CONNECT allowed none.",
                reason_code=ReasonCode.TOPIC_ALIAS_INVALID,
            )
        packet_id = packet.packet_id or 0
        match packet.qos:
            case 0:
                return [Message(publish=packet, packet_id=0, answer=b"")]
            case 1:
                answer = encode(Puback(packet_id=packet_id), self._version)
                return [Message(publish=packet, packet_id=packet_id, answer=answer)]
        answer = encode(Pubrec(packet_id=packet_id), self._version)
        if packet_id in self._incoming:
            return [Owed(data=answer)]
        return [Message(publish=packet, packet_id=packet_id, answer=answer)]

    def _pubrel(self, packet: Packet) -> list[Event]:
        """PUBCOMP also where the identifier is not known: it was released before (MQTT 3.1.1 §4.3.3)."""
        assert isinstance(packet, Pubrel)
        self._incoming.release(packet.packet_id)
        return [Owed(data=encode(Pubcomp(packet_id=packet.packet_id), self._version))]

    # --- answers to our messages ------------------------------------------------------------------------------

    def _puback(self, packet: Packet) -> list[Event]:
        assert isinstance(packet, Puback)
        return self._done(packet.packet_id, 1, packet.reason_code)

    def _pubrec(self, packet: Packet) -> list[Event]:
        assert isinstance(packet, Pubrec)
        if packet.reason_code >= FAILURE:
            return self._done(packet.packet_id, 2, packet.reason_code)
        code = ReasonCode.SUCCESS
        if not self._outgoing.received(packet.packet_id) and self._version is Version.MQTT_5:
            code = ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
        return [Owed(data=encode(Pubrel(packet_id=packet.packet_id, reason_code=code), self._version))]

    def _pubcomp(self, packet: Packet) -> list[Event]:
        """Also with "packet identifier not found": it was released before, and we were killed in between."""
        assert isinstance(packet, Pubcomp)
        return self._done(packet.packet_id, 2, 0)

    def _done(self, packet_id: int, qos: int, reason_code: int) -> list[Event]:
        if reason_code >= FAILURE and reason_code not in FOR_GOOD:
            self._outgoing.give_back(packet_id)
            self.state = State.CLOSED
            return [Lost(text="The other broker takes no messages now.", reason_code=reason_code)]
        seq = self._outgoing.complete(packet_id, qos)
        if seq is None:
            return []  # Answered twice, or of a connection before: nothing waits for it.
        return [Delivered(seq=seq, reason_code=reason_code if reason_code >= FAILURE else 0)]

    # --- the rest ---------------------------------------------------------------------------------------------

    def _pingresp(self, packet: Packet) -> list[Event]:
        self._pinged_ms = None
        return []

    def _disconnect(self, packet: Packet) -> list[Event]:
        assert isinstance(packet, Disconnect)
        self.state = State.CLOSED
        reason = _reason(packet.properties)
        return [
            Lost(
                text=f"The other broker closed the connection. {reason}".strip(),
                reason_code=packet.reason_code,
            )
        ]


def _reason(properties: Properties) -> str:
    """What the remote says in its own words: cut, and without what would rearrange a terminal or a page."""
    text = (properties.text(PropertyId.REASON_STRING) or "")[:REASON_CHARACTERS_MAX]
    return "".join(character if character.isprintable() else "?" for character in text)
