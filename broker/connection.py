"""One client's connection after CONNECT was accepted: its bytes, its keep alive, its will, what it may do.

It holds state and never waits; the data plane (data_plane.py) drives it, and slow_path.py answers the packets that
are not PUBLISH.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from appliance.management.access import AccessPolicy, Principal

from .kept_copies import KeptCopies
from .mqtt.packets import Connack, Connect, Version
from .mqtt.property_table import PropertyId
from .mqtt.publish_parser import PublishParser
from .pace import Pause, Rate
from .publish_check import admit_topic, is_request, keep_publish_properties
from .transport import Closed, PlainTransport, Transport

if TYPE_CHECKING:
    from .outbound import Outbound
    from .state.session import Session

KEEP_ALIVE_RATIO: Final = 1.5
"""MQTT 5.0 §3.1.2.10: the server closes after one and a half times the keep alive."""
NOTHING: Final = memoryview(b"")
UNSENT_BYTES_STOP: Final = 256 * 1024
"""When this much waits to be sent to a client, nothing more is read from it: it takes its answers first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What the configuration allows one connection."""

    packet_bytes_max: int
    receive_maximum: int
    topic_alias_max: int
    packet_timeout_ms: int
    device_rate: Rate = Rate()  # noqa: RUF009 - it is frozen
    application_rate: Rate = Rate()  # noqa: RUF009


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A CONNECT that was accepted, and what was agreed.

    Attributes:
        keep_alive_s: As granted; 0 = none.
        session_expiry_s: As granted: how long the session outlives the connection, 0 = not at all.
        connack: To be sent once the session's record is on disk; whether a session was present is added then.
        rest: Bytes that came behind CONNECT.
        client_receive_maximum: QoS 1 and 2 deliveries the client takes unacknowledged.
        client_packet_bytes_max: Largest packet the client takes, or None.
        client_topic_alias_max: Topic aliases it takes.
    """

    connect: Connect
    client_id: str
    principal: Principal
    keep_alive_s: int
    session_expiry_s: int
    connack: Connack
    rest: bytes
    client_receive_maximum: int
    client_packet_bytes_max: int | None
    client_topic_alias_max: int


class Connection:
    """See the module's docstring. `fd` is -1 once it is closed."""

    session: Session
    outbound: Outbound

    __slots__ = (
        "_backlog",
        "_backlog_bytes",
        "_needed_bytes",
        "accepted",
        "address",
        "batch_identity",
        "client",
        "client_id",
        "client_slot",
        "connected_at_ms",
        "fd",
        "has_properties",
        "is_blocked",
        "is_bridge",
        "is_dirty",
        "is_plain",
        "keep_alive_ms",
        "kept_copies",
        "last_packet_at_ms",
        "last_packet_mono_ms",
        "limits",
        "outbound",
        "outbox",
        "pace",
        "packet_began_mono_ms",
        "packet_bytes_max",
        "parser",
        "pause",
        "principal",
        "receive",
        "received_bytes",
        "send",
        "sent_bytes",
        "session",
        "sock",
        "transport",
        "unacknowledged_count",
        "unsent",
        "version",
        "waiting",
        "wants_reasons",
        "watch_mask",
    )

    def __init__(
        self,
        *,
        sock: socket.socket,
        transport: Transport,
        address: str,
        accepted: Accepted,
        policy: AccessPolicy,
        limits: ConnectionLimits,
        mono_ms: int,
    ) -> None:
        connect = accepted.connect
        has_properties = connect.version == Version.MQTT_5
        self.sock = sock
        self.fd = sock.fileno()
        self.transport = transport
        self.pace = (
            limits.application_rate if accepted.principal.kind == "application" else limits.device_rate
        ).pace()
        """How fast it may send; None for as fast as it likes."""
        self.pause: Pause | None = None
        """While it is not read from because it was too fast."""
        self.receive = self.pace.bounded(transport.receive) if self.pace else transport.receive
        self.send = sock.send
        self.is_plain = isinstance(transport, PlainTransport)
        self.address = address
        self.accepted: Accepted | None = accepted
        self.client_id = accepted.client_id
        self.principal: Principal = accepted.principal
        """Who it is now: its access may change while it is connected, its name never."""
        self.client = (accepted.client_id, accepted.principal.name)
        self.version = connect.version
        self.has_properties = has_properties
        self.is_bridge = connect.is_bridge
        """Another broker (mosquitto's `try_private`): gets RETAIN as it was published, and nothing of its own back."""
        self.kept_copies = (
            KeptCopies() if connect.is_bridge or accepted.principal.kind == "application" else None
        )
        """What it sent with RETAIN; None for a device, which keeps no copies of what others said."""
        self.keep_alive_ms = int(accepted.keep_alive_s * 1000 * KEEP_ALIVE_RATIO)
        self.limits = limits
        self.last_packet_mono_ms = mono_ms
        self.last_packet_at_ms = 0
        self.connected_at_ms = 0
        """When it was told that it is connected, wall time."""
        self.received_bytes = 0
        """Plain, as they came out of TLS."""
        self.sent_bytes = 0
        """As the socket took them."""
        self.unacknowledged_count = 0
        self.batch_identity: object = None
        """Of the batch that has this client in its dictionary, at `client_slot`."""
        self.client_slot = 0
        self.outbox: list[bytes] = []
        self.is_dirty = False
        self.is_blocked = False
        """The socket took less than it was given; nothing more is offered until it is writable again."""
        self.watch_mask = 0
        self.waiting = bytearray()
        self.packet_began_mono_ms = mono_ms
        """When the first byte of what waits had come."""
        self._needed_bytes = 0
        self.unsent = NOTHING
        """What the socket did not take, sealed."""
        self._backlog: list[bytes] = []
        """What came into the outbox since, not sealed yet."""
        self._backlog_bytes = 0
        self.parser = PublishParser(
            has_properties=has_properties,
            packet_bytes_max=limits.packet_bytes_max,
            admit_topic=lambda topic: admit_topic(
                topic, self.principal, policy, has_properties, self.client_id
            ),
            keep_properties=lambda raw: keep_publish_properties(raw, limits.topic_alias_max),
            is_request=lambda topic: is_request(topic, self.principal, policy),
        )
        self.packet_bytes_max = accepted.client_packet_bytes_max
        self.wants_reasons = bool(connect.properties.integer(PropertyId.REQUEST_PROBLEM_INFORMATION, 1))
        """Reason strings may be sent (MQTT 5.0 §3.1.2.11.7)."""

    def attach(self, session: Session) -> None:
        """Have a session; a connection that was taken over by the data plane has one."""
        self.session = session
        self.outbound = session.outbound
        self.parser.unreleased = session.unreleased

    # --- in ----------------------------------------------------------------------------------------------

    def collect(self, data: bytes) -> bytes:
        """Add bytes to those that wait; return all of them once a whole packet can be there, else b"".

        However small the pieces of a large packet are, they cost what their bytes cost: one growing buffer, and one
        copy when the last byte has come.
        """
        self.waiting += data
        return self.take_waiting() if len(self.waiting) >= self._needed_bytes else b""

    def keep(self, data: bytes, needed_bytes: int) -> None:
        """Put aside bytes that are not a whole packet yet.

        Args:
            needed_bytes: How many there must be before another look is worth it.
        """
        self.waiting = bytearray(data)
        self._needed_bytes = needed_bytes

    def is_stalled(self, mono_ms: int) -> bool:
        """Whether a packet was begun, and should have come whole by now; nobody is waited for who isn't read from."""
        late_ms = mono_ms - self.packet_began_mono_ms - self.limits.packet_timeout_ms
        return bool(self.waiting) and late_ms > 0 and not self.is_stuffed

    def take_waiting(self) -> bytes:
        """All that was put aside."""
        whole = bytes(self.waiting)
        self.waiting = bytearray()
        return whole

    # --- out ---------------------------------------------------------------------------------------------

    def answer(self, data: bytes) -> bool:
        """Send a few bytes at once where nothing stands before them: the way of acknowledgements.

        Returns:
            False where something has to wait, for `flush`.
        Raises:
            OSError: the connection is gone.
        """
        if self.outbox or self.unsent:
            self.outbox.append(data)
            return False
        if not self.is_plain:
            data = self.transport.seal(data)
        send = self.send
        try:
            sent = send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        self.sent_bytes += sent
        if sent < len(data):
            self.unsent = memoryview(data)[sent:]
            self.is_blocked = True
            return False
        return True

    def flush(self) -> bool:
        """Send what lies in the outbox, as much as the socket takes.

        Returns:
            True if nothing is left.
        Raises:
            Closed: the connection is gone.
        """
        outbox = self.outbox
        if self.unsent:
            return self._flush_behind()
        if not outbox:
            return True
        data = self.transport.seal(outbox[0] if len(outbox) == 1 else b"".join(outbox))
        outbox.clear()
        sent = self._send(data)
        if sent < len(data):
            self.unsent = memoryview(data)[sent:]
            self.is_blocked = True
        self.outbound.unsent_bytes = len(data) - sent
        return not self.is_blocked

    def _flush_behind(self) -> bool:
        """Send on to a client that is behind: each byte is joined and sealed once, however often the socket is full."""
        if self.outbox:
            self._backlog += self.outbox
            self._backlog_bytes += sum(map(len, self.outbox))
            self.outbox.clear()
        if not self.is_blocked:
            self.unsent = self.unsent[self._send(self.unsent) :]
            if not self.unsent and self._backlog:
                sealed = memoryview(self.transport.seal(b"".join(self._backlog)))
                self._backlog.clear()
                self._backlog_bytes = 0
                self.unsent = sealed[self._send(sealed) :]
            self.is_blocked = bool(self.unsent)
        self.outbound.unsent_bytes = self.unsent_bytes
        return not self.is_blocked

    def _send(self, data: bytes | memoryview) -> int:
        try:
            sent = self.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise Closed(str(error)) from error
        self.sent_bytes += sent
        return sent

    @property
    def unsent_bytes(self) -> int:
        """What waits because the client does not take it, as of the last flush."""
        return len(self.unsent) + self._backlog_bytes

    @property
    def is_stuffed(self) -> bool:
        """Whether so much waits to be sent that nothing more should be read from this client."""
        return self.unsent_bytes > UNSENT_BYTES_STOP

    def part(self, last_words: bytes) -> None:
        """Say goodbye as far as the socket takes it, and close."""
        try:
            if not self.is_blocked:
                rest = b"".join((*self._backlog, *self.outbox, last_words))
                data = b"".join((self.unsent, self.transport.seal(rest), self.transport.farewell()))
                if data:
                    self.send(data)
        except (OSError, Closed):
            pass  # The peer is gone already, and goodbye was all there was left to say.
        self.sock.close()
        self.fd = -1
        self.outbox.clear()
        self._backlog.clear()
        self._backlog_bytes = 0
        self.unsent = NOTHING
        self.waiting = bytearray()
