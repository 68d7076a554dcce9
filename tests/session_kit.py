"""Sessions without sockets and without a disk: the broker's own parts around a log that is a list, and clients that are
byte buffers.

`Stage` does what the data plane does, when a test says so: `commit` is a block reaching the disk. So a test decides what is
on disk when the power fails (`crash`).
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import trio

from appliance.core.believed_time import BelievedTime
from appliance.core.clock import ManualClock
from appliance.core.config import BrokerConfig
from appliance.core.errors import StorageError
from appliance.core.settings import Bind
from appliance.management.access import AccessPolicy, Principal, Role
from broker import session_records
from broker.acknowledgements import acknowledge
from broker.committer import batch_body
from broker.connection import Accepted, Connection, ConnectionLimits
from broker.fan_out import FanOut
from broker.lifecycle import Lifecycle
from broker.limit_counts import LimitCounts
from broker.mqtt.batch import Batch
from broker.mqtt.codec import encode
from broker.mqtt.packets import Connack, Connect, Version, Will
from broker.mqtt.publish_parser import Stop
from broker.open_block import OpenBlock, PendingRecord
from broker.refill import Refill
from broker.session_records import CloseReason
from broker.shared_refill import SharedRefill
from broker.slow_path import SlowPath
from broker.state.broker_state import BrokerState
from broker.state.checkpoint import Checkpoint, decode_checkpoint, encode_checkpoint
from broker.state.retained import RetainedMessages
from broker.state.session import Session
from broker.transport import PlainTransport
from storage.log.block import Block
from storage.log.columns import Kind
from tests.protocol import builder

if TYPE_CHECKING:
    from broker.data_plane import DataPlane

SITE = Principal(name="site", kind="application", access="site")
CONFIG = BrokerConfig(tcp_bind=Bind(host="127.0.0.1", port=0), tls_bind=None)
READ_BLOCK_COUNT = 3
EXPIRY_S = 1000


class ListLog:
    """Blocks in memory, as a log's writer and its reader have them.

    Attributes:
        errors: Sequence → what is raised when it is read.
        meanwhile: Called once, on the event loop, while a read is on its way.
    """

    def __init__(self, blocks: Sequence[Block] = ()) -> None:
        self.blocks = list(blocks)
        self.errors: dict[int, StorageError | OSError] = {}
        self.meanwhile: Callable[[], None] | None = None
        self.reads = 0
        self.begin_seq = 1

    @property
    def next_seq(self) -> int:
        return self.blocks[-1].next_seq if self.blocks else 1

    def first_seq(self) -> int:
        return self.begin_seq

    def append(self, batch: Batch) -> int:
        first_seq = self.next_seq
        body, first_ms, last_ms = batch_body(batch)
        self.blocks.append(Block(1, first_seq, len(batch), first_ms, last_ms, b"", b"", body))
        return first_seq

    def read(self, seq: int, *, bytes_max: int = 0) -> list[Block]:
        self.reads += 1
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            trio.from_thread.run_sync(meanwhile)
        if seq in self.errors:
            raise self.errors[seq]
        return [block for block in self.blocks if block.next_seq > seq][:READ_BLOCK_COUNT]


@dataclass(frozen=True)
class Packet:
    """One packet as a client got it; of a PUBLISH also what is in it."""

    first: int
    body: bytes
    topic: str = ""
    payload: bytes = b""
    packet_id: int = 0
    properties: bytes = b""

    @property
    def kind(self) -> int:
        return self.first & 0xF0

    @property
    def qos(self) -> int:
        return self.first >> 1 & 3

    @property
    def is_duplicate(self) -> bool:
        return bool(self.first & 8)

    @property
    def is_retained(self) -> bool:
        return bool(self.first & 1)


def cut(data: bytes, *, has_properties: bool) -> list[Packet]:
    """Whole packets, one after the other; written out by hand."""
    found, at = [], 0
    while at < len(data):
        first, (length, start) = data[at], _varint(data, at + 1)
        body = data[start : start + length]
        assert len(body) == length, "a packet was cut"
        found.append(_publish(first, body, has_properties) if first & 0xF0 == 0x30 else _other(first, body))
        at = start + length
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte, at = data[at], at + 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _other(first: int, body: bytes) -> Packet:
    return Packet(first, body, packet_id=int.from_bytes(body[:2], "big"))


def _publish(first: int, body: bytes, has_properties: bool) -> Packet:
    at = 2 + int.from_bytes(body[:2], "big")
    topic, packet_id, properties = body[2:at].decode(), 0, b""
    if first & 6:
        packet_id, at = int.from_bytes(body[at : at + 2], "big"), at + 2
    if has_properties:
        length, at = _varint(body, at)
        properties, at = body[at : at + length], at + length
    return Packet(first, body, topic, body[at:], packet_id, properties)


class Client:
    """The other end of a connection: what came is in `received`."""

    def __init__(self, stage: Stage, connection: Connection) -> None:
        self.stage = stage
        self.connection = connection
        self.received = bytearray()
        self.is_stuck = False
        """It takes nothing."""
        cast(Any, connection).send = self._take

    def _take(self, data: bytes | memoryview) -> int:
        if self.is_stuck:
            raise BlockingIOError
        self.received += data
        return len(data)

    @property
    def session(self) -> Session:
        return self.connection.session

    @property
    def is_connected(self) -> bool:
        return self.connection.fd >= 0

    def packets(self) -> list[Packet]:
        """What has come since the last call."""
        self.stage.flush()
        data = bytes(self.received)
        self.received.clear()
        return cut(data, has_properties=self.connection.has_properties)

    def messages(self) -> list[Packet]:
        """The PUBLISH packets of `packets`."""
        return [packet for packet in self.packets() if packet.kind == builder.PUBLISH]

    def payloads(self) -> list[bytes]:
        return [packet.payload for packet in self.messages()]

    def send(self, *packets: bytes) -> None:
        """Have the broker read these packets."""
        self.stage.receive(self.connection, b"".join(packets))

    def subscribe(self, *filters: str, options: int = 1, properties: bytes = b"") -> None:
        """SUBSCRIBE, and its record on disk."""
        self.send(
            builder.subscribe(
                1,
                *((topic_filter, options) for topic_filter in filters),
                properties=properties if self.connection.has_properties else None,
            )
        )
        self.stage.commit()

    def acknowledge(self, *packets: Packet) -> None:
        """PUBACK each."""
        self.send(*(builder.ack(builder.PUBACK, packet.packet_id) for packet in packets))

    def leave(self, reason: CloseReason = CloseReason.CONNECTION_LOST, code: int = 0x80) -> None:
        self.stage.close(self.connection, reason, code)
        self.stage.commit()


@dataclass
class Stage:
    """See the module's docstring.

    Attributes:
        pending: Records that wait for their block.
        closed: Who was closed and why.
    """

    config: BrokerConfig = CONFIG
    clock: ManualClock = field(default_factory=ManualClock)
    log: ListLog = field(default_factory=ListLog)
    roles: dict[str, Role] = field(default_factory=dict)
    believed: BelievedTime | None = None

    def __post_init__(self) -> None:
        self.clients: list[Client] = []
        self._build(BrokerState.empty(self.config))

    def _build(self, state: BrokerState) -> None:
        self.state = state
        self.sessions = state.sessions
        self.router = state.sessions.router
        self.local = RetainedMessages(messages_max=10, bytes_max=1000)
        self.policy = AccessPolicy((), self.roles)
        self.refill = Refill(self.log, state.retained, self.local, self.clock)
        self.shared_refill = SharedRefill(self.log, self.clock)
        self.fan_out = FanOut(self.router, self.refill, self.shared_refill)
        self.lifecycle = Lifecycle(
            self.sessions,
            self.policy,
            sessions_per_device_max=self.config.connections_per_device_max,
            believed=self.believed or BelievedTime(self.clock),
        )
        self.slow_path = SlowPath(
            self.router,
            self.policy,
            subscriptions_max=self.config.subscriptions_max,
            session_expiry_s_max=self.config.session_expiry_s_max,
        )
        self.slow_path.plane = self.lifecycle.plane = self.plane
        self.pending: deque[PendingRecord] = deque()
        self.dirty: list[Connection] = []
        self.closed: list[tuple[str, CloseReason, int]] = []
        self.block = OpenBlock(self.mono_ms)
        self.durable_next_seq = self.log.next_seq
        self.wake_count = 0
        self.limits = LimitCounts()

    # --- what the parts need of the data plane ----------------------------------------------------------------

    @property
    def plane(self) -> DataPlane:
        return cast("DataPlane", self)

    @property
    def now_ms(self) -> int:
        return self.clock.now_ms()

    @property
    def mono_ms(self) -> int:
        return self.clock.mono_ms()

    def record(self, pending: PendingRecord) -> None:
        self.pending.append(pending)

    def mark_dirty(self, connection: Connection) -> None:
        if not connection.is_dirty:
            connection.is_dirty = True
            self.dirty.append(connection)

    def wake(self) -> None:
        self.wake_count += 1

    def lose(self, connection: Connection, text: str) -> None:
        self.close(connection, CloseReason.CONNECTION_LOST, 0x80)

    def close(self, connection: Connection, reason: CloseReason, code: int, text: str = "") -> None:
        if connection.fd < 0:
            return
        self.closed.append((connection.client_id, reason, code))
        connection.part(session_records.last_words(connection, reason, code, text, ""))
        self.lifecycle.leave(connection, reason, code)

    # --- what the data plane does -----------------------------------------------------------------------------

    def connect(
        self,
        client_id: str = "c",
        *,
        version: Version = Version.MQTT_5,
        principal: Principal = SITE,
        clean: bool = False,
        expiry_s: int = EXPIRY_S,
        will: Will | None = None,
        receive_maximum: int = 65_535,
        packet_bytes_max: int | None = None,
        topic_alias_max: int = 0,
        is_committed: bool = True,
    ) -> Client:
        """CONNECT that was accepted. CONNACK comes with the next `commit`, which is done here unless told otherwise."""
        connect = Connect(
            client_id=client_id,
            clean_start=clean,
            keep_alive_s=60,
            username=principal.name,
            will=will,
            version=version,
        )
        accepted = Accepted(
            connect=connect,
            client_id=client_id,
            principal=principal,
            keep_alive_s=60,
            session_expiry_s=expiry_s,
            connack=Connack(),
            rest=b"",
            client_receive_maximum=receive_maximum,
            client_packet_bytes_max=packet_bytes_max,
            client_topic_alias_max=topic_alias_max,
        )
        sock = socket.socket(socket.AF_UNIX)
        connection = Connection(
            sock=sock,
            transport=PlainTransport(sock),
            address="203.0.113.9",
            accepted=accepted,
            policy=self.policy,
            limits=ConnectionLimits(
                packet_bytes_max=1_000_000, receive_maximum=1000, topic_alias_max=16, packet_timeout_ms=60_000
            ),
            mono_ms=self.mono_ms,
        )
        older = self.sessions.get(client_id)
        if older is not None and older.connection is not None:
            self.close(older.connection, CloseReason.TAKEOVER, 0x8E)
        client = Client(self, connection)
        self.clients.append(client)
        is_present = self.lifecycle.take_up(connection)
        payload = session_records.opened(connection, connection.session, is_present=is_present)
        then = self._opened(connection, is_present)
        self.record(PendingRecord(Kind.SESSION_OPENED, connection.client, payload=payload, then=then))
        if is_committed:
            self.commit()
        return client

    def _opened(self, connection: Connection, is_present: bool) -> Callable[[int], None]:
        def then(_seq: int) -> None:
            if connection.fd < 0:
                return
            connection.outbox.append(encode(Connack(session_present=is_present), connection.version))
            self.lifecycle.begin(connection)
            connection.accepted = None
            self.mark_dirty(connection)

        return then

    def receive(self, connection: Connection, data: bytes) -> None:
        """Cut a client's bytes into packets, as the intake does."""
        self.block.mark_time(self.now_ms, self.mono_ms)
        batch, pos = self.block.batch, 0
        while pos < len(data) and connection.fd >= 0:
            before, began = len(batch), pos
            pos, stop = connection.parser.parse(data, pos, batch)
            if len(batch) > before:
                self.block.close_run(connection, before, pos - began, 0)
            if connection.parser.repeated:
                self.slow_path.answer_repeated(connection)
            if stop is Stop.NEED_MORE:
                assert pos == len(data), "tests send whole packets"
                return
            after = self.slow_path.handle_next(connection, data, pos)
            assert after > pos, "tests send whole packets"
            pos = after

    def add(self, payload: bytes, topic: str = "t", **options: Any) -> None:
        """A message of a client that isn't there, in the block that is being gathered."""
        qos, is_retained = options.pop("qos", 1), options.pop("retain", False)
        client, kind = options.pop("client", "sender"), options.pop("kind", Kind.PUBLISH)
        self.block.mark_time(self.now_ms, self.mono_ms)
        self.block.batch.add(
            kind, (client, "site"), topic=topic.encode(), payload=payload,
            flags=qos << 1 | is_retained, **options,
        )  # fmt: skip
        self.block.publishers.append(None)

    def publish(self, *payloads: bytes, topic: str = "t", **options: Any) -> None:
        """Messages of a client that isn't there, in one block that reaches the disk and is fanned out."""
        for payload in payloads:
            self.add(payload, topic, **options)
        self.commit()

    def write(self) -> OpenBlock | None:
        """The next block reaches the disk, and nobody was told."""
        self.block.mark_time(self.now_ms, self.mono_ms)
        self.block.add_pending(self.pending)
        block, self.block = self.block, OpenBlock(self.mono_ms)
        if not len(block):
            return None
        self.log.append(block.batch)
        return block

    def commit(self) -> None:
        """All that waits reaches the disk, and everybody is told."""
        while (block := self.write()) is not None:
            first_seq = self.log.next_seq - len(block)
            acknowledge(block, self.plane)
            self.state.apply_batch(block.batch, first_seq)
            self.fan_out.deliver(block.batch, first_seq, self.plane)
            self.durable_next_seq = self.log.next_seq
            for index, then in block.thens:
                then(first_seq + index)
            self.flush()

    def flush(self) -> None:
        dirty, self.dirty = self.dirty, []
        for connection in dirty:
            connection.is_dirty = False
            if connection.fd < 0:
                continue
            connection.flush()
            if connection.outbound.lag_seq is not None or connection.session.groups:
                self.lifecycle.was_flushed(connection.session)

    async def feed(self) -> None:
        """Whoever can be fed out of the log is, until nobody can go on."""
        refill, shared = self.refill, self.shared_refill
        self.flush()
        while refill._wanted or shared._wanted or self.pending:
            if refill._wanted:
                await refill._serve(refill._wanted.pop(next(iter(refill._wanted))), self.plane)
            if shared._wanted:
                await shared._serve(shared._wanted.pop(next(iter(shared._wanted))), self.plane)
            self.commit()
            self.flush()

    def advance(self, ms: int) -> None:
        """Time passes, and the house is kept."""
        self.clock.advance(ms)
        self.lifecycle.keep_house()
        self.commit()

    # --- power ------------------------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint:
        """As it is read again from its file."""
        return decode_checkpoint(encode_checkpoint(self.state.checkpoint()))

    def crash(self, checkpoint: Checkpoint | None = None, *, is_committed: bool = True) -> None:
        """The power fails: what is on disk is all there is. Then the broker starts again."""
        for client in self.clients:
            client.connection.sock.close()
            client.connection.fd = -1
        self.clients.clear()
        self._build(recovered(self.config, self.log, checkpoint))
        self.record(PendingRecord(Kind.BROKER_STARTED, ("", "")))
        self.lifecycle.restart()
        if is_committed:
            self.commit()

    def end(self) -> None:
        """Close all sockets."""
        for client in self.clients:
            client.connection.sock.close()


def recovered(config: BrokerConfig, log: ListLog, checkpoint: Checkpoint | None = None) -> BrokerState:
    """The state as a start makes it of a checkpoint and of what came after it."""
    state = BrokerState.empty(config)
    if checkpoint is not None:
        state.restore(checkpoint)
    after_seq = 0 if checkpoint is None else checkpoint.next_seq
    for block in log.blocks:
        if block.first_seq >= after_seq:
            state.apply_block(block)
    return state
