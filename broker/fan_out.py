"""From a block that is on disk to the subscribers; from the log again for those who were too slow.

Live: the router is asked once per topic of the block, and only records of topics that somebody wants are looked at.
Lagging: a subscriber whose queue was full has the log sequence it has come to (`Outbound.lag_seq`). When its queue has
drained, `run` reads the next blocks from the log, delivers what matches its subscriptions, and hands it back to the live
stream once it has caught up with what was fanned out. Nothing is dropped in between.

Fan-out never holds ingest up for long: a block that would take more than OFFERS_PER_BLOCK_MAX deliveries makes the rest of
its receivers lagging, and those are fed a slice at a time, with a turn of everything else in between.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import StorageError
from storage.log.block import Block
from storage.log.columns import Columns, Kind

from .mqtt.batch import Batch
from .mqtt.properties import decode_properties, encode_properties
from .mqtt.property_table import PropertyId
from .mqtt.reason_codes import ReasonCode
from .mqtt.subscriptions import SubscriptionTree
from .mqtt.topics import matches
from .outbound import Delivery
from .router import Grant, Router
from .session_records import CloseReason
from .state.retained import NEVER, RetainedMessage, RetainedMessages

if TYPE_CHECKING:
    from .connection import Connection
    from .data_plane import DataPlane

REFILL_BYTES: Final = 512 * 1024
"""Read from the log at a time for one lagging subscriber."""
OFFERS_PER_BLOCK_MAX: Final = 20_000
"""At about 2 µs each 40 ms; four dashboards that see everything take part in blocks of 5,000 messages."""
SLICE_RECORD_COUNT: Final = 1000
"""Records looked at for one lagging subscriber before others have their turn: 1 to 4 ms."""
CACHED_CHUNK_COUNT_MAX: Final = 4
"""Unpacked reads kept for the next slice, and for others who are at the same place; about 1 MiB each."""
LOCAL_ROOT: Final = "$SYS"
"""First level of the topics that are in no log. A bridge's state, which clients publish there, is like any message."""
LOCAL_COUNT_MAX: Final = 1024
"""Topics below $SYS; there are about 80."""
LOCAL_BYTES_MAX: Final = 256 * 1024
Chunk: TypeAlias = list[tuple[Block, Columns]]
"""Blocks as one read gave them, in order, unpacked."""
LINEAR_FILTER_COUNT_MAX: Final = 4
"""More filters than this are worth a tree: a block may have 20,000 topics, a session 1,024 filters."""
log = structlog.get_logger(__name__)


class BlockSource(Protocol):
    """What is needed of `storage.log.LogReader`."""

    def read(self, seq: int, *, bytes_max: int) -> list[Block]: ...


class FanOut:
    """See the module's docstring."""

    def __init__(self, router: Router, source: BlockSource, retained: RetainedMessages, clock: Clock) -> None:
        self._router = router
        self._source = source
        self._retained = retained
        self._clock = clock
        self._lagging: dict[int, Connection] = {}
        self._wanted: dict[int, Connection] = {}
        self._work = trio.Event()
        self._chunks: deque[Chunk] = deque(maxlen=CACHED_CHUNK_COUNT_MAX)
        self.delivered_messages = self.missed_local_messages = 0
        self.local = RetainedMessages(messages_max=LOCAL_COUNT_MAX, bytes_max=LOCAL_BYTES_MAX)
        """Messages that are in no log, the newest of each topic below $SYS; for subscriptions to come."""

    @property
    def lagging_count(self) -> int:
        return len(self._lagging)

    def deliver(self, batch: Batch, first_seq: int, plane: DataPlane) -> None:
        """Offer a block's messages to their subscribers."""
        if not self._router.subscription_count:
            return
        hot: dict[int, list[tuple[Connection, Grant]]] = {}
        for slot, topic in enumerate(batch.topics):
            if topic and (receivers := self._router.receivers(topic)):
                hot[slot] = receivers
        if not hot:
            return
        offers_left = OFFERS_PER_BLOCK_MAX
        senders = batch.client_index()
        for index, slot in enumerate(batch.topic_index):
            receivers_of_topic = hot.get(slot)
            if receivers_of_topic is None:
                continue
            flags = batch.flags[index]
            qos = (flags >> 1) & 3
            delivery = Delivery(
                topic=batch.topics[slot],
                payload=batch.payloads[index],
                properties=batch.properties.get(index, b""),
                qos=qos,
                is_retained=bool(flags & 1),
            )
            seq = first_seq + index
            offers_left -= len(receivers_of_topic)
            if offers_left < 0:
                self._let_fall_behind(hot, seq, plane)
                return
            for connection, grant in receivers_of_topic:
                if seq < grant.since_seq or (
                    grant.no_local and batch.clients[senders[index]] == connection.client
                ):
                    continue
                outbound = connection.outbound
                retain = delivery.is_retained and grant.retain_as_published
                data = outbound.offer(delivery, min(qos, grant.qos), seq, retain=retain)
                if data:
                    self.delivered_messages += 1
                    outbound.unsent_bytes += len(data)
                    connection.outbox.append(data)
                    plane.mark_dirty(connection)
                elif outbound.lag_seq == seq:
                    self._lagging[id(connection)] = connection
                    plane.mark_dirty(connection)

    def _let_fall_behind(
        self, hot: dict[int, list[tuple[Connection, Grant]]], seq: int, plane: DataPlane
    ) -> None:
        """Have all receivers of a block get its records from `seq` on out of the log."""
        for connection, _ in chain.from_iterable(hot.values()):
            if connection.outbound.lag_seq is None:
                connection.outbound.fall_behind(seq)
                self._lagging[id(connection)] = connection
                plane.mark_dirty(connection)

    def forget(self, connection: Connection) -> None:
        self._no_longer_lagging(connection)
        self._wanted.pop(id(connection), None)

    def needed_seq(self) -> int | None:
        """The first sequence that a lagging subscriber has still to be fed; None when none lags."""
        seqs = [connection.outbound.lag_seq for connection in self._lagging.values()]
        return min((seq for seq in seqs if seq is not None), default=None)

    def want_refill(self, connection: Connection) -> None:
        """Called when a lagging subscriber may have room again."""
        if connection.fd >= 0 and connection.outbound.wants_refill and not connection.is_refilling:
            self._wanted[id(connection)] = connection
            self._work.set()

    async def run(self, plane: DataPlane) -> None:
        """Feed lagging subscribers, one block at a time in turn. Runs until cancelled."""
        while True:
            await self._work.wait()
            if not self._wanted:
                self._work = trio.Event()
                continue
            key = next(iter(self._wanted))
            connection = self._wanted.pop(key)
            connection.is_refilling = True
            try:
                await self._refill(connection, plane)
            finally:
                connection.is_refilling = False
            self.want_refill(connection)

    async def _refill(self, connection: Connection, plane: DataPlane) -> None:
        outbound = connection.outbound
        seq = outbound.lag_seq
        if connection.fd < 0 or seq is None:
            return
        if connection.retained:
            self._deliver_retained(connection)
            plane.mark_dirty(connection)
            plane.wake()
            return
        if seq >= plane.durable_next_seq:
            self._caught_up(connection)
            return
        try:
            chunk = await self._chunk_at(seq)
        except StorageError as error:
            log.error(
                "a subscriber can't be fed from the log", client_id=connection.client_id, error=str(error)
            )
            plane.close(connection, CloseReason.KICKED, ReasonCode.UNSPECIFIED_ERROR)
            plane.wake()
            return
        if connection.fd < 0:
            return
        outbound.lag_seq = seq = self._deliver_slice(connection, chunk, seq, plane.durable_next_seq)
        plane.mark_dirty(connection)
        plane.wake()
        if seq >= plane.durable_next_seq:
            self._caught_up(connection)

    def offer_retained(
        self, connection: Connection, topic_filter: str, grant: Grant, plane: DataPlane
    ) -> None:
        """Send the retained messages of a subscription, a slice at a time as for those who lag; what is published
        meanwhile follows behind them out of the log.
        """
        now_ms = self._clock.now_ms()
        found = self._retained.find(topic_filter, now_ms)
        if topic_filter.partition("/")[0] == LOCAL_ROOT:
            found = chain(self.local.find(topic_filter, now_ms), found)
        try:
            first = next(found)
        except StopIteration:
            connection.retained.pop(topic_filter, None)
            return
        connection.retained[topic_filter] = (grant, chain((first,), found))
        connection.outbound.hold_back(plane.durable_next_seq)
        self._lagging[id(connection)] = connection
        plane.mark_dirty(connection)

    def publish_local(self, topic: bytes, payload: bytes, plane: DataPlane) -> None:
        """Give a message that is in no log to whoever is subscribed, and keep it as its topic's newest.

        It goes out at QoS 0, at once, beside what a subscriber that lags gets out of the log. Who has no room misses it,
        which is counted.
        """
        self.local.keep(
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
        delivery = Delivery(topic=topic, payload=payload, properties=b"", qos=0, is_retained=True)
        for connection, grant in self._router.receivers(topic):
            if connection.outbound.is_full:
                self.missed_local_messages += 1
                continue
            self._refill_one(connection, delivery, 0, retain=grant.retain_as_published)
            plane.mark_dirty(connection)

    def _deliver_retained(self, connection: Connection) -> None:
        """Deliver a slice of the retained messages that a connection's subscriptions wait for."""
        outbound, now_ms = connection.outbound, self._clock.now_ms()
        steps_left = SLICE_RECORD_COUNT
        while connection.retained:
            topic_filter = next(iter(connection.retained))
            grant, found = connection.retained[topic_filter]
            for message in found:
                if message is not None and not (grant.no_local and message.client_id == connection.client_id):
                    delivery = Delivery(
                        topic=message.topic,
                        payload=message.payload,
                        properties=_properties_left(message, now_ms),
                        qos=message.qos,
                        is_retained=True,
                    )
                    self._refill_one(connection, delivery, min(message.qos, grant.qos), retain=True)
                steps_left -= 1
                if steps_left <= 0 or outbound.is_full:
                    return
            del connection.retained[topic_filter]

    def _refill_one(self, connection: Connection, delivery: Delivery, qos: int, *, retain: bool) -> None:
        data = connection.outbound.refill(delivery, qos, retain=retain)
        if data:
            self.delivered_messages += 1
            connection.outbound.unsent_bytes += len(data)
            connection.outbox.append(data)

    async def _chunk_at(self, seq: int) -> Chunk:
        """The blocks from the one with this record on, of the cache or of the log."""
        for chunk in self._chunks:
            if chunk[0][0].first_seq <= seq < chunk[-1][0].next_seq:
                return chunk
        chunk = await trio.to_thread.run_sync(self._read, seq)
        self._chunks.append(chunk)
        return chunk

    def _read(self, seq: int) -> Chunk:
        return [(block, block.columns()) for block in self._source.read(seq, bytes_max=REFILL_BYTES)]

    def _caught_up(self, connection: Connection) -> None:
        connection.outbound.lag_seq = None
        self._no_longer_lagging(connection)

    def _no_longer_lagging(self, connection: Connection) -> None:
        self._lagging.pop(id(connection), None)
        if not self._lagging:
            self._chunks.clear()

    def _deliver_slice(self, connection: Connection, chunk: Chunk, seq: int, durable_next_seq: int) -> int:
        """Deliver what matches of the records from `seq` on; returns where to go on.

        That is at the first message that has no room, behind SLICE_RECORD_COUNT records, behind the chunk, or in front
        of a block that is on disk but whose live fan-out is still to come.
        """
        grant_of = _granting(connection.filters)
        slice_left = SLICE_RECORD_COUNT
        for block, columns in chunk:
            if block.next_seq <= seq:
                continue
            if block.next_seq > durable_next_seq or slice_left <= 0:
                break
            stop_seq = min(block.next_seq, seq + slice_left)
            slice_left -= stop_seq - seq
            reached = self._deliver_records(connection, block, columns, range(seq, stop_seq), grant_of)
            if reached < stop_seq:
                return reached
            seq = reached
        return seq

    def _deliver_records(
        self,
        connection: Connection,
        block: Block,
        columns: Columns,
        seqs: range,
        grant_of: Callable[[str], Grant | None],
    ) -> int:
        outbound = connection.outbound
        grants: dict[int, Grant | None] = {}
        for seq in seqs:
            index = seq - block.first_seq
            if columns.kinds[index] not in (Kind.PUBLISH, Kind.SERVER_PUBLISH):
                continue
            slot = columns.topic_index[index]
            if slot not in grants:
                grants[slot] = grant_of(columns.topics[slot].decode())
            grant = grants[slot]
            if grant is None or _is_excluded(columns, index, block.first_seq, grant, connection):
                continue
            if outbound.is_full:
                return seq
            qos = (columns.flags[index] >> 1) & 3
            delivery = Delivery(
                topic=columns.topics[slot],
                payload=columns.payload(index),
                properties=columns.properties.get(index, b""),
                qos=qos,
                is_retained=bool(columns.flags[index] & 1),
            )
            self._refill_one(
                connection,
                delivery,
                min(qos, grant.qos),
                retain=delivery.is_retained and grant.retain_as_published,
            )
        return seqs.stop


def _properties_left(message: RetainedMessage, now_ms: int) -> bytes:
    """A retained message's properties, with what is left of its message expiry interval (MQTT 5.0 §3.3.2.3.3)."""
    if message.expires_at_ms == NEVER:
        return message.properties
    left_s = max(message.expires_at_ms - now_ms, 0) // 1000
    properties = decode_properties(message.properties)
    return encode_properties(properties.with_values({PropertyId.MESSAGE_EXPIRY_INTERVAL: left_s}))


def _granting(filters: dict[str, Grant]) -> Callable[[str], Grant | None]:
    """Which of one session's subscriptions holds for a topic: the one with the highest QoS."""
    if len(filters) <= LINEAR_FILTER_COUNT_MAX:

        def matching(topic: str) -> list[Grant]:
            return [grant for topic_filter, grant in filters.items() if matches(topic_filter, topic)]

    else:
        tree: SubscriptionTree[Grant] = SubscriptionTree()
        for topic_filter, grant in filters.items():
            tree.add(topic_filter, topic_filter, grant)

        def matching(topic: str) -> list[Grant]:
            return [grant for _, grant in tree.match(topic)]

    return lambda topic: max(matching(topic), key=lambda grant: grant.qos, default=None)


def _is_excluded(columns: Columns, index: int, first_seq: int, grant: Grant, connection: Connection) -> bool:
    if first_seq + index < grant.since_seq:
        return True
    return grant.no_local and columns.clients[columns.client_index[index]] == connection.client
