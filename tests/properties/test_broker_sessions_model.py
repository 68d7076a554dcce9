"""Sessions against a model of what their clients must get, through any history of connections, messages and losses of power.

The broker's own parts run around a log that is a list (tests/session_kit.py). The clients here keep the rules of MQTT: they
remember the identifiers of QoS 2 as long as they have a session, and what they have published until it is released. The
power may fail at any moment: with records in memory, with a block on disk of which nobody was told, and with a checkpoint
of any age.

What must hold:
1. A message of QoS 1 or 2 that reached the disk while a subscription stood reaches the client, unless the bound of its queue
   made it give way; QoS 2 exactly once.
2. Nothing comes that was not subscribed to, and nothing of a session that is gone.
3. The first arrivals of a topic, at one QoS, are in order, but for those that had given way.
4. Identifiers in flight are unique, and within the client's window.
5. A QoS 2 message of a client is in the log once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.core.config import BrokerConfig
from appliance.core.settings import Bind
from broker.mqtt.topics import matches
from broker.open_block import PendingRecord
from broker.session_records import CloseReason, checkpointed
from broker.state.checkpoint import Checkpoint
from storage.log.columns import Kind
from tests.protocol import builder
from tests.sampling import examples
from tests.session_kit import Client, Packet, Stage

QUEUE_COUNT: Final = 4
CONFIG: Final = BrokerConfig(
    tcp_bind=Bind(host="127.0.0.1", port=0), tls_bind=None, session_queue_messages_max=QUEUE_COUNT
)
RETAIN_AS_PUBLISHED: Final = 0x08
NO_RETAINED: Final = 0x20
"""Retained messages of a new subscription would come a second time, as they should."""
FILTERS: Final = {"a/#": 2, "a/x": 1 | RETAIN_AS_PUBLISHED, "b": 1, "#": 2 | RETAIN_AS_PUBLISHED, "+/y": 0}
TOPICS: Final = ("a/x", "a/y", "b")
NAMES: Final = ("one", "two")
RECEIVE_MAXIMUM: Final = {"one": 2, "two": 20}
SETTLE_ROUNDS: Final = 400


@dataclass
class App:
    """A client program, connected or not, and what it may and must get.

    Attributes:
        has_session: Whether the broker has a session of it; None: the power failed while that changed.
        confirmed, possible: Filters that the broker has granted, and those that it may have.
        may, due: Messages that may still come, and of those the ones that must.
        arrived: Every message that came, with the QoS of its arrivals.
        received: QoS 2 identifiers that are not released, and their messages.
        in_flight: Identifiers of this connection that were not answered to the end.
        outgoing: QoS 2 identifiers that it publishes with: message, and whether PUBREC has come.
    """

    name: str
    client: Client | None = None
    wants_clean: bool = False
    is_durable: bool = False
    is_welcome: bool = False
    has_session: bool | None = False
    confirmed: set[str] = field(default_factory=set)
    possible: set[str] = field(default_factory=set)
    asked: dict[int, str] = field(default_factory=dict)
    may: set[int] = field(default_factory=set)
    due: set[int] = field(default_factory=set)
    waiting: list[int] = field(default_factory=list)
    arrived: dict[int, list[int]] = field(default_factory=dict)
    newest: dict[tuple[str, int], int] = field(default_factory=dict)
    gave_way: set[int] = field(default_factory=set)
    received: dict[int, int] = field(default_factory=dict)
    in_flight: dict[int, int] = field(default_factory=dict)
    unanswered: list[Packet] = field(default_factory=list)
    outgoing: dict[int, tuple[int, str, bool]] = field(default_factory=dict)
    next_id: int = 1

    def forget_session(self) -> None:
        self.has_session = False
        for found in (self.confirmed, self.possible, self.may, self.due):
            found.clear()
        self.arrived.clear()
        self.newest.clear()
        self.received.clear()
        self.waiting.clear()
        self.outgoing.clear()

    def doubt_session(self) -> None:
        """The client has no session any more; whether the broker has depends on what reaches the disk, and CONNACK will say
        so.
        """
        if self.has_session is not False:
            self.has_session = None
        for found in (self.confirmed, self.due, self.received, self.outgoing, self.arrived, self.newest):
            found.clear()

    def is_granted(self, topic: str, published_qos: int) -> bool:
        """Whether a message is sure to be for it, at QoS 1 or 2."""
        granted = [FILTERS[f] & 3 for f in self.confirmed if matches(f, topic)]
        return bool(published_qos and granted and max(granted))


class Sessions(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(config=CONFIG)
        self.apps = {name: App(name) for name in NAMES}
        self.checkpoint: Checkpoint | None = None
        self.topics: dict[int, str] = {}
        self.qos: dict[int, int] = {}
        self.seqs: dict[int, int] = {}
        self.surely_for: dict[int, set[str]] = {}
        self.maybe_for: dict[int, set[str]] = {}
        self.seen_blocks = 0
        self.number = self.packet_count = 0
        self.on_disk: Counter[int] = Counter()

    # --- messages ---------------------------------------------------------------------------------------------

    @rule(topic=st.sampled_from(TOPICS), qos=st.sampled_from((0, 1, 1, 2, 2)), retain=st.booleans(),
          count=st.integers(1, 4), is_committed=st.booleans())  # fmt: skip
    def publish(self, topic: str, qos: int, retain: bool, count: int, is_committed: bool) -> None:
        for _ in range(count):
            self.stage.add(b"%d" % self._new(topic, qos), topic, qos=qos, retain=retain)
        if is_committed:
            self.commit()

    def _new(self, topic: str, qos: int) -> int:
        self.number += 1
        self.topics[self.number], self.qos[self.number] = topic, qos
        self._was_sent(self.number)
        return self.number

    def _was_sent(self, number: int) -> None:
        topic = self.topics[number]
        self.surely_for[number] = {
            a.name for a in self.apps.values() if a.is_granted(topic, self.qos[number])
        }
        self.maybe_for[number] = {
            a.name for a in self.apps.values() if any(matches(f, topic) for f in a.possible)
        }

    @rule(name=st.sampled_from(NAMES), topic=st.sampled_from(TOPICS), is_committed=st.booleans())
    def publish_as_client(self, name: str, topic: str, is_committed: bool) -> None:
        app = self.apps[name]
        self.read(name)
        if app.client is None or not app.is_welcome:
            return
        packet_id = app.next_id = app.next_id % 20 + 1
        if packet_id in app.outgoing:
            return
        number = self._new(topic, 2)
        app.outgoing[packet_id] = (number, topic, False)
        app.client.send(builder.publish(topic, b"%d" % number, qos=2, packet_id=packet_id, properties=b""))
        if is_committed:
            self.commit()

    @rule()
    def commit(self) -> None:
        self.stage.commit()
        self._look_at_the_log()

    def _look_at_the_log(self) -> None:
        """What is on disk since the last look is due to those who were subscribed, before and still."""
        for block in self.stage.log.blocks[self.seen_blocks :]:
            columns = block.columns()
            for index in columns.of_kind(Kind.PUBLISH):
                number = int(columns.payload(index))
                self.on_disk[number] += 1
                self.seqs[number] = block.first_seq + index
                assert self.qos[number] < 2 or self.on_disk[number] == 1, f"{number} was taken twice"
                topic = self.topics[number]
                for app in self.apps.values():
                    is_possible = any(matches(f, topic) for f in app.possible)
                    if app.name in self.maybe_for[number] or is_possible:
                        app.may.add(number)
                        app.waiting.append(number)
                    if app.name in self.surely_for[number] and app.is_granted(topic, self.qos[number]):
                        app.due.add(number)
        self.seen_blocks = len(self.stage.log.blocks)
        for app in self.apps.values():
            if not app.is_welcome:
                self._make_way(app)

    @staticmethod
    def _make_way(app: App) -> None:
        """The oldest of a queue that is full gives way. What was delivered may have been counted too, until a record said so."""
        before = app.waiting[:-QUEUE_COUNT]
        app.due.difference_update(before)
        app.gave_way.update(before)

    # --- clients ----------------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(NAMES), clean=st.sampled_from((False, False, False, True)),
          is_durable=st.sampled_from((True, True, True, False)), is_committed=st.booleans())  # fmt: skip
    def connect(self, name: str, clean: bool, is_durable: bool, is_committed: bool) -> None:
        app = self.apps[name]
        if app.client is not None:
            self._gone(app)
        if clean:
            app.doubt_session()
        elif not is_durable:
            app.due.clear()
        app.wants_clean, app.is_durable = clean, is_durable
        app.client = self.stage.connect(
            name,
            clean=clean,
            expiry_s=1000 if is_durable else 0,
            receive_maximum=RECEIVE_MAXIMUM[name],
            is_committed=False,
        )
        if is_committed:
            self.commit()

    def _gone(self, app: App) -> None:
        """Its connection is no more."""
        if not app.is_welcome and not app.has_session:
            app.has_session = None
        if not app.is_durable:
            app.doubt_session()
        app.client = None
        app.is_welcome = False
        app.in_flight.clear()
        app.unanswered.clear()
        app.asked.clear()
        self._make_way(app)

    @rule(name=st.sampled_from(NAMES), is_read=st.booleans(), is_committed=st.booleans())
    def disconnect(self, name: str, is_read: bool, is_committed: bool) -> None:
        app = self.apps[name]
        if app.client is None:
            return
        if is_read:
            self.read(name)
        client = app.client
        self._gone(app)
        self.stage.close(client.connection, CloseReason.CONNECTION_LOST, 0x80)
        if is_committed:
            self.commit()

    @rule(
        name=st.sampled_from(NAMES), topic_filter=st.sampled_from(sorted(FILTERS)), is_committed=st.booleans()
    )
    def subscribe(self, name: str, topic_filter: str, is_committed: bool) -> None:
        app = self.apps[name]
        self.read(name)
        if app.client is None or not app.is_welcome:
            return
        app.possible.add(topic_filter)
        packet_id = len(app.asked) + 1
        app.asked[packet_id] = topic_filter
        options = FILTERS[topic_filter] | NO_RETAINED
        app.client.send(builder.subscribe(packet_id, (topic_filter, options), properties=b""))
        if is_committed:
            self.commit()
            self.read(name)

    @rule(
        name=st.sampled_from(NAMES), topic_filter=st.sampled_from(sorted(FILTERS)), is_committed=st.booleans()
    )
    def unsubscribe(self, name: str, topic_filter: str, is_committed: bool) -> None:
        app = self.apps[name]
        self.read(name)
        if app.client is None or not app.is_welcome:
            return
        app.confirmed.discard(topic_filter)
        app.due.clear()
        packet_id = len(app.asked) + 1
        app.asked[packet_id] = topic_filter
        app.client.send(builder.unsubscribe(packet_id, topic_filter, properties=b""))
        if is_committed:
            self.commit()
            self.read(name)

    @rule(name=st.sampled_from(NAMES))
    def read(self, name: str) -> None:
        app = self.apps[name]
        if app.client is None:
            return
        for packet in app.client.packets():
            self.packet_count += 1
            if packet.kind == builder.CONNACK:
                self._connack(app, is_present=bool(packet.body[0]))
            elif packet.kind == builder.SUBACK:
                topic_filter = app.asked[packet.packet_id]
                assert packet.body[-1] == FILTERS[topic_filter] & 3
                if [f for i, f in app.asked.items() if i >= packet.packet_id].count(topic_filter) == 1:
                    app.confirmed.add(topic_filter)
            elif packet.kind == builder.UNSUBACK:
                topic_filter = app.asked[packet.packet_id]
                if [f for i, f in app.asked.items() if i >= packet.packet_id].count(topic_filter) == 1:
                    app.possible.discard(topic_filter)
            elif packet.kind == builder.PUBLISH:
                self._take(app, packet)
            elif packet.kind == builder.PUBREL & 0xF0:
                app.unanswered.append(packet)
            elif packet.kind == builder.PUBREC:
                number, topic, _ = app.outgoing[packet.packet_id]
                assert self.on_disk[number] == 1, "PUBREC means on disk"
                app.outgoing[packet.packet_id] = (number, topic, True)
            elif packet.kind == builder.PUBCOMP:
                app.outgoing.pop(packet.packet_id, None)
            else:
                raise AssertionError(f"0x{packet.first:02x} was not expected")

    def _connack(self, app: App, *, is_present: bool) -> None:
        if app.wants_clean or app.has_session is False:
            assert not is_present
        elif app.has_session:
            assert is_present, "the session is there"
        if not is_present:
            app.forget_session()
        app.has_session = app.is_welcome = True
        assert app.client is not None
        for packet_id, (number, topic, is_received) in app.outgoing.items():
            if is_received:
                app.client.send(builder.ack(builder.PUBREL, packet_id))
            else:
                app.client.send(
                    builder.publish(
                        topic, b"%d" % number, qos=2, dup=True, packet_id=packet_id, properties=b""
                    )
                )
                if not self.on_disk[number]:
                    self._was_sent(number)

    def _take(self, app: App, packet: Packet) -> None:
        number = int(packet.payload)
        assert packet.topic == self.topics[number]
        assert packet.qos <= self.qos[number]
        assert self.on_disk[number], f"{number} came and is not on disk"
        assert number in app.may, f"{number} was not to come"
        if packet.qos:
            assert packet.packet_id not in app.in_flight, "an identifier that is in flight"
            app.in_flight[packet.packet_id] = number
            assert len(app.in_flight) <= RECEIVE_MAXIMUM[app.name], "more than the window"
            app.unanswered.append(packet)
        if packet.qos == 2:
            known = app.received.get(packet.packet_id)
            if known is not None:
                assert known == number, f"{number} comes under the identifier of {known}"
                assert packet.is_duplicate
                return
            app.received[packet.packet_id] = number
            assert 2 not in app.arrived.get(number, []), f"{number} came twice at QoS 2"
        if number not in app.arrived:
            key = (packet.topic, packet.qos)
            seq, newest = self.seqs[number], app.newest.get(key, 0)
            # Nothing says what gave way: after a loss of power there may be room for it, behind what has come since.
            if number not in app.gave_way:
                assert seq > newest, f"{number} of record {seq} came after record {newest}"
            app.newest[key] = max(seq, newest)
        app.arrived.setdefault(number, []).append(packet.qos)
        app.due.discard(number)

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 4), is_committed=st.booleans())
    def answer(self, name: str, count: int, is_committed: bool) -> None:
        app = self.apps[name]
        if app.client is None:
            return
        self.read(name)
        now, app.unanswered = app.unanswered[:count], app.unanswered[count:]
        for packet in now:
            self.packet_count += 1
            if packet.kind != builder.PUBLISH:
                app.received.pop(packet.packet_id, None)
                app.in_flight.pop(packet.packet_id, None)
                app.client.send(builder.ack(builder.PUBCOMP, packet.packet_id))
            elif packet.qos == 2:
                app.client.send(builder.ack(builder.PUBREC, packet.packet_id))
            else:
                app.in_flight.pop(packet.packet_id, None)
                app.client.send(builder.ack(builder.PUBACK, packet.packet_id))
        for packet_id, (_, _, is_received) in app.outgoing.items():
            if is_received:
                app.client.send(builder.ack(builder.PUBREL, packet_id))
        if is_committed:
            self.commit()

    # --- the log, the clock, the power ------------------------------------------------------------------------

    @rule()
    def feed(self) -> None:
        """Sessions that lag are fed out of the log."""
        if self.stage.refill._wanted or self.stage.dirty:
            trio.run(self.stage.feed)
            self._look_at_the_log()

    @rule(name=st.sampled_from(NAMES))
    def feed_and_leave(self, name: str) -> None:
        """The client leaves while the log is read for it."""
        app = self.apps[name]
        if app.client is None:
            return
        client = app.client

        def leave() -> None:
            self._gone(app)
            self.stage.close(client.connection, CloseReason.CONNECTION_LOST, 0x80)

        self.stage.log.meanwhile = leave
        self.feed()
        self.stage.log.meanwhile = None

    @rule()
    def tick(self) -> None:
        """A second passes: progress is recorded."""
        self.stage.advance(1000)
        self._look_at_the_log()

    @rule()
    def take_checkpoint(self) -> None:
        snapshot = self.stage.checkpoint()

        def written(_seq: int) -> None:
            self.checkpoint = snapshot

        # As StateKeeper does: the file is written when what the snapshot may be ahead of is on disk.
        self.stage.record(PendingRecord(Kind.SESSION_CHANGED, ("", ""), payload=checkpointed(), then=written))

    @precondition(lambda self: self.stage.log.blocks)
    @rule(is_written=st.booleans(), with_checkpoint=st.booleans(), is_committed=st.booleans())
    def crash(self, is_written: bool, with_checkpoint: bool, is_committed: bool) -> None:
        """The power fails.

        Args:
            is_written: The block of now reaches the disk, and nobody is told.
            with_checkpoint: There is one, of whatever age.
            is_committed: The broker comes far enough to say that it has started.
        """
        if is_written:
            self.stage.write()
            self._look_at_the_log()
        for app in self.apps.values():
            if app.client is not None:
                self._gone(app)
        self.stage.crash(self.checkpoint if with_checkpoint else None, is_committed=is_committed)
        self._look_at_the_log()

    # --- the end ----------------------------------------------------------------------------------------------

    @rule()
    def settle(self) -> None:
        """Whoever is connected reads and answers everything: nothing that is due is missing then."""
        for _ in range(SETTLE_ROUNDS):
            self.commit()
            self.feed()
            packet_count = self.packet_count
            for name in NAMES:
                self.answer(name, 1000, True)
            if packet_count == self.packet_count and not self.stage.dirty and not self.stage.refill._wanted:
                break
        else:
            raise AssertionError("it does not come to rest")
        for app in self.apps.values():
            if app.client is not None:
                assert not app.due, f"{app.name} has not got {sorted(app.due)}"
                assert app.client.session.outbound.lag_seq is None
                assert not app.client.session.outbound.positions
                assert not app.client.session.outbound.in_flight

    @invariant()
    def bounds_hold(self) -> None:
        for session in self.stage.sessions:
            outbound = session.outbound
            assert len(outbound.positions) <= QUEUE_COUNT * 2
            assert len(outbound.queue) <= QUEUE_COUNT
            assert outbound.queue_bytes == sum(delivery.size_bytes for delivery, _, _ in outbound.queue)

    def teardown(self) -> None:
        try:
            for name, app in self.apps.items():
                if app.client is None and app.has_session is not False:
                    self.connect(name, False, True, True)
            self.settle()
            for app in self.apps.values():
                assert all(self.on_disk[number] == 1 for number, _, done in app.outgoing.values() if done)
        finally:
            self.stage.end()


Sessions.TestCase.settings = settings(
    max_examples=examples(150), stateful_step_count=40, report_multiple_bugs=False
)
TestSessions = Sessions.TestCase
