"""15-sessions-more: corners of sessions that outlive their connection, on a live broker (MQTT 5.0 §3.1.2.11.2, §4.1, §4.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from . import builder as b
from .raw_client import Address, Message, RawClient, Received
from .test_broker_01_connect import properties_of, received_kinds
from .test_broker_11_time_and_room import let_it_expire

BOTH = pytest.mark.parametrize("version", [4, 5])
QOS_1_AND_2 = pytest.mark.parametrize("qos", [1, 2])
EXPIRY = 0x02
SESSION_EXPIRY = 0x11
RECEIVE_MAXIMUM = 0x21


@pytest.fixture
def publisher(broker: Address, version: int) -> Iterator[RawClient]:
    with RawClient(broker, version) as client:
        client.connect("15-publisher")
        yield client


def publish(
    publisher: RawClient, topic: str, *payloads: bytes, qos: int = 1, properties: bytes = b""
) -> None:
    """Messages up to their last acknowledgement."""
    for packet_id, payload in enumerate(payloads, start=1):
        publisher.send(
            b.publish(
                topic,
                payload,
                qos=qos,
                packet_id=packet_id if qos else None,
                properties=properties if publisher.version == 5 else None,
            )
        )
        if qos == 1:
            publisher.expect_puback(packet_id)
        elif qos == 2:
            publisher.expect_kind(b.PUBREC)
            publisher.send(b.ack(b.PUBREL, packet_id))
            publisher.expect_kind(b.PUBCOMP)


def complete(client: RawClient, message: Message) -> None:
    """Acknowledge a message, to its end."""
    packet_id = message.packet_id or 0
    if message.qos == 1:
        client.send(b.ack(b.PUBACK, packet_id))
    elif message.qos == 2:
        client.send(b.ack(b.PUBREC, packet_id))
        client.expect(b.ack(b.PUBREL, packet_id))
        client.send(b.ack(b.PUBCOMP, packet_id))


def keep(
    client: RawClient,
    client_id: str,
    *,
    is_new: bool = False,
    expiry_s: int = 3600,
    properties: bytes = b"",
    **options: Any,
) -> Received:
    """CONNECT for a session that is to be kept, and that is new or goes on; gives the CONNACK."""
    if client.version == 5:
        properties += b.p32(SESSION_EXPIRY, expiry_s)
    if is_new:
        return client.connect(client_id, clean=False, properties=properties, **options)
    return client.resume(client_id, properties=properties, **options)


def end(client: RawClient) -> None:
    client.send(b.disconnect())
    client.expect_closed()


def leave(client: RawClient, how: str) -> None:
    if how == "disconnect":
        end(client)
    else:
        client.socket.close()


@BOTH
@pytest.mark.parametrize("how", ["disconnect", "lost"])
def test_15_session_goes_on(broker: Address, publisher: RawClient, version: int, how: str) -> None:
    """Its subscriptions are there, those that were taken back are not, and CONNACK says so.

    [MQTT5-3.1.2-5, -6, -23, 3.1.3-2, 3.2.2-3] [MQTT3-3.1.2-4, 3.1.3-2, 3.2.2-2, -3, 4.1.0-1]
    """
    client_id, topic = f"15-goes-on-{version}-{how}", f"15/goes-on/{version}/{how}"
    with RawClient(broker, version) as before:
        keep(before, client_id, is_new=True)
        before.subscribe((f"{topic}/+", 1), (f"{topic}/not", 1), (f"{topic}/x", 0))
        before.send(b.unsubscribe(5, f"{topic}/not", f"{topic}/+", properties=before.no_properties))
        before.expect_kind(b.UNSUBACK)
        leave(before, how)
    with RawClient(broker, version) as after:
        keep(after, client_id)
        publish(publisher, f"{topic}/not", b"no")
        publish(publisher, f"{topic}/x", b"yes")
        message = after.message()
        assert (message.payload, message.qos) == (b"yes", 0)
        after.ping()


@BOTH
@QOS_1_AND_2
def test_15_unacknowledged_is_sent_again(
    broker: Address, publisher: RawClient, version: int, qos: int
) -> None:
    """Under its packet identifier, marked as a duplicate, in its order, before what is new; and only then.

    [MQTT5-3.3.1-1, -3, 4.3.2-3, 4.3.3-3, 4.4.0-1] [MQTT3-2.3.1-3, -4, 3.3.1-1, -3, 4.3.2-1, 4.3.3-1, 4.4.0-1, 4.6.0-1]
    """
    client_id, topic = f"15-again-{version}-{qos}", f"15/again/{version}/{qos}"
    with RawClient(broker, version) as before:
        keep(before, client_id, is_new=True)
        before.subscribe((topic, qos))
        publish(publisher, topic, b"0", b"1", b"2", b"3", qos=2)
        sent = [before.message() for _ in range(4)]
        assert [message.dup for message in sent] == [False] * 4
        complete(before, sent[1])
        before.ping()  # While the connection is open nothing is sent again.
        before.socket.close()
    publish(publisher, topic, b"4", qos=2)
    for _ in range(2):
        with RawClient(broker, version) as after:
            keep(after, client_id)
            again = [after.message() for _ in range(4)]
            assert [message.payload for message in again] == [b"0", b"2", b"3", b"4"]
            assert [message.packet_id for message in again[:3]] == [sent[n].packet_id for n in (0, 2, 3)]
            assert [message.dup for message in again[:3]] == [True] * 3
            after.ping()
            after.socket.close()
    with RawClient(broker, version) as last:
        keep(last, client_id)
        for message in [last.message() for _ in range(4)]:
            complete(last, message)
        end(last)
    with RawClient(broker, version) as nothing:
        keep(nothing, client_id)
        nothing.ping()


@pytest.mark.parametrize("version", [5])
def test_15_session_expires(broker: Address, publisher: RawClient, version: int) -> None:
    """Its time counts from the end of the connection. [MQTT5-4.1.0-1, -2, 3.2.2-3]"""
    with RawClient(broker, 5) as before:
        keep(before, "15-expires", expiry_s=1, is_new=True)
        before.subscribe(("15/expires", 1))
        let_it_expire(broker, "15/clock")
        publish(publisher, "15/expires", b"there")
        complete(before, before.message())
        end(before)
    publish(publisher, "15/expires", b"gone with it")
    let_it_expire(broker, "15/clock")
    let_it_expire(broker, "15/clock")
    with RawClient(broker, 5) as after:
        keep(after, "15-expires", expiry_s=1, is_new=True)
        after.ping()


@pytest.mark.parametrize("version", [5])
@pytest.mark.parametrize(
    ("at_connect", "at_disconnect", "is_kept"), [(3600, 0, False), (3600, None, True), (1, 3600, True)]
)
def test_15_expiry_of_disconnect(
    broker: Address,
    publisher: RawClient,
    version: int,
    at_connect: int,
    at_disconnect: int | None,
    is_kept: bool,
) -> None:
    """DISCONNECT may change it (§3.14.2.2.2). [MQTT5-3.1.2-23, 4.1.0-2]"""
    client_id = f"15-expiry-{at_connect}-{at_disconnect}"
    with RawClient(broker, 5) as before:
        keep(before, client_id, expiry_s=at_connect, is_new=True)
        before.subscribe(("15/expiry", 1))
        before.send(b.disconnect(0, b"" if at_disconnect is None else b.p32(SESSION_EXPIRY, at_disconnect)))
        before.expect_closed()
    if at_connect == 1:
        let_it_expire(broker, "15/clock")
        let_it_expire(broker, "15/clock")
    with RawClient(broker, 5) as after:
        keep(after, client_id, expiry_s=0, is_new=not is_kept)


@pytest.mark.parametrize("version", [5])
def test_15_expired_while_it_waited(broker: Address, publisher: RawClient, version: int) -> None:
    """The same for one that waits for room at a client that is there. [MQTT5-3.3.2-5, -6]"""
    with RawClient(broker, 5) as client:
        client.connect("15-waits", properties=b.p16(RECEIVE_MAXIMUM, 1))
        client.subscribe(("15/waits", 1))
        publish(publisher, "15/waits", b"first")
        first = client.message()
        publish(publisher, "15/waits", b"short", properties=b.p32(EXPIRY, 1))
        publish(publisher, "15/waits", b"long", properties=b.p32(EXPIRY, 1000))
        let_it_expire(broker, "15/clock")
        complete(client, first)
        long = client.message()
        assert long.payload == b"long"
        assert long.properties in [b.p32(EXPIRY, n) for n in range(980, 1000)]


@BOTH
def test_15_retained_is_not_part_of_it(broker: Address, publisher: RawClient, version: int) -> None:
    """Retained messages come with a subscription, not with a session that goes on. [MQTT5-3.3.1-9] [MQTT3-3.1.2-7, 3.3.1-6]"""
    topic = f"15/retained/{version}"
    publisher.publish(topic, b"kept", retain=True)
    with RawClient(broker, version) as before:
        keep(before, f"15-retained-{version}", is_new=True)
        before.send(b.subscribe(1, (topic, 1), properties=before.no_properties))
        kinds = received_kinds(before, 2)  # A message may come before SUBACK.
        assert sorted(kinds) == [b.PUBLISH, b.SUBACK]
        for kind in kinds:
            if kind == b.PUBLISH:
                complete(before, before.message())
            else:
                before.expect_kind(b.SUBACK)
        end(before)
    with RawClient(broker, version) as after:
        keep(after, f"15-retained-{version}")
        after.ping()
    publisher.publish(topic, b"", retain=True)


class TestWillDelay:
    """MQTT 5.0 §3.1.3.2.2."""

    def connect(self, client: RawClient, client_id: str, delay_s: int) -> None:
        will = b.will_fields(f"15/will/{client_id}", b"gone", properties=b.p32(0x18, delay_s))
        keep(client, client_id, will=will, will_flags=0x04, is_new=True)

    @pytest.fixture
    def watcher(self, broker: Address) -> Iterator[RawClient]:
        with RawClient(broker, 5) as client:
            client.connect("15-watcher")
            client.subscribe(("15/will/#", 0))
            yield client

    def test_15_will_is_deleted_by_disconnect(self, broker: Address, watcher: RawClient) -> None:
        """[MQTT5-3.1.2-10, 3.14.4-3]"""
        with RawClient(broker, 5) as client:
            self.connect(client, "15-deleted", 1)
            end(client)
        let_it_expire(broker, "15/clock")
        let_it_expire(broker, "15/clock")
        watcher.ping()


def test_15_connack_of_a_session(broker: Address) -> None:
    """Session present is 0 with a refusal, whatever there is. [MQTT5-3.2.2-3, -6] [MQTT3-3.2.2-4]"""
    for version in (4, 5):
        with RawClient(broker, version) as client:
            keep(client, f"15-refused-{version}", is_new=True)
            end(client)
        with RawClient(broker, version) as client:
            client.send(
                b.connect(
                    f"15-refused-{version}", version=version, clean=False, username="site", password=b"wrong"
                )
            )
            assert client.expect_kind(b.CONNACK).body[0] == 0
        with RawClient(broker, version) as client:
            connack = keep(client, f"15-refused-{version}")
            granted = properties_of(connack.body).get(SESSION_EXPIRY) if version == 5 else None
            assert granted is None or int.from_bytes(granted, "big") >= 1
