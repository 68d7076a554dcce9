"""The data plane: every connected client's bytes, in one task.

Theory of operation. Each turn drains the epoll set, cuts what came into PUBLISH packets (intake.py, mqtt/publish_parser.py), and
gathers them in one block, whoever sent them. While the block before is on its way to the disk, turns go on reading; when
it has arrived, its acknowledgements and deliveries go out, one send per connection, and the next block follows. So one
fsync serves thousands of messages under load, and no PUBACK leaves before its block is on disk, because `_finish` is
the only place that writes them and the committer's word is the only way there.

trio waits on the epoll set's own descriptor, so idle connections cost nothing and the rest of the process stays
ordinary trio. Backpressure: with one block in flight and the next one full, nothing is read at all.
Nothing here waits but `run`; every other method is called from it or from the same event loop.
"""

from __future__ import annotations

import os
import select
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import structlog
import trio

from appliance.core.clock import Clock
from storage.log.columns import Kind
from storage.log.disk_level import DiskLevel
from storage.log.head import Head

from . import session_records
from .acknowledgements import acknowledge
from .clock_mark import ClockMark
from .committer import BlockLog, Committer
from .connection import Connection
from .fan_out import FanOut
from .intake import EPOLLIN, EPOLLOUT, Intake
from .keep_alive import close_silent
from .lifecycle import Lifecycle
from .limit_counts import LimitCounts
from .linger import Linger
from .local_messages import LocalMessages
from .mqtt.batch import RECORD_COLUMNS_BYTES, Batch
from .mqtt.codec import encode
from .mqtt.packets import Version
from .mqtt.reason_codes import ReasonCode
from .open_block import OpenBlock, PendingRecord
from .places import Places
from .refill import Refill
from .session_records import CloseReason
from .shared_refill import SharedRefill
from .slow_path import SlowPath
from .state.broker_state import BrokerState
from .tally import ConnectionTotals, PlaneStatistics, Tally
from .tracer import Tracer

HOUSEKEEPING_MS: Final = 500
"""How often keep alives and the disk's fullness are checked."""
TURN_BUDGET_MS: Final = 5
"""How long other tasks (handshakes, the control socket) may wait for the data plane."""
TURN_POLL_COUNT_MAX: Final = 64
"""The same for a clock that stands still."""
DISK_POLL_MS: Final = 1
"""How long the disk is waited for before the sockets are looked at again."""

log = structlog.get_logger(__name__)


class DataPlane:
    """See the module's docstring.

    Args:
        block_log: Where batches go.
        linger_ms: How long a batch smaller than a page waits for company, when there is no load.
        state: Changed by each block that is on disk.
        server_reference: Asked where clients are sent when the broker drains, "" for nowhere.
        on_committed: Called with the head after each block. disk_level: From hold on publishes are held back. tracer: As Committer.
    """

    def __init__(
        self,
        block_log: BlockLog,
        clock: Clock,
        *,
        linger_ms: int,
        slow_path: SlowPath,
        fan_out: FanOut,
        local: LocalMessages,
        refill: Refill,
        shared_refill: SharedRefill,
        lifecycle: Lifecycle,
        state: BrokerState,
        places: Places,
        limits: LimitCounts,
        server_reference: Callable[[], str],
        on_committed: Callable[[Head], None],
        next_seq: int,
        disk_level: Callable[[], DiskLevel] = lambda: DiskLevel.OK,
        tracer: Tracer | None = None,
    ) -> None:
        self._clock = clock
        self._slow_path = slow_path
        self._fan_out = fan_out
        self._local = local
        self.refill = refill
        self.shared_refill = shared_refill
        self.lifecycle = lifecycle
        self._places = places
        self.limits = limits
        self._state = state
        self._sessions = state.sessions
        self._server_reference = server_reference
        self._on_committed = on_committed
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._intake = Intake(self, slow_path, self._wake_fd, clock.mono_ms())
        self._disk_poll = select.poll()
        self._disk_poll.register(self._wake_fd, select.POLLIN)
        self._committer = Committer(block_log, self._wake_fd, tracer=tracer)
        self._by_client_id: dict[str, Connection] = {}
        self._pending: deque[PendingRecord] = deque()
        self._block = OpenBlock(clock.mono_ms())
        self._in_flight: OpenBlock | None = None
        self._dirty: list[Connection] = []
        self._linger = Linger(linger_ms)
        self._clock_mark = ClockMark(clock)
        self._housekeeping_mono_ms = 0
        self._now_ms, self._mono_ms = clock.now_ms(), clock.mono_ms()
        self._draining = self._is_full_told = False
        self._disk_level = disk_level
        self.held_back = self._intake.held_back
        self._acknowledged = self._blocks = self._received_publish_bytes = 0
        self._tally = Tally()
        self.durable_next_seq = next_seq
        """Everything before this sequence is on disk and was fanned out."""

    # --- called by the listeners, the control socket and the slow path ----------------------------------------

    @property
    def now_ms(self) -> int:
        """Wall time."""
        return self._clock.now_ms()

    @property
    def mono_ms(self) -> int:
        return self._clock.mono_ms()

    @property
    def clients(self) -> Mapping[str, Connection]:
        """Who is connected, by client id; for reading."""
        return self._by_client_id

    def connections(self) -> list[Connection]:
        """All that were admitted and not closed."""
        return list(self._by_client_id.values())

    def connection_of(self, client_id: str) -> Connection | None:
        """The connection with this client id."""
        return self._by_client_id.get(client_id)

    def owner_of(self, client_id: str) -> str | None:
        """The principal of the session with this client id, connected or not; None if there is none."""
        session = self._sessions.get(client_id)
        return session.principal if session is not None else None

    def admit(self, connection: Connection) -> None:
        """Take over a connection whose CONNECT was accepted; CONNACK follows when its record is on disk.

        A connection with the same client id is closed first (MQTT 5.0 §3.1.4). A plane that drains takes nobody more.
        """
        if self._draining or self._intake.is_closed:
            connection.part(b"")
            return
        older = self._by_client_id.get(connection.client_id)
        if older is not None:
            self.close(older, CloseReason.TAKEOVER, ReasonCode.SESSION_TAKEN_OVER)
        is_present = self.lifecycle.take_up(connection)
        self._by_client_id[connection.client_id] = connection
        self._tally.opened(len(self._by_client_id))
        self._places.take(connection)
        self._pending.append(
            PendingRecord(
                Kind.SESSION_OPENED,
                connection.client,
                payload=session_records.opened(connection, connection.session, is_present=is_present),
                then=lambda _seq: self._open(connection, is_present),
            )
        )
        self.wake()

    def wake(self) -> None:
        """Have the next turn begin now; nothing once the plane has ended, whose descriptor may be another file's."""
        if not self._intake.is_closed:
            os.eventfd_write(self._wake_fd, 1)

    def drain(self) -> None:
        """Read no more, write and acknowledge what was taken, say goodbye to every client, and end `run`."""
        self._draining = True
        self._committer.give_up()
        self.wake()

    def connection_totals(self) -> ConnectionTotals:
        """What connections count for themselves, added up."""
        return self._tally.totals(self._by_client_id.values(), self.durable_next_seq)

    def statistics(self) -> PlaneStatistics:
        intake, fan_out = self._intake, self._fan_out
        return PlaneStatistics(
            connections=len(self._by_client_id),
            connections_by_transport=dict(Counter(c.transport.name for c in self._by_client_id.values())),
            subscriptions=self._sessions.router.subscription_count,
            received_messages=intake.received_messages,
            received_bytes=intake.received_bytes,
            acknowledged_messages=self._acknowledged,
            delivered_messages=(
                fan_out.delivered_messages
                + self._local.delivered_count
                + self.refill.delivered_messages
                + self.shared_refill.delivered_messages
                + self._slow_path.delivered_messages
            ),
            refused_messages=intake.refused_messages,
            blocks=self._blocks,
            closed_by_reason=dict(self._tally.closed_by_reason),
            closed_by_code=dict(self._tally.closed_by_code),
            lagging_subscribers=self.refill.lagging_count,
            log_is_full=self._committer.full is not None,
            received_publish_bytes=self._received_publish_bytes,
            other_packets_received=self._slow_path.received_packets,
            other_packets_sent=self._slow_path.answered_packets,
            refused_subscriptions=self._slow_path.refused_subscriptions,
            missed_local_messages=self._local.missed_count,
        )

    def announce_start(self, payload: bytes) -> None:
        """Record that the broker has started: connections of before are gone, and what that means for their sessions."""
        self._pending.append(PendingRecord(Kind.BROKER_STARTED, ("", ""), payload=payload))
        self.lifecycle.restart()
        self.wake()

    def record(self, pending: PendingRecord) -> None:
        """Have a record written with the next block; called within a turn, or followed by `wake`."""
        self._pending.append(pending)

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
        silent_ms = max(self._clock.mono_ms() - connection.last_packet_mono_ms, 0)
        connection.last_packet_at_ms = self._clock.now_ms() - silent_ms
        self._intake.forget(connection)
        if self._by_client_id.get(connection.client_id) is connection:
            del self._by_client_id[connection.client_id]
            self._places.give_back(connection)
        self._tally.closed(connection, reason, code)
        connection.part(session_records.last_words(connection, reason, code, text, self._server_reference()))
        self.lifecycle.leave(connection, reason, code)
        if text:
            log.info("client closed", client_id=connection.client_id, device=connection.principal.name,
                     address=connection.address, reason=reason.value, code=int(code), text=text)  # fmt: skip

    def lose(self, connection: Connection, text: str) -> None:
        """Close a connection whose peer or network has gone."""
        self.close(connection, CloseReason.CONNECTION_LOST, ReasonCode.UNSPECIFIED_ERROR, text)

    # --- the loop --------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until drained.

        Raises:
            LogBroken: the log can't be written any more; no client was told otherwise.
            LogFull: the disk was full to the end of a drain.
        """
        try:
            while not (self._draining and self._is_written()):
                await self._wait()
                self._turn()
            for connection in self.connections():
                self.close(connection, CloseReason.DRAINING, ReasonCode.SERVER_SHUTTING_DOWN)
            while not self._is_written():
                await self._wait()
                self._turn()
        finally:
            self.tear_down()

    def tear_down(self) -> None:
        """Let thread, descriptors and connections go; `run` does it at its end, whoever doesn't call `run` must."""
        if self._intake.is_closed:
            return
        self._committer.close()
        for connection in self.connections():
            connection.part(b"")
        self._intake.close()
        os.close(self._wake_fd)

    def _is_written(self) -> bool:
        """Whether all that was taken is on disk, and acknowledged."""
        return not self._pending and not len(self._block) and self._committer.is_idle

    async def _wait(self) -> None:
        if self._committer.is_done:
            await trio.lowlevel.checkpoint()
            return
        if self._block.is_full:
            # One block is in flight and the next batch is full: read nothing until the disk has caught up.
            with trio.move_on_after(HOUSEKEEPING_MS / 1000):
                await trio.lowlevel.wait_readable(self._wake_fd)
                self._intake.clear_wake()
            return
        if self._pending or (self._intake.has_more and not self._draining):
            await trio.lowlevel.checkpoint()
            return
        timeout_ms = self._housekeeping_mono_ms + HOUSEKEEPING_MS - self._clock.mono_ms()
        if len(self._block) and self._committer.is_idle:
            timeout_ms = min(
                timeout_ms, self._linger.left_ms(self._clock.mono_ms(), self._block.since_mono_ms)
            )
        timeout_ms = self._intake.pause_left_ms(self._clock.mono_ms(), timeout_ms)
        with trio.move_on_after(max(timeout_ms, 0) / 1000):
            await trio.lowlevel.wait_readable(self._wake_fd if self._draining else self._intake.fileno())

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
            if not self._block.is_full:
                self._gather()
            if len(self._block) and self._committer.is_idle and not self._should_linger():
                self._submit()
                self._flush_dirty()
                self._gather()
            self._flush_dirty()
            if self._committer.is_idle or self._block.is_full or self._mono_ms >= deadline:
                break
            if self._disk_poll.poll(DISK_POLL_MS):
                self._intake.clear_wake()
        if self._mono_ms - self._housekeeping_mono_ms >= HOUSEKEEPING_MS:
            self._keep_house()
            self._flush_dirty()

    def _gather(self) -> None:
        block = self._block
        block.mark_time(self._now_ms, self._mono_ms)
        block.add_pending(self._clock_mark.first(self._pending, self._now_ms, self._mono_ms))
        if not self._draining:
            self.held_back.look(self._disk_level(), log_is_full=self._committer.full is not None)
            self._intake.gather(block, self._mono_ms)

    def has_records_waiting(self, connection: Connection) -> bool:
        """Whether something a connection published is not on disk yet."""
        blocks = [block for block in (self._block, self._in_flight) if block is not None]
        return connection.batch_identity in [block.batch.identity for block in blocks]

    def _should_linger(self) -> bool:
        block = self._block
        if self._draining or block.is_full:
            return False
        return self._linger.should_wait(
            self._mono_ms,
            since_mono_ms=block.since_mono_ms,
            body_bytes=block.batch.body_bytes,
            received_messages=self._intake.received_messages,
        )

    def _submit(self) -> None:
        block, self._block = self._block, OpenBlock(self._mono_ms)
        self._in_flight = block
        self._committer.submit(block.batch)

    def _finish(self, batch: Batch, head: Head) -> None:
        """A block is on disk: acknowledge, deliver, and tell who waits for it."""
        block = self._in_flight
        assert block is not None
        assert block.batch is batch
        self._in_flight = None
        self._blocks += 1
        self._received_publish_bytes += batch.body_bytes - RECORD_COLUMNS_BYTES * len(batch)
        first_seq = head.next_seq - len(batch)
        self._acknowledged += acknowledge(block, self)
        self._committer.tracer.acknowledged(batch, first_seq)
        self._state.apply_batch(batch, first_seq)
        self._fan_out.deliver(batch, first_seq, self)
        self.durable_next_seq = head.next_seq
        for index, then in block.thens:
            then(first_seq + index)
        self._on_committed(head)

    def _open(self, connection: Connection, is_present: bool) -> None:
        """The session's record is on disk: send CONNACK and begin to read."""
        accepted = connection.accepted
        if connection.fd < 0 or accepted is None:
            return
        connection.last_packet_mono_ms = self._mono_ms
        connection.connected_at_ms = self._now_ms
        # 3.1 has no such flag: its byte is reserved.
        is_present = is_present and connection.version != Version.MQTT_3_1
        connack = replace(accepted.connack, session_present=is_present)
        connection.outbox.append(encode(connack, connection.version))
        self.lifecycle.begin(connection)
        connection.accepted = None
        self._intake.begin(connection, accepted.rest)
        self.mark_dirty(connection)

    def _flush_dirty(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.is_dirty = False
            if connection.fd < 0:
                continue
            try:
                is_done = connection.flush()
            except OSError as error:
                self.lose(connection, str(error))
                continue
            if is_done:
                self._intake.watch(connection, EPOLLIN)
            else:
                self._intake.watch(connection, EPOLLOUT | (0 if connection.is_stuffed else EPOLLIN))
            if connection.outbound.lag_seq is not None or connection.session.groups:
                self.lifecycle.was_flushed(connection.session)

    def _keep_house(self) -> None:
        """Close who was silent for too long: not who was not listened to because the disk or this process stood still."""
        self._housekeeping_mono_ms = self._mono_ms
        self.lifecycle.keep_house()
        full = self._committer.full
        if full is not None and not self._is_full_told:
            log.error("nothing is acknowledged: the disk is full", error=full.message, hint=full.hint)
        self._is_full_told = full is not None
        self.held_back.look_again(self._mono_ms)
        close_silent(self, self._intake)
