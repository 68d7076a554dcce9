"""The data plane: every connected client's bytes, in one task.

Theory of operation. Each turn drains the epoll set, cuts what came into PUBLISH packets (mqtt/batch.py), and gathers
them in one batch, whoever sent them. While the block before is on its way to the disk, turns go on reading; when it has
arrived, its acknowledgements and deliveries go out, one send per connection, and the next batch follows. So one
fsync serves thousands of messages under load, and no PUBACK leaves before its block is on disk, because `_finish` is
the only place that writes them and the committer's word is the only way there.

trio waits on the epoll set's own descriptor, so idle connections cost nothing and the rest of the process stays
ordinary trio. Fairness: the epoll set is asked in rounds; everybody who had something to say at the beginning of a round
is served once in it, with at most 64 KiB and a share of the slow path, however many turns that takes. Backpressure: with
one block in flight and the next batch full, nothing is read at all.

Nothing here waits but `run`; every other method is called from it or from the same event loop.
"""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import PAGE_BYTES
from storage.log.columns import Kind
from storage.log.head import Head

from . import session_records
from .committer import BlockLog, Committer
from .connection import Connection
from .fan_out import FanOut
from .mqtt.batch import RECORD_COLUMNS_BYTES, Batch, Stop, remaining_length
from .mqtt.reason_codes import ReasonCode
from .router import Router
from .session_records import CloseReason
from .slow_path import SlowPath
from .transport import Closed

SLOW_SHARE_MAX: Final = 64
"""What one connection may spend on the slow path when it is served: packets, counted as 1 + one for each 16 bytes."""
SLOW_TURN_MAX: Final = 1024
"""What all of them may spend in one turn: at 5 to 10 µs a packet, 5 to 10 ms."""
SLOW_UNIT_BYTES: Final = 16
HOUSEKEEPING_MS: Final = 500
"""How often keep alives and the disk's fullness are checked."""
LOAD_RECORD_COUNT: Final = 16
"""As many records within one linger time are load, and load does not linger."""
TURN_BUDGET_MS: Final = 5
"""How long other tasks (handshakes, the control socket) may wait for the data plane."""
TURN_POLL_COUNT_MAX: Final = 64
"""The same for a clock that stands still."""
DISK_POLL_MS: Final = 1
"""How long the disk is waited for before the sockets are looked at again."""
FRAME_OVERHEAD_BYTES: Final = 256
EPOLLIN: Final = select.EPOLLIN
EPOLLOUT: Final = select.EPOLLOUT
PUBACK: Final = b"\x40\x02"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PlaneStatistics:
    """Counters since start, and gauges of now."""

    connections: int
    subscriptions: int
    received_messages: int
    received_bytes: int
    acknowledged_messages: int
    delivered_messages: int
    refused_messages: int
    blocks: int
    closed_by_reason: dict[str, int]
    lagging_subscribers: int
    log_is_full: bool


@dataclass(slots=True)
class PendingRecord:
    """A session record or a will that waits for its place in a batch.

    `then` is called when it is on disk, with its sequence number.
    """

    kind: Kind
    client: tuple[str, str]
    topic: bytes = b""
    payload: bytes = b""
    flags: int = 0
    properties: bytes = b""
    then: Callable[[int], None] | None = None


class DataPlane:
    """See the module's docstring.

    Args:
        block_log: Where batches go.
        router: Subscriptions.
        linger_ms: How long a batch smaller than a page waits for company, when there is no load.
        on_committed: Called with the head after each block.
        refill: Starts feeding a subscriber from the log again (refill.py).
    """

    def __init__(
        self,
        block_log: BlockLog,
        router: Router,
        clock: Clock,
        *,
        linger_ms: int,
        slow_path: SlowPath,
        fan_out: FanOut,
        on_committed: Callable[[Head], None],
        next_seq: int,
    ) -> None:
        self._router = router
        self._clock = clock
        self._linger_ms = linger_ms
        self._slow_path = slow_path
        self._fan_out = fan_out
        self._on_committed = on_committed
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll = select.epoll()
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self._disk_poll = select.poll()
        self._disk_poll.register(self._wake_fd, select.POLLIN)
        self._committer = Committer(block_log, self._wake_fd)
        self._connections: dict[int, Connection] = {}
        self._by_client_id: dict[str, Connection] = {}
        self._unread: dict[int, Connection] = {}
        """Whose bytes were received and not yet looked at; nothing more is received from them until then."""
        self._round: deque[tuple[int, int]] = deque()
        """Who is still to be served in this round: descriptor and epoll's events."""
        self._round_began_mono_ms = 0
        self._slow_left = 0
        self._pending: deque[PendingRecord] = deque()
        self._batch = Batch()
        self._batch_is_full = False
        self._batch_since_mono_ms = 0
        self._acks: list[tuple[Connection, int, int]] = []
        self._thens: list[tuple[int, Callable[[int], None]]] = []
        self._in_flight: tuple[list[tuple[Connection, int, int]], list[tuple[int, Callable[[int], None]]]] = (
            [],
            [],
        )
        self._dirty: list[Connection] = []
        self._window_since_mono_ms = 0
        self._window_began_at = 0
        self._was_loaded = False
        self._housekeeping_mono_ms = 0
        self._heard_all_mono_ms = clock.mono_ms()
        """Everything that had arrived by then has been read."""
        self._now_ms = clock.now_ms()
        self._mono_ms = clock.mono_ms()
        self._draining = False
        self._is_full_told = False
        self._received_messages = self._received_bytes = self._acknowledged = self._refused = self._blocks = 0
        self._closed_by_reason: dict[str, int] = {}
        self.durable_next_seq = next_seq
        """Everything before this sequence is on disk and was fanned out."""

    # --- called by the listeners, the control socket and the slow path ----------------------------------------

    @property
    def connection_count(self) -> int:
        return len(self._by_client_id)

    def owner_of(self, client_id: str) -> str | None:
        """The principal of the connection with this client id, or None."""
        connection = self._by_client_id.get(client_id)
        return connection.principal.name if connection is not None else None

    def admit(self, connection: Connection) -> None:
        """Take over a connection whose CONNECT was accepted; CONNACK follows when its record is on disk.

        A connection with the same client id is closed first (MQTT 5.0 §3.1.4).
        """
        older = self._by_client_id.get(connection.client_id)
        if older is not None:
            self.close(older, CloseReason.TAKEOVER, ReasonCode.SESSION_TAKEN_OVER)
        self._by_client_id[connection.client_id] = connection
        self._pending.append(
            PendingRecord(
                Kind.SESSION_OPENED,
                connection.client,
                payload=session_records.opened(connection),
                then=lambda _seq: self._open(connection),
            )
        )
        self.wake()

    def wake(self) -> None:
        """Have the next turn begin now; nothing once the plane has ended, whose descriptor may be another file's."""
        if not self._epoll.closed:
            os.eventfd_write(self._wake_fd, 1)

    def kick(self, client_id: str, reason: CloseReason = CloseReason.KICKED) -> bool:
        """Close a client's connection; False if it has none."""
        connection = self._by_client_id.get(client_id)
        if connection is None:
            return False
        self.close(connection, reason, ReasonCode.ADMINISTRATIVE_ACTION)
        self.wake()
        return True

    def revoke(self, principal: str) -> int:
        """Close all connections of a device or application; returns how many."""
        found = [c for c in self._by_client_id.values() if c.principal.name == principal]
        for connection in found:
            self.close(connection, CloseReason.KICKED, ReasonCode.NOT_AUTHORIZED)
        self.wake()
        return len(found)

    def drain(self) -> None:
        """Say goodbye to every client, write what was taken, and end `run`."""
        self._draining = True
        self._committer.give_up()
        for connection in list(self._by_client_id.values()):
            self.close(connection, CloseReason.DRAINING, ReasonCode.SERVER_SHUTTING_DOWN)
        self.wake()

    def statistics(self) -> PlaneStatistics:
        return PlaneStatistics(
            connections=len(self._by_client_id),
            subscriptions=self._router.subscription_count,
            received_messages=self._received_messages,
            received_bytes=self._received_bytes,
            acknowledged_messages=self._acknowledged,
            delivered_messages=self._fan_out.delivered_messages + self._slow_path.delivered_messages,
            refused_messages=self._refused,
            blocks=self._blocks,
            closed_by_reason=dict(self._closed_by_reason),
            lagging_subscribers=self._fan_out.lagging_count,
            log_is_full=self._committer.full is not None,
        )

    def announce_start(self, payload: bytes) -> None:
        """Record that the broker has started: sessions of before are gone."""
        self._pending.append(PendingRecord(Kind.BROKER_STARTED, ("", ""), payload=payload))
        self.wake()

    def mark_dirty(self, connection: Connection) -> None:
        """Have the connection's outbox sent at the end of the turn."""
        if not connection.is_dirty:
            connection.is_dirty = True
            self._dirty.append(connection)

    def close(self, connection: Connection, reason: CloseReason, code: int, text: str = "") -> None:
        """Close a connection: last words, will, session record. Does nothing if it is closed already.

        Tasks other than the data plane's `wake` it afterwards, or the records wait for its next turn.
        """
        if connection.fd < 0:
            return
        silent_ms = self._clock.mono_ms() - connection.last_packet_mono_ms
        connection.last_packet_at_ms = self._clock.now_ms() - silent_ms
        if connection.watch_mask:
            self._epoll.unregister(connection.fd)
        self._connections.pop(connection.fd, None)
        self._unread.pop(connection.fd, None)
        if self._by_client_id.get(connection.client_id) is connection:
            del self._by_client_id[connection.client_id]
        self._router.forget(connection)
        self._fan_out.forget(connection)
        self._closed_by_reason[reason] = self._closed_by_reason.get(reason, 0) + 1
        connection.part(session_records.last_words(connection, reason, code))
        if connection.will is not None and session_records.publishes_will(reason, code):
            topic, payload, flags, properties = session_records.will_fields(connection.will)
            self._pending.append(
                PendingRecord(Kind.SERVER_PUBLISH, connection.client, topic, payload, flags, properties)
            )
        self._pending.append(
            PendingRecord(
                Kind.SESSION_CLOSED,
                connection.client,
                payload=session_records.closed(connection, reason, code),
            )
        )
        if text:
            log.info("client closed", client_id=connection.client_id, device=connection.principal.name,
                     address=connection.address, reason=reason.value, code=int(code), text=text)  # fmt: skip

    # --- the loop --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until drained.

        Raises:
            LogBroken: the log can't be written any more; no client was told otherwise.
            LogFull: the disk was full to the end of a drain.
        """
        try:
            while not (
                self._draining and not self._pending and not len(self._batch) and self._committer.is_idle
            ):
                await self._wait()
                self._turn()
        finally:
            self.tear_down()

    def tear_down(self) -> None:
        """Let thread, descriptors and connections go; `run` does it at its end, whoever doesn't call `run` must."""
        if self._epoll.closed:
            return
        self._committer.close()
        for connection in list(self._by_client_id.values()):
            connection.part(b"")
        self._epoll.close()
        os.close(self._wake_fd)

    async def _wait(self) -> None:
        if self._committer.is_done:
            await trio.lowlevel.checkpoint()
            return
        if self._batch_is_full:
            # One block is in flight and the next batch is full: read nothing until the disk has caught up.
            with trio.move_on_after(HOUSEKEEPING_MS / 1000):
                await trio.lowlevel.wait_readable(self._wake_fd)
                self._clear_wake()
            return
        if self._round or self._unread or self._pending:
            await trio.lowlevel.checkpoint()
            return
        timeout_ms = self._housekeeping_mono_ms + HOUSEKEEPING_MS - self._clock.mono_ms()
        if len(self._batch) and self._committer.is_idle:
            timeout_ms = min(timeout_ms, self._batch_since_mono_ms + self._linger_ms - self._clock.mono_ms())
        with trio.move_on_after(max(timeout_ms, 0) / 1000):
            await trio.lowlevel.wait_readable(self._epoll.fileno())

    def _turn(self) -> None:
        """Read, submit, acknowledge; again while a block is in flight, for as long as the budget lasts.

        A wait through trio costs more than many packets, and so does a look at the sockets for every few of them. So
        what has come when a block goes to the disk is read while the disk works; then the disk alone is waited for, and
        the other tasks get their turn every TURN_BUDGET_MS.
        """
        deadline = self._clock.mono_ms() + TURN_BUDGET_MS
        for _ in range(TURN_POLL_COUNT_MAX):
            self._now_ms, self._mono_ms = self._clock.now_ms(), self._clock.mono_ms()
            done = self._committer.take()
            if done is not None:
                self._finish(*done)
                self._flush_dirty()
            if not self._batch_is_full:
                self._gather()
            if len(self._batch) and self._committer.is_idle and not self._should_linger():
                self._submit()
                self._flush_dirty()
                self._gather()
            self._flush_dirty()
            if self._committer.is_idle or self._batch_is_full or self._mono_ms >= deadline:
                break
            if self._disk_poll.poll(DISK_POLL_MS):
                self._clear_wake()
        if self._mono_ms - self._housekeeping_mono_ms >= HOUSEKEEPING_MS:
            self._keep_house()
            self._flush_dirty()

    def _gather(self) -> None:
        if not len(self._batch):
            self._batch_since_mono_ms = self._mono_ms
        self._batch.mark_time(self._now_ms)
        self._add_pending()
        self._slow_left = SLOW_TURN_MAX
        if self._round:
            self._serve_round()
        if not self._round and not self._batch_is_full:
            self._round_began_mono_ms = self._mono_ms
            self._round.extend((fd, 0) for fd in self._unread)
            self._round.extend(self._epoll.poll(0, len(self._connections) + 1))
            self._serve_round()

    def _serve_round(self) -> None:
        """Serve who is left of this round, until the batch is full or the turn's share of the slow path is used up."""
        ready, connections, unread = self._round, self._connections, self._unread
        take_in, received_bytes = self._take_in, 0
        while ready and not self._batch_is_full and self._slow_left > 0:
            fd, mask = ready.popleft()
            connection = connections.get(fd)
            if connection is None:
                if fd == self._wake_fd:
                    self._clear_wake()
                continue
            if mask & EPOLLOUT:
                connection.is_blocked = False
                self.mark_dirty(connection)
                if mask == EPOLLOUT:
                    continue
            if fd in unread:
                if not mask:
                    del unread[fd]
                    take_in(connection, connection.take_waiting())
                continue
            if not mask:
                continue
            try:
                data = connection.receive()
            except Closed as error:
                self.close(connection, CloseReason.CONNECTION_LOST, ReasonCode.UNSPECIFIED_ERROR, str(error))
                continue
            if data:
                received_bytes += len(data)
                take_in(connection, data)
        self._received_bytes += received_bytes
        if not ready:
            self._heard_all_mono_ms = self._round_began_mono_ms

    def _clear_wake(self) -> None:
        try:
            os.eventfd_read(self._wake_fd)
        except BlockingIOError:
            pass  # Its event is of a turn before, and the wait for the disk has read it since.

    def _add_pending(self) -> None:
        pending, batch = self._pending, self._batch
        while pending:
            record = pending[0]
            if not batch.has_room(len(record.payload) + len(record.topic) + len(record.properties)) and len(
                batch
            ):
                self._batch_is_full = True
                return
            pending.popleft()
            index = batch.add(
                record.kind,
                record.client,
                topic=record.topic,
                payload=record.payload,
                flags=record.flags,
                properties=record.properties,
            )
            if record.then is not None:
                self._thens.append((index, record.then))

    def _take_in(self, connection: Connection, data: bytes) -> None:
        """Cut a connection's bytes into packets: PUBLISH into the batch, others one by one to the slow path."""
        connection.last_packet_mono_ms = self._mono_ms
        if connection.has_waiting:
            data = connection.collect(data)
            if not data:
                return
        batch, pos, parser = self._batch, 0, connection.parser
        payloads = batch.payloads
        slow_share = SLOW_SHARE_MAX
        while True:
            before, began = len(payloads), pos
            try:
                pos, stop = parser.parse(data, pos, batch)
            except RemoteProtocolError as error:
                if len(payloads) > before:
                    self._close_run(connection, before, len(data) - began)
                self.close(connection, CloseReason.PROTOCOL_ERROR, error.reason_code, error.message)
                return
            if len(payloads) > before:
                self._close_run(connection, before, pos - began)
                if connection.fd < 0:
                    return
            if parser.refused:
                self._refuse(connection)
            if stop is Stop.NEED_MORE:
                if pos < len(data):
                    self._keep_rest(connection, data, pos)
                return
            if stop is Stop.FULL:
                self._batch_is_full = True
            if stop is Stop.FULL or slow_share <= 0:
                connection.keep(data[pos:], 0)
                self._unread[connection.fd] = connection
                return
            try:
                after = self._slow_path.handle_next(connection, data, pos)
            except RemoteProtocolError as error:
                self.close(connection, CloseReason.PROTOCOL_ERROR, error.reason_code, error.message)
                return
            if connection.fd < 0:
                return
            if after == pos:
                self._keep_rest(connection, data, pos)
                return
            cost = 1 + (after - pos) // SLOW_UNIT_BYTES
            slow_share -= cost
            self._slow_left -= cost
            pos = after

    def _keep_rest(self, connection: Connection, data: bytes, pos: int) -> None:
        """Put the beginning of a packet aside until the rest has come; refuse one that is too large at once."""
        try:
            length, after = remaining_length(data[pos : pos + 5], 1, is_shortest=connection.has_properties)
        except RemoteProtocolError as error:
            self.close(connection, CloseReason.PROTOCOL_ERROR, error.reason_code, error.message)
            return
        needed = after + length if length >= 0 else 0
        if needed > connection.limits.packet_bytes_max:
            self.close(
                connection, CloseReason.PROTOCOL_ERROR, ReasonCode.PACKET_TOO_LARGE, "packet too large"
            )
            return
        connection.keep(data[pos:], needed)

    def _close_run(self, connection: Connection, before: int, wire_bytes: int) -> None:
        """Account for the records that the parser has just added for a connection."""
        batch = self._batch
        after = len(batch.payloads)
        count = after - before
        if connection.batch_identity is not batch.identity:
            connection.batch_identity = batch.identity
            connection.client_slot = batch.client_slot(connection.client)
        batch.client_runs.append((connection.client_slot, count))
        batch.body_bytes += wire_bytes + count * RECORD_COLUMNS_BYTES
        self._received_messages += count
        self._acks.append((connection, before, after))
        if connection.has_properties:
            connection.unacknowledged_count += count - batch.packet_ids[before:after].count(b"")
            if connection.unacknowledged_count > connection.limits.receive_maximum:
                self.close(
                    connection,
                    CloseReason.PROTOCOL_ERROR,
                    ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
                    "more unacknowledged publishes than the receive maximum",
                )

    def _refuse(self, connection: Connection) -> None:
        """Answer publishes that were not permitted (MQTT 5 only; the parser raises for older ones)."""
        self._slow_left -= len(connection.parser.refused)
        for packet_id in connection.parser.refused:
            self._refused += 1
            if packet_id:
                connection.outbox.append(b"\x40\x03" + packet_id + bytes((ReasonCode.NOT_AUTHORIZED,)))
        connection.parser.refused.clear()
        self.mark_dirty(connection)

    def _should_linger(self) -> bool:
        """Whether a small batch should wait: one fsync per reading wears out a flash card.

        A batch that fills a page costs the disk no more than a smaller one, so it never waits.
        """
        if self._draining or self._batch_is_full:
            return False
        if self._batch.body_bytes >= PAGE_BYTES - FRAME_OVERHEAD_BYTES:
            return False
        window_ms = self._mono_ms - self._window_since_mono_ms
        in_window = self._received_messages - self._window_began_at
        if window_ms >= self._linger_ms:
            self._was_loaded = in_window >= LOAD_RECORD_COUNT and window_ms <= 2 * self._linger_ms
            self._window_since_mono_ms, self._window_began_at = self._mono_ms, self._received_messages
        if self._was_loaded or in_window >= LOAD_RECORD_COUNT:
            return False
        return self._mono_ms - self._batch_since_mono_ms < self._linger_ms

    def _submit(self) -> None:
        batch = self._batch
        self._in_flight = (self._acks, self._thens)
        self._acks, self._thens = [], []
        self._batch, self._batch_is_full = Batch(), False
        self._committer.submit(batch)

    def _finish(self, batch: Batch, head: Head) -> None:
        """A block is on disk: acknowledge, deliver, and tell who waits for it."""
        self._blocks += 1
        first_seq = head.next_seq - len(batch)
        packet_ids = batch.packet_ids
        acks, thens = self._in_flight
        for connection, start, stop in acks:
            if stop - start == 1:
                packet_id = packet_ids[start]
                if not packet_id:
                    continue
                count = 1
                answer = PUBACK + packet_id
            else:
                ids = packet_ids[start:stop]
                if b"" in ids:
                    ids = [packet_id for packet_id in ids if packet_id]
                    if not ids:
                        continue
                count = len(ids)
                answer = PUBACK + PUBACK.join(ids)
            connection.unacknowledged_count -= count
            if connection.fd >= 0:
                self._acknowledged += count
                try:
                    rest = connection.answer(answer)
                except Closed as error:
                    self.close(
                        connection, CloseReason.CONNECTION_LOST, ReasonCode.UNSPECIFIED_ERROR, str(error)
                    )
                    continue
                if rest:
                    connection.outbox.append(rest)
                    self.mark_dirty(connection)
        self._fan_out.deliver(batch, first_seq, self)
        self.durable_next_seq = head.next_seq
        for index, then in thens:
            then(first_seq + index)
        self._on_committed(head)

    def _open(self, connection: Connection) -> None:
        """The session's record is on disk: send CONNACK and begin to read."""
        accepted = connection.accepted
        if connection.fd < 0 or accepted is None:
            return
        connection.accepted = None
        connection.last_packet_mono_ms = self._mono_ms
        connection.outbox.append(accepted.connack)
        self._connections[connection.fd] = connection
        self._watch(connection, select.EPOLLIN)
        if accepted.rest:
            connection.keep(accepted.rest, 0)
            self._unread[connection.fd] = connection
        self.mark_dirty(connection)

    def _flush_dirty(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.is_dirty = False
            if connection.fd < 0:
                continue
            try:
                is_done = connection.flush()
            except Closed as error:
                self.close(connection, CloseReason.CONNECTION_LOST, ReasonCode.UNSPECIFIED_ERROR, str(error))
                continue
            if is_done:
                if connection.watch_mask != EPOLLIN:
                    self._watch(connection, EPOLLIN)
            else:
                self._watch(connection, select.EPOLLOUT | (0 if connection.is_stuffed else select.EPOLLIN))
            if connection.outbound.lag_seq is not None:
                self._fan_out.want_refill(connection)

    def _watch(self, connection: Connection, mask: int) -> None:
        if connection.watch_mask == mask:
            return
        if connection.watch_mask:
            self._epoll.modify(connection.fd, mask)
        else:
            self._epoll.register(connection.fd, mask)
        connection.watch_mask = mask

    def _keep_house(self) -> None:
        """Close who was silent for too long: not who was not listened to because the disk or this process stood still."""
        self._housekeeping_mono_ms = self._mono_ms
        full = self._committer.full
        if full is not None and not self._is_full_told:
            log.error("nothing is acknowledged: the disk is full", error=full.message, hint=full.hint)
        self._is_full_told = full is not None
        now = self._heard_all_mono_ms
        late = [
            connection
            for connection in self._connections.values()
            if connection.keep_alive_ms and now - connection.last_packet_mono_ms > connection.keep_alive_ms
        ]
        for connection in late:
            self.close(
                connection, CloseReason.KEEP_ALIVE, ReasonCode.KEEP_ALIVE_TIMEOUT, "keep alive ran out"
            )
