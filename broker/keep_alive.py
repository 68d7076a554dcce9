"""Closes clients that were silent for longer than their keep alive, or began a packet and don't end it.

Not those that were not listened to, because the disk or this process stood still, or because they are held back: time is
counted up to the moment at which everything that had arrived was read.
Source: MQTT 5.0 §3.1.2.10.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .limit_counts import Limit
from .mqtt.reason_codes import ReasonCode
from .session_records import CloseReason

if TYPE_CHECKING:
    from .data_plane import DataPlane
    from .intake import Intake


def close_silent(plane: DataPlane, intake: Intake) -> None:
    """Close everybody whose keep alive has run out, and whose packet does not come whole in time.

    The reason is keep alive timeout for both: what keeps a connection alive is whole packets (MQTT 5.0 §3.1.2.10).
    """
    now = intake.heard_all_mono_ms
    late = [
        connection
        for connection in intake.connections.values()
        if connection.keep_alive_ms and now - connection.last_packet_mono_ms > connection.keep_alive_ms
    ]
    for connection in late:
        plane.close(connection, CloseReason.KEEP_ALIVE, ReasonCode.KEEP_ALIVE_TIMEOUT, "keep alive ran out")
    unheard = intake.unread.keys() | intake.held_back.parked.keys()
    stalled = [c for c in intake.connections.values() if c.is_stalled(now) and c.fd not in unheard]
    for connection in stalled:
        plane.limits.reached(Limit.PACKET_TIMEOUT_MS)
        plane.close(
            connection,
            CloseReason.PROTOCOL_ERROR,
            ReasonCode.KEEP_ALIVE_TIMEOUT,
            "a packet was begun and did not come whole in time",
        )
