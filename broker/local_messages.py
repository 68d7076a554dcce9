"""Messages that are in no log: the topics below $SYS, which say how the broker does.

They go to whoever is subscribed at QoS 0, at once, beside what a session that lags gets out of the log; the newest of each
topic is kept for subscriptions to come. Who has no room misses one, which is counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .delivery import NEVER, Delivery
from .router import Router
from .state.retained import RetainedMessage, RetainedMessages

if TYPE_CHECKING:
    from .data_plane import DataPlane

LOCAL_ROOT: Final = "$SYS"
"""First level of their topics. A bridge's state, which clients publish there, is like any message."""
LOCAL_COUNT_MAX: Final = 1024
"""Topics below $SYS; there are about 80."""
LOCAL_BYTES_MAX: Final = 256 * 1024


class LocalMessages:
    """See the module's docstring."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self.kept = RetainedMessages(messages_max=LOCAL_COUNT_MAX, bytes_max=LOCAL_BYTES_MAX)
        self.missed_count = self.delivered_count = 0

    def publish(self, topic: bytes, payload: bytes, plane: DataPlane) -> None:
        """Give a message to whoever is subscribed, and keep it as its topic's newest."""
        self.kept.keep(
            RetainedMessage(
                seq=0,
                client_id="",
                topic=topic,
                payload=payload,
                properties=b"",
                qos=0,
                received_at_ms=0,
                expires_at_ms=NEVER,
            )
        )
        delivery = Delivery(seq=0, client=("", ""), topic=topic, payload=payload, qos=0, is_retained=True)
        sessions, _ = self._router.receivers(topic)
        for session, grant in sessions:
            outbound, connection = session.outbound, session.connection
            if connection is None or not outbound.is_online:
                continue
            if outbound.is_full:
                self.missed_count += 1
                continue
            data = outbound.refill(delivery, grant.recipe(0, True))
            if data:
                self.delivered_count += 1
                outbound.unsent_bytes += len(data)
                connection.outbox.append(data)
                plane.mark_dirty(connection)
