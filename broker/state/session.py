"""One session: what a client has with the broker, whether it is connected or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..mqtt.packet_ids import PacketIds
from ..outbound import Outbound

if TYPE_CHECKING:
    from ..connection import Connection
    from ..router import Grant
    from ..shared import SharedGroup
    from .retained import RetainedWalk


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWill:
    """A will as the record that publishes it.

    Attributes:
        flags: QoS << 1 | RETAIN.
        properties: Of a PUBLISH, MQTT 5 property bytes.
        delay_s: Will delay interval (MQTT 5.0 §3.1.3.2.2).
    """

    topic: bytes
    payload: bytes
    flags: int
    properties: bytes
    delay_s: int


class Session:
    """See the module's docstring.

    Args:
        client_id, principal: Whose it is.
        expiry_s: How long it outlives its connection; 0 = not at all.
        queue_messages_max, queue_bytes_max: Bounds of what waits for its client.
    """

    __slots__ = (
        "client",
        "client_id",
        "closed_at_ms",
        "closed_mono_ms",
        "connection",
        "expiry_s",
        "filter_bytes",
        "filters",
        "groups",
        "is_open",
        "is_refilling",
        "outbound",
        "principal",
        "retained",
        "retained_due",
        "unreleased",
        "will",
    )

    def __init__(
        self, client_id: str, principal: str, *, expiry_s: int, queue_messages_max: int, queue_bytes_max: int
    ) -> None:
        self.client_id = client_id
        self.principal = principal
        self.client = (client_id, principal)
        self.expiry_s = expiry_s
        self.connection: Connection | None = None
        self.is_open = False
        """Its last record is that of a connection's beginning, not of its end."""
        self.closed_at_ms = 0
        """Wall time of its connection's end."""
        self.closed_mono_ms = 0
        self.will: LastWill | None = None
        """To be published; while the client is away, after its delay."""
        self.filters: dict[str, Grant] = {}
        self.filter_bytes = 0
        """Characters of all of them."""
        self.groups: dict[str, SharedGroup] = {}
        """Shared subscriptions that it is a member of, by filter."""
        self.retained: dict[str, RetainedWalk] = {}
        """Filters whose retained messages have not all been sent yet."""
        self.retained_due: set[str] = set()
        """Filters of which a restart does not know whether their retained messages were all sent."""
        self.unreleased = PacketIds()
        """QoS 2 messages that the client has sent and not released."""
        self.outbound = Outbound(
            queue_messages_max=queue_messages_max, queue_bytes_max=queue_bytes_max, is_durable=bool(expiry_s)
        )
        self.is_refilling = False

    @property
    def is_durable(self) -> bool:
        """Whether it outlives its connection, and so a restart."""
        return bool(self.expiry_s)

    def set_expiry(self, expiry_s: int) -> None:
        """Change how long it outlives its connection (CONNECT, DISCONNECT)."""
        self.expiry_s = expiry_s
        self.outbound.is_durable = bool(expiry_s)

    def will_delay_s(self) -> int:
        """How long the will waits for the client to come back: no longer than the session (MQTT 5.0 §3.1.3.2.2)."""
        return 0 if self.will is None else min(self.will.delay_s, self.expiry_s)
