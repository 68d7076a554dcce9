"""Packets other than PUBLISH, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

import pytest

from appliance.core.errors import RemoteProtocolError
from appliance.core.limits import SUBSCRIPTION_BYTES_MAX, SUBSCRIPTION_COUNT_MAX
from appliance.management.access import AccessPolicy, Principal
from broker.connection import Connection
from broker.limit_counts import LimitCounts
from broker.mqtt.packets import Version
from broker.outbound import Delivery
from broker.router import Grant, Router
from broker.session_records import CloseReason
from broker.slow_path import SlowPath
from tests.broker_kit import SITE, connection_pair
from tests.protocol import builder

if TYPE_CHECKING:
    from broker.data_plane import DataPlane


class Stage:
    """What the slow path needs of the data plane."""

    def __init__(self) -> None:
        self.router = Router()
        self.slow_path = SlowPath(self.router, AccessPolicy(), subscriptions_max=100_000)
        self.slow_path.plane = cast("DataPlane", self)
        self.durable_next_seq = 100
        self.dirty: list[Connection] = []
        self.closed: list[tuple[CloseReason, int]] = []
        self.retained_asked: list[str] = []
        self.limits = LimitCounts()

    def mark_dirty(self, connection: Connection) -> None:
        self.dirty.append(connection)

    def close(self, connection: Connection, reason: CloseReason, code: int) -> None:
        self.closed.append((reason, code))

    def offer_retained(self, connection: Connection, topic_filter: str, grant: Grant) -> None:
        self.retained_asked.append(topic_filter)


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
    assert {f: (g.qos, g.since_seq) for f, g in connection.filters.items()} == {
        "a": (0, 100),
        "b/#": (1, 100),
        "c": (2, 100),
    }


def test_a_subscription_that_replaces_another_loses_nothing(stage: Stage, make: Make) -> None:
    connection = make()
    answer(stage, connection, builder.subscribe(1, ("a", 0)))
    stage.durable_next_seq = 500
    answer(stage, connection, builder.subscribe(2, ("a", 1)))
    assert connection.filters["a"].since_seq == 100
    assert connection.filters["a"].qos == 1


def test_what_is_not_granted(stage: Stage, make: Make) -> None:
    own = Principal(name="d1")
    several = builder.subscribe(9, ("dm/d1/#", 1), ("dm/d2/#", 1), ("#", 1))
    assert answer(stage, make(principal=own), several) == builder.suback(9, 1, 0x80, 0x80)
    several = builder.subscribe(9, ("dm/d1/#", 1), ("$share/g/dm/d1/x", 1), ("#", 1), properties=b"")
    assert answer(stage, make(Version.MQTT_5, own), several) == builder.suback(
        9, 1, 0x9E, 0x87, properties=b""
    )
    identified = builder.subscribe(9, ("a", 1), properties=builder.pvar(0x0B, 1))
    assert refusal(stage, make(Version.MQTT_5), identified) == 0xA1


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
        connection.outbound.offer(Delivery(topic=b"t", payload=payload, properties=b"", qos=1), 1, 1)
    assert answer(stage, connection, builder.ack(builder.PUBACK, 1)) == builder.publish(
        "t", b"2", qos=1, packet_id=2
    )
    assert stage.slow_path.delivered_messages == 1
    assert answer(stage, connection, builder.ack(builder.PUBACK, 2)) == b""
    assert answer(stage, connection, builder.ack(builder.PUBACK, 77)) == b""


def test_puback_of_a_lagging_subscriber_asks_for_more(stage: Stage, make: Make) -> None:
    connection = make()
    connection.outbound.lag_seq = 7
    answer(stage, connection, builder.ack(builder.PUBACK, 1))
    assert stage.dirty == [connection]


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
