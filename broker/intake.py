"""Reads what clients have sent, each in its turn, and cuts it into packets: PUBLISH into the open block, others one by
one to the slow path.

The epoll set is asked in rounds. Everybody who had something to say at the beginning of a round is served once in it,
with at most RECEIVE_BYTES and a share of the slow path, however many turns of the data plane that takes.
"""

from __future__ import annotations

import math
import os
import select
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from appliance.core.errors import RemoteProtocolError

from .held_back import PARKED_MASK, HeldBack
from .limit_counts import Limit
from .mqtt.publish_parser import Stop
from .mqtt.reason_codes import ReasonCode
from .mqtt.wire import remaining_length
from .pace import Pace, Pauses
from .session_records import CloseReason
from .slow_path import PUBACK_SHORT
from .transport import RECEIVE_BYTES

if TYPE_CHECKING:
    from .connection import Connection
    from .data_plane import DataPlane
    from .open_block import OpenBlock
    from .slow_path import SlowPath

SLOW_SHARE_MAX: Final = 64
"""What one connection may spend on the slow path when it is served: packets, counted as 1 + one for each 16 bytes."""
SLOW_TURN_MAX: Final = 1024
"""What all of them may spend in one turn: at 5 to 10 µs a packet, 5 to 10 ms."""
SLOW_UNIT_BYTES: Final = 16
"""PUBACKs that follow each other count nothing but their bytes: four of them, at 0.4 to 2.5 µs each, are one packet."""
EPOLLIN: Final = select.EPOLLIN
EPOLLOUT: Final = select.EPOLLOUT
QOS_MASK: Final = 6
QOS_1: Final = 2
QOS_2: Final = 4
PUBACK_NOT_AUTHORIZED: Final = b"\x40\x03%b\x87"
PUBREC_NOT_AUTHORIZED: Final = b"\x50\x03%b\x87"


class Intake:
    """See the module's docstring. Nothing here waits.

    Args:
        plane: Who closes connections and sends what lies in their outboxes.
        wake_fd: The plane's eventfd, watched with the connections.
    """

    def __init__(self, plane: DataPlane, slow_path: SlowPath, wake_fd: int, mono_ms: int) -> None:
        self._plane = plane
        self._slow_path = slow_path
        self._wake_fd = wake_fd
        self._epoll = select.epoll()
        self._epoll.register(wake_fd, EPOLLIN)
        self._connections: dict[int, Connection] = {}
        self.unread: dict[int, Connection] = {}
        """Whose bytes were received and not yet looked at; nothing more is received from them until then."""
        self._round: Iterator[tuple[int, int]] | None = None
        """Who is still to be served in this round: descriptor and epoll's events."""
        self._round_began_mono_ms = mono_ms
        self._pauses = Pauses()
        self._slow_left = 0
        self.held_back = HeldBack(self, plane, slow_path)
        self._mono_ms = mono_ms
        self.heard_all_mono_ms = mono_ms
        """Everything that had arrived by then has been read."""
        self.received_messages = self.received_bytes = self.refused_messages = 0

    # --- who is read ------------------------------------------------------------------------------------------

    @property
    def connections(self) -> dict[int, Connection]:
        """By descriptor; for reading."""
        return self._connections

    @property
    def has_more(self) -> bool:
        """Whether somebody waits to be served who has nothing new in the epoll set."""
        return self._round is not None or bool(self.unread)

    @property
    def is_closed(self) -> bool:
        return self._epoll.closed

    def fileno(self) -> int:
        """Readable when somebody has something to say, or the plane was woken."""
        return self._epoll.fileno()

    def begin(self, connection: Connection, rest: bytes) -> None:
        """Read from a connection from now on.

        Args:
            rest: What came behind its CONNECT.
        """
        self._connections[connection.fd] = connection
        self.watch(connection, EPOLLIN)
        if rest:
            connection.keep(rest, 0)
            self.unread[connection.fd] = connection

    def watch(self, connection: Connection, mask: int) -> None:
        """Have the epoll set report these events of a connection; nothing is read in a pause."""
        if connection.pause is not None:
            mask &= ~EPOLLIN
        if connection.fd in self.held_back.parked:
            mask = mask & ~EPOLLIN or PARKED_MASK
        if connection.watch_mask == mask:
            return
        if not mask:
            self._epoll.unregister(connection.fd)
        elif connection.watch_mask:
            self._epoll.modify(connection.fd, mask)
        else:
            self._epoll.register(connection.fd, mask)
        connection.watch_mask = mask

    def forget(self, connection: Connection) -> None:
        """Read from a connection no more; its descriptor is still open."""
        if connection.watch_mask:
            self._epoll.unregister(connection.fd)
        self._connections.pop(connection.fd, None)
        self.unread.pop(connection.fd, None)
        if connection.pause is not None:
            connection.pause.connection = None
            connection.pause = None
        self.held_back.parked.pop(connection.fd, None)

    def pause_left_ms(self, mono_ms: int, at_most_ms: int) -> int:
        """Until somebody who was too fast is to be read from again."""
        left_ms = self._pauses.left_ms(mono_ms)
        return at_most_ms if left_ms is None else min(at_most_ms, math.ceil(left_ms))

    @property
    def paused_count(self) -> int:
        return len(self._pauses)

    def clear_wake(self) -> None:
        try:
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:
            pass  # Its event is of a turn before, and the wait for the disk has read it since.

    def close(self) -> None:
        self._epoll.close()

    # --- rounds ---------------------------------------------------------------------------------------------

    def gather(self, block: OpenBlock, mono_ms: int) -> None:
        """Serve who is left of this round and then those of the next, until the block is full or the turn's share of the
        slow path is used up.
        """
        self._mono_ms = mono_ms
        self._slow_left = SLOW_TURN_MAX
        for connection in self._pauses.ended(mono_ms):
            connection.pause = None
            is_stuffed = connection.is_stuffed
            self.watch(
                connection, (EPOLLOUT if connection.is_blocked else 0) | (0 if is_stuffed else EPOLLIN)
            )
        if self._round is not None:
            self._serve_round(self._round, block)
        if self._round is None and not block.is_full:
            self._round_began_mono_ms = mono_ms
            events = self._epoll.poll(0, len(self._connections) + 1)
            if self.unread:
                events = [*((fd, 0) for fd in self.unread), *events]
            self._round = iter(events)
            self._serve_round(self._round, block)

    def _serve_round(self, events: Iterator[tuple[int, int]], block: OpenBlock) -> None:
        if self._must_stop(block):
            return
        connection_of, batch, mono_ms = self._connections.get, block.batch, self._mono_ms
        identity, client_slot, unread = batch.identity, batch.client_slot, self.unread
        add_run, add_publisher = batch.client_runs.append, block.publishers.append
        holding = self.held_back.holding
        received_bytes = single_count = 0
        for fd, mask in events:
            connection = connection_of(fd)
            if connection is None:
                if fd == self._wake_fd:
                    self.clear_wake()
                continue
            if (mask != EPOLLIN or unread or holding) and not self._prepare(connection, fd, mask, block):
                if self._must_stop(block):
                    break
                continue
            receive = connection.receive
            try:
                data = receive(RECEIVE_BYTES)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                self._plane.lose(connection, str(error))
                continue
            size = len(data)
            received_bytes += size
            connection.received_bytes += size
            if not connection.waiting and connection.parser.parse_single(data, batch):
                # As `take_in` and `OpenBlock.close_run`, but nothing is called that one packet can do without.
                connection.last_packet_mono_ms = mono_ms
                if connection.batch_identity is not identity:
                    connection.batch_identity = identity
                    connection.client_slot = client_slot(connection.client)
                add_run((connection.client_slot, 1))
                add_publisher(connection)
                single_count += 1
                if connection.has_properties:
                    self._count_unacknowledged(connection, 1)
                if connection.pace is not None:
                    self._pay(connection, connection.pace, len(data), 1)
            elif data:
                self.take_in(connection, data, block, len(data))
                if self._must_stop(block):
                    break
            else:
                self._plane.lose(connection, "end of stream")
        else:
            self._round = None
            self.heard_all_mono_ms = self._round_began_mono_ms
        self.received_bytes += received_bytes
        self.received_messages += single_count

    def _must_stop(self, block: OpenBlock) -> bool:
        return block.is_full or self._slow_left <= 0

    def _prepare(self, connection: Connection, fd: int, mask: int, block: OpenBlock) -> bool:
        """Do what is to be done before a connection is read; False where it is not to be read in this round."""
        if mask & EPOLLOUT:
            connection.is_blocked = False
            self._plane.mark_dirty(connection)
        if (self.held_back.holding or self.held_back.parked) and self.held_back.serve(connection, mask):
            return False
        if fd in self.unread:
            if not mask:
                del self.unread[fd]
                self.take_in(connection, connection.take_waiting(), block, 0)
            return False
        return mask not in (0, EPOLLOUT)

    # --- packets --------------------------------------------------------------------------------------------

    def take_in(self, connection: Connection, data: bytes, block: OpenBlock, received_bytes: int) -> None:
        """Cut a connection's bytes into packets, and let it pay for what has just been received."""
        pace = connection.pace
        if pace is None:
            self._cut(connection, data, block)
            return
        before = self.received_messages + self.refused_messages
        self._cut(connection, data, block)
        self._pay(connection, pace, received_bytes, self.received_messages + self.refused_messages - before)

    def _pay(self, connection: Connection, pace: Pace, received_bytes: int, message_count: int) -> None:
        """Read no more from a client that was too fast, until its rate allows it."""
        wait_ms, limit = pace.spend(received_bytes, message_count, self._mono_ms)
        if wait_ms <= 0 or connection.fd < 0 or connection.pause is not None:
            return
        self._plane.limits.reached(limit)
        connection.pause = self._pauses.add(connection, self._mono_ms + wait_ms)
        # It is not silent, and its packet does not stall: nobody listens.
        connection.last_packet_mono_ms = self._mono_ms + int(wait_ms)
        connection.packet_began_mono_ms += int(wait_ms)
        self.watch(connection, connection.watch_mask)

    def _cut(self, connection: Connection, data: bytes, block: OpenBlock) -> None:
        connection.last_packet_mono_ms = self._mono_ms
        is_same = bool(connection.waiting)
        if is_same:
            data = connection.collect(data)
            if not data:
                return
        batch, pos, parser = block.batch, 0, connection.parser
        payloads = batch.payloads
        slow_share = SLOW_SHARE_MAX
        while True:
            if block.is_refused and self.held_back.parks(connection, data, pos):
                return
            before, began = len(payloads), pos
            try:
                pos, stop = parser.parse(data, pos, batch)
            except RemoteProtocolError as error:
                if len(payloads) > before:
                    self._close_run(connection, block, before, len(data) - began)
                self._break_off(connection, error)
                return
            if len(payloads) > before:
                self._close_run(connection, block, before, pos - began)
                if connection.fd < 0:
                    return
            if parser.refused:
                self._refuse(connection)
            if parser.requests and not self._slow_path.requests.take(connection):
                return
            if parser.repeated:
                self._slow_left -= len(parser.repeated)
                self._slow_path.answer_repeated(connection)
            if stop is Stop.NEED_MORE:
                if pos < len(data):
                    self._keep_rest(connection, data, pos, is_same)
                return
            if stop is Stop.FULL:
                block.is_full = True
            if slow_share > 0 and data.startswith(PUBACK_SHORT, pos):
                after = self._slow_path.take_pubacks(connection, data, pos, slow_share * SLOW_UNIT_BYTES)
                if after > pos:
                    cost = -(-(after - pos) // SLOW_UNIT_BYTES)
                    slow_share -= cost
                    self._slow_left -= cost
                    pos = after
                    if pos == len(data):
                        return
                    continue
            if stop is Stop.FULL or slow_share <= 0:
                connection.keep(data[pos:], 0)
                self.unread[connection.fd] = connection
                return
            try:
                after = self._slow_path.handle_next(connection, data, pos)
            except RemoteProtocolError as error:
                self._break_off(connection, error)
                return
            if connection.fd < 0:
                return
            if after == pos:
                self._keep_rest(connection, data, pos, is_same)
                return
            cost = 1 + (after - pos) // SLOW_UNIT_BYTES
            slow_share -= cost
            self._slow_left -= cost
            pos = after

    def _break_off(self, connection: Connection, error: RemoteProtocolError) -> None:
        self._plane.limits.reached_by_error(error.code)
        self._plane.close(connection, CloseReason.PROTOCOL_ERROR, error.reason_code, error.message)

    def _keep_rest(self, connection: Connection, data: bytes, pos: int, is_same: bool) -> None:
        """Put the beginning of a packet aside until the rest has come; refuse one that is too large at once.

        Args:
            is_same: What `data` begins with had been put aside before.
        """
        if pos or not is_same:
            connection.packet_began_mono_ms = self._mono_ms
        try:
            length, after = remaining_length(data[pos : pos + 5], 1, is_shortest=connection.has_properties)
            needed = after + length if length >= 0 else 0
            if needed > connection.limits.packet_bytes_max:
                raise RemoteProtocolError(
                    f"A packet of {needed} bytes is larger than the maximum packet size.",
                    reason_code=ReasonCode.PACKET_TOO_LARGE,
                    code=Limit.PACKET_BYTES_MAX,
                )
        except RemoteProtocolError as error:
            self._break_off(connection, error)
            return
        connection.keep(data[pos:], needed)

    def _close_run(self, connection: Connection, block: OpenBlock, before: int, wire_bytes: int) -> None:
        """Account for the records that the parser has just added for a connection."""
        count = block.close_run(connection, before, wire_bytes, self._mono_ms)
        self.received_messages += count
        if connection.has_properties:
            # Of QoS 1; those of QoS 2 are `parser.unreleased`.
            at_least_once = sum(flags & QOS_MASK == QOS_1 for flags in block.batch.flags[before:])
            self._count_unacknowledged(connection, at_least_once)

    def _count_unacknowledged(self, connection: Connection, count: int) -> None:
        """Hold an MQTT 5 client to the receive maximum it was told (§3.3.4)."""
        connection.unacknowledged_count += count
        in_flight = connection.unacknowledged_count + len(connection.parser.unreleased)
        if in_flight > connection.limits.receive_maximum:
            self._plane.limits.reached(Limit.RECEIVE_MAXIMUM)
            self._plane.close(
                connection,
                CloseReason.PROTOCOL_ERROR,
                ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
                "more unacknowledged publishes than the receive maximum",
            )

    def _refuse(self, connection: Connection) -> None:
        """Answer publishes that were not permitted (MQTT 5 only; the parser raises for older ones)."""
        refused = connection.parser.refused
        self._slow_left -= len(refused)
        self.refused_messages += len(refused)
        connection.outbox += [
            (PUBREC_NOT_AUTHORIZED if first & QOS_2 else PUBACK_NOT_AUTHORIZED) % packet_id
            for first, packet_id in refused
            if packet_id
        ]
        refused.clear()
        self._plane.mark_dirty(connection)
