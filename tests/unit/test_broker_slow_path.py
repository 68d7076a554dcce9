"""Packets other than PUBLISH, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import msgpack
import pytest

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import SUBSCRIPTION_BYTES_MAX, SUBSCRIPTION_COUNT_MAX
from appliance.management.access import AccessPolicy, Principal
from broker.connection import Connection
from broker.delivery import Delivery, recipe
from broker.limit_counts import LimitCounts
from broker.mqtt.packets import Version
from broker.open_block import PendingRecord
from broker.outbound import Step
from broker.router import Grant, Router
from broker.session_records import CloseReason
from broker.slow_path import SlowPath
from broker.state.session import Session
from tests.broker_kit import SITE, connection_pair
from tests.protocol import builder

if TYPE_CHECKING:
    from broker.data_plane import DataPlane


class Stage:
    """What the slow path needs of the data plane."""

    def __init__(self) -> None:
        self.router = Router()
        self.slow_path = SlowPath(
            self.router, AccessPolicy(), subscriptions_max=100_000, session_expiry_s_max=1000
        )
        self.slow_path.plane = cast("DataPlane", self)
        self.durable_next_seq = 100
        self.dirty: list[Connection] = []
        self.closed: list[tuple[CloseReason, int]] = []
        self.retained_asked: list[str] = []
        self.limits = LimitCounts()
        self.records: list[PendingRecord] = []
        self.now_ms = 0
        self.lifecycle = self.refill = self.shared_refill = self.listening = self
        self.listens: list[str] = []

    def mark_dirty(self, connection: Connection) -> None:
        self.dirty.append(connection)

    def close(self, connection: Connection, reason: CloseReason, code: int) -> None:
        self.closed.append((reason, code))

    def offer_retained(self, session: Session, topic_filter: str, grant: Grant, plane: DataPlane) -> None:
        self.retained_asked.append(topic_filter)

    def record(self, pending: PendingRecord) -> None:
        self.records.append(pending)

    def subscribed(self, session: Session, topic_filters: list[str]) -> None:
        self.listens += topic_filters

    def commit(self) -> list[Any]:
        """All records reach the disk; returns their payloads."""
        records, self.records = self.records, []
        for record in records:
            if record.then is not None:
                record.then(1)
        return [msgpack.unpackb(record.payload) for record in records]

    def room_was_made(self, session: Session) -> None:
        self.roomy = session

    def want(self, session: Session) -> None:
        self.is_wanted = True

    def record_sent(self, session: Session) -> None:
        session.outbound.withheld.clear()


Make = Callable[..., Connection]


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def make() -> Iterator[Make]:
    pairs = []

    def made(version: Version = Version.MQTT_3_1_1, principal: Principal = SITE, **limits: Any) -> Connection:
        pairs.append(connection_pair(version=version, principal=principal, **limits))
        return pairs[-1][0]

    yield made
    for connection, theirs in pairs:
        connection.part(b"")
        theirs.close()


def answer(stage: Stage, connection: Connection, packet: bytes) -> bytes:
    assert stage.slow_path.handle_next(connection, b"??" + packet + b"?", 2) == 2 + len(packet)
    said = b"".join(connection.outbox)
    connection.outbox.clear()
    return said


def refusal(stage: Stage, connection: Connection, packet: bytes) -> int:
    with pytest.raises(RemoteProtocolError) as caught:
        stage.slow_path.handle_next(connection, packet, 0)
    return caught.value.reason_code


def test_a_packet_that_has_not_come_whole(stage: Stage, make: Make) -> None:
    packet = builder.subscribe(1, ("a", 1))
    for size in range(1, len(packet)):
        assert stage.slow_path.handle_next(make(), packet[:size], 0) == 0


def test_ping(stage: Stage, make: Make) -> None:
    assert answer(stage, make(), builder.PINGREQ_PACKET) == builder.PINGRESP_PACKET


def test_subscribe_grants_what_was_asked_for(stage: Stage, make: Make) -> None:
    connection = make()
    said = answer(stage, connection, builder.subscribe(9, ("a", 0), ("b/#", 1), ("c", 2)))
    assert said == builder.suback(9, 0, 1, 2)
    assert {f: (g.qos, g.since_seq) for f, g in connection.session.filters.items()} == {
        "a": (0, 100),
        "b/#": (1, 100),
        "c": (2, 100),
    }


def test_a_subscription_that_replaces_another_loses_nothing(stage: Stage, make: Make) -> None:
    connection = make()
    answer(stage, connection, builder.subscribe(1, ("a", 0)))
    stage.durable_next_seq = 500
    answer(stage, connection, builder.subscribe(2, ("a", 1)))
    assert connection.session.filters["a"].since_seq == 100
    assert connection.session.filters["a"].qos == 1


def test_what_is_not_granted(stage: Stage, make: Make) -> None:
    own = Principal(name="d1")
    several = builder.subscribe(9, ("dm/d1/#", 1), ("dm/d2/#", 1), ("#", 1))
    assert answer(stage, make(principal=own), several) == builder.suback(9, 1, 0x80, 0x80)
    several = builder.subscribe(9, ("dm/d1/#", 1), ("$share/g/dm/d1/x", 1), ("$share/g/#", 1), properties=b"")
    assert answer(stage, make(Version.MQTT_5, own), several) == builder.suback(9, 1, 1, 0x87, properties=b"")
    shared = builder.subscribe(9, ("$share/g", 1), ("$share/+/a", 1), ("$share/g/a", 1))
    assert answer(stage, make(), shared) == builder.suback(9, 0x80, 0x80, 1)
    assert stage.is_wanted, "a member that joins may have what waits for the group"


def test_subscriptions_are_bounded_by_count(stage: Stage, make: Make) -> None:
    connection = make()
    for start in range(0, SUBSCRIPTION_COUNT_MAX, 512):
        answer(stage, connection, builder.subscribe(1, *((f"f/{n}", 1) for n in range(start, start + 512))))
    assert answer(stage, connection, builder.subscribe(1, ("more", 1), ("f/0", 0))) == builder.suback(
        1, 0x80, 0
    )


def test_subscriptions_are_bounded_by_size(stage: Stage, make: Make) -> None:
    connection = make(Version.MQTT_5)
    long = "x" * 60_000
    count = SUBSCRIPTION_BYTES_MAX // 60_001
    filters = [(f"{long}{n}", 1) for n in range(count + 1)]
    said = answer(stage, connection, builder.subscribe(1, *filters, properties=b""))
    assert said == builder.suback(1, *[1] * count, 0x97, properties=b"")


def test_a_subscribe_of_ten_thousand_filters_is_refused(stage: Stage, make: Make) -> None:
    packet = builder.subscribe(1, *((f"{n}", 0) for n in range(10_000)))
    assert refusal(stage, make(), packet) == 0x97
    assert stage.router.subscription_count == 0


def test_unsubscribe(stage: Stage, make: Make) -> None:
    connection = make(Version.MQTT_5)
    answer(stage, connection, builder.subscribe(1, ("a", 1), properties=b""))
    said = answer(stage, connection, builder.unsubscribe(2, "a", "b", properties=b""))
    assert said == builder.unsuback(2, 0, 0x11, properties=b"")
    assert answer(stage, make(), builder.unsubscribe(3, "a")) == builder.unsuback(3)


def test_puback_lets_the_next_one_go(stage: Stage, make: Make) -> None:
    connection = make(client_receive_maximum=1)
    for payload in (b"1", b"2"):
        delivery = Delivery(seq=1, client=("p", "p"), topic=b"t", payload=payload, qos=1)
        connection.outbound.offer(delivery, recipe(1))
    assert answer(stage, connection, builder.ack(builder.PUBACK, 1)) == builder.publish(
        "t", b"2", qos=1, packet_id=2
    )
    assert stage.slow_path.delivered_messages == 1
    assert answer(stage, connection, builder.ack(builder.PUBACK, 2)) == b""
    assert answer(stage, connection, builder.ack(builder.PUBACK, 77)) == b""


def test_puback_of_a_lagging_subscriber_asks_for_more(stage: Stage, make: Make) -> None:
    connection = make()
    connection.outbound.offer(Delivery(seq=1, client=("p", "p"), topic=b"t", payload=b"", qos=1), recipe(1))
    connection.outbound.lag_seq = 7
    answer(stage, connection, builder.ack(builder.PUBACK, 1))
    assert stage.dirty == [connection]
    assert stage.roomy is connection.session


def test_disconnect(stage: Stage, make: Make) -> None:
    answer(stage, make(), builder.disconnect())
    answer(stage, make(Version.MQTT_5), builder.disconnect(0x04))
    assert stage.closed == [(CloseReason.CLIENT_DISCONNECT, 0), (CloseReason.CLIENT_DISCONNECT, 4)]


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (builder.connect("again"), 0x82),
        (builder.connack(0, 0), 0x82),
        (builder.suback(1, 0), 0x82),
        (builder.PINGRESP_PACKET, 0x82),
        (builder.packet(0xC1), 0x81),
        (builder.packet(0x00), 0x81),
        (builder.packet(0x82, length=5000), 0x95),
        (b"\x82\xff\xff\xff\xff\x01", 0x81),
    ],
)
def test_what_a_client_may_not_send(stage: Stage, make: Make, packet: bytes, code: int) -> None:
    assert refusal(stage, make(packet_bytes_max=1000), packet) == code


@pytest.mark.parametrize(
    "packet",
    [builder.disconnect(0x8B), builder.packet(0xF0), builder.disconnect(0x9C, builder.ptext(0x1C, "x"))],
)
def test_what_only_an_mqtt_5_server_sends(stage: Stage, make: Make, packet: bytes) -> None:
    assert refusal(stage, make(Version.MQTT_5), packet) in (0x81, 0x82)


def test_retain_handling(stage: Stage, make: Make) -> None:
    """MQTT 5.0 §3.8.3.1: each time, only for a new subscription, never."""
    connection = make(Version.MQTT_5)
    for options in (0x20, 0x10, 0x00):
        answer(stage, connection, builder.subscribe(1, ("old", options), properties=b""))
    assert stage.retained_asked == ["old"]
    answer(stage, connection, builder.subscribe(1, ("new", 0x10), properties=b""))
    assert stage.retained_asked == ["old", "new"]


def test_what_a_session_that_is_kept_changes_is_answered_when_it_is_on_disk(stage: Stage, make: Make) -> None:
    connection = make(Version.MQTT_5, session_expiry_s=60)
    packet = builder.subscribe(1, ("a", 2), properties=builder.pvar(0x0B, 9))
    assert answer(stage, connection, packet) == b""
    assert stage.commit() == [{"op": "subscribed", "filters": [["a", 2, [9], True]]}]
    assert b"".join(connection.outbox) == builder.suback(1, 2, properties=b"")
    connection.outbox.clear()
    assert connection.session.retained_due == {"a"}
    assert answer(stage, connection, builder.unsubscribe(2, "a", "b", properties=b"")) == b""
    assert stage.commit() == [{"op": "unsubscribed", "filters": ["a"]}]
    assert b"".join(connection.outbox) == builder.unsuback(2, 0, 0x11, properties=b"")
    connection.outbox.clear()
    assert connection.session.retained_due == set()
    said = answer(stage, connection, builder.unsubscribe(3, "b", properties=b""))
    assert said == builder.unsuback(3, 0x11, properties=b""), "nothing has changed, so nothing is recorded"


def test_qos_2_to_a_session_that_is_kept(stage: Stage, make: Make) -> None:
    """PUBREL waits for its record; a PUBREC of what was never sent changes nothing."""
    connection = make(Version.MQTT_5, session_expiry_s=60)
    connection.outbound.in_flight[5] = 1 << 3 | 2
    assert answer(stage, connection, builder.ack(builder.PUBREC, 5)) == b""
    assert stage.commit() == [{"step": "received", "packet_id": 5}]
    assert b"".join(connection.outbox) == builder.ack(builder.PUBREL, 5)
    connection.outbox.clear()
    unknown = builder.packet(builder.PUBREL, builder.u16(6), builder.u8(0x92))
    assert answer(stage, connection, builder.ack(builder.PUBREC, 6)) == unknown
    assert answer(stage, connection, builder.ack(builder.PUBCOMP, 5)) == b""
    assert list(connection.outbound.completed) == [5]


def test_an_answer_to_who_has_gone_is_not_said(stage: Stage, make: Make) -> None:
    connection = make(Version.MQTT_5, session_expiry_s=60)
    answer(stage, connection, builder.subscribe(1, ("a", 1), properties=b""))
    connection.part(b"")
    stage.commit()
    assert connection.outbox == []


@pytest.mark.parametrize(
    ("kept_s", "wanted_s", "then_s"), [(60, 0, 0), (60, 5, 5), (60, 99_999, 1000), (0, 0, 0)]
)
def test_disconnect_changes_the_expiry(
    stage: Stage, make: Make, kept_s: int, wanted_s: int, then_s: int
) -> None:
    """MQTT 5.0 §3.14.2.2.2, within what the configuration allows."""
    connection = make(Version.MQTT_5, session_expiry_s=kept_s)
    answer(stage, connection, builder.disconnect(0, builder.p32(0x11, wanted_s)))
    assert connection.session.expiry_s == then_s


def test_disconnect_prolongs_no_session_that_ends_with_its_connection(stage: Stage, make: Make) -> None:
    assert refusal(stage, make(Version.MQTT_5), builder.disconnect(0, builder.p32(0x11, 5))) == 0x82


def test_a_run_of_pubacks_is_taken_as_one_by_one(
    stage: Stage, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[int, Step]] = []
    monkeypatch.setattr(
        stage.slow_path, "_complete", lambda _connection, packet_id, step: taken.append((packet_id, step))
    )
    pubacks = [builder.ack(builder.PUBACK, packet_id) for packet_id in (1, 258, 65_535)]
    data = b"?" + b"".join(pubacks)
    for rest in (b"", b"\xc0\x00", pubacks[0][:3], b"\x40\x02\x00\x00", b"\x40\x03\x00\x01\x00"):
        taken.clear()
        # What is not a whole PUBACK of the shortest form, or has identifier 0, is left where it is.
        assert stage.slow_path.take_pubacks(make(), data + rest, 1, 1_000) == len(data)
        assert taken == [(packet_id, Step.PUBACK) for packet_id in (1, 258, 65_535)]
    taken.clear()
    assert stage.slow_path.take_pubacks(make(), data, 1, 8) == 9
    assert [packet_id for packet_id, _ in taken] == [1, 258]


def test_a_refusal_ends_a_delivery_of_qos_2(stage: Stage, make: Make) -> None:
    """MQTT 5.0 §4.3.3: after a PUBREC with a reason code of 0x80 or more no PUBREL follows."""
    connection = make(Version.MQTT_5, session_expiry_s=60)
    connection.outbound.in_flight[5] = 1 << 3 | 2
    assert answer(stage, connection, builder.ack(builder.PUBREC, 5, 0x97)) == b""
    assert connection.outbound.in_flight == {}
    assert stage.commit() == []


@pytest.mark.parametrize("version", [Version.MQTT_3_1_1, Version.MQTT_5])
def test_a_release_is_answered_when_it_is_on_disk(stage: Stage, make: Make, version: Version) -> None:
    connection = make(version)
    connection.session.unreleased.add(7)
    assert answer(stage, connection, builder.ack(builder.PUBREL, 7)) == b""
    assert 7 not in connection.session.unreleased
    assert stage.commit() == [{"step": "released", "packet_id": 7}]
    assert b"".join(connection.outbox) == builder.ack(builder.PUBCOMP, 7)
    connection.outbox.clear()
    again = answer(stage, connection, builder.ack(builder.PUBREL, 7))
    assert again == builder.ack(builder.PUBCOMP, 7, 0x92 if version == Version.MQTT_5 else None)
    assert stage.commit() == []


def test_a_message_that_came_before_is_answered_behind_a_record(stage: Stage, make: Make) -> None:
    connection = make()
    connection.parser.repeated += [b"\x00\x07", b"\x01\x00"]
    stage.slow_path.answer_repeated(connection)
    assert connection.parser.repeated == []
    assert connection.outbox == []
    assert stage.commit() == [{"step": "repeated", "packet_id": 7}, {"step": "repeated", "packet_id": 256}]
    answers = [builder.ack(builder.PUBREC, packet_id) for packet_id in (7, 256)]
    assert b"".join(connection.outbox) == b"".join(answers)


def test_an_answer_that_the_client_would_not_take_is_refused_before(stage: Stage, make: Make) -> None:
    """MQTT 5.0 §3.1.2.11.4."""
    connection = make(Version.MQTT_5)
    connection.outbound.attach(
        has_properties=True, receive_maximum=9, packet_bytes_max=10, topic_alias_max=0, next_seq=1
    )
    filters = [(f"f/{number}", 1) for number in range(5)]
    assert refusal(stage, connection, builder.subscribe(1, *filters, properties=b"")) == 0x95
    assert connection.session.filters == {}
    names = [name for name, _ in filters]
    assert refusal(stage, connection, builder.unsubscribe(1, *names, properties=b"")) == 0x95
    said = answer(stage, connection, builder.subscribe(1, *filters[:4], properties=b""))
    assert said == builder.suback(1, 1, 1, 1, 1, properties=b"")


def test_subscriptions_of_all_clients_are_bounded_together(stage: Stage, make: Make) -> None:
    stage.slow_path._subscriptions_max = 2
    one, other = make(Version.MQTT_5, client_id="one"), make(Version.MQTT_5, client_id="other")
    answer(stage, one, builder.subscribe(1, ("a", 1), properties=b""))
    several = builder.subscribe(1, ("a", 1), ("b", 1), properties=b"")
    assert answer(stage, other, several) == builder.suback(1, 1, 0x97, properties=b"")
    assert answer(stage, one, builder.subscribe(1, ("a", 0), properties=b"")) == builder.suback(
        1, 0, properties=b""
    ), "what replaces another needs no room"
