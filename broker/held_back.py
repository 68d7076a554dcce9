"""What becomes of PUBLISH packets while the disk is too full for them.

At the disk's level `hold` what devices (and bridges, which carry devices' messages) publish is held back; at `read_only`, or
when a block waits for space, what anybody publishes. Everything else goes on: pings, subscriptions, acknowledgements, wills,
session records.

An MQTT 5 client is told: PUBACK or PUBREC with “quota exceeded”; what it publishes with QoS 0 is dropped, and counted. An
older client can't be told no, so from its first PUBLISH on it is not read any more (*parked*): TCP tells it to wait, and nothing
is lost. Its keep alive is not held against it meanwhile. Nobody is closed.
Source: MQTT 5.0 §4.13, §3.4.2.1 and §3.5.2.1 (reason code 0x97).
"""

from __future__ import annotations

import enum
import select
from typing import TYPE_CHECKING, Final

from appliance.core.errors import RemoteProtocolError
from storage.log.disk_level import DiskLevel

from .mqtt.wire import remaining_length
from .open_block import OpenBlock
from .transport import RECEIVE_BYTES

if TYPE_CHECKING:
    from .connection import Connection
    from .data_plane import DataPlane
    from .intake import Intake
    from .slow_path import SlowPath

PUBACK_QUOTA_EXCEEDED: Final = b"\x40\x03%b\x97"
PUBREC_QUOTA_EXCEEDED: Final = b"\x50\x03%b\x97"
PUBLISH: Final = 3
QOS_2: Final = 4
DISCONNECT: Final = 14
GONE_MASK: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
PARKED_MASK: Final = select.EPOLLRDHUP
"""A parked client that goes away is noticed though it isn't read."""


class Holding(enum.IntEnum):
    """Whose PUBLISH packets are held back."""

    NOBODY = 0
    DEVICES = 1
    EVERYBODY = 2


class HeldBack:
    """Who is held back, and how many messages were refused. Nothing here waits.

    Args:
        intake: Whose clients these are.
    """

    def __init__(self, intake: Intake, plane: DataPlane, slow_path: SlowPath) -> None:
        self._intake = intake
        self._slow_path = slow_path
        self._plane = plane
        self.holding = Holding.NOBODY
        self.parked: dict[int, Connection] = {}
        """By descriptor: who is not read, until the level falls or is looked at again."""
        self.refused_messages = 0
        self.dropped_messages = 0
        """Of QoS 0, to which no answer is possible."""

    def look(self, level: DiskLevel, *, log_is_full: bool) -> None:
        """Say whose publishes are held back from now on.

        Args:
            log_is_full: A block waits for space, whatever the level says.
        """
        if level is DiskLevel.READ_ONLY or log_is_full:
            self.holding = Holding.EVERYBODY
        else:
            self.holding = Holding.DEVICES if level is DiskLevel.HOLD else Holding.NOBODY

    def concerns(self, connection: Connection) -> bool:
        """Whether what this client publishes is held back now."""
        if self.holding is Holding.DEVICES:
            return connection.principal.kind == "device" or connection.is_bridge
        return self.holding is Holding.EVERYBODY

    def serve(self, connection: Connection, mask: int) -> bool:
        """Do what the intake would, for a client that is parked or held back; False for all others.

        Args:
            mask: What epoll says of it; 0 where bytes that were received before are to be looked at.
        """
        fd, unread = connection.fd, self._intake.unread
        if fd in self.parked:
            if mask & GONE_MASK:
                self._part_from(connection)
            return True
        if not self.concerns(connection):
            return False
        if fd in unread:
            if not mask:
                del unread[fd]
                self._take_in(connection, connection.take_waiting(), 0)
        elif mask not in (0, select.EPOLLOUT):
            self._read(connection)
        return True

    def parks(self, connection: Connection, data: bytes, pos: int) -> bool:
        """Park a client whose next packet is a PUBLISH to which it can't be told no: there is no such answer, or it would
        overtake one that waits for the disk (MQTT 5.0 §4.6).
        """
        if pos >= len(data) or data[pos] >> 4 != PUBLISH:
            return False
        if connection.has_properties and not self._plane.has_records_waiting(connection):
            return False
        connection.keep(data[pos:], 0)
        self.parked[connection.fd] = connection
        self._intake.watch(connection, connection.watch_mask)
        return True

    def look_again(self, mono_ms: int) -> None:
        """Have those who are parked read again; they are parked anew if it is still so."""
        for fd, connection in list(self.parked.items()):
            del self.parked[fd]
            connection.last_packet_mono_ms = mono_ms
            if connection.waiting:
                self._intake.unread[fd] = connection
            self._plane.mark_dirty(connection)  # its events are watched again when its outbox was looked at

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.receive(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._plane.lose(connection, str(error))
            return
        self._intake.received_bytes += len(data)
        connection.received_bytes += len(data)
        if data:
            self._take_in(connection, data, len(data))
        else:
            self._plane.lose(connection, "end of stream")

    def _take_in(self, connection: Connection, data: bytes, received_bytes: int) -> None:
        """Cut bytes into packets as ever, with a block that is never written in the place of the open one."""
        block = OpenBlock(connection.last_packet_mono_ms, is_refused=True)
        self._intake.take_in(connection, data, block, received_bytes)
        self._refuse(block)

    def _part_from(self, connection: Connection) -> None:
        """A parked client has gone: in order, if the last it sent is a DISCONNECT."""
        try:
            rest = connection.take_waiting() + connection.receive(RECEIVE_BYTES)
            at = goodbye_at(rest)
            if at is not None:
                self._slow_path.handle_next(connection, rest, at)
        except (OSError, RemoteProtocolError) as error:
            self._plane.lose(connection, str(error))
        if connection.fd >= 0:
            self._plane.lose(connection, "the peer went away while it was held back")

    def _refuse(self, block: OpenBlock) -> None:
        """Answer what was parsed into a block that is never written."""
        batch = block.batch
        start = 0
        for connection, (_, run) in zip(block.publishers, batch.client_runs, strict=True):
            stop = start + run
            flags, packet_ids = batch.flags[start:stop], batch.packet_ids[start:stop]
            start = stop
            if connection is None or connection.fd < 0:
                continue
            for flag, packet_id in zip(flags, packet_ids, strict=True):
                if not packet_id:
                    self.dropped_messages += 1
                    continue
                self.refused_messages += 1
                if flag & QOS_2:
                    # Its identifier is free again: nothing was taken (MQTT 5.0 §4.3.3).
                    connection.parser.unreleased.discard(int.from_bytes(packet_id))
                    connection.outbox.append(PUBREC_QUOTA_EXCEEDED % packet_id)
                else:
                    connection.unacknowledged_count -= 1
                    connection.outbox.append(PUBACK_QUOTA_EXCEEDED % packet_id)
            self._plane.mark_dirty(connection)


def goodbye_at(data: bytes) -> int | None:
    """Where the DISCONNECT is with which a parked client ended; `data` is all that it sent and nobody looked at."""
    pos = 0
    while pos < len(data):
        try:
            length, after = remaining_length(data, pos + 1, is_shortest=False)
        except RemoteProtocolError:
            return None
        if length < 0:
            return None
        if data[pos] >> 4 == DISCONNECT:
            return pos
        pos = after + length
    return None
