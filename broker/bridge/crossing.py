"""One connection to the other broker, from CONNECT to its end, and what crosses it.

Theory of operation. Three tasks: one receives, one reads the log and publishes, one keeps time. What must be remembered changes
in memory only; bytes leave through `_send`, which first saves what of it matters and has changed. So nothing that the
remote is told is ever ahead of our disk:

    in    PUBLISH ─▶ [QoS 2: begun, saved] ─▶ our log, fsynced ─▶ [QoS 2: taken, saved] ─▶ PUBACK / PUBREC
    out   our log ─▶ [QoS 2: identifier saved] ─▶ PUBLISH ─▶ PUBACK / PUBCOMP ─▶ the cursor moves
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from appliance.core.clock import Clock
from appliance.core.errors import LocalProtocolError, ProtocolError, Unavailable
from appliance.core.limits import (
    BRIDGE_BATCH_BYTES_MAX,
    BRIDGE_BATCH_COUNT_MAX,
    BRIDGE_CURSOR_INTERVAL_MS,
    BRIDGE_SEND_TIMEOUT_MS,
)
from appliance.management.request_topics import is_reserved
from broker.mqtt.codec import encode_properties
from broker.mqtt.constants import PacketType, Version
from broker.mqtt.packets import Publish
from broker.mqtt.properties import Properties
from broker.mqtt.property_table import PropertyId
from broker.mqtt.topics import validate_topic_name
from broker.mqtt.violations import local as our_mistake
from storage.log.columns import FLAG_KEPT_COPY

from ..kept_copies import KeptCopies
from .events import Close, Delivered, Event, Lost, Message, Open, Opened, Owed, Send, Subscribed
from .local import LocalBroker, Record
from .memory import Memory
from .refusals import refusal
from .rules import BridgeRules
from .scan import Batch, Found, OutgoingScan, crosses_again, with_via
from .session import ClientSession, State
from .topics import incoming

RECEIVE_BYTES: Final = 64 * 1024
GROWTH_POLL_MS: Final = 1000
"""How long the word that the log has grown is waited for before it is looked at anyway."""

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Counts:
    """What `BridgeStatistics` counts; lives as long as the bridge."""

    connects: int = 0
    sent_messages: int = 0
    sent_bytes: int = 0
    acknowledged_messages: int = 0
    received_messages: int = 0
    received_bytes: int = 0
    refused_messages: int = 0
    dropped_messages: int = 0
    expired_messages: int = 0
    looped_messages: int = 0
    gone_records: int = 0


class Crossing:
    """See the module's docstring.

    Args:
        head_seq: How far our log is on disk.
        on_open: Called when the session is open, with what the remote refused (topic filter, reason code).
    """

    def __init__(
        self,
        *,
        rules: BridgeRules,
        stream: trio.abc.Stream,
        session: ClientSession,
        memory: Memory,
        scan: OutgoingScan,
        local: LocalBroker,
        clock: Clock,
        counts: Counts,
        head_seq: int,
        on_open: Callable[[tuple[tuple[str, int], ...]], None],
    ) -> None:
        self._rules = rules
        self._stream = stream
        self._session = session
        self._memory = memory
        self._scan = scan
        self._local = local
        self._clock = clock
        self._counts = counts
        self._on_open = on_open
        self._sending = trio.Lock()
        self._room = trio.Event()
        self._opened: Opened | None = None
        self._is_open = trio.Event()
        self._is_appending = False
        self._kept = KeptCopies()
        self._head_seq = head_seq
        """Behind every record that this bridge has brought so far: an identifier that is used again is looked for from here."""

    @property
    def was_accepted(self) -> bool:
        """Whether the remote said yes to CONNECT."""
        return self._opened is not None

    async def run(self) -> None:
        """Carry messages until the connection ends, which raises.

        Raises:
            Unavailable: the remote, or our own broker, has gone or refuses us; the message says which and what to do.
            StorageError: our log or the state file fails.
        """
        try:
            async with trio.open_nursery() as nursery:
                await self._send(self._session.send(Open(), self._clock.mono_ms()))
                nursery.start_soon(self._receive)
                nursery.start_soon(self._keep_time)
                nursery.start_soon(self._keep_cursor)
                nursery.start_soon(self._publish)
        finally:
            with trio.CancelScope(shield=True):
                await self._part()

    async def _part(self) -> None:
        """Say goodbye if that is still possible, and save the cursor; an error here hides the one that ended it."""
        with trio.move_on_after(1):
            try:
                if not self._sending.locked():
                    goodbye = self._session.send(Close(), self._clock.mono_ms())
                    await self._stream.send_all(goodbye)
            except (LocalProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # It is gone already.
        await trio.aclose_forcefully(self._stream)
        await self._memory.save()

    # --- both directions --------------------------------------------------------------------------------------

    async def _send(self, data: bytes) -> None:
        """Save what the bytes depend on, then send them."""
        async with self._sending:
            await self._memory.save_news()
            if not data:
                return
            try:
                with trio.fail_after(BRIDGE_SEND_TIMEOUT_MS / 1000):
                    await self._stream.send_all(data)
            except trio.TooSlowError as error:
                raise Unavailable(
                    f"The other broker took nothing for {BRIDGE_SEND_TIMEOUT_MS // 1000} s.",
                    hint="Look at the network and at the load of the other broker.",
                    code="bridge_stalled",
                ) from error
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise _connection_lost() from error

    async def _keep_time(self) -> None:
        """PINGREQ when it is due; the end when nothing comes back."""
        while True:
            deadline_ms = self._session.next_deadline_ms()
            now_ms = self._clock.mono_ms()
            if deadline_ms is None or deadline_ms > now_ms:
                await trio.sleep(1 if deadline_ms is None else min(deadline_ms - now_ms, 1000) / 1000)
                continue
            if self._is_appending:
                self._session.not_listening(now_ms)
            events = self._session.on_deadline(now_ms)
            await self._handle(events)

    async def _keep_cursor(self) -> None:
        while True:
            await trio.sleep(BRIDGE_CURSOR_INTERVAL_MS / 1000)
            await self._memory.save()

    # --- in ---------------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        while True:
            try:
                data = await self._stream.receive_some(RECEIVE_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise _connection_lost() from error
            if not data:
                raise _connection_lost()
            await self._handle(self._session.receive_bytes(bytes(data), self._clock.mono_ms()))

    async def _handle(self, events: list[Event]) -> None:
        """Do what has come, in its order: messages go to our log first, then everything that is owed is sent."""
        await self._append([event for event in events if isinstance(event, Message)])
        owed: list[bytes] = []
        for event in events:
            match event:
                case Message(answer=answer):
                    owed.append(answer)
                case Owed(data=data):
                    owed.append(data)
                case Delivered(seq=seq, reason_code=code):
                    self._delivered(seq, code)
                case Opened():
                    self._opened = event
                    self._counts.connects += 1
                case Subscribed(refused=refused):
                    self._memory.subscribed = tuple(
                        each for each in self._rules.wanted if each[0] not in dict(refused)
                    )
                    self._on_open(refused)
                    self._is_open.set()
                case Lost(text=text, reason_code=code):
                    await self._send(b"".join(owed))
                    raise refusal(text, code)
        await self._send(b"".join(owed))

    async def _append(self, messages: list[Message]) -> None:
        """Append messages to our log; returns when they are on disk. What is not for us is passed over, and counted."""
        records: list[Record] = []
        packet_ids: list[int] = []
        for message in messages:
            publish = message.publish
            if publish.qos == 2 and message.packet_id in packet_ids:
                continue  # The same one twice within a read: MQTT 5.0 §4.3.3, it is taken once.
            record = self._record(publish, message.packet_id)
            if publish.qos == 2:
                packet_ids.append(message.packet_id)
            if record is not None:
                records.append(record)
        if packet_ids:
            self._memory.incoming.begin(packet_ids, self._head_seq)
            await self._memory.save_news()
        if records:
            self._is_appending = True
            try:
                last_seq = await self._local.publish(self._rules.principal, records)
                self._head_seq = max(self._head_seq, last_seq + 1)
            finally:
                self._is_appending = False
                self._session.not_listening(self._clock.mono_ms())
            self._counts.received_messages += len(records)
            self._counts.received_bytes += sum(len(payload) for _, payload, _, _, _ in records)
        if packet_ids:
            self._memory.incoming.took(packet_ids)

    def _record(self, publish: Publish, packet_id: int) -> Record | None:
        topic = incoming(self._rules.incoming, publish.topic)
        try:
            name = validate_topic_name(topic or "", our_mistake)
        except ProtocolError:
            name = ""
        if not name or is_reserved(name.split("/")):
            # What is asked of the other site is not for our log: it may hold secrets, and is answered there.
            self._counts.dropped_messages += 1
            return None
        properties = publish.properties.without(PropertyId.TOPIC_ALIAS, PropertyId.SUBSCRIPTION_IDENTIFIER)
        if crosses_again(properties, self._rules.node):
            self._counts.looped_messages += 1
            return None
        flags = publish.qos << 1 | publish.retain
        if publish.retain and self._kept.may_be_copy(name.encode(), publish.payload, self._clock.mono_ms()):
            flags |= FLAG_KEPT_COPY
        return (
            name.encode(),
            publish.payload,
            flags,
            packet_id if publish.qos == 2 else 0,
            encode_properties(with_via(properties, self._rules.node), PacketType.PUBLISH),
        )

    # --- out --------------------------------------------------------------------------------------------------

    def _delivered(self, seq: int, code: int) -> None:
        if code:
            self._counts.refused_messages += 1
            log.warning(
                "the other broker does not take a message",
                bridge=self._rules.name,
                record=seq,
                reason_code=code,
            )
        else:
            self._counts.acknowledged_messages += 1
        self._room.set()

    async def _publish(self) -> None:
        await self._is_open.wait()
        window = self._memory.outgoing
        while True:
            room = window.room
            if not room:
                self._room = trio.Event()
                await self._room.wait()  # Without a deadline: keep alive tells whether anybody is there.
                continue
            seen_count = self._local.growth_count
            batch = await trio.to_thread.run_sync(
                lambda room=room: self._scan.look(  # type: ignore[misc]
                    window.scanned_seq,
                    count_max=min(room, BRIDGE_BATCH_COUNT_MAX),
                    bytes_max=BRIDGE_BATCH_BYTES_MAX,
                    now_ms=self._clock.now_ms(),
                )
            )
            self._count(batch)
            await self._send(self._placed(batch))
            if batch.reached_seq >= batch.head_seq:
                await self._local.wait_growth(seen_count, GROWTH_POLL_MS)

    def _placed(self, batch: Batch) -> bytes:
        """The packets of a batch, each noted in the window."""
        window, now_ms = self._memory.outgoing, self._clock.mono_ms()
        packets = [self._packet(found, now_ms) for found in batch.found]
        packets += [self._session.release(packet_id) for packet_id in window.pass_to(batch.reached_seq)]
        return b"".join(packets)

    def _packet(self, found: Found, now_ms: int) -> bytes:
        """One PUBLISH; nothing where the remote has the message already, or can't take it."""
        opened, window = self._opened, self._memory.outgoing
        assert opened is not None
        placed = window.place(found.seq, min(found.qos, opened.qos_max))
        if placed is None:
            return b""
        properties = Properties.EMPTY
        if self._rules.version is Version.MQTT_5:
            properties = with_via(found.properties, self._rules.node)
        publish = Publish(
            topic=found.topic,
            payload=found.payload,
            qos=placed.qos,
            retain=found.is_retained and opened.takes_retained,
            dup=placed.is_again,
            packet_id=placed.packet_id or None,
            properties=properties,
        )
        try:
            packet = self._session.send(Send(publish=publish), now_ms)
        except LocalProtocolError as error:
            if self._session.state is not State.OPEN:
                raise Unavailable("The connection ends.", code="bridge_connection_lost") from error
            log.error(
                "a message can't be sent", bridge=self._rules.name, record=found.seq, error=error.message
            )
            packet = b""
        if not packet or len(packet) > (opened.packet_bytes_max or len(packet)):
            window.complete(placed.packet_id, placed.qos)
            self._counts.dropped_messages += 1
            return b""
        self._counts.sent_messages += 1
        self._counts.sent_bytes += len(found.payload)
        return packet

    def _count(self, batch: Batch) -> None:
        self._head_seq = max(self._head_seq, batch.head_seq)
        self._memory.epoch = batch.epoch
        counts = self._counts
        counts.looped_messages += batch.looped
        counts.expired_messages += batch.expired
        counts.dropped_messages += batch.unsendable
        if batch.gone:
            counts.gone_records += batch.gone
            log.error(
                "records were gone before they were looked at",
                bridge=self._rules.name,
                records=batch.gone,
                next_seq=batch.reached_seq,
                hint="The log's retention, or damage, has passed a bridge that was away for too long.",
            )


def _connection_lost() -> Unavailable:
    return refusal("The connection to the other broker was lost.", None)
