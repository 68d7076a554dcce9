"""One client's connection after CONNECT was accepted: its bytes, its keep alive, its will, what it may do.

It holds state and never waits; the data plane (data_plane.py) drives it, and slow_path.py answers the packets that
are not PUBLISH.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from appliance.management.access import AccessPolicy, Principal

from .mqtt.batch import PublishParser
from .mqtt.packets import Connect, Version, Will
from .outbound import Outbound
from .publish_check import admit_topic, keep_publish_properties
from .transport import Closed, Transport

if TYPE_CHECKING:
    from .router import Grant

KEEP_ALIVE_RATIO: Final = 1.5
"""MQTT 5.0 §3.1.2.10: the server closes after one and a half times the keep alive."""
UNSENT_BYTES_STOP: Final = 256 * 1024
"""When this much waits to be sent to a client, nothing more is read from it: it takes its answers first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What the configuration allows one connection."""

    packet_bytes_max: int
    receive_maximum: int
    queue_messages_max: int
    queue_bytes_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A CONNECT that was accepted, and what was agreed.

    Attributes:
        keep_alive_s: As granted; 0 = none.
        connack: Encoded, to be sent once the session's record is on disk.
        rest: Bytes that came behind CONNECT.
        client_receive_maximum: QoS 1 deliveries the client takes unacknowledged.
        client_packet_bytes_max: Largest packet the client takes, or None.
    """

    connect: Connect
    client_id: str
    principal: Principal
    keep_alive_s: int
    connack: bytes
    rest: bytes
    client_receive_maximum: int
    client_packet_bytes_max: int | None


class Connection:
    """See the module's docstring. `fd` is -1 once it is closed."""

    __slots__ = (
        "_chunks",
        "_chunks_bytes",
        "_needed_bytes",
        "_unsent",
        "accepted",
        "address",
        "batch_identity",
        "client",
        "client_id",
        "client_slot",
        "fd",
        "filters",
        "has_properties",
        "is_blocked",
        "is_dirty",
        "is_refilling",
        "keep_alive_ms",
        "last_packet_at_ms",
        "last_packet_mono_ms",
        "limits",
        "outbound",
        "outbox",
        "parser",
        "principal",
        "receive",
        "sock",
        "transport",
        "unacknowledged_count",
        "version",
        "watch_mask",
        "will",
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
        connect, principal = accepted.connect, accepted.principal
        has_properties = connect.version == Version.MQTT_5
        self.sock = sock
        self.fd = sock.fileno()
        self.transport = transport
        self.receive = transport.receive
        self.address = address
        self.accepted: Accepted | None = accepted
        self.client_id = accepted.client_id
        self.principal = principal
        self.client = (accepted.client_id, principal.name)
        self.version = connect.version
        self.has_properties = has_properties
        self.keep_alive_ms = int(accepted.keep_alive_s * 1000 * KEEP_ALIVE_RATIO)
        self.will: Will | None = connect.will
        self.limits = limits
        self.last_packet_mono_ms = mono_ms
        self.last_packet_at_ms = 0
        self.unacknowledged_count = 0
        self.batch_identity: object = None
        """Of the batch that has this client in its dictionary, at `client_slot`."""
        self.client_slot = 0
        self.filters: dict[str, Grant] = {}
        self.outbox: list[bytes] = []
        self.is_dirty = False
        self.is_blocked = False
        """The socket took less than it was given; nothing more is offered until it is writable again."""
        self.is_refilling = False
        self.watch_mask = 0
        self._chunks: list[bytes] = []
        self._chunks_bytes = 0
        self._needed_bytes = 0
        self._unsent = b""
        self.parser = PublishParser(
            has_properties=has_properties,
            packet_bytes_max=limits.packet_bytes_max,
            admit_topic=lambda topic: admit_topic(topic, principal, policy, has_properties),
            keep_properties=keep_publish_properties,
        )
        self.outbound = Outbound(
            has_properties=has_properties,
            receive_maximum=accepted.client_receive_maximum,
            packet_bytes_max=accepted.client_packet_bytes_max,
            queue_messages_max=limits.queue_messages_max,
            queue_bytes_max=limits.queue_bytes_max,
        )

    # --- in ----------------------------------------------------------------------------------------------

    def collect(self, data: bytes) -> bytes:
        """Add bytes to those that wait; return all of them once a whole packet can be there, else b"".

        A large packet is joined once, when its last byte has come, not at every read.
        """
        self._chunks.append(data)
        self._chunks_bytes += len(data)
        if self._chunks_bytes < self._needed_bytes:
            return b""
        joined = b"".join(self._chunks)
        self._chunks.clear()
        self._chunks_bytes = 0
        return joined

    def keep(self, data: bytes, needed_bytes: int) -> None:
        """Put aside bytes that are not a whole packet yet.

        Args:
            needed_bytes: How many there must be before another look is worth it.
        """
        if data:
            self._chunks = [data]
            self._chunks_bytes = len(data)
            self._needed_bytes = needed_bytes

    @property
    def has_waiting(self) -> bool:
        return bool(self._chunks)

    def take_waiting(self) -> bytes:
        """The bytes that were put aside because the batch was full."""
        joined = b"".join(self._chunks)
        self._chunks.clear()
        self._chunks_bytes = 0
        return joined

    # --- out ---------------------------------------------------------------------------------------------

    def flush(self) -> bool:
        """Send what lies in the outbox, as much as the socket takes.

        Returns:
            True if nothing is left.
        Raises:
            Closed: the connection is gone.
        """
        if self.is_blocked:
            return False
        data = self._unsent
        if self.outbox:
            sealed = self.transport.seal(self.outbox[0] if len(self.outbox) == 1 else b"".join(self.outbox))
            data = data + sealed if data else sealed
            self.outbox.clear()
        if not data:
            return True
        try:
            sent = self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            raise Closed(str(error)) from error
        self._unsent = data[sent:] if sent < len(data) else b""
        self.outbound.unsent_bytes = len(self._unsent)
        self.is_blocked = bool(self._unsent)
        return not self.is_blocked

    @property
    def is_stuffed(self) -> bool:
        """Whether so much waits to be sent that nothing more should be read from this client."""
        return len(self._unsent) > UNSENT_BYTES_STOP

    def part(self, last_words: bytes) -> None:
        """Say goodbye as far as the socket takes it, and close."""
        try:
            data = (
                self._unsent
                + self.transport.seal(b"".join(self.outbox) + last_words)
                + self.transport.farewell()
            )
            if data:
                self.sock.send(data)
        except OSError:
            pass  # The peer is gone already, and goodbye was all there was left to say.
        self.sock.close()
        self.fd = -1
        self.outbox.clear()
        self._unsent = b""
        self._chunks.clear()
